// SPDX-License-Identifier: Apache-2.0

package native

import (
	"slices"

	"github.com/millrace-ml/millrace/engine/native/op"
)

// inlinedMax bounds the operators that loops and branches put into one plan.
const inlinedMax = 1 << 19

// frame is the values of one graph while it is planned, by index.
type frame struct {
	program *program
	values  []*op.Value
	// own says that they are the values of the bound, where each may stand only once.
	own bool
}

// planner puts operators into a bound for a node.
type planner struct {
	bound   *bound
	node    *node
	scratch *op.Scratch
}

var _ op.Plan = (*planner)(nil)

// expand lets an operator put others in its place.
func (b *bound) expand(e op.Expander, n *node, in []*op.Value, f *frame, scratch *op.Scratch) error {
	p := &planner{b, n, scratch}
	results, err := e.Expand(in, p)
	if err != nil {
		return err
	}
	for i, v := range n.out {
		switch {
		case v == leftOut:
			continue
		case i >= len(results) || results[i] == nil:
			return op.Invalid("output %d does not exist", i)
		}
		if f.values[v] = results[i]; f.own {
			if f.values[v], err = p.named(results[i], f.program.names[v]); err != nil {
				return err
			}
		}
	}
	return nil
}

// named is a value of its own with the content of another.
func (p *planner) named(v *op.Value, name string) (*op.Value, error) {
	if v.Const || v.Sequence {
		named := *v
		named.Name = name
		return &named, nil
	}
	out := &op.Value{Name: name}
	return out, p.bound.step(&node{Node: p.node.Node, operator: alias{}}, []*op.Value{v}, []*op.Value{out}, p.scratch)
}

// alias is a view of the whole.
type alias struct{}

func (alias) View() bool                                           { return true }
func (alias) Infer(in, out []*op.Value) error                      { return out[0].Set(in[0].Type, in[0].Shape...) }
func (alias) Bind(_, _ []*op.Value, _ *op.Scratch) (op.Run, error) { return nil, nil }
func (alias) Rowwise(in []*op.Value, carries []bool) bool          { return carries[0] }

// Add implements op.Plan.
func (p *planner) Add(o op.Operator, in []*op.Value, outputs int) ([]*op.Value, error) {
	if err := p.spend(1); err != nil {
		return nil, err
	}
	out := make([]*op.Value, outputs)
	for i := range out {
		out[i] = &op.Value{Name: p.node.Title()}
	}
	err := p.bound.step(&node{Node: p.node.Node, operator: o}, in, out, p.scratch)
	p.bound.own(out)
	return out, err
}

// own lists values that are put in, whose memory the layout has to find. Constants have
// their own.
func (b *bound) own(values []*op.Value) {
	for _, v := range values {
		if v != nil && !v.Const {
			b.inlined = append(b.inlined, v)
		}
	}
}

// spend counts operators.
func (p *planner) spend(operators int) error {
	*p.bound.budget -= operators
	if *p.bound.budget < 0 {
		return op.NotCovered("loops and branches of more than %d operators", inlinedMax)
	}
	return nil
}

// frame gives a body its inputs, and what it reads from outside.
func (p *planner) frame(b op.Body, in, args []*op.Value) (*frame, *body, error) {
	inner, ok := b.(*body)
	if !ok || len(args) != len(inner.program.inputs) {
		return nil, nil, op.Invalid("%d inputs for a graph with %d", len(args), len(b.Inputs()))
	}
	f := &frame{program: inner.program, values: slices.Clone(inner.program.constants)}
	for i, v := range inner.program.inputs {
		f.values[v] = args[i]
	}
	for i, v := range inner.captured {
		f.values[v] = in[inner.first+i]
	}
	return f, inner, p.spend(1 + len(inner.program.nodes))
}

// Inline implements op.Plan.
func (p *planner) Inline(b op.Body, in, args []*op.Value) ([]*op.Value, error) {
	f, _, err := p.frame(b, in, args)
	if err != nil {
		return nil, err
	}
	if err := p.bound.inferNodes(f, p.scratch); err != nil {
		return nil, err
	}
	return f.outputs()
}

func (f *frame) outputs() ([]*op.Value, error) {
	out := make([]*op.Value, len(f.program.outputs))
	for i, v := range f.program.outputs {
		if out[i] = f.values[v]; out[i] == nil {
			return nil, op.Invalid("value %.100q is not there", f.program.names[v])
		}
	}
	return out, nil
}

// Prepare implements op.Plan.
func (p *planner) Prepare(b op.Body, in, args []*op.Value) (op.Routine, error) {
	f, inner, err := p.frame(b, in, args)
	if err != nil {
		return nil, err
	}
	f.own = true
	r := &routine{bound: &bound{program: inner.program, values: f.values, captured: inner.captured, budget: p.bound.budget}}
	if slices.ContainsFunc(f.values, func(v *op.Value) bool { return v != nil && v.Sequence }) {
		return nil, op.NotCovered("a sequence that is not known before the run")
	}
	if err := r.bound.inferNodes(f, p.scratch); err != nil {
		return nil, err
	}
	if r.outputs, err = f.outputs(); err != nil {
		return nil, err
	}
	given := make(map[int][]byte)
	for _, v := range inner.captured {
		given[v] = []byte{}
	}
	return r, r.bound.plan(given)
}

// routine is a body that an operator runs.
type routine struct {
	bound   *bound
	outputs []*op.Value
}

var _ op.Routine = (*routine)(nil)

func (r *routine) Outputs() []*op.Value { return r.outputs }
func (r *routine) Bytes() int           { return r.bound.layout.bytes }
func (r *routine) Cost() float64        { return r.bound.cost() }
func (r *routine) Steps() int           { return len(r.bound.steps) }

// Bind implements op.Routine. The values from outside have their memory by now.
func (r *routine) Bind(memory []byte, s *op.Scratch) (op.Run, error) {
	b := r.bound
	for _, v := range b.captured {
		if at := b.layout.of[v]; at != none {
			b.layout.storages[at].given = b.values[v].Data
		}
	}
	if err := b.attach(memory, s); err != nil {
		return nil, err
	}
	return b.runSteps, nil
}

// takesSequence reports a sequence among the inputs of an operator that wants tensors.
func takesSequence(in []*op.Value) error {
	for i, v := range in {
		if v != nil && v.Sequence {
			return op.NotCovered("input %d, a sequence", i)
		}
	}
	return nil
}
