// SPDX-License-Identifier: Apache-2.0

package native

import (
	"slices"

	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/onnx"
)

// body is a graph inside a node. What it reads from graphs around it are inputs of the
// node, behind those that the node has itself.
type body struct {
	program *program
	// captured are the values of the program that are from outside, and first is where
	// the node's inputs for them begin.
	captured []int
	first    int

	inputs, outputs []onnx.ValueInfo
}

func (b *body) Inputs() []onnx.ValueInfo  { return b.inputs }
func (b *body) Outputs() []onnx.ValueInfo { return b.outputs }

// body builds a graph inside node n, whose operators are listed as missing with those
// of the graph around it.
func (b *builder) body(g *onnx.Graph, n *node) (*body, error) {
	inner := builder{program: &program{}, model: b.model, outer: b, index: make(map[string]int)}
	if len(g.Initializers)+len(g.SparseInitializers) > 0 { // rewriting moves them out
		return nil, op.Invalid("graph %.100q has constants of its own", g.Name)
	}
	p := inner.program
	for i := range g.Inputs {
		p.inputs = append(p.inputs, inner.value(g.Inputs[i].Name))
	}
	for i := range g.Nodes {
		if err := inner.node(&g.Nodes[i]); err != nil {
			return nil, err
		}
	}
	for i := range g.Outputs {
		v, err := inner.read(g.Outputs[i].Name)
		if err != nil {
			return nil, err
		}
		p.outputs = append(p.outputs, v)
	}
	for i := range p.nodes {
		p.nodes[i].Const = nil
	}
	b.missing = append(b.missing, inner.missing...)
	result := &body{program: p, first: len(n.in), inputs: g.Inputs, outputs: g.Outputs}
	for _, v := range inner.captured {
		outside, err := b.read(p.names[v])
		if err != nil {
			return nil, err
		}
		n.in = append(n.in, outside)
		result.captured = append(result.captured, v)
	}
	return result, nil
}

// read is the index of a value that is there already: of the graph itself, or of one
// around it, which is then captured, unless it is a constant.
func (b *builder) read(name string) (int, error) {
	if i, ok := b.index[name]; ok {
		return i, nil
	}
	if b.outer == nil {
		return 0, op.Invalid("value %.100q is not defined", name)
	}
	outside, err := b.outer.read(name)
	if err != nil {
		return 0, err
	}
	i := b.value(name)
	if constant := b.outer.constant(outside); constant != nil {
		b.program.constants[i] = constant
	} else {
		b.captured = append(b.captured, i)
	}
	return i, nil
}

// constant is the content of a value, nil where a run may change it.
func (b *builder) constant(v int) *op.Value {
	if slices.Contains(b.program.inputs, v) {
		return nil
	}
	return b.program.constants[v]
}
