// SPDX-License-Identifier: Apache-2.0

package native

import (
	"fmt"
	"slices"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// step is one operator of a bound program.
type step struct {
	node *node
	in   []*op.Value
	out  []*op.Value
	run  op.Run
}

// bound is a program for inputs of certain shapes, in memory of one instance.
type bound struct {
	engine.Binding
	program *program
	shapes  []tensor.Shape
	// values are those of the program by index, and behind them, once everything is
	// inferred, those that expanding put in.
	values  []*op.Value
	inlined []*op.Value
	// captured are the values of a body that belong to a bound around this one.
	captured []int
	// knownBytes is the memory of what was computed while the bound was inferred.
	knownBytes int
	// budget is how many operators may still be put in.
	budget *int
	steps  []step
	layout layout
	// strings says that some input or output is BYTES, whose elements are read before
	// a run and written after it.
	strings bool
	// parts run row ranges of this bound at the same time; the bound then has no
	// steps of its own.
	parts []*bound
}

// Shapes implements shapecache.Entry.
func (b *bound) Shapes() []tensor.Shape { return b.shapes }

// Destroy implements shapecache.Entry. There is nothing that the collector would not
// find.
func (b *bound) Destroy() error { return nil }

// infer works out the type and shape of every value, and the contents of those that
// follow from shapes alone. A nil shape leaves an optional input to its default.
func (p *program) infer(shapes []tensor.Shape, scratch *op.Scratch) (*bound, error) {
	b := &bound{program: p, values: slices.Clone(p.constants), budget: new(int)}
	*b.budget = inlinedMax
	for i, v := range p.inputs {
		b.shapes = append(b.shapes, slices.Clone(shapes[i]))
		spec := p.signature.Inputs[i]
		if shapes[i] == nil && p.constants[v] != nil {
			continue
		}
		value := &op.Value{Name: spec.Name}
		if err := value.Set(spec.Datatype, shapes[i]...); err != nil {
			return nil, fmt.Errorf("input %q: %w", spec.Name, err)
		}
		b.values[v] = value
		b.strings = b.strings || spec.Datatype == tensor.Bytes
	}
	if err := b.inferNodes(&frame{p, b.values, true}, scratch); err != nil {
		return nil, err
	}
	for i, v := range p.outputs {
		value, spec := b.values[v], p.signature.Outputs[i]
		if value == nil || value.Type != spec.Datatype {
			return nil, op.Invalid("output %q is declared as %s and computed as another type", spec.Name, spec.Datatype)
		}
		b.strings = b.strings || spec.Datatype == tensor.Bytes
	}
	return b, nil
}

// inferNodes infers the nodes of a graph in their order.
func (b *bound) inferNodes(f *frame, scratch *op.Scratch) error {
	for i := range f.program.nodes {
		n := &f.program.nodes[i]
		if err := b.inferNode(n, f, scratch); err != nil {
			return fmt.Errorf("%s: %w", n.Title(), err)
		}
	}
	return nil
}

func (b *bound) inferNode(n *node, f *frame, scratch *op.Scratch) error {
	in, out := make([]*op.Value, len(n.in)), make([]*op.Value, len(n.out))
	for i, v := range n.in {
		if v != leftOut {
			in[i] = f.values[v]
		}
	}
	if e, ok := n.operator.(op.Expander); ok {
		return b.expand(e, n, in, f, scratch)
	}
	for i, v := range n.out {
		if v != leftOut {
			out[i] = &op.Value{Name: f.program.names[v]}
			f.values[v] = out[i]
		}
	}
	err := b.step(n, in, out, scratch)
	if !f.own {
		b.own(out)
	}
	return err
}

// step infers an operator, which is computed at once where its outputs are known.
func (b *bound) step(n *node, in, out []*op.Value, scratch *op.Scratch) error {
	if err := takesSequence(in); err != nil {
		return err
	}
	known := true
	for _, v := range in {
		known = known && (v == nil || v.Const)
	}
	if _, shapeOnly := n.operator.(op.ShapeOnly); shapeOnly || known {
		if err := compute(n.operator, in, out, scratch); err != nil {
			return err
		}
		return b.countKnown(out)
	}
	b.steps = append(b.steps, step{node: n, in: in, out: out})
	return n.operator.Infer(in, out)
}

// countKnown bounds what is computed before a run in all.
func (b *bound) countKnown(out []*op.Value) error {
	for _, v := range out {
		if v != nil {
			b.knownBytes += v.Len() * elementBytes(v)
		}
	}
	if b.knownBytes > arenaBytesMax {
		return op.NotCovered("constants of %d bytes", b.knownBytes)
	}
	return nil
}

// attach gives every value its memory and makes the functions of the steps. arena has
// as many bytes as the layout needs.
func (b *bound) attach(arena []byte, scratch *op.Scratch) error {
	b.layout.attach(b, arena)
	kept := b.steps[:0]
	for _, s := range b.steps {
		if isView(s.node.operator) {
			switch {
			case s.out[0].Type == tensor.Bytes:
				s.run = viewStrings(s.in[0], s.out[0])
			case s.in[0].Const: // it has no place in the arena to be viewed
				s.run = viewConstant(s.in[0], s.out[0])
			default:
				continue
			}
			kept = append(kept, s)
			continue
		}
		run, err := s.node.operator.Bind(s.in, s.out, scratch)
		if err != nil {
			return fmt.Errorf("%s: %w", s.node.Title(), err)
		}
		if run != nil {
			s.run = run
			kept = append(kept, s)
		}
	}
	b.steps = kept
	b.bindEnds()
	return nil
}

// viewStrings passes on the elements of a BYTES value, whose list changes with each
// run.
func viewStrings(in, out *op.Value) op.Run {
	return func() error {
		out.Strings = in.Strings
		return nil
	}
}

// viewConstant copies a constant that is given another shape.
func viewConstant(in, out *op.Value) op.Run {
	return func() error {
		copy(out.Data, in.Data)
		return nil
	}
}

// bindEnds makes the tensors that the caller fills and reads.
func (b *bound) bindEnds() {
	b.State = b
	for i, spec := range b.program.signature.Inputs {
		t := tensor.Tensor{Name: spec.Name, Datatype: spec.Datatype, Shape: b.shapes[i]}
		if b.shapes[i] != nil {
			t.Data = b.values[b.program.inputs[i]].Data
		}
		b.Inputs = append(b.Inputs, t)
	}
	for i, spec := range b.program.signature.Outputs {
		v := b.values[b.program.outputs[i]]
		b.Outputs = append(b.Outputs, tensor.Tensor{Name: spec.Name, Datatype: spec.Datatype, Shape: v.Shape, Data: v.Data})
	}
}

// reset makes the binding what Bind promises, whatever its last user left in it.
func (b *bound) reset() {
	for i := range b.Inputs {
		switch in := &b.Inputs[i]; {
		case in.Datatype == tensor.Bytes:
			in.Data = in.Data[:0]
		case b.shapes[i] != nil:
			in.Data = b.values[b.program.inputs[i]].Data
		}
	}
}

// run computes the outputs from what the inputs hold.
func (b *bound) run() error {
	if b.strings {
		if err := b.readStrings(); err != nil {
			return err
		}
	}
	if err := b.runSteps(); err != nil {
		return fmt.Errorf("%w: %w", engine.ErrInvalidInput, err)
	}
	if b.strings {
		b.writeStrings()
	}
	return nil
}

// runSteps runs the operators one after the other.
func (b *bound) runSteps() error {
	for i := range b.steps {
		if err := b.steps[i].run(); err != nil {
			return fmt.Errorf("%s: %w", b.steps[i].node.Title(), err)
		}
	}
	return nil
}

// readStrings splits BYTES inputs into their elements.
func (b *bound) readStrings() error {
	for i := range b.Inputs {
		in := &b.Inputs[i]
		if in.Datatype != tensor.Bytes || b.shapes[i] == nil {
			continue
		}
		v := b.values[b.program.inputs[i]]
		var err error
		if v.Strings, err = op.SplitStrings(v.Strings[:0], in.Data, v.Len()); err != nil {
			return fmt.Errorf("%w: input %q: %w", engine.ErrInvalidInput, in.Name, err)
		}
	}
	return nil
}

// writeStrings joins the elements of BYTES outputs.
func (b *bound) writeStrings() {
	for i := range b.Outputs {
		out := &b.Outputs[i]
		if out.Datatype != tensor.Bytes {
			continue
		}
		out.Data = out.Data[:0]
		for _, element := range b.values[b.program.outputs[i]].Strings {
			out.Data = tensor.AppendBytes(out.Data, element)
		}
	}
}
