// SPDX-License-Identifier: Apache-2.0

package movement

import (
	"math"

	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// constant is a value that the node itself holds.
type constant struct{ value *op.Value }

func buildConstant(n *op.Node) (op.Operator, error) {
	if len(n.Attributes) != 1 {
		return nil, op.Invalid("%d attributes, want the value alone", len(n.Attributes))
	}
	t, err := constantTensor(n)
	if err != nil {
		return nil, err
	}
	v, err := op.Constant(t)
	if err != nil {
		return nil, op.NotCovered("value: %w", err)
	}
	return &constant{v}, n.Arity(0, 0, 1, 1)
}

func constantTensor(n *op.Node) (*onnx.Tensor, error) {
	var t onnx.Tensor
	switch a := &n.Attributes[0]; a.Name {
	case "value":
		if a.Tensor == nil {
			return nil, op.Invalid("value is no tensor")
		}
		return a.Tensor, nil
	case "value_float":
		t = onnx.TensorOf("", []float32{a.Float})
	case "value_floats":
		t = onnx.TensorOf("", a.Floats, int64(len(a.Floats)))
	case "value_int":
		t = onnx.TensorOf("", []int64{a.Int})
	case "value_ints":
		t = onnx.TensorOf("", a.Ints, int64(len(a.Ints)))
	case "value_string":
		t = onnx.Tensor{Elem: onnx.ElemString, Strings: [][]byte{a.String}}
	case "value_strings":
		t = onnx.Tensor{Elem: onnx.ElemString, Strings: a.Strings, Dims: []int64{int64(len(a.Strings))}}
	default:
		return nil, op.NotCovered("attribute %q", a.Name)
	}
	return &t, nil
}

func (o *constant) ShapeOnly() {}

func (o *constant) Infer(_, out []*op.Value) error {
	return out[0].Set(o.value.Type, o.value.Shape...)
}

func (o *constant) Bind(_, out []*op.Value, _ *op.Scratch) (op.Run, error) {
	copy(out[0].Data, o.value.Data)
	copy(out[0].Strings, o.value.Strings)
	return nil, nil
}

// constantOfShape repeats one element.
type constantOfShape struct{ element *op.Value }

func buildConstantOfShape(n *op.Node) (op.Operator, error) {
	element := n.TensorValue("value")
	if element == nil {
		element = &op.Value{Type: tensor.FP32, Shape: tensor.Shape{1}}
		element.Allocate()
	}
	if element.Len() != 1 || element.Type == tensor.Bytes {
		return nil, op.Invalid("value of shape %v", element.Shape)
	}
	return &constantOfShape{element}, n.Arity(1, 1, 1, 1)
}

func (o *constantOfShape) Infer(in, out []*op.Value) error {
	shape, err := constInts(in[0], "shape")
	if err != nil {
		return err
	}
	return out[0].Set(o.element.Type, shape...)
}

func (o *constantOfShape) Bind(_, out []*op.Value, _ *op.Scratch) (op.Run, error) {
	for at := 0; at < len(out[0].Data); at += len(o.element.Data) {
		copy(out[0].Data[at:], o.element.Data)
	}
	return nil, nil
}

// shapeOf gives the shape of its input, or the number of its elements.
type shapeOf struct {
	start, end int64
	size       bool
}

func buildShape(n *op.Node) (op.Operator, error) {
	return &shapeOf{start: n.Int("start", 0), end: n.Int("end", math.MaxInt64)}, n.Arity(1, 1, 1, 1)
}

func buildSize(n *op.Node) (op.Operator, error) { return &shapeOf{size: true}, n.Arity(1, 1, 1, 1) }

func (o *shapeOf) ShapeOnly() {}

func (o *shapeOf) dims(in *op.Value) []int64 {
	if o.size {
		return []int64{int64(in.Len())}
	}
	first, n := span(o.start, o.end, 1, int64(in.Rank()))
	return in.Shape[first : first+n]
}

func (o *shapeOf) Infer(in, out []*op.Value) error {
	if o.size {
		return out[0].Set(tensor.Int64)
	}
	return out[0].Set(tensor.Int64, int64(len(o.dims(in[0]))))
}

func (o *shapeOf) Bind(in, out []*op.Value, _ *op.Scratch) (op.Run, error) {
	copy(op.As[int64](out[0]), o.dims(in[0]))
	return nil, nil
}

// rangeOf counts from a start to a limit. All three inputs must be known.
type rangeOf struct{}

func buildRange(n *op.Node) (op.Operator, error) { return rangeOf{}, n.Arity(3, 3, 1, 1) }

func (rangeOf) Infer(in, out []*op.Value) error {
	for _, v := range in {
		if !v.Const || v.Type != in[0].Type || v.Len() != 1 {
			return op.NotCovered("bounds that are not known before the run")
		}
	}
	var n float64
	switch in[0].Type {
	case tensor.Int64:
		n = count(op.As[int64](in[0])[0], op.As[int64](in[1])[0], op.As[int64](in[2])[0])
	case tensor.Int32:
		n = count(op.As[int32](in[0])[0], op.As[int32](in[1])[0], op.As[int32](in[2])[0])
	case tensor.FP32:
		n = count(op.Floats(in[0])[0], op.Floats(in[1])[0], op.Floats(in[2])[0])
	case tensor.FP64:
		n = count(op.As[float64](in[0])[0], op.As[float64](in[1])[0], op.As[float64](in[2])[0])
	default:
		return op.NotCovered("type %s", in[0].Type)
	}
	if !(n < 1<<31) {
		return op.Invalid("a range of %g elements", n)
	}
	return out[0].Set(in[0].Type, int64(n))
}

func count[T int32 | int64 | float32 | float64](start, limit, step T) float64 {
	return max(0, math.Ceil((float64(limit)-float64(start))/float64(step)))
}

func (rangeOf) Bind(in, out []*op.Value, _ *op.Scratch) (op.Run, error) {
	switch in[0].Type {
	case tensor.Int64:
		fillRange[int64](in, out[0])
	case tensor.Int32:
		fillRange[int32](in, out[0])
	case tensor.FP32:
		fillRange[float32](in, out[0])
	case tensor.FP64:
		fillRange[float64](in, out[0])
	}
	return nil, nil
}

func fillRange[T int32 | int64 | float32 | float64](in []*op.Value, out *op.Value) {
	start, step := op.As[T](in[0])[0], op.As[T](in[2])[0]
	for i := range op.As[T](out) {
		op.As[T](out)[i] = start + T(i)*step
	}
}

// eyeLike is ones on a diagonal of a matrix of its input's shape.
type eyeLike struct {
	datatype tensor.Datatype
	k        int64
}

func buildEyeLike(n *op.Node) (op.Operator, error) {
	dtype := onnx.ElemType(n.Int("dtype", 0))
	if dtype != 0 && dtype.Datatype() == tensor.Invalid {
		return nil, op.NotCovered("type %s", dtype)
	}
	return &eyeLike{dtype.Datatype(), n.Int("k", 0)}, n.Arity(1, 1, 1, 1)
}

func (*eyeLike) ShapeOnly() {}

func (o *eyeLike) Infer(in, out []*op.Value) error {
	if in[0].Rank() != 2 {
		return op.Invalid("shape %v, want a matrix", in[0].Shape)
	}
	datatype := o.datatype
	if datatype == tensor.Invalid {
		datatype = in[0].Type
	}
	if datatype == tensor.Bytes {
		return op.NotCovered("type %s", datatype)
	}
	return out[0].Set(datatype, in[0].Shape...)
}

func (o *eyeLike) Bind(_, out []*op.Value, _ *op.Scratch) (op.Run, error) {
	one := &op.Value{Type: tensor.FP64, Shape: tensor.Shape{1}}
	one.Allocate()
	op.As[float64](one)[0] = 1
	element := &op.Value{Type: out[0].Type, Shape: tensor.Shape{1}}
	element.Allocate()
	run, err := bindCast(element, one)
	if err != nil {
		return nil, err
	}
	if err := run(); err != nil {
		return nil, err
	}
	rows, cols := out[0].Shape[0], out[0].Shape[1]
	size := int64(len(element.Data))
	for i := range rows {
		if j := i + o.k; j >= 0 && j < cols {
			copy(out[0].Data[(i*cols+j)*size:], element.Data)
		}
	}
	return nil, nil
}

// nonZero lists the places of elements other than 0. How many there are must be known
// before the run, so the input has to be constant.
type nonZero struct{}

func buildNonZero(n *op.Node) (op.Operator, error) { return nonZero{}, n.Arity(1, 1, 1, 1) }

func (nonZero) places(v *op.Value) []int {
	var list []int
	for i := range v.Len() {
		if !isZero(v, i) {
			list = append(list, i)
		}
	}
	return list
}

// isZero reports whether element i is 0, of floats also -0.
func isZero(v *op.Value, i int) bool {
	size := v.Type.Size()
	element := v.Data[i*size : (i+1)*size]
	last := element[size-1]
	switch v.Type {
	case tensor.FP64, tensor.FP32, tensor.FP16, tensor.BF16:
		last &= 0x7f // without the sign
	}
	for _, b := range element[:size-1] {
		last |= b
	}
	return last == 0
}

func (o nonZero) Infer(in, out []*op.Value) error {
	if !in[0].Const || in[0].Type == tensor.Bytes {
		return op.NotCovered("an input that is not known before the run")
	}
	return out[0].Set(tensor.Int64, int64(in[0].Rank()), int64(len(o.places(in[0]))))
}

func (o nonZero) Bind(in, out []*op.Value, _ *op.Scratch) (op.Run, error) {
	list := op.As[int64](out[0])
	places, step := o.places(in[0]), strides(in[0].Shape)
	for i, place := range places {
		for axis, d := range in[0].Shape {
			list[axis*len(places)+i] = int64(place / step[axis] % int(d))
		}
	}
	return nil, nil
}

// trilu keeps the elements above or below a diagonal of each matrix.
type trilu struct{ upper bool }

func buildTrilu(n *op.Node) (op.Operator, error) {
	return &trilu{n.Int("upper", 1) != 0}, n.Arity(1, 2, 1, 1)
}

func (o *trilu) Infer(in, out []*op.Value) error {
	if in[0].Rank() < 2 || in[0].Type == tensor.Bytes {
		return op.Invalid("type %s, shape %v, want matrices", in[0].Type, in[0].Shape)
	}
	if len(in) > 1 && in[1] != nil && (!in[1].Const || in[1].Type != tensor.Int64 || in[1].Len() != 1) {
		return op.NotCovered("a diagonal that is not one number known before the run")
	}
	return out[0].Set(in[0].Type, in[0].Shape...)
}

func (o *trilu) Bind(in, out []*op.Value, _ *op.Scratch) (op.Run, error) {
	k := int64(0)
	if len(in) > 1 && in[1] != nil {
		k = op.As[int64](in[1])[0]
	}
	shape := in[0].Shape
	rows, cols := shape[len(shape)-2], shape[len(shape)-1]
	rowBytes, size := cols*int64(in[0].Type.Size()), int64(in[0].Type.Size())
	k = min(max(k, -rows), cols)
	return func() error {
		copy(out[0].Data, in[0].Data)
		for i := range int64(product(shape[:len(shape)-1])) {
			row := out[0].Data[i*rowBytes : (i+1)*rowBytes]
			diagonal := min(max(i%rows+k, 0), cols)
			if o.upper {
				clear(row[:diagonal*size])
			} else {
				clear(row[min(max(i%rows+k+1, 0), cols)*size:])
			}
		}
		return nil
	}, nil
}

func (*trilu) Rowwise(in []*op.Value, carries []bool) bool { return carries[0] && in[0].Rank() > 2 }
