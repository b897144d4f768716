// SPDX-License-Identifier: Apache-2.0

package control

import (
	"slices"

	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// expander is an operator that is no more than a function of its inputs.
type expander struct {
	op.Expanded
	expand func(in []*op.Value, p op.Plan) (*op.Value, error)
}

// Expand implements op.Expander.
func (o *expander) Expand(in []*op.Value, p op.Plan) ([]*op.Value, error) {
	v, err := o.expand(in, p)
	return []*op.Value{v}, err
}

func expanderOf(expand func(in []*op.Value, p op.Plan) (*op.Value, error)) *expander {
	return &expander{expand: expand}
}

// sequenceOf is a list of tensors of the same type.
func sequenceOf(elements []*op.Value) (*op.Value, error) {
	for i, v := range elements {
		switch {
		case v == nil || v.Sequence:
			return nil, op.Invalid("element %d is no tensor", i)
		case v.Type != elements[0].Type:
			return nil, op.Invalid("elements of type %s and %s", elements[0].Type, v.Type)
		}
	}
	return &op.Value{Sequence: true, Elements: elements}, nil
}

func elementsOf(v *op.Value) ([]*op.Value, error) {
	if v == nil || !v.Sequence {
		return nil, op.Invalid("a tensor in place of a sequence")
	}
	return v.Elements, nil
}

// position reads a place up to last in a sequence of length elements, counted from its
// end where it is negative. last is also what is meant when it is left out.
func position(in []*op.Value, input, length, last int) (int, error) {
	if last < 0 {
		return 0, op.Invalid("an empty sequence")
	}
	if input >= len(in) || in[input] == nil {
		return last, nil
	}
	v := in[input]
	if !v.Const {
		return 0, op.NotCovered("a position that is not known before the run")
	}
	var at int64
	switch {
	case v.Type == tensor.Int64 && v.Len() == 1:
		at = op.As[int64](v)[0]
	case v.Type == tensor.Int32 && v.Len() == 1:
		at = int64(op.As[int32](v)[0])
	default:
		return 0, op.Invalid("a position that is %s%v", v.Type, v.Shape)
	}
	if at < -int64(length) || at > int64(last) {
		return 0, op.Invalid("position %d in a sequence of %d", at, length)
	}
	if at < 0 {
		at += int64(length)
	}
	return int(at), nil
}

func buildSequenceEmpty(n *op.Node) (op.Operator, error) {
	return expanderOf(func([]*op.Value, op.Plan) (*op.Value, error) { return sequenceOf(nil) }), n.Arity(0, 0, 1, 1)
}

func buildSequenceConstruct(n *op.Node) (op.Operator, error) {
	return expanderOf(func(in []*op.Value, _ op.Plan) (*op.Value, error) {
		return sequenceOf(slices.Clone(in))
	}), n.Arity(1, max(1, len(n.Inputs)), 1, 1)
}

func buildSequenceInsert(n *op.Node) (op.Operator, error) {
	return expanderOf(func(in []*op.Value, _ op.Plan) (*op.Value, error) {
		list, err := elementsOf(in[0])
		if err != nil {
			return nil, err
		}
		at, err := position(in, 2, len(list), len(list))
		if err != nil {
			return nil, err
		}
		return sequenceOf(slices.Insert(slices.Clone(list), at, in[1]))
	}), n.Arity(2, 3, 1, 1)
}

func buildSequenceErase(n *op.Node) (op.Operator, error) {
	return expanderOf(func(in []*op.Value, _ op.Plan) (*op.Value, error) {
		list, err := elementsOf(in[0])
		if err != nil {
			return nil, err
		}
		at, err := position(in, 1, len(list), len(list)-1)
		if err != nil {
			return nil, err
		}
		return sequenceOf(slices.Delete(slices.Clone(list), at, at+1))
	}), n.Arity(1, 2, 1, 1)
}

func buildSequenceAt(n *op.Node) (op.Operator, error) {
	return expanderOf(func(in []*op.Value, _ op.Plan) (*op.Value, error) {
		list, err := elementsOf(in[0])
		if err != nil {
			return nil, err
		}
		at, err := position(in, 1, len(list), len(list)-1)
		if err != nil {
			return nil, err
		}
		return list[at], nil
	}), n.Arity(2, 2, 1, 1)
}

func buildSequenceLength(n *op.Node) (op.Operator, error) {
	return expanderOf(func(in []*op.Value, _ op.Plan) (*op.Value, error) {
		list, err := elementsOf(in[0])
		if err != nil {
			return nil, err
		}
		return constantOf(int64(len(list)), tensor.Shape{}), nil
	}), n.Arity(1, 1, 1, 1)
}

func buildConcatFromSequence(n *op.Node) (op.Operator, error) {
	if n.Attribute("axis") == nil {
		return nil, op.Invalid("attribute \"axis\" is missing")
	}
	o := &join{axis: n.Int("axis", 0), newAxis: n.Int("new_axis", 0) != 0}
	return expanderOf(func(in []*op.Value, p op.Plan) (*op.Value, error) {
		list, err := elementsOf(in[0])
		if err != nil {
			return nil, err
		}
		if len(list) == 0 {
			return nil, op.Invalid("an empty sequence")
		}
		out, err := p.Add(o, list, 1)
		if err != nil {
			return nil, err
		}
		return out[0], nil
	}), n.Arity(1, 1, 1, 1)
}
