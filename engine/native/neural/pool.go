// SPDX-License-Identifier: Apache-2.0

package neural

import (
	"fmt"

	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/kernels/act"
	"github.com/millrace-ml/millrace/kernels/conv"
	"github.com/millrace-ml/millrace/kernels/cpu"
	"github.com/millrace-ml/millrace/kernels/vec"
)

func poolOperators() []op.Definition {
	global := func(r vec.Reduction) func(n *op.Node) (op.Operator, error) {
		return func(n *op.Node) (op.Operator, error) { return &globalPool{r}, n.Arity(1, 1, 1, 1) }
	}
	return []op.Definition{
		{Name: "MaxPool", Since: 1, Build: buildPool(poolMax)},
		{Name: "AveragePool", Since: 1, Build: buildPool(poolAverage)},
		{Name: "LpPool", Since: 2, Build: buildPool(poolLp)},
		{Name: "GlobalAveragePool", Since: 1, Build: global(vec.ReduceMean)},
		{Name: "GlobalMaxPool", Since: 1, Build: global(vec.ReduceMax)},
	}
}

// poolKind is what a pool makes of a window.
type poolKind uint8

const (
	poolMax poolKind = iota
	poolAverage
	poolLp
)

func (k poolKind) String() string { return [...]string{"largest", "average", "p-norm"}[k] }

// pool is MaxPool, AveragePool and LpPool.
type pool struct {
	kind   poolKind
	window *window
	// countPadding is for averages: padding counts as elements of 0.
	countPadding bool
	p            float32
}

func buildPool(kind poolKind) func(n *op.Node) (op.Operator, error) {
	return func(n *op.Node) (op.Operator, error) {
		if err := n.Arity(1, 1, 1, 2); err != nil {
			return nil, err
		}
		if len(n.Outputs) > 1 && n.Outputs[1] != "" {
			return nil, op.NotCovered("indices as output")
		}
		w, err := windowOf(n)
		if err != nil {
			return nil, err
		}
		if w.kernel == nil {
			return nil, op.Invalid("no kernel_shape")
		}
		o := &pool{kind: kind, window: w, countPadding: n.Int("count_include_pad", 0) != 0}
		if kind == poolLp {
			if o.p = float32(n.Int("p", 2)); o.p < 1 {
				return nil, op.Invalid("p is %g", o.p)
			}
		}
		if size, err := bounded("a window", w.kernel...); err != nil || size > windowMax {
			return nil, op.NotCovered("a window of %v", w.kernel)
		}
		return o, nil
	}
}

// windowMax bounds the elements of a pool's window, whose places are listed.
const windowMax = 1 << 20

// extents are those of a channel with its padding, up to the end of the last window.
func extents(all *axes) (list [spatialMax]int, direct bool) {
	direct = true
	for i := range all {
		a := &all[i]
		end := (a.out-1)*a.stride + a.reach()
		list[i] = max(end, a.before+a.in)
		direct = direct && a.before == 0 && end <= a.in
	}
	return list, direct
}

func (o *pool) place(in []*op.Value) (*axes, error) {
	if err := op.Want(in[0], "input", tensor.FP32); err != nil {
		return nil, err
	}
	all, err := o.window.slide(in[0].Shape, o.window.kernel)
	if err != nil {
		return nil, err
	}
	padded, _ := extents(all)
	_, err = bounded("a padded channel", padded[:]...)
	return all, err
}

func (o *pool) Infer(in, out []*op.Value) error {
	all, err := o.place(in)
	if err != nil {
		return err
	}
	return out[0].Set(tensor.FP32, all.outShape(in[0].Shape, int(in[0].Shape[1]))...)
}

func (o *pool) Bind(in, out []*op.Value, s *op.Scratch) (op.Run, error) {
	all, err := o.place(in)
	if err != nil || out[0].Len() == 0 {
		return nil, err
	}
	x, y := op.Floats(in[0]), op.Floats(out[0])
	padded, direct := extents(all)
	l := newPlanes(all, padded, direct)
	planes := int(in[0].Shape[0] * in[0].Shape[1])
	finish := o.finish(all, y, planes)
	if o.kind == poolLp {
		direct = false
	}
	if direct {
		if l.evenly(all) {
			l.grid.Rows *= planes
			planes = 1
		}
		return func() error {
			for p := range planes {
				o.reduce(l, y[p*l.outputs:], x[p*l.inputs:])
			}
			finish()
			return nil
		}, nil
	}
	copied, size := paddedOf(s, o, volume(padded[:])), volume(padded[:])
	padding := float32(0)
	if o.kind == poolMax {
		padding = lowest
	}
	return func() error {
		plane := copied.use(l, size, padding)
		for p := range planes {
			l.copyIn(plane, x[p*l.inputs:])
			o.prepare(plane)
			o.reduce(l, y[p*l.outputs:], plane)
		}
		finish()
		return nil
	}, nil
}

// planes is how the windows of one channel are read.
type planes struct {
	grid            conv.Grid
	taps            *conv.Taps
	inputs, outputs int
	// depth is the number of grids, and in and out what lies between them.
	depth, in, out int
	// insert copies a channel into its padding.
	insert   conv.Grid
	into     int
	inDepth  int
	padPlane int
}

func newPlanes(all *axes, padded [spatialMax]int, direct bool) *planes {
	l := &planes{inputs: all.inputs(), outputs: all.outputs(), depth: all[0].out, inDepth: all[0].in}
	e := padded
	if direct {
		// What no window reaches is there too.
		e = [spatialMax]int{all[0].in, all[1].in, all[2].in}
	}
	l.padPlane = e[1] * e[2]
	l.in, l.out = all[0].stride*l.padPlane, all[1].out*all[2].out
	l.grid = conv.Grid{
		Rows: all[1].out, Cols: all[2].out, DstRow: all[2].out, SrcRow: all[1].stride * e[2], Step: all[2].stride,
	}
	l.insert = conv.Grid{Rows: all[1].in, Cols: all[2].in, DstRow: e[2], SrcRow: all[2].in, Step: 1}
	l.into = (all[0].before*e[1]+all[1].before)*e[2] + all[2].before
	var offsets []int
	for z := range all[0].kernel {
		for y := range all[1].kernel {
			for x := range all[2].kernel {
				offsets = append(offsets, (z*all[0].dilation*e[1]+y*all[1].dilation)*e[2]+x*all[2].dilation)
			}
		}
	}
	l.taps = conv.NewTaps(offsets)
	return l
}

// evenly reports that windows go on from one channel to the next as they do from one
// row to the next, so that all channels are one grid.
func (l *planes) evenly(all *axes) bool {
	return l.depth == 1 && all[0].in == 1 && all[1].in == all[1].out*all[1].stride
}

func (l *planes) copyIn(plane, x []float32) {
	for z := range l.inDepth {
		conv.Copy(plane[l.into+z*l.padPlane:], x[z*l.insert.Rows*l.insert.Cols:], &l.insert)
	}
}

// prepare makes a channel what an Lp pool sums.
func (o *pool) prepare(plane []float32) {
	if o.kind != poolLp {
		return
	}
	act.Abs(plane, plane)
	if o.p != 1 {
		act.Pow(plane, plane, o.p)
	}
}

func (o *pool) reduce(l *planes, y, x []float32) {
	for z := range l.depth {
		if o.kind == poolMax {
			conv.Max(y[z*l.out:], x[z*l.in:], &l.grid, l.taps)
		} else {
			conv.Sum(y[z*l.out:], x[z*l.in:], &l.grid, l.taps)
		}
	}
}

// finish makes of the sums of all windows what they are for.
func (o *pool) finish(all *axes, y []float32, planes int) func() {
	switch {
	case o.kind == poolLp && o.p == 2:
		return func() { act.Sqrt(y, y) }
	case o.kind == poolLp && o.p != 1:
		return func() { act.Pow(y, y, 1/o.p) }
	case o.kind != poolAverage:
		return func() {}
	}
	counts, same := o.counts(all)
	if same {
		return func() { vec.DivScalar(y, y, counts[0]) }
	}
	return func() {
		for p := range planes {
			plane := y[p*len(counts):][:len(counts)]
			vec.Div(plane, plane, counts)
		}
	}
}

// counts is how many elements each window's average is over, and whether that is the
// same for all. What a window that is rounded up has beyond the padding never counts.
func (o *pool) counts(all *axes) (list []float32, same bool) {
	var along [spatialMax][]int
	for i := range all {
		a := &all[i]
		first, end := a.before, a.before+a.in
		if o.countPadding {
			first, end = 0, end+a.after
		}
		for at := range a.out {
			n := 0
			for k := range a.kernel {
				if x := at*a.stride + k*a.dilation; x >= first && x < end {
					n++
				}
			}
			along[i] = append(along[i], n)
		}
	}
	same = true
	for _, z := range along[0] {
		for _, y := range along[1] {
			for _, x := range along[2] {
				// A window of padding only is 0, not 0/0.
				list = append(list, float32(max(1, z*y*x)))
				same = same && list[0] == list[len(list)-1]
			}
		}
	}
	return list, same
}

// Rowwise implements op.Rowwiser.
func (o *pool) Rowwise(_ []*op.Value, carries []bool) bool { return carries[0] }

// Cost implements op.Coster.
func (o *pool) Cost(in, out []*op.Value) float64 {
	return callNanos + 4*float64(out[0].Len()*volume(o.window.kernel)+in[0].Len())/bytesPerNano
}

// Describe implements op.Describer.
func (o *pool) Describe(in, _ []*op.Value) string {
	return fmt.Sprintf("%s of windows of %v, %s", o.kind, o.window.kernel, cpu.Active())
}

// globalPool makes one number of each channel.
type globalPool struct{ reduction vec.Reduction }

func (o *globalPool) Infer(in, out []*op.Value) error {
	if err := op.Want(in[0], "input", tensor.FP32); err != nil {
		return err
	}
	if in[0].Rank() < 2 {
		return op.Invalid("shape %v, want rows and channels", in[0].Shape)
	}
	shape := append(tensor.Shape{}, in[0].Shape...)
	for i := range shape[2:] {
		shape[2+i] = 1
	}
	return out[0].Set(tensor.FP32, shape...)
}

func (o *globalPool) Bind(in, out []*op.Value, _ *op.Scratch) (op.Run, error) {
	x, y := op.Floats(in[0]), op.Floats(out[0])
	if len(y) == 0 {
		return nil, nil
	}
	cols := in[0].Len() / len(y)
	return func() error {
		vec.ReduceRows(o.reduction, y, x, len(y), cols)
		return nil
	}, nil
}

// Rowwise implements op.Rowwiser.
func (o *globalPool) Rowwise(_ []*op.Value, carries []bool) bool { return carries[0] }
