// SPDX-License-Identifier: Apache-2.0

package native

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/onnx/rewrite"
)

// leftOut stands for an optional input or output that a node does without.
const leftOut = -1

// node is one operator of a program, with its values by index.
type node struct {
	*op.Node
	operator op.Operator
	in, out  []int
}

// program is a model's graph, ready to be bound. It does not change after newProgram.
type program struct {
	signature engine.Signature
	// names of all values; constants holds those whose contents are known, nil for
	// the others. A constant may also be an input, whose default it then is.
	names     []string
	constants []*op.Value
	// inputs and outputs are the values of the signature, in its order.
	inputs, outputs []int
	nodes           []node // in order of execution
	report          rewrite.Report
	weightBytes     int64
}

// newProgram rewrites a graph and builds its operators. m must not have external data
// that is not loaded. Inputs that signature does not list take their defaults.
func newProgram(m *onnx.Model, signature engine.Signature) (*program, error) {
	rewritten, report, err := rewrite.Apply(m, rewrite.Options{Evaluate: evaluate, Fusions: rewrite.All, DropZipMap: true})
	if err != nil {
		return nil, err
	}
	p := &program{signature: signature, report: report}
	b := builder{program: p, model: rewritten, index: make(map[string]int)}
	if err := b.constants(); err != nil {
		return nil, err
	}
	if err := b.ends(); err != nil {
		return nil, err
	}
	if err := b.nodes(); err != nil {
		return nil, err
	}
	return p, p.tryOut()
}

// builder makes a program of a graph.
type builder struct {
	program *program
	model   *onnx.Model
	index   map[string]int
	missing []string
}

// value is the index of a name.
func (b *builder) value(name string) int {
	if i, ok := b.index[name]; ok {
		return i
	}
	i := len(b.program.names)
	b.index[name] = i
	b.program.names = append(b.program.names, name)
	b.program.constants = append(b.program.constants, nil)
	return i
}

func (b *builder) constants() error {
	g := b.model.Graph
	if len(g.SparseInitializers) > 0 {
		return op.NotCovered("sparse initializer %q", g.SparseInitializers[0].Values.Name)
	}
	for i := range g.Initializers {
		v, err := op.Constant(&g.Initializers[i])
		if err != nil {
			return fmt.Errorf("%w: initializer: %w", op.ErrNotCovered, err)
		}
		b.program.constants[b.value(v.Name)] = v
		b.program.weightBytes += int64(len(v.Data))
	}
	return nil
}

// ends finds the values of the signature.
func (b *builder) ends() error {
	p := b.program
	for _, in := range p.signature.Inputs {
		p.inputs = append(p.inputs, b.value(in.Name))
	}
	for _, out := range p.signature.Outputs {
		p.outputs = append(p.outputs, b.value(out.Name))
	}
	return nil
}

func (b *builder) nodes() error {
	order, err := b.model.Graph.Order()
	if err != nil {
		return err
	}
	for _, i := range order {
		if err := b.node(&b.model.Graph.Nodes[i]); err != nil {
			return err
		}
	}
	if len(b.missing) > 0 {
		slices.Sort(b.missing)
		return op.NotCovered("operators that are missing: %s", strings.Join(slices.Compact(b.missing), ", "))
	}
	return nil
}

func (b *builder) node(source *onnx.Node) error {
	n := node{Node: &op.Node{Node: source, Version: b.model.Opset(source.Domain)}}
	if source.Domain == rewrite.Domain {
		n.Version = 1
	}
	definition := definition(n.Node)
	if definition == nil {
		b.missing = append(b.missing, operatorName(n.Node))
		return nil
	}
	n.in, n.out = b.values(source.Inputs), b.values(source.Outputs)
	n.Const = make([]*op.Value, len(n.in))
	for i, v := range n.in {
		if v != leftOut && !slices.Contains(b.program.inputs, v) {
			n.Const[i] = b.program.constants[v]
		}
	}
	var err error
	if n.operator, err = definition.Build(n.Node); err == nil {
		err = n.Err()
	}
	switch {
	case errors.Is(err, op.ErrNotCovered):
		b.missing = append(b.missing, fmt.Sprintf("%s with %s", operatorName(n.Node), strings.TrimPrefix(err.Error(), op.ErrNotCovered.Error()+": ")))
		return nil
	case err != nil:
		return fmt.Errorf("%s: %w", n.Title(), err)
	}
	b.program.nodes = append(b.program.nodes, n)
	return nil
}

func (b *builder) values(names []string) []int {
	list := make([]int, len(names))
	for i, name := range names {
		list[i] = leftOut
		if name != "" {
			list[i] = b.value(name)
		}
	}
	return list
}

// evaluate computes a node whose inputs are all constant, for the rewriting of graphs.
func evaluate(source *onnx.Node, opset func(domain string) int64, inputs []onnx.Tensor) ([]onnx.Tensor, error) {
	n := &op.Node{Node: source, Version: opset(source.Domain)}
	definition := definition(n)
	if definition == nil {
		return nil, op.NotCovered("operator %s", operatorName(n))
	}
	in := make([]*op.Value, len(source.Inputs))
	for i := range source.Inputs {
		if source.Inputs[i] == "" {
			continue
		}
		v, err := op.Constant(&inputs[i])
		if err != nil {
			return nil, err
		}
		in[i] = v
	}
	n.Const = in
	operator, err := definition.Build(n)
	if err == nil {
		err = n.Err()
	}
	if err != nil {
		return nil, err
	}
	out := make([]*op.Value, len(source.Outputs))
	for i, name := range source.Outputs {
		if name != "" {
			out[i] = &op.Value{Name: name}
		}
	}
	if err := compute(operator, in, out, &op.Scratch{}); err != nil {
		return nil, err
	}
	tensors := make([]onnx.Tensor, len(out))
	for i, v := range out {
		if v != nil {
			tensors[i] = v.Tensor(v.Name)
		}
	}
	return tensors, nil
}

// compute runs an operator once, giving its outputs memory of their own.
func compute(operator op.Operator, in, out []*op.Value, s *op.Scratch) error {
	if err := operator.Infer(in, out); err != nil {
		return err
	}
	for _, v := range out {
		if v != nil {
			if int64(v.Len())*int64(max(1, v.Type.Size())) > constBytesMax {
				return op.NotCovered("a constant of shape %v", v.Shape)
			}
			v.Allocate()
			v.Const = true
		}
	}
	if isView(operator) {
		out[0].Data, out[0].Strings = in[0].Data, in[0].Strings
		return nil
	}
	run, err := operator.Bind(in, out, s)
	if err != nil || run == nil {
		return err
	}
	return run()
}

// constBytesMax bounds what is computed before a run.
const constBytesMax = 1 << 28

func isView(operator op.Operator) bool {
	v, ok := operator.(op.Viewer)
	return ok && v.View()
}
