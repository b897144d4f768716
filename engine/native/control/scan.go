// SPDX-License-Identifier: Apache-2.0

package control

import (
	"errors"
	"fmt"
	"slices"

	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// scan runs a body once for each index along an axis of its scan inputs, with states
// that go from turn to turn, and puts together what the turns give.
type scan struct {
	op.Expanded
	body                 op.Body
	states, scans, lists int
	in, out              []direction
}

// direction is how the turns go over a scan input or output.
type direction struct {
	axis     int64
	backward bool
}

func buildScan(n *op.Node) (op.Operator, error) {
	body, err := n.Body("body")
	if err != nil {
		return nil, err
	}
	count := n.Int("num_scan_inputs", 0)
	if count < 1 || count > int64(len(n.Inputs)) {
		return nil, op.Invalid("num_scan_inputs is %d for %d inputs", count, len(n.Inputs))
	}
	if slices.Contains(n.Inputs, "") {
		return nil, op.Invalid("an input is left out")
	}
	o := &scan{body: body, scans: int(count), states: len(n.Inputs) - int(count)}
	o.lists = len(body.Outputs()) - o.states
	if len(body.Inputs()) != len(n.Inputs) || o.lists < 0 || len(n.Outputs) > len(body.Outputs()) {
		return nil, op.Invalid("a body with %d inputs and %d outputs for a node with %d and %d",
			len(body.Inputs()), len(body.Outputs()), len(n.Inputs), len(n.Outputs))
	}
	if o.in, err = directions(n, "input", o.scans); err == nil {
		o.out, err = directions(n, "output", o.lists)
	}
	return o, err
}

// directions reads axes and directions of the scan inputs or outputs.
func directions(n *op.Node, of string, count int) ([]direction, error) {
	axes, backward := n.Ints("scan_"+of+"_axes"), n.Ints("scan_"+of+"_directions")
	if axes != nil && len(axes) != count || backward != nil && len(backward) != count {
		return nil, op.Invalid("%d axes and %d directions for %d scan %ss", len(axes), len(backward), count, of)
	}
	list := make([]direction, count)
	for i := range list {
		if axes != nil {
			list[i].axis = axes[i]
		}
		list[i].backward = backward != nil && backward[i] != 0
	}
	return list, nil
}

// Expand implements op.Expander.
func (o *scan) Expand(in []*op.Value, p op.Plan) ([]*op.Value, error) {
	run := &scanRun{scan: o}
	args, err := fresh(in[:o.states])
	if err != nil {
		return nil, err
	}
	for i, v := range in[o.states : o.states+o.scans] {
		if v.Sequence || v.Type == tensor.Bytes {
			return nil, op.NotCovered("scan input %d of strings or sequences", i)
		}
		axis, err := op.Axis(o.in[i].axis, v.Rank())
		if err != nil {
			return nil, fmt.Errorf("scan input %d: %w", i, err)
		}
		if turns := int(v.Shape[axis]); i == 0 {
			run.turns = turns
		} else if turns != run.turns {
			return nil, op.Invalid("scan inputs of %d and %d turns", run.turns, turns)
		}
		args = append(args, &op.Value{Name: v.Name, Type: v.Type, Shape: without(v.Shape, axis)})
		run.sources = append(run.sources, passage{axis, linesOf(v.Shape, axis), o.in[i].backward})
	}
	if run.turns > turnsMax {
		return nil, op.NotCovered("%d turns, at most %d can be", run.turns, turnsMax)
	}
	if run.body, err = p.Prepare(o.body, in, args); err != nil {
		return nil, err
	}
	out := run.body.Outputs()
	if err := errors.Join(checkStates(args[:o.states], out), checkScans(out[o.states:])); err != nil {
		return nil, err
	}
	if run.args = args; run.targetsOf(out[o.states:]) != nil {
		return nil, run.targetsOf(out[o.states:])
	}
	results, err := p.Add(run, in, o.states+o.lists+1)
	if err != nil {
		return nil, err
	}
	return results[:o.states+o.lists], nil
}

// passage is how turns go over a value.
type passage struct {
	axis int
	lines
	backward bool
}

// line is that of a turn.
func (p *passage) line(turn int) int {
	if p.backward {
		return p.extent - 1 - turn
	}
	return turn
}

// scanRun is a scan of a plan. Behind the outputs of the scan it has one for the memory
// of the body.
type scanRun struct {
	*scan
	turns            int
	body             op.Routine
	args             []*op.Value
	sources, targets []passage
}

// targetsOf works out how the turns go over the outputs.
func (o *scanRun) targetsOf(list []*op.Value) error {
	o.targets = nil
	for i, v := range list {
		axis, err := op.Axis(o.out[i].axis, v.Rank()+1)
		if err != nil {
			return fmt.Errorf("scan output %d: %w", i, err)
		}
		o.targets = append(o.targets, passage{axis, linesOf(with(v.Shape, axis, int64(o.turns)), axis), o.out[i].backward})
	}
	return nil
}

func (o *scanRun) Infer(_, out []*op.Value) error {
	results := o.body.Outputs()
	for i, v := range results[:o.states] {
		if err := out[i].Set(v.Type, v.Shape...); err != nil {
			return err
		}
	}
	for i, v := range results[o.states:] {
		if err := out[o.states+i].Set(v.Type, with(v.Shape, o.targets[i].axis, int64(o.turns))...); err != nil {
			return err
		}
	}
	return out[o.states+o.lists].Set(tensor.Uint8, int64(o.body.Bytes()))
}

func (o *scanRun) Bind(in, out []*op.Value, s *op.Scratch) (op.Run, error) {
	body, err := o.body.Bind(out[o.states+o.lists].Data, s)
	if err != nil {
		return nil, err
	}
	results := o.body.Outputs()
	states, elements := o.args[:o.states], o.args[o.states:]
	lists, carry := out[o.states:o.states+o.lists], newCarry(states, results[:o.states])
	return func() error {
		copyList(states, in[:o.states])
		for turn := range o.turns {
			for i, v := range elements {
				from := &o.sources[i]
				copyLines(v, lines{from.outer, 1, from.inner}, 0, in[o.states+i], from.lines, from.line(turn), 1)
			}
			if err := body(); err != nil {
				return fmt.Errorf("turn %d: %w", turn, err)
			}
			for i, v := range lists {
				to := &o.targets[i]
				copyLines(v, to.lines, to.line(turn), results[o.states+i], lines{to.outer, 1, to.inner}, 0, 1)
			}
			carry.turn()
		}
		copyList(out[:o.states], states)
		return nil
	}, nil
}

// Cost implements op.Coster.
func (o *scanRun) Cost(_, _ []*op.Value) float64 { return float64(o.turns) * (20 + o.body.Cost()) }

// Describe implements op.Describer.
func (o *scanRun) Describe(_, _ []*op.Value) string {
	return fmt.Sprintf("%d turns of %d steps", o.turns, o.body.Steps())
}
