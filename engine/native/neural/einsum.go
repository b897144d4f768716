// SPDX-License-Identifier: Apache-2.0

package neural

import (
	"slices"

	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/kernels/gemm"
)

func einsumOperators() []op.Definition {
	return []op.Definition{{Name: "Einsum", Since: 12, Build: buildEinsum}}
}

// einsum sums products of its inputs over the indices that its output leaves out.
type einsum struct{ equation *equation }

func buildEinsum(n *op.Node) (op.Operator, error) {
	const inputsMax = 16
	if err := n.Arity(1, inputsMax, 1, 1); err != nil {
		return nil, err
	}
	e, err := parseEquation(n.Text("equation", ""))
	if err != nil {
		return nil, err
	}
	if len(e.inputs) != len(n.Inputs) {
		return nil, op.Invalid("%d inputs for an equation of %d", len(n.Inputs), len(e.inputs))
	}
	return &einsum{e}, n.Err()
}

func (o *einsum) Infer(in, out []*op.Value) error {
	for _, v := range in {
		if err := op.Want(v, "input", tensor.FP32, tensor.FP64, tensor.Int64, tensor.Int32); err != nil {
			return err
		}
		if v.Type != in[0].Type {
			return op.Invalid("inputs of types %s and %s", in[0].Type, v.Type)
		}
	}
	c, err := o.equation.contract(in)
	if err != nil {
		return err
	}
	if c.matrices() != nil && in[0].Type == tensor.FP32 {
		for _, n := range c.matrices().sizes() {
			if n > elementsMax {
				return op.NotCovered("an operand of %d elements", n)
			}
		}
	}
	return out[0].Set(in[0].Type, c.shape...)
}

func (o *einsum) Bind(in, out []*op.Value, s *op.Scratch) (op.Run, error) {
	c, err := o.equation.contract(in)
	if err != nil || out[0].Len() == 0 {
		return nil, err
	}
	switch in[0].Type {
	case tensor.FP64:
		return bindLoops[float64](c, in, out[0]), nil
	case tensor.Int64:
		return bindLoops[int64](c, in, out[0]), nil
	case tensor.Int32:
		return bindLoops[int32](c, in, out[0]), nil
	}
	if m := c.matrices(); m != nil {
		return m.bind(op.Floats(in[0]), op.Floats(in[1]), op.Floats(out[0]), s), nil
	}
	return bindLoops[float32](c, in, out[0]), nil
}

// walk visits places of several arrays together: at holds an offset for each, extents
// are those of the loops, and strides are by array, then loop.
type walk struct {
	extents []int
	strides [][]int
	index   []int
	at      []int
}

func newWalk(extents []int, strides [][]int) *walk {
	return &walk{extents, strides, make([]int, len(extents)), make([]int, len(strides))}
}

// next goes on to the next place, the last loop first, and reports false, back at the
// start, after the last place.
func (w *walk) next() bool {
	for axis := len(w.extents) - 1; axis >= 0; axis-- {
		w.index[axis]++
		for i, s := range w.strides {
			w.at[i] += s[axis]
		}
		if w.index[axis] < w.extents[axis] {
			return true
		}
		for i, s := range w.strides {
			w.at[i] -= s[axis] * w.extents[axis]
		}
		w.index[axis] = 0
	}
	return false
}

// bindLoops is the contraction as it is written: for each output, the sum of products.
func bindLoops[T int32 | int64 | float32 | float64](c *contraction, in []*op.Value, out *op.Value) op.Run {
	y := op.As[T](out)
	operands := make([][]T, len(in))
	outer, inner := make([][]int, len(in)), make([][]int, len(in))
	for i, v := range in {
		operands[i] = op.As[T](v)
		outer[i], inner[i] = c.strides[i][:c.outputs], c.strides[i][c.outputs:]
	}
	over, sums := newWalk(c.extents[:c.outputs], outer), newWalk(c.extents[c.outputs:], inner)
	if slices.Contains(sums.extents, 0) {
		return func() error { clear(y); return nil }
	}
	return func() error {
		for i := range y {
			total := T(0)
			for {
				term := T(1)
				for k, x := range operands {
					term *= x[over.at[k]+sums.at[k]]
				}
				total += term
				if !sums.next() {
					break
				}
			}
			y[i] = total
			over.next()
		}
		return nil
	}
}

// matrices is a contraction of two inputs as a batch of matrix products, with the loops
// that each input and the output is copied by.
type matrices struct {
	batches, m, n, k int
	left, right, out copying
}

// copying brings elements into the order of a product; direct says that they are in it.
type copying struct {
	extents, strides []int
	direct           bool
}

// productMin is the least work of one product for which it beats plain loops.
const productMin = 32

// matrices is nil where the contraction is none of matrices, or of too small ones.
func (c *contraction) matrices() *matrices {
	if len(c.strides) != 2 || slices.Contains(c.extents, 0) {
		return nil
	}
	var batch, rows, cols, sums []int
	for i := range c.labels {
		a, b, out := c.has[0][i], c.has[1][i], i < c.outputs
		switch {
		case a && b && out:
			batch = append(batch, i)
		case a && out:
			rows = append(rows, i)
		case b && out:
			cols = append(cols, i)
		case a && b:
			sums = append(sums, i)
		default: // a sum over one input alone
			return nil
		}
	}
	m := &matrices{batches: c.product(batch), m: c.product(rows), n: c.product(cols), k: c.product(sums)}
	work := m.m * m.n * m.k
	if len(rows) > 0 && rows[0] == 0 {
		// The first dimension may be rows, whose number must not change their bits.
		work /= m.m / c.product(rows[1:])
	}
	if work < productMin {
		return nil
	}
	m.left = c.copying(c.strides[0], batch, rows, sums)
	m.right = c.copying(c.strides[1], batch, sums, cols)
	outputs := make([]int, len(c.labels))
	for i, step := c.outputs-1, 1; i >= 0; i-- {
		outputs[i] = step
		step *= c.extents[i]
	}
	m.out = c.copying(outputs, batch, rows, cols)
	return m
}

func (c *contraction) product(labels []int) int {
	n := 1
	for _, i := range labels {
		n *= c.extents[i]
	}
	return n
}

// copying is the order of loops that gives the groups of labels one after the other.
func (c *contraction) copying(strides []int, groups ...[]int) copying {
	p := copying{direct: true}
	for _, i := range slices.Concat(groups...) {
		p.extents, p.strides = append(p.extents, c.extents[i]), append(p.strides, strides[i])
	}
	step := 1
	for i := len(p.extents) - 1; i >= 0; i-- {
		p.direct = p.direct && (p.strides[i] == step || p.extents[i] == 1)
		step *= p.extents[i]
	}
	return p
}

// sizes are the elements of what is copied.
func (m *matrices) sizes() []int {
	return []int{m.batches * m.m * m.k, m.batches * m.k * m.n, m.batches * m.m * m.n}
}

func (m *matrices) bind(a, b, y []float32, s *op.Scratch) op.Run {
	s.Gemm.ReserveMatMul(m.m, m.k)
	size := m.sizes()
	left, right := m.left.reader(a, size[0], 3, s), m.right.reader(b, size[1], 4, s)
	var product *floats
	if !m.out.direct {
		product = shared(s, 5, size[2])
	}
	store := m.out.writer(y, size[2])
	return func() error {
		a, b, c := left(), right(), y
		if product != nil {
			c = product.data
		}
		for i := range m.batches {
			gemm.MatMul(m.m, m.n, m.k, 1, a[i*m.m*m.k:], m.k, b[i*m.k*m.n:], m.n, false, c[i*m.m*m.n:], m.n, &s.Gemm)
		}
		if product != nil {
			store(c)
		}
		return nil
	}
}

// reader gives x in the order of the product.
func (p *copying) reader(x []float32, size, part int, s *op.Scratch) func() []float32 {
	if p.direct {
		return func() []float32 { return x }
	}
	to := shared(s, part, size)
	w := newWalk(p.extents, [][]int{p.strides})
	return func() []float32 {
		data := to.data[:size]
		for i := range data {
			data[i] = x[w.at[0]]
			w.next()
		}
		return data
	}
}

// writer takes elements in the order of the product to their places.
func (p *copying) writer(y []float32, size int) func(x []float32) {
	w := newWalk(p.extents, [][]int{p.strides})
	return func(x []float32) {
		for _, v := range x[:size] {
			y[w.at[0]] = v
			w.next()
		}
	}
}

// Rowwise implements op.Rowwiser: the output's first index must be the first of every
// input that has rows, and of no other.
func (o *einsum) Rowwise(in []*op.Value, carries []bool) bool {
	output := o.equation.output
	if len(output) == 0 || output[0] == ellipsisTerm {
		return false
	}
	for i, term := range o.equation.inputs {
		at := slices.Index(term, output[0])
		if carries[i] != (at == 0) || (at >= 0 && slices.Contains(term[at+1:], output[0])) || (at > 0) {
			return false
		}
	}
	return true
}

// Cost implements op.Coster.
func (o *einsum) Cost(in, _ []*op.Value) float64 {
	c, err := o.equation.contract(in)
	if err != nil {
		return 0
	}
	work := 1.0
	for _, d := range c.extents {
		work *= float64(d)
	}
	const loopsPerNano = 0.2
	m := c.matrices()
	if m == nil || in[0].Type != tensor.FP32 {
		return callNanos + work/loopsPerNano
	}
	copies := 0
	for i, p := range []copying{m.left, m.right, m.out} {
		if !p.direct {
			copies += m.sizes()[i]
		}
	}
	return float64(m.batches)*callNanos + 2*work/flopsPerNano + float64(copies)
}

// Describe implements op.Describer.
func (o *einsum) Describe(in, _ []*op.Value) string {
	c, err := o.equation.contract(in)
	if err != nil {
		return ""
	}
	if m := c.matrices(); m != nil && in[0].Type == tensor.FP32 {
		return "gemm f32, both sides unpacked"
	}
	return "plain loop, " + in[0].Type.String()
}
