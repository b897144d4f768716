// SPDX-License-Identifier: Apache-2.0

package native

import (
	"bytes"
	"slices"
	"sync"

	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// A run is split over cores when each part has at least this much to do. Waking
// another core costs 5 to 50 microseconds, on a busy machine more. Tests change it.
var partNanosMin = 100_000.0

// rowsOfPart is what the rows of a part are a multiple of, so that kernels which take
// rows by the block have full ones.
const rowsOfPart = 64

// cost estimates the nanoseconds that the steps take on one core.
func (b *bound) cost() float64 {
	total := 0.0
	for i := range b.steps {
		total += b.steps[i].cost()
	}
	return total
}

// stepNanos is what a step costs beside its work, and bytesPerNano how fast a step
// that only moves memory does so.
const (
	stepNanos    = 20.0
	bytesPerNano = 24.0
)

func (s *step) cost() float64 {
	if isView(s.node.operator) {
		return 0
	}
	if c, ok := s.node.operator.(op.Coster); ok {
		return stepNanos + c.Cost(s.in, s.out)
	}
	bytes := 0
	for _, v := range slices.Concat(s.in, s.out) {
		if v != nil && !v.Const {
			bytes += v.Len() * elementBytes(v)
		}
	}
	return stepNanos + float64(bytes)/bytesPerNano
}

// elementBytes takes a string for as long as its slice header.
func elementBytes(v *op.Value) int {
	if size := v.Type.Size(); size > 0 {
		return size
	}
	return 24
}

// partRows divides rows among at most threads parts, nil when that does not pay.
func (b *bound) partRows(threads int) []int {
	rows := b.batchRows()
	parts := min(threads, int(b.cost()/partNanosMin), rows/rowsOfPart)
	if parts < 2 || b.strings || !b.rowwise(rows) {
		return nil
	}
	var list []int
	for left := rows; left > 0; parts-- {
		n := left / max(parts, 1)
		n = min(left, (n+rowsOfPart-1)/rowsOfPart*rowsOfPart)
		list = append(list, n)
		left -= n
	}
	return list
}

// batchRows is the extent that all inputs have in common where the model takes any
// number of rows, 0 where it does not.
func (b *bound) batchRows() int {
	rows := int64(0)
	for i, spec := range b.program.signature.Inputs {
		shape := b.shapes[i]
		if len(shape) == 0 || spec.Shape[0] >= 0 {
			return 0
		}
		if rows != 0 && shape[0] != rows {
			return 0
		}
		rows = shape[0]
	}
	return int(rows)
}

// rowwise reports whether every output has the batch's rows and row i of it depends on
// row i of the inputs only.
func (b *bound) rowwise(rows int) bool {
	carries := make(map[*op.Value]bool)
	for _, v := range b.program.inputs {
		carries[b.values[v]] = true
	}
	for i := range b.steps {
		s := &b.steps[i]
		in := make([]bool, len(s.in))
		for j, v := range s.in {
			in[j] = v != nil && carries[v]
		}
		if !slices.Contains(in, true) {
			continue
		}
		r, ok := s.node.operator.(op.Rowwiser)
		if !ok || !r.Rowwise(s.in, in) {
			return false
		}
		for _, v := range s.out {
			if v == nil {
				continue
			}
			if len(v.Shape) == 0 || v.Shape[0] != int64(rows) {
				return false
			}
			carries[v] = true
		}
	}
	return b.ownOutputs(carries)
}

// ownOutputs reports whether the outputs are row by row, and none shares memory with
// another or with an input.
func (b *bound) ownOutputs(carries map[*op.Value]bool) bool {
	seen := make(map[int]bool)
	for _, v := range b.program.inputs {
		seen[b.layout.of[v]] = true
	}
	for _, v := range b.program.outputs {
		if !carries[b.values[v]] || b.layout.of[v] == none || seen[b.layout.of[v]] {
			return false
		}
		seen[b.layout.of[v]] = true
	}
	return true
}

// planParts lays out a bound for each range of rows, nil where the model does not treat
// the rows of a part as it treats those of the whole.
func (b *bound) planParts(rows []int, scratches []*op.Scratch) []*bound {
	var parts []*bound
	for i, n := range rows {
		part, err := b.part(n, scratches[i])
		if err != nil || !part.rowwise(n) || !b.alike(part) {
			return nil
		}
		parts = append(parts, part)
	}
	return parts
}

// part lays out a bound for some rows of b. Its inputs and outputs have no memory yet.
func (b *bound) part(rows int, scratch *op.Scratch) (*bound, error) {
	shapes := make([]tensor.Shape, len(b.shapes))
	for i, shape := range b.shapes {
		shapes[i] = slices.Clone(shape)
		shapes[i][0] = int64(rows)
	}
	part, err := b.program.infer(shapes, scratch)
	if err != nil {
		return nil, err
	}
	given := make(map[int][]byte)
	for _, v := range slices.Concat(b.program.inputs, b.program.outputs) {
		given[v] = []byte{}
	}
	return part, part.plan(given)
}

// share lets the inputs and outputs of a part be rows of the whole's.
func (b *bound) share(whole *bound, first int) {
	for _, v := range slices.Concat(b.program.inputs, b.program.outputs) {
		all := whole.values[v]
		stride := len(all.Data) / int(all.Shape[0])
		from, to := first*stride, first*stride+b.values[v].Len()*all.Type.Size()
		b.layout.storages[b.layout.of[v]].given = all.Data[from:to:to]
	}
}

// alike reports whether a part has the steps of the whole, with rows of the same form.
// What is computed from the number of rows and then computed with is not alike: the
// shape of a view is, since it moves no element from row to row.
func (b *bound) alike(part *bound) bool {
	if len(b.steps) != len(part.steps) {
		return false
	}
	for i := range b.steps {
		s, p := &b.steps[i], &part.steps[i]
		if s.node != p.node {
			return false
		}
		for j, v := range s.in {
			if v != nil && !s.isShape(j) && !sameConstant(v, p.in[j]) {
				return false
			}
		}
		for j, v := range s.out {
			if v != nil && len(v.Shape) > 0 && !slices.Equal(v.Shape[1:], p.out[j].Shape[1:]) {
				return false
			}
		}
	}
	return true
}

// isShape reports whether an input only says what shape the output has.
func (s *step) isShape(input int) bool {
	return input > 0 && (isView(s.node.operator) || s.node.OpType == "Expand")
}

func sameConstant(a, b *op.Value) bool {
	if a == b || (!a.Const && !b.Const) {
		return true
	}
	return a.Const == b.Const && a.Type != tensor.Bytes && slices.Equal(a.Shape, b.Shape) && bytes.Equal(a.Data, b.Data)
}

// crew is the goroutines that run the parts of an instance's runs besides the caller's.
type crew struct {
	work []chan *bound
	done sync.WaitGroup
	// ended is done when all goroutines have returned.
	ended sync.WaitGroup
	errs  []error
}

// newCrew starts the goroutines for runs on so many threads.
func newCrew(threads int) *crew {
	c := &crew{errs: make([]error, threads)}
	for i := 1; i < threads; i++ {
		work := make(chan *bound)
		c.work = append(c.work, work)
		c.ended.Go(func() {
			for part := range work {
				c.errs[i] = part.run()
				c.done.Done()
			}
		})
	}
	return c
}

// run runs all parts and gives the first error in their order.
func (c *crew) run(parts []*bound) error {
	c.done.Add(len(parts) - 1)
	for i, part := range parts[1:] {
		c.work[i] <- part
	}
	c.errs[0] = parts[0].run()
	c.done.Wait()
	for i := range parts {
		if c.errs[i] != nil {
			return c.errs[i]
		}
	}
	return nil
}

// close ends the goroutines.
func (c *crew) close() {
	for _, work := range c.work {
		close(work)
	}
	c.ended.Wait()
}
