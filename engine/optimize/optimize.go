// SPDX-License-Identifier: Apache-2.0

package optimize

import (
	"context"
	"errors"
	"fmt"

	"github.com/millrace-ml/millrace/engine/native"
	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/onnx/rewrite"
)

// Run optimizes a model. The result shares tensors with the source.
func Run(ctx context.Context, s *Source, o Options) (*onnx.Model, *Report, error) {
	if err := o.Validate(); err != nil {
		return nil, nil, err
	}
	o.ensureDefaults()
	if o.Quantize == QuantizeStatic && o.CalibrationData == nil {
		return nil, nil, errors.New("static quantisation takes its ranges from data, and there is none")
	}
	rewritten, rewrites, err := rewrite.Apply(s.Model, rewrite.Options{Standard: true, Evaluate: native.Evaluate})
	if err != nil {
		return nil, nil, err
	}
	rewritten = keepBodies(rewritten)
	c := &chooser{model: rewritten, products: findProducts(rewritten.Graph), options: &o}
	if err := c.choose(ctx); err != nil {
		return nil, nil, err
	}
	result, err := apply(rewritten, c.products, c.choices, &o)
	if err != nil {
		return nil, nil, err
	}
	r := reportOf(s, rewrites)
	r.NodesAfter, r.Layers = countNodes(result.Graph), c.layers
	data, err := result.Marshal()
	if err != nil {
		return nil, nil, err
	}
	r.BytesAfter = int64(len(data))
	return result, r, r.measure(ctx, s, result, &o)
}

func reportOf(s *Source, rewrites rewrite.Report) *Report {
	r := &Report{
		NodesBefore: rewrites.NodesBefore, BytesBefore: s.Bytes, Inlined: rewrites.Inlined, Folded: rewrites.Folded,
		Merged: rewrites.Merged, Removed: rewrites.Removed, Fused: make(map[string]int), Layers: []Layer{},
	}
	for _, f := range rewrites.Fused {
		r.Fused[f.Kind]++
	}
	return r
}

func countNodes(g *onnx.Graph) int {
	n := len(g.Nodes)
	for i := range g.Nodes {
		for _, inner := range innerGraphs(&g.Nodes[i]) {
			n += countNodes(inner)
		}
	}
	return n
}

// measure compares and times the models on every engine. That an engine does not run
// the model as it was is a note; that it runs only that, an error.
func (r *Report) measure(ctx context.Context, s *Source, result *onnx.Model, o *Options) error {
	if o.Data != nil {
		r.Rows, r.BatchSize = o.Data.Rows, max(o.Data.Unit, min(o.BatchSize, o.Data.Rows)/o.Data.Unit*o.Data.Unit)
	}
	timed := o.Data
	if timed == nil {
		timed = o.CalibrationData
	}
	if timed == nil {
		timed = madeUp(s.Inputs, o.BatchSize)
	}
	if timed == nil {
		r.note("no times: without data the inputs cannot be made up")
	}
	ran := 0
	var reasons []error
	for _, e := range o.Engines {
		if err := tryEngine(ctx, e, s.Model); err != nil {
			reasons = append(reasons, err)
			r.note("the model does not run on %v", err)
			continue
		}
		ran++
		if o.Data != nil {
			a, err := compare(ctx, e, s.Model, result, o)
			if err != nil {
				return err
			}
			r.Accuracy = append(r.Accuracy, *a)
		}
		if timed == nil {
			continue
		}
		o.Progress("timing on "+e.Name, ran, len(o.Engines))
		timings, err := timeModels(ctx, e, s.Model, result, timed, o.BatchSize)
		if err != nil {
			return err
		}
		r.Timings = append(r.Timings, timings...)
	}
	if ran == 0 && o.Data != nil {
		return fmt.Errorf("no engine runs the model, so that its accuracy cannot be measured: %w", errors.Join(reasons...))
	}
	return nil
}

// tryEngine reports whether an engine runs a model.
func tryEngine(ctx context.Context, e Engine, m *onnx.Model) error {
	r, err := start(ctx, e, m, 1)
	if err != nil {
		return err
	}
	return r.close()
}

func (r *Report) note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}
