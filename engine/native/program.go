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
	if err := checkOpsets(m); err != nil {
		return nil, err
	}
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
	p.release()
	if err := p.tryOut(); err != nil {
		return nil, err
	}
	for i := range p.nodes {
		if s, ok := p.nodes[i].operator.(op.Sealer); ok {
			s.Seal()
		}
	}
	return p, nil
}

// newest are the latest operator sets whose changes this package knows. Operators of
// later ones may mean something else.
var newest = map[string]int64{"": 28, "ai.onnx": 28, "ai.onnx.ml": 5}

func checkOpsets(m *onnx.Model) error {
	for _, o := range m.Opsets {
		if known, listed := newest[o.Domain]; listed && o.Version > known {
			return op.NotCovered("opset %d of domain %q, the latest known is %d", o.Version, o.Domain, known)
		}
	}
	return nil
}

// release gives up the contents of constants that every reader has in a form of its
// own, so that weights are not held twice.
func (p *program) release() {
	kept := make(map[int]bool)
	for _, v := range slices.Concat(p.inputs, p.outputs) {
		kept[v] = true
	}
	for i := range p.nodes {
		var released []int
		if r, ok := p.nodes[i].operator.(op.Releaser); ok {
			released = r.Releases()
		}
		for at, v := range p.nodes[i].in {
			if v != leftOut && !slices.Contains(released, at) {
				kept[v] = true
			}
		}
	}
	for v, constant := range p.constants {
		if constant != nil && !kept[v] {
			p.constants[v] = &op.Value{Name: constant.Name, Type: constant.Type, Shape: constant.Shape, Const: true}
		}
	}
	for i := range p.nodes {
		n := &p.nodes[i]
		n.Const = nil
		// Attributes, such as those of trees, can be larger than all else.
		n.Node.Node = &onnx.Node{Name: n.Name, OpType: n.OpType, Domain: n.Domain, Outputs: n.Outputs}
	}
}

// builder makes a program of a graph.
type builder struct {
	program *program
	model   *onnx.Model
	index   map[string]int
	missing []string
	// outer is that of the graph around one inside a node, and captured are the values
	// that are from there.
	outer    *builder
	captured []int
}

// value is the index of a name.
func (b *builder) value(name string) int {
	if i, ok := b.index[name]; ok {
		return i
	}
	i := b.add(name)
	b.index[name] = i
	return i
}

// add is the index of a new value.
func (b *builder) add(name string) int {
	b.program.names = append(b.program.names, name)
	b.program.constants = append(b.program.constants, nil)
	return len(b.program.names) - 1
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
		b.values(source.Outputs) // for those that read them
		return nil
	}
	var err error
	if n.in, err = b.inputs(source.Inputs); err != nil {
		return fmt.Errorf("%s: %w", n.Title(), err)
	}
	n.out = b.values(source.Outputs)
	n.Build = func(g *onnx.Graph) (op.Body, error) { return b.body(g, &n) }
	if len(n.out) > 0 && n.out[0] == leftOut { // operators count on a first output
		n.out[0] = b.add("")
	}
	n.Const = make([]*op.Value, len(n.in))
	for i, v := range n.in {
		if v != leftOut {
			n.Const[i] = b.constant(v)
		}
	}
	if n.operator, err = definition.Build(n.Node); err == nil {
		err = n.Err()
	}
	n.Build = nil // which holds the model
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

// inputs are the indices of values that are read.
func (b *builder) inputs(names []string) ([]int, error) {
	list := make([]int, len(names))
	for i, name := range names {
		list[i] = leftOut
		if name != "" {
			var err error
			if list[i], err = b.read(name); err != nil {
				return nil, err
			}
		}
	}
	return list, nil
}

// values are the indices of values that are made.
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
		if name != "" || i == 0 {
			out[i] = &op.Value{Name: name}
		}
	}
	if err := compute(operator, in, out, &op.Scratch{}); err != nil {
		return nil, err
	}
	tensors := make([]onnx.Tensor, len(out))
	for i, v := range out {
		if v != nil && v.Name != "" {
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
			if v.Len()*elementBytes(v) > constBytesMax {
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

// constBytesMax bounds each value that is computed before a run.
const constBytesMax = 1 << 28

func isView(operator op.Operator) bool {
	v, ok := operator.(op.Viewer)
	return ok && v.View()
}
