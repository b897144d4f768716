// SPDX-License-Identifier: Apache-2.0

package control

import (
	"slices"

	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/onnx/rewrite"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// bag is a loop that makes a row of each bag of rows of a table: what PyTorch's exporter
// makes of nn.EmbeddingBag. Turn i takes Slice(indices, begins[i], ends[i]).
type bag struct {
	// sources gives what outside values the loop reads: the condition after a turn, the
	// table, the indices, begins, ends, and the axes of the slice.
	sources op.Body
	// reduce makes a row of each row of indices.
	reduce op.Body
	mode   string
}

// makers are the nodes of a body by the values that they make.
type makers map[string]*onnx.Node

// made is the node of an operator with so many inputs at least that makes a value, nil
// where another does.
func (m makers) made(name, domain, operator string, inputs int) *onnx.Node {
	if n := m[name]; n != nil && n.Domain == domain && n.OpType == operator && len(n.Inputs) >= inputs {
		return n
	}
	return nil
}

// bagOf recognises a loop by its body, nil where it is another.
func bagOf(n *op.Node) (*bag, error) {
	g := n.Attribute("body").Graph
	if len(g.Inputs) != 2 || len(g.Outputs) != 2 {
		return nil, nil
	}
	m := make(makers)
	for i := range g.Nodes {
		for _, name := range g.Nodes[i].Outputs {
			m[name] = &g.Nodes[i]
		}
	}
	turn, condition := g.Inputs[0].Name, g.Outputs[0].Name
	if same := m.made(condition, "", "Identity", 1); same != nil {
		condition = same.Inputs[0]
	}
	reduce := m.made(g.Outputs[1].Name, rewrite.Domain, rewrite.OpEmbeddingBag, 2)
	if reduce == nil || len(reduce.Inputs) != 2 {
		return nil, nil
	}
	slice := m.made(reduce.Inputs[1], "", "Slice", 4)
	if slice == nil || len(slice.Inputs) != 4 {
		return nil, nil
	}
	begins, ends := m.element(slice.Inputs[1], turn), m.element(slice.Inputs[2], turn)
	sources := []string{condition, reduce.Inputs[0], slice.Inputs[0], begins, ends, slice.Inputs[3]}
	for _, name := range sources {
		if m[name] != nil || name == "" || slices.ContainsFunc(g.Inputs, func(v onnx.ValueInfo) bool { return v.Name == name }) {
			return nil, nil
		}
	}
	b := &bag{mode: rewrite.ModeSum}
	if a := reduce.Attribute(rewrite.AttrMode); a != nil {
		b.mode = string(a.String)
	}
	outside := &onnx.Graph{Name: g.Name}
	for _, name := range sources {
		outside.Outputs = append(outside.Outputs, onnx.ValueInfo{Name: name})
	}
	inside := &onnx.Graph{
		Name: g.Name, Nodes: []onnx.Node{*reduce},
		Inputs: []onnx.ValueInfo{{Name: reduce.Inputs[1]}}, Outputs: g.Outputs[1:],
	}
	var err error
	if b.sources, err = n.Build(outside); err == nil {
		b.reduce, err = n.Build(inside)
	}
	return b, err
}

// element is the list of which the value is the element of the turn, "" where it is
// something else.
func (m makers) element(name, turn string) string {
	list := m.made(name, "", "Unsqueeze", 1)
	if list == nil {
		return ""
	}
	gather := m.made(list.Inputs[0], "", "Gather", 2)
	if gather == nil || gather.Inputs[1] != turn {
		return ""
	}
	if axis := gather.Attribute("axis"); axis != nil && axis.Int != 0 {
		return ""
	}
	return gather.Inputs[0]
}

// expand plans the loop as one operator. It gives nil where the values are not of the
// types and shapes that this takes.
func (b *bag) expand(in []*op.Value, l limit, p op.Plan) ([]*op.Value, error) {
	s, err := p.Inline(b.sources, in, nil)
	if err != nil {
		return nil, err
	}
	again, table, indices, begins, ends, axes := s[0], s[1], s[2], s[3], s[4], s[5]
	if !isConst(again, tensor.Bool) || !holds(again) || !isConst(axes, tensor.Int64) || op.As[int64](axes)[0] != 0 {
		return nil, nil
	}
	if l.turnsUnknown || l.conditionUnknown || !l.condition || !isList(begins, l.turns) || !isList(ends, l.turns) {
		return nil, nil
	}
	if !table.Const || table.Type != tensor.FP32 || table.Rank() != 2 || indices.Rank() != 1 {
		return nil, nil
	}
	if each := regular(indices, begins, ends, int(l.turns)); each > 0 {
		rows, err := p.Add(&matrixOf{each}, []*op.Value{indices}, 1)
		if err != nil {
			return nil, err
		}
		return p.Inline(b.reduce, in, rows)
	}
	if indices.Type != tensor.Int64 {
		return nil, nil
	}
	return p.Add(newBags(table, int(l.turns), b.mode), []*op.Value{indices, begins, ends}, 1)
}

// isConst reports whether a value is one known element.
func isConst(v *op.Value, t tensor.Datatype) bool {
	return v.Const && !v.Sequence && v.Type == t && v.Len() == 1
}

// isList reports whether a value has an element for each turn.
func isList(v *op.Value, turns int64) bool {
	return !v.Sequence && v.Type == tensor.Int64 && v.Rank() == 1 && v.Shape[0] >= turns
}

// regular is how many indices each bag has, where the bags are known, have as many each
// and stand one behind the other; else 0.
func regular(indices, begins, ends *op.Value, turns int) int {
	if turns == 0 || !begins.Const || !ends.Const || indices.Len()%turns != 0 {
		return 0
	}
	each := indices.Len() / turns
	for i := range turns {
		if op.As[int64](begins)[i] != int64(i*each) || op.As[int64](ends)[i] != int64((i+1)*each) {
			return 0
		}
	}
	return each
}

// matrixOf is its input as rows of each elements.
type matrixOf struct{ each int }

func (*matrixOf) View() bool { return true }

func (o *matrixOf) Infer(in, out []*op.Value) error {
	return out[0].Set(in[0].Type, int64(in[0].Len()/o.each), int64(o.each))
}

func (*matrixOf) Bind(_, _ []*op.Value, _ *op.Scratch) (op.Run, error) { return nil, nil }
