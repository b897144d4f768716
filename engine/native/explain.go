// SPDX-License-Identifier: Apache-2.0

package native

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/modelconfig"
	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/onnx/rewrite"
	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/kernels/cpu"
)

// Explanation is how a model runs: what was done to its graph, and the steps of a run
// with what they cost.
type Explanation struct {
	Level cpu.Level
	Rows  int
	// Rewrites is what was done to the graph before it was planned.
	Rewrites rewrite.Report
	// WeightBytes and ArenaBytes are the memory of the constants as the file has them
	// and of a run.
	WeightBytes, ArenaBytes int64
	Steps                   []ExplainedStep
	// Parts is how many cores a run of so many rows is split over.
	Parts int
	// Run is the median time of a whole run on one core.
	Run time.Duration
}

// ExplainedStep is one step of a run.
type ExplainedStep struct {
	Node, Operator string
	// Kernel says what computes it; empty where there is nothing to choose.
	Kernel string
	// Inputs leaves constants out.
	Inputs  []string
	Outputs []string
	// Time is the median; Estimate is what decides on splitting.
	Time, Estimate time.Duration
}

// explainRuns is how often each step is timed.
const explainRuns = 51

// Explain plans and times a model for inputs of so many rows, made up at random.
func Explain(ctx context.Context, dir string, config *modelconfig.Config, rows, threads int) (*Explanation, error) {
	m, err := open(ctx, dir, config)
	if err != nil {
		return nil, err
	}
	in := &instance{program: m.program, threads: 1, scratches: []*op.Scratch{{}}}
	shapes := m.program.explainShapes(rows)
	b, err := in.bind(shapes)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", engine.ErrInvalidModel, err)
	}
	parts, err := m.program.countParts(shapes, threads)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", engine.ErrInvalidModel, err)
	}
	e := &Explanation{
		Level: cpu.Active(), Rows: rows, Rewrites: m.program.report,
		WeightBytes: m.program.weightBytes, ArenaBytes: int64(b.layout.bytes), Parts: parts,
	}
	b.fillInputs()
	if err := b.run(); err != nil {
		return nil, fmt.Errorf("a run on made-up inputs: %w", err)
	}
	times := make([][]time.Duration, len(b.steps))
	var whole []time.Duration
	for range explainRuns {
		begin := time.Now()
		if err := b.timeSteps(times); err != nil {
			return nil, err
		}
		whole = append(whole, time.Since(begin))
	}
	e.Run = median(whole)
	for i := range b.steps {
		e.Steps = append(e.Steps, b.steps[i].explain(median(times[i])))
	}
	return e, nil
}

// countParts is how many parts a run with inputs of these shapes has on so many threads.
func (p *program) countParts(shapes []tensor.Shape, threads int) (int, error) {
	b, err := p.infer(shapes, &op.Scratch{})
	if err != nil {
		return 0, err
	}
	if err := b.plan(nil); err != nil {
		return 0, err
	}
	rows := b.partRows(threads)
	return max(1, len(b.planParts(rows, slices.Repeat([]*op.Scratch{{}}, len(rows))))), nil
}

// explainShapes takes every open first dimension for the rows, and others for 16.
func (p *program) explainShapes(rows int) []tensor.Shape {
	shapes := p.guessShapes(guesses[1])
	for i, in := range p.signature.Inputs {
		if len(in.Shape) > 0 && in.Shape[0] < 0 {
			shapes[i][0] = int64(rows)
		}
	}
	return shapes
}

// fillInputs makes up inputs: numbers near 0, indices of 0, empty texts.
func (b *bound) fillInputs() {
	random := rand.New(rand.NewPCG(1, 1))
	for i := range b.Inputs {
		v := b.values[b.program.inputs[i]]
		switch v.Type {
		case tensor.FP32:
			for k := range op.Floats(v) {
				op.Floats(v)[k] = float32(random.NormFloat64())
			}
		case tensor.FP64:
			for k := range op.As[float64](v) {
				op.As[float64](v)[k] = random.NormFloat64()
			}
		case tensor.Bytes:
			b.Inputs[i].Data = make([]byte, 4*v.Len())
		}
	}
}

func (b *bound) timeSteps(times [][]time.Duration) error {
	for i := range b.steps {
		begin := time.Now()
		if err := b.steps[i].run(); err != nil {
			return err
		}
		times[i] = append(times[i], time.Since(begin))
	}
	return nil
}

func median(list []time.Duration) time.Duration {
	slices.Sort(list)
	return list[len(list)/2]
}

func (s *step) explain(took time.Duration) ExplainedStep {
	e := ExplainedStep{Node: s.node.Name, Operator: s.node.OpType, Time: took, Estimate: time.Duration(s.cost())}
	if s.node.Domain != "" && s.node.Domain != rewrite.Domain {
		e.Operator = s.node.Domain + ":" + s.node.OpType
	}
	if d, ok := s.node.operator.(op.Describer); ok {
		e.Kernel = d.Describe(s.in, s.out)
	}
	for _, v := range s.in {
		if v != nil && !v.Const {
			e.Inputs = append(e.Inputs, describeValue(v))
		}
	}
	for _, v := range s.out {
		if v != nil {
			e.Outputs = append(e.Outputs, describeValue(v))
		}
	}
	return e
}

func describeValue(v *op.Value) string {
	return fmt.Sprintf("%s %s%v", v.Name, v.Type, v.Shape)
}
