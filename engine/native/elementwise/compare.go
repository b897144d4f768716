// SPDX-License-Identifier: Apache-2.0

package elementwise

import (
	"bytes"
	"cmp"
	"math"

	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// relation compares two inputs. Each field answers for one order of the operands; of
// NaN none holds.
type relation struct{ less, equal, greater bool }

func compareOperators() []op.Definition {
	var list []op.Definition
	for name, r := range map[string]relation{
		"Equal": {equal: true}, "Less": {less: true}, "Greater": {greater: true},
		"LessOrEqual": {less: true, equal: true}, "GreaterOrEqual": {greater: true, equal: true},
	} {
		list = append(list, op.Definition{Name: name, Since: 7, Build: func(n *op.Node) (op.Operator, error) {
			return &r, n.Arity(2, 2, 1, 1)
		}})
	}
	return list
}

func (o *relation) Infer(in, out []*op.Value) error {
	shape, err := op.Broadcast(in[0].Shape, in[1].Shape)
	if err != nil {
		return err
	}
	if in[0].Type != in[1].Type {
		return op.Invalid("%s is compared with %s", in[0].Type, in[1].Type)
	}
	if in[0].Type == tensor.FP16 || in[0].Type == tensor.BF16 {
		return op.NotCovered("type %s", in[0].Type)
	}
	return out[0].Set(tensor.Bool, shape...)
}

func (o *relation) Bind(in, out []*op.Value, _ *op.Scratch) (op.Run, error) {
	w := newWalk(out[0].Shape, in[0].Shape, in[1].Shape)
	switch in[0].Type {
	case tensor.Bytes:
		visit := func(at, i, j int) {
			for k := range w.inner.extent {
				op.As[bool](out[0])[at+k] = o.holds(bytes.Compare(in[0].Strings[i], in[1].Strings[j]))
				i, j = i+w.inner.a, j+w.inner.b
			}
		}
		return func() error {
			w.each(visit)
			return nil
		}, nil
	case tensor.FP32:
		return bindRelation[float32](o, w, in, out[0]), nil
	case tensor.FP64:
		return bindRelation[float64](o, w, in, out[0]), nil
	case tensor.Int64:
		return bindRelation[int64](o, w, in, out[0]), nil
	case tensor.Int32:
		return bindRelation[int32](o, w, in, out[0]), nil
	case tensor.Int16:
		return bindRelation[int16](o, w, in, out[0]), nil
	case tensor.Int8:
		return bindRelation[int8](o, w, in, out[0]), nil
	case tensor.Uint64:
		return bindRelation[uint64](o, w, in, out[0]), nil
	case tensor.Uint32:
		return bindRelation[uint32](o, w, in, out[0]), nil
	case tensor.Uint16:
		return bindRelation[uint16](o, w, in, out[0]), nil
	}
	return bindRelation[uint8](o, w, in, out[0]), nil // and BOOL
}

func bindRelation[T number](o *relation, w *walk, in []*op.Value, out *op.Value) op.Run {
	return zipLoop(w, op.As[bool](out), op.As[T](in[0]), op.As[T](in[1]), func(x, y T) bool {
		return (o.less && x < y) || (o.equal && x == y) || (o.greater && x > y)
	})
}

func (o *relation) holds(order int) bool {
	return [3]bool{o.less, o.equal, o.greater}[cmp.Compare(order, 0)+1]
}

func (*relation) Rowwise(in []*op.Value, carries []bool) bool { return rowwise(in, carries) }

func logicOperators() []op.Definition {
	zips := map[string]func(x, y bool) bool{
		"And": func(x, y bool) bool { return x && y },
		"Or":  func(x, y bool) bool { return x || y },
		"Xor": func(x, y bool) bool { return x != y },
	}
	list := []op.Definition{
		{Name: "Not", Since: 1, Build: buildNot},
		{Name: "IsNaN", Since: 9, Build: buildIsNaN},
		{Name: "IsInf", Since: 10, Build: buildIsInf},
		{Name: "Where", Since: 9, Build: buildWhere},
	}
	for name, f := range zips {
		list = append(list, op.Definition{Name: name, Since: 7, Build: func(n *op.Node) (op.Operator, error) {
			return &logic{f}, n.Arity(2, 2, 1, 1)
		}})
	}
	return list
}

// logic is an operation on two truth values.
type logic struct{ f func(x, y bool) bool }

func (o *logic) Infer(in, out []*op.Value) error {
	shape, err := op.Broadcast(in[0].Shape, in[1].Shape)
	if err != nil {
		return err
	}
	if in[0].Type != tensor.Bool || in[1].Type != tensor.Bool {
		return op.Invalid("types %s and %s, want BOOL", in[0].Type, in[1].Type)
	}
	return out[0].Set(tensor.Bool, shape...)
}

func (o *logic) Bind(in, out []*op.Value, _ *op.Scratch) (op.Run, error) {
	w := newWalk(out[0].Shape, in[0].Shape, in[1].Shape)
	return zipLoop(w, op.As[bool](out[0]), op.As[bool](in[0]), op.As[bool](in[1]), o.f), nil
}

func (*logic) Rowwise(in []*op.Value, carries []bool) bool { return rowwise(in, carries) }

// predicate is a truth value of one element.
type predicate struct {
	truth   func(x bool) bool
	float64 func(x float64) bool
}

func buildNot(n *op.Node) (op.Operator, error) {
	return &predicate{truth: func(x bool) bool { return !x }}, n.Arity(1, 1, 1, 1)
}

func buildIsNaN(n *op.Node) (op.Operator, error) {
	return &predicate{float64: math.IsNaN}, n.Arity(1, 1, 1, 1)
}

func buildIsInf(n *op.Node) (op.Operator, error) {
	negative, positive := n.Int("detect_negative", 1) != 0, n.Int("detect_positive", 1) != 0
	return &predicate{float64: func(x float64) bool {
		return (negative && math.IsInf(x, -1)) || (positive && math.IsInf(x, 1))
	}}, n.Arity(1, 1, 1, 1)
}

func (o *predicate) Infer(in, out []*op.Value) error {
	ok := in[0].Type == tensor.Bool
	if o.float64 != nil {
		ok = in[0].Type == tensor.FP32 || in[0].Type == tensor.FP64
	}
	if !ok {
		return op.NotCovered("type %s", in[0].Type)
	}
	return out[0].Set(tensor.Bool, in[0].Shape...)
}

func (o *predicate) Bind(in, out []*op.Value, _ *op.Scratch) (op.Run, error) {
	y := op.As[bool](out[0])
	switch in[0].Type {
	case tensor.Bool:
		return mapLoop(y, op.As[bool](in[0]), o.truth), nil
	case tensor.FP32:
		return mapLoop(y, op.Floats(in[0]), func(x float32) bool { return o.float64(float64(x)) }), nil
	}
	return mapLoop(y, op.As[float64](in[0]), o.float64), nil
}

func (*predicate) Rowwise(in []*op.Value, carries []bool) bool { return carries[0] && in[0].Rank() > 0 }

// where picks elements of its second or third input by the first.
type where struct{}

func buildWhere(n *op.Node) (op.Operator, error) { return where{}, n.Arity(3, 3, 1, 1) }

func (where) Infer(in, out []*op.Value) error {
	if in[0].Type != tensor.Bool || in[1].Type != in[2].Type {
		return op.Invalid("types %s, %s and %s", in[0].Type, in[1].Type, in[2].Type)
	}
	shape, err := op.Broadcast(in[1].Shape, in[2].Shape)
	if err == nil {
		shape, err = op.Broadcast(shape, in[0].Shape)
	}
	if err != nil {
		return err
	}
	return out[0].Set(in[1].Type, shape...)
}

func (where) Bind(in, out []*op.Value, _ *op.Scratch) (op.Run, error) {
	// Two walks in step: the condition with the first choice, and with the second.
	yes, no := newWalk(out[0].Shape, in[0].Shape, in[1].Shape), newWalk(out[0].Shape, in[0].Shape, in[2].Shape)
	switch out[0].Type.Size() {
	case 0:
		return func() error {
			pick(yes, out[0].Strings, op.As[bool](in[0]), in[1].Strings, true)
			pick(no, out[0].Strings, op.As[bool](in[0]), in[2].Strings, false)
			return nil
		}, nil
	case 1:
		return bindWhere[uint8](yes, no, in, out[0]), nil
	case 2:
		return bindWhere[uint16](yes, no, in, out[0]), nil
	case 4:
		return bindWhere[uint32](yes, no, in, out[0]), nil
	}
	return bindWhere[uint64](yes, no, in, out[0]), nil
}

func bindWhere[T op.Element](yes, no *walk, in []*op.Value, out *op.Value) op.Run {
	y, condition, a, b := op.As[T](out), op.As[bool](in[0]), op.As[T](in[1]), op.As[T](in[2])
	return func() error {
		pick(yes, y, condition, a, true)
		pick(no, y, condition, b, false)
		return nil
	}
}

// pick copies the elements of one choice to where the condition is for it.
func pick[T any](w *walk, out []T, condition []bool, choice []T, side bool) {
	w.each(func(at, i, j int) {
		for k := range w.inner.extent {
			if condition[i] == side {
				out[at+k] = choice[j]
			}
			i, j = i+w.inner.a, j+w.inner.b
		}
	})
}

func (where) Rowwise(in []*op.Value, carries []bool) bool { return rowwise(in, carries) }
