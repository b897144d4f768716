// SPDX-License-Identifier: Apache-2.0

package control

import (
	"errors"

	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// loop runs a body so many times, or as long as a condition holds. Its inputs are the
// most turns, the condition, and the states; its outputs are the states and, for each
// scan output of the body, the list of what the turns gave.
type loop struct {
	op.Expanded
	body          op.Body
	states, scans int
	// bag is set where the loop may be one.
	bag *bag
}

func buildLoop(n *op.Node) (op.Operator, error) {
	if len(n.Inputs) < 2 {
		return nil, op.Invalid("%d inputs, want at least 2", len(n.Inputs))
	}
	body, err := n.Body("body")
	if err != nil {
		return nil, err
	}
	o := &loop{body: body, states: len(n.Inputs) - 2}
	o.scans = len(body.Outputs()) - 1 - o.states
	if len(body.Inputs()) != 2+o.states || o.scans < 0 || len(n.Outputs) > o.states+o.scans {
		return nil, op.Invalid("a body with %d inputs and %d outputs for a node with %d and %d",
			len(body.Inputs()), len(body.Outputs()), len(n.Inputs), len(n.Outputs))
	}
	o.bag, err = bagOf(n)
	return o, err
}

// limit is when a loop ends.
type limit struct {
	// turns is the most there are; turnsMax+1 where there is no limit, or one that is
	// larger, or not known before the run.
	turns int64
	// condition is the one before the first turn.
	condition bool
	// unknown says which of the two has to be read in the run.
	turnsUnknown, conditionUnknown bool
}

func limitOf(turns, condition *op.Value) (limit, error) {
	l := limit{turns: turnsMax + 1, condition: true}
	if turns != nil {
		if turns.Type != tensor.Int64 || turns.Len() != 1 {
			return l, op.Invalid("a number of turns that is %s%v", turns.Type, turns.Shape)
		}
		if l.turnsUnknown = !turns.Const; turns.Const {
			l.turns = min(max(op.As[int64](turns)[0], 0), turnsMax+1)
		}
	}
	if condition != nil {
		if condition.Type != tensor.Bool || condition.Len() != 1 {
			return l, op.Invalid("a condition that is %s%v", condition.Type, condition.Shape)
		}
		if l.conditionUnknown = !condition.Const; condition.Const {
			l.condition = holds(condition)
		}
	}
	return l, nil
}

// Expand implements op.Expander.
func (o *loop) Expand(in []*op.Value, p op.Plan) ([]*op.Value, error) {
	l, err := limitOf(in[0], in[1])
	if err != nil {
		return nil, err
	}
	for i, v := range in[2 : 2+o.states] {
		if v == nil {
			return nil, op.Invalid("state %d is left out", i)
		}
	}
	if o.scans == 0 && !l.turnsUnknown && l.turns == 0 {
		return in[2 : 2+o.states], nil
	}
	if o.bag != nil {
		if results, err := o.bag.expand(in, l, p); results != nil || err != nil {
			return results, err
		}
	}
	results, err := o.steady(in, l, p)
	if err == nil || l.turnsUnknown || l.conditionUnknown || errors.Is(err, errEndless) {
		return results, err
	}
	if results, other := o.unroll(in, l, p); !errors.Is(other, errOpen) {
		return results, other
	}
	return nil, err
}

// steady plans the body as a routine that all turns run.
func (o *loop) steady(in []*op.Value, l limit, p op.Plan) ([]*op.Value, error) {
	args, err := fresh(in[2 : 2+o.states])
	if err != nil {
		return nil, err
	}
	turn := &op.Value{Type: tensor.Int64, Shape: declared(o.body, 0)}
	// In a turn, the condition holds.
	args = append([]*op.Value{turn, constantBool(true, declared(o.body, 1))}, args...)
	body, err := p.Prepare(o.body, in, args)
	if err != nil {
		return nil, err
	}
	out := body.Outputs()
	if err := errors.Join(checkStates(args[2:], out[1:]), checkScans(out[1+o.states:])); err != nil {
		return nil, err
	}
	after, err := limitOf(nil, out[0])
	switch {
	case err != nil:
		return nil, err
	case !after.conditionUnknown && !after.condition:
		l.turns = min(l.turns, 1)
	}
	if l.turns > turnsMax && !l.turnsUnknown && !after.conditionUnknown {
		return nil, errEndless
	}
	if o.scans > 0 && (l.turns > turnsMax || l.turnsUnknown || l.conditionUnknown || after.conditionUnknown) {
		return nil, op.NotCovered("scan outputs of a number of turns that is not known before the run")
	}
	run := &loopRun{loop: o, limit: l, body: body, args: args}
	results, err := p.Add(run, in, o.states+o.scans+1)
	if err != nil {
		return nil, err
	}
	return results[:o.states+o.scans], nil
}

// declared is the shape of the turn or the condition in the body: one element, with or
// without a dimension.
func declared(b op.Body, input int) tensor.Shape {
	if shape, ok := b.Inputs()[input].Type.Shape(); ok && len(shape) == 1 {
		return tensor.Shape{1}
	}
	return tensor.Shape{}
}

var (
	// errEndless says that a loop has no end, however it is planned.
	errEndless = op.NotCovered("a loop that never ends")
	// errOpen says that the turns of a loop cannot be inlined.
	errOpen = op.NotCovered("an end that is not known before the run")
)

// unroll inlines every turn.
func (o *loop) unroll(in []*op.Value, l limit, p op.Plan) ([]*op.Value, error) {
	states, lists := in[2:2+o.states], make([][]*op.Value, o.scans)
	for i := int64(0); i < l.turns && l.condition; i++ {
		turn, condition := constantOf(i, declared(o.body, 0)), constantBool(true, declared(o.body, 1))
		out, err := p.Inline(o.body, in, append([]*op.Value{turn, condition}, states...))
		if err != nil {
			return nil, err
		}
		after, err := limitOf(nil, out[0])
		if err != nil {
			return nil, err
		}
		if after.conditionUnknown {
			return nil, errOpen
		}
		l.condition, states = after.condition, out[1:1+o.states]
		for k := range lists {
			lists[k] = append(lists[k], out[1+o.states+k])
		}
	}
	results := append([]*op.Value{}, states...)
	for k, list := range lists {
		v, err := o.stack(k, list, p)
		if err != nil {
			return nil, err
		}
		results = append(results, v)
	}
	return results, nil
}

// stack puts what the turns gave for a scan output together.
func (o *loop) stack(k int, list []*op.Value, p op.Plan) (*op.Value, error) {
	if len(list) > 0 {
		out, err := p.Add(&join{newAxis: true}, list, 1)
		if err != nil {
			return nil, err
		}
		return out[0], nil
	}
	t := o.body.Outputs()[1+o.states+k].Type
	shape, ok := t.Shape()
	if !ok || !shape.Known() {
		return nil, op.NotCovered("scan output %d of a loop without turns, whose shape the body does not declare", k)
	}
	v := &op.Value{Const: true}
	if err := v.Set(t.Elem.Datatype(), with(shape, 0, 0)...); err != nil {
		return nil, err
	}
	v.Allocate()
	return v, nil
}

// constantOf is a number that is known before the run.
func constantOf(x int64, shape tensor.Shape) *op.Value {
	v := &op.Value{Type: tensor.Int64, Shape: shape, Const: true}
	v.Allocate()
	op.As[int64](v)[0] = x
	return v
}

func constantBool(x bool, shape tensor.Shape) *op.Value {
	v := &op.Value{Type: tensor.Bool, Shape: shape, Const: true}
	v.Allocate()
	op.As[bool](v)[0] = x
	return v
}

// holds reads a BOOL of one element.
func holds(v *op.Value) bool { return v.Data[0] != 0 }
