// SPDX-License-Identifier: Apache-2.0

package control

import (
	"fmt"

	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// loopRun is a loop of a plan whose body is a routine. Behind the outputs of the loop it
// has one for the memory of the body.
type loopRun struct {
	*loop
	limit
	body op.Routine
	// args are the inputs of the body.
	args []*op.Value
}

func (o *loopRun) Infer(_, out []*op.Value) error {
	for i, v := range o.args[2:] {
		if err := out[i].Set(v.Type, v.Shape...); err != nil {
			return err
		}
	}
	for i, v := range o.body.Outputs()[1+o.states:] {
		turns := o.turns
		if !o.condition {
			turns = 0
		}
		if err := out[o.states+i].Set(v.Type, with(v.Shape, 0, turns)...); err != nil {
			return err
		}
	}
	return out[o.states+o.scans].Set(tensor.Uint8, int64(o.body.Bytes()))
}

func (o *loopRun) Bind(in, out []*op.Value, s *op.Scratch) (op.Run, error) {
	body, err := o.body.Bind(out[o.states+o.scans].Data, s)
	if err != nil {
		return nil, err
	}
	results := o.body.Outputs()
	turn, args := op.As[int64](o.args[0]), o.args[2:]
	after := results[0]
	scans, lists := results[1+o.states:], out[o.states:o.states+o.scans]
	carry := newCarry(args, results[1:1+o.states])
	return func() error {
		turns, condition := o.start(in)
		copyList(args, in[2:2+o.states])
		for i := int64(0); i < turns && condition; i++ {
			if i == turnsMax {
				return fmt.Errorf("more than %d turns", turnsMax)
			}
			turn[0] = i
			if err := body(); err != nil {
				return fmt.Errorf("turn %d: %w", i, err)
			}
			for k, v := range scans {
				copy(lists[k].Data[int(i)*len(v.Data):], v.Data)
			}
			condition = holds(after)
			carry.turn()
		}
		copyList(out[:o.states], args)
		return nil
	}, nil
}

// start reads when the loop ends.
func (o *loopRun) start(in []*op.Value) (turns int64, condition bool) {
	turns, condition = o.turns, o.condition
	if o.turnsUnknown {
		turns = op.As[int64](in[0])[0]
	}
	if o.conditionUnknown {
		condition = holds(in[1])
	}
	return turns, condition
}

// typicalTurns is what estimates take for a number that is not known.
const typicalTurns = 16

// Cost implements op.Coster.
func (o *loopRun) Cost(_, _ []*op.Value) float64 {
	turns := float64(o.turns)
	if o.turns > turnsMax || o.turnsUnknown {
		turns = typicalTurns
	}
	return turns * (10 + o.body.Cost())
}

// Describe implements op.Describer.
func (o *loopRun) Describe(_, _ []*op.Value) string {
	if o.turns > turnsMax || o.turnsUnknown {
		return fmt.Sprintf("turns of %d steps", o.body.Steps())
	}
	return fmt.Sprintf("%d turns of %d steps", o.turns, o.body.Steps())
}
