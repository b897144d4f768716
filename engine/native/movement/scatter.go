// SPDX-License-Identifier: Apache-2.0

package movement

import (
	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// scatter copies its first input and writes updates into it. Both ScatterElements and
// ScatterND are made of it; they differ in what a place is.
type scatter struct {
	reduction string
	// places prepares the walk over the updates: it gives a function from the update
	// to the place of its first element, the number of updates and their length.
	places func(in []*op.Value) (place func(i int) (int, error), n, piece int, err error)
}

func buildScatterElements(n *op.Node) (op.Operator, error) {
	axis := n.Int("axis", 0)
	o := &scatter{reduction: n.Text("reduction", "none")}
	o.places = func(in []*op.Value) (func(int) (int, error), int, int, error) {
		if in[1].Rank() != in[0].Rank() || product(in[1].Shape) != product(in[2].Shape) {
			return nil, 0, 0, op.Invalid("indices of shape %v and updates of shape %v into shape %v", in[1].Shape, in[2].Shape, in[0].Shape)
		}
		w, err := newElementWalk(in[0].Shape, in[1], axis)
		if err != nil {
			return nil, 0, 0, err
		}
		for i, d := range in[1].Shape {
			if i != w.axis && d > in[0].Shape[i] {
				return nil, 0, 0, op.Invalid("indices of shape %v into shape %v", in[1].Shape, in[0].Shape)
			}
		}
		place := func(i int) (int, error) {
			if i == 0 {
				w.reset()
			}
			return w.next(i)
		}
		return place, in[1].Len(), 1, nil
	}
	return o, checkScatter(n, o.reduction)
}

func buildScatterND(n *op.Node) (op.Operator, error) {
	o := &scatter{reduction: n.Text("reduction", "none")}
	o.places = func(in []*op.Value) (func(int) (int, error), int, int, error) {
		t, err := newTuples(in[0], in[1], 0)
		if err != nil {
			return nil, 0, 0, err
		}
		if in[2].Len() != t.n*t.piece {
			return nil, 0, 0, op.Invalid("updates of shape %v for indices of shape %v into shape %v", in[2].Shape, in[1].Shape, in[0].Shape)
		}
		return t.place, t.n, t.piece, nil
	}
	return o, checkScatter(n, o.reduction)
}

func checkScatter(n *op.Node, reduction string) error {
	switch reduction {
	case "none", "add", "mul", "max", "min":
		return n.Arity(3, 3, 1, 1)
	}
	return op.Invalid("reduction %q", reduction)
}

func (o *scatter) Infer(in, out []*op.Value) error {
	if in[2].Type != in[0].Type {
		return op.Invalid("updates of type %s into %s", in[2].Type, in[0].Type)
	}
	if _, _, _, err := o.places(in); err != nil {
		return err
	}
	return out[0].Set(in[0].Type, in[0].Shape...)
}

func (o *scatter) Bind(in, out []*op.Value, _ *op.Scratch) (op.Run, error) {
	place, n, piece, err := o.places(in)
	if err != nil {
		return nil, err
	}
	s := scatterLoop{place, n, piece}
	if o.reduction != "none" {
		return o.bindReduction(&s, in, out[0])
	}
	switch in[0].Type.Size() {
	case 0:
		return func() error {
			copy(out[0].Strings, in[0].Strings)
			return runScatter(&s, out[0].Strings, in[2].Strings)
		}, nil
	case 1:
		return bindScatter[uint8](&s, in, out[0], nil), nil
	case 2:
		return bindScatter[uint16](&s, in, out[0], nil), nil
	case 4:
		return bindScatter[uint32](&s, in, out[0], nil), nil
	}
	return bindScatter[uint64](&s, in, out[0], nil), nil
}

func (o *scatter) bindReduction(s *scatterLoop, in []*op.Value, out *op.Value) (op.Run, error) {
	switch in[0].Type {
	case tensor.FP32:
		return bindScatter(s, in, out, reducer[float32](o.reduction)), nil
	case tensor.FP64:
		return bindScatter(s, in, out, reducer[float64](o.reduction)), nil
	case tensor.Int64:
		return bindScatter(s, in, out, reducer[int64](o.reduction)), nil
	case tensor.Int32:
		return bindScatter(s, in, out, reducer[int32](o.reduction)), nil
	}
	return nil, op.NotCovered("reduction %s of %s", o.reduction, in[0].Type)
}

func reducer[T int32 | int64 | float32 | float64](reduction string) func(a, b T) T {
	switch reduction {
	case "add":
		return func(a, b T) T { return a + b }
	case "mul":
		return func(a, b T) T { return a * b }
	case "max":
		return func(a, b T) T { return max(a, b) }
	}
	return func(a, b T) T { return min(a, b) }
}

type scatterLoop struct {
	place    func(i int) (int, error)
	n, piece int
}

func bindScatter[T op.Element](s *scatterLoop, in []*op.Value, out *op.Value, reduce func(a, b T) T) op.Run {
	dst, src, updates := op.As[T](out), op.As[T](in[0]), op.As[T](in[2])
	return func() error {
		copy(dst, src)
		if reduce == nil {
			return runScatter(s, dst, updates)
		}
		for i := range s.n {
			at, err := s.place(i)
			if err != nil {
				return err
			}
			for k := range s.piece {
				dst[at+k] = reduce(dst[at+k], updates[i*s.piece+k])
			}
		}
		return nil
	}
}

func runScatter[T any](s *scatterLoop, dst, updates []T) error {
	for i := range s.n {
		at, err := s.place(i)
		if err != nil {
			return err
		}
		copy(dst[at:at+s.piece], updates[i*s.piece:(i+1)*s.piece])
	}
	return nil
}

// oneHot writes on where the class is the index and off elsewhere.
type oneHot struct{ axis int64 }

func buildOneHot(n *op.Node) (op.Operator, error) {
	return &oneHot{n.Int("axis", -1)}, n.Arity(3, 3, 1, 1)
}

func (o *oneHot) depth(in []*op.Value) (axis int, depth int64, err error) {
	if axis, err = op.Axis(o.axis, in[0].Rank()+1); err != nil {
		return 0, 0, err
	}
	if !in[1].IsConst() || in[1].Len() != 1 {
		return 0, 0, op.NotCovered("a depth that is not known before the run")
	}
	d, ok := asInt64(in[1])
	if !ok || d < 0 {
		return 0, 0, op.Invalid("depth %d", d)
	}
	return axis, d, nil
}

func (o *oneHot) Infer(in, out []*op.Value) error {
	axis, depth, err := o.depth(in)
	if err != nil {
		return err
	}
	if err := op.Want(in[0], "indices", tensor.Int64, tensor.Int32, tensor.FP32); err != nil {
		return err
	}
	if in[2].Len() != 2 {
		return op.Invalid("%d values, want off and on", in[2].Len())
	}
	shape := append(tensor.Shape{}, in[0].Shape[:axis]...)
	shape = append(append(shape, depth), in[0].Shape[axis:]...)
	return out[0].Set(in[2].Type, shape...)
}

func (o *oneHot) Bind(in, out []*op.Value, _ *op.Scratch) (op.Run, error) {
	axis, depth, err := o.depth(in)
	if err != nil {
		return nil, err
	}
	inner := product(in[0].Shape[axis:])
	h := oneHotLoop{read: classReader(in[0]), depth: int(depth), inner: inner, n: in[0].Len()}
	switch in[2].Type.Size() {
	case 0:
		return func() error {
			runOneHot(&h, out[0].Strings, in[2].Strings)
			return nil
		}, nil
	case 1:
		return bindOneHot[uint8](&h, out[0], in[2]), nil
	case 2:
		return bindOneHot[uint16](&h, out[0], in[2]), nil
	case 4:
		return bindOneHot[uint32](&h, out[0], in[2]), nil
	}
	return bindOneHot[uint64](&h, out[0], in[2]), nil
}

type oneHotLoop struct {
	read            func(i int) int64
	depth, inner, n int
}

func bindOneHot[T op.Element](h *oneHotLoop, out, values *op.Value) op.Run {
	dst, offOn := op.As[T](out), op.As[T](values)
	return func() error {
		runOneHot(h, dst, offOn)
		return nil
	}
}

func runOneHot[T any](h *oneHotLoop, dst, offOn []T) {
	for i := range dst {
		dst[i] = offOn[0]
	}
	for i := range h.n {
		class := h.read(i)
		if class < 0 {
			class += int64(h.depth)
		}
		if class >= 0 && class < int64(h.depth) {
			dst[(i/h.inner*h.depth+int(class))*h.inner+i%h.inner] = offOn[1]
		}
	}
}

func (o *oneHot) Rowwise(in []*op.Value, carries []bool) bool {
	axis, err := op.Axis(o.axis, in[0].Rank()+1)
	return err == nil && axis != 0 && carries[0] && !carries[2]
}

// classReader reads indices of any type that OneHot takes.
func classReader(v *op.Value) func(i int) int64 {
	switch v.Type {
	case tensor.Int32:
		list := op.As[int32](v)
		return func(i int) int64 { return int64(list[i]) }
	case tensor.FP32:
		list := op.Floats(v)
		return func(i int) int64 { return int64(list[i]) }
	}
	list := op.As[int64](v)
	return func(i int) int64 { return list[i] }
}

// asInt64 reads the first element of a constant as an integer.
func asInt64(v *op.Value) (int64, bool) {
	switch v.Type {
	case tensor.Int64:
		return op.As[int64](v)[0], true
	case tensor.Int32:
		return int64(op.As[int32](v)[0]), true
	case tensor.FP32:
		return int64(op.Floats(v)[0]), true
	case tensor.FP64:
		return int64(op.As[float64](v)[0]), true
	}
	return 0, false
}
