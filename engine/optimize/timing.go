// SPDX-License-Identifier: Apache-2.0

package optimize

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/optimize/dataset"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// Bounds of timing one model at one number of rows: enough runs for a median, no more
// than a moment.
const (
	timedRunsMin = 5
	timedRunsMax = 101
	timedNanos   = 400 * time.Millisecond
)

// timeModels times the model before and after on one engine and one core, on the first
// rows of the data.
func timeModels(ctx context.Context, e Engine, before, after *onnx.Model, d *dataset.Data, batchSize int) (timings []Timing, err error) {
	x, err := start(ctx, e, before, 1)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, x.close()) }()
	y, err := start(ctx, e, after, 1)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, y.close()) }()
	sizes := []int{d.Unit, max(d.Unit, min(batchSize, d.Rows)/d.Unit*d.Unit)}
	for _, rows := range slices.Compact(sizes) {
		inputs := d.Slice(0, rows)
		t, err := timePair(ctx, x, y, inputs)
		if err != nil {
			return nil, err
		}
		t.Engine, t.Rows = e.Name, rows
		t.Before, t.After = t.Before/time.Duration(rows), t.After/time.Duration(rows)
		timings = append(timings, t)
	}
	return timings, nil
}

// timePair takes turns, so that what else the machine does falls on both.
func timePair(ctx context.Context, x, y *runner, inputs []tensor.Tensor) (Timing, error) {
	runners := []*runner{x, y}
	var times [2][]time.Duration
	begin := time.Now()
	for i := range timedRunsMax {
		if i >= timedRunsMin && time.Since(begin) > timedNanos {
			break
		}
		for k, r := range runners {
			b, err := r.bind(inputs)
			if err != nil {
				return Timing{}, err
			}
			start := time.Now()
			if err := r.instance.Run(ctx, b); err != nil {
				return Timing{}, err
			}
			if i > 0 { // the first run warms up
				times[k] = append(times[k], time.Since(start))
			}
		}
	}
	return Timing{Before: median(times[0]), After: median(times[1])}, nil
}

func median(list []time.Duration) time.Duration {
	slices.Sort(list)
	return list[len(list)/2]
}

// madeUp are random rows for timing, where every extent but the first is known and the
// inputs are floats; nil where they are not.
func madeUp(inputs []engine.TensorSpec, rows int) *dataset.Data {
	random := rand.New(rand.NewPCG(1, 2))
	var list []tensor.Tensor
	for _, spec := range inputs {
		shape := slices.Clone(spec.Shape)
		if len(shape) > 0 && shape[0] < 0 {
			shape[0] = int64(rows)
		}
		n, err := shape.Elements()
		if err != nil || spec.Datatype != tensor.FP32 || n > 1<<26 {
			return nil
		}
		values := make([]float32, n)
		for i := range values {
			values[i] = float32(random.NormFloat64())
		}
		list = append(list, tensorOf(spec.Name, values, shape...))
	}
	d, err := dataset.New(list, nil, dataset.Options{Inputs: inputs})
	if err != nil {
		return nil
	}
	return d
}
