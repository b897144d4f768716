// SPDX-License-Identifier: Apache-2.0

package control

import (
	"fmt"
	"slices"

	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// branch runs one of two bodies.
type branch struct {
	op.Expanded
	// bodies are the one where the condition does not hold, and the one where it does.
	bodies [2]op.Body
}

func buildIf(n *op.Node) (op.Operator, error) {
	o := &branch{}
	for i, name := range []string{"else_branch", "then_branch"} {
		body, err := n.Body(name)
		if err != nil {
			return nil, err
		}
		if len(body.Inputs()) != 0 || len(body.Outputs()) < len(n.Outputs) {
			return nil, op.Invalid("%s with %d inputs and %d outputs for a node with %d outputs",
				name, len(body.Inputs()), len(body.Outputs()), len(n.Outputs))
		}
		o.bodies[i] = body
	}
	if len(o.bodies[0].Outputs()) != len(o.bodies[1].Outputs()) {
		return nil, op.Invalid("branches with %d and %d outputs", len(o.bodies[0].Outputs()), len(o.bodies[1].Outputs()))
	}
	return o, n.Arity(1, 1, 1, len(n.Outputs)+1)
}

// way is the index of the body that a condition chooses.
func way(condition *op.Value) int {
	if holds(condition) {
		return 1
	}
	return 0
}

// Expand implements op.Expander.
func (o *branch) Expand(in []*op.Value, p op.Plan) ([]*op.Value, error) {
	if in[0].Sequence || in[0].Type != tensor.Bool || in[0].Len() != 1 {
		return nil, op.Invalid("a condition that is %s%v", in[0].Type, in[0].Shape)
	}
	if in[0].Const {
		return p.Inline(o.bodies[way(in[0])], in, nil)
	}
	run := &branchRun{}
	for i, body := range o.bodies {
		r, err := p.Prepare(body, in, nil)
		if err != nil {
			return nil, err
		}
		run.bodies[i] = r
	}
	count := len(o.bodies[0].Outputs())
	for i := range count {
		a, b := run.bodies[0].Outputs()[i], run.bodies[1].Outputs()[i]
		if a.Sequence || b.Sequence || a.Type != b.Type || !slices.Equal(a.Shape, b.Shape) {
			return nil, op.NotCovered("output %d, which is %s%v or %s%v", i, b.Type, b.Shape, a.Type, a.Shape)
		}
	}
	results, err := p.Add(run, in, count+1)
	if err != nil {
		return nil, err
	}
	return results[:count], nil
}

// branchRun is a branch whose condition is computed in the run. Behind the outputs it
// has one for the memory of the body that runs.
type branchRun struct{ bodies [2]op.Routine }

func (o *branchRun) Infer(_, out []*op.Value) error {
	results := o.bodies[0].Outputs()
	for i, v := range results {
		if err := out[i].Set(v.Type, v.Shape...); err != nil {
			return err
		}
	}
	return out[len(results)].Set(tensor.Uint8, int64(max(o.bodies[0].Bytes(), o.bodies[1].Bytes())))
}

func (o *branchRun) Bind(in, out []*op.Value, s *op.Scratch) (op.Run, error) {
	var runs [2]op.Run
	last := len(out) - 1
	for i, body := range o.bodies {
		var err error
		if runs[i], err = body.Bind(out[last].Data[:body.Bytes()], s); err != nil {
			return nil, err
		}
	}
	return func() error {
		taken := way(in[0])
		if err := runs[taken](); err != nil {
			return err
		}
		copyList(out[:last], o.bodies[taken].Outputs())
		return nil
	}, nil
}

// Cost implements op.Coster.
func (o *branchRun) Cost(_, _ []*op.Value) float64 {
	return max(o.bodies[0].Cost(), o.bodies[1].Cost())
}

// Describe implements op.Describer.
func (o *branchRun) Describe(_, _ []*op.Value) string {
	return fmt.Sprintf("%d or %d steps", o.bodies[1].Steps(), o.bodies[0].Steps())
}
