// SPDX-License-Identifier: Apache-2.0

package repository

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/modelconfig"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// bucketBudget bounds the automatic warm-up: once it is used up, larger batch sizes
// are left to the first requests. The smallest batch and the samples of a configuration
// are always run.
const bucketBudget = 2 * time.Second

// warmupObserver is implemented by instances that want to know when warm-up is over
// and requests follow.
type warmupObserver interface{ WarmedUp() }

// warmup runs a version before it serves: every batch size once, so that memory is
// laid out and costs are known, then the samples of its configuration.
type warmup struct {
	version *Version
	src     *source
	logger  *slog.Logger
	// quiet: requests are served meanwhile, so rest after each run.
	quiet bool
}

// While requests are served, a warm-up rests after each run for restShare times as
// long as the run took, though not longer than restMax. So it takes a fraction of one
// core, and requests that need the core wait for one run at the most.
const (
	restShare = 9
	restMax   = 50 * time.Millisecond
)

// rest leaves the cores to requests. It is cut short when ctx ends.
func (w *warmup) rest(ctx context.Context, ran time.Duration) {
	if !w.quiet {
		return
	}
	select {
	case <-time.After(min(restShare*ran, restMax)):
	case <-ctx.Done():
	}
}

func (w *warmup) run(ctx context.Context) error {
	if err := w.runBuckets(ctx); err != nil {
		return err
	}
	for i := range w.version.Config.ModelWarmup {
		sample := &w.version.Config.ModelWarmup[i]
		if sample.BatchSize == 0 {
			continue // switched off, as the protocol has it
		}
		if err := w.runSample(ctx, sample); err != nil {
			return fmt.Errorf("failed to run warmup sample '%s': %w", sample.Name, err)
		}
	}
	for _, instance := range w.version.Instances {
		if observer, ok := instance.(warmupObserver); ok {
			observer.WarmedUp()
		}
	}
	return nil
}

// runBuckets runs made-up inputs in each batch size. A failure fails the load only
// where any input of the right type must do; otherwise the inputs may be to blame,
// and serving goes on without warm-up.
func (w *warmup) runBuckets(ctx context.Context) error {
	if w.decoupled() {
		return nil // a stream has no batch sizes
	}
	begin := time.Now()
	for i, rows := range buckets(int(w.version.Config.MaxBatchSize)) {
		if i > 0 && time.Since(begin) > bucketBudget {
			return nil
		}
		err := w.runBucket(ctx, rows)
		if err == nil {
			continue
		}
		if ctx.Err() != nil || w.anyInputServes() {
			return fmt.Errorf("failed to run warmup sample 'batch size %d': %w", rows, err)
		}
		w.logger.Warn("automatic warm-up skipped: the model does not take made-up inputs; give it a 'model_warmup' sample",
			"model", w.version.Model, "version", w.version.Number, "rows", rows, "error", err)
		return nil
	}
	return nil
}

// runBucket runs one batch size on every instance, and keeps how long the second
// run of the first instance took: the first pays for what is made only once.
func (w *warmup) runBucket(ctx context.Context, rows int) error {
	inputs := w.bucketInputs(rows)
	for i, instance := range w.version.Instances {
		elapsed, err := w.runOnce(ctx, instance, inputs)
		if err == nil && i == 0 && elapsed < bucketBudget {
			elapsed, err = w.runOnce(ctx, instance, inputs)
		}
		if err != nil {
			return err
		}
		if i == 0 {
			w.version.Warmup = append(w.version.Warmup, engine.WarmupResult{Rows: rows, Elapsed: elapsed})
		}
	}
	return nil
}

// buckets are the powers of two below the largest batch, and that; 1 for a model
// that does not batch.
func buckets(maxBatchSize int) []int {
	var sizes []int
	for rows := 1; rows < maxBatchSize; rows *= 2 {
		sizes = append(sizes, rows)
	}
	return append(sizes, max(1, maxBatchSize))
}

// anyInputServes reports whether a failure on made-up inputs must be the model's:
// every extent is known, every datatype is numeric, and the configuration does not
// bring samples that say what the model takes.
func (w *warmup) anyInputServes() bool {
	for _, input := range w.version.Signature.Inputs {
		if input.Datatype == tensor.Bytes || !input.Shape[w.batchDims(input.Shape):].Known() {
			return false
		}
	}
	return len(w.version.Config.ModelWarmup) == 0
}

// batchDims is how many leading dimensions of a shape are rows: 0 or 1.
func (w *warmup) batchDims(shape tensor.Shape) int {
	if w.version.Config.MaxBatchSize > 0 && len(shape) > 0 {
		return 1
	}
	return 0
}

func (w *warmup) decoupled() bool {
	policy := w.version.Config.TransactionPolicy
	return policy != nil && policy.Decoupled
}

// bucketInputs makes one input for each of the signature: rows rows, 1 for every
// other open extent, and the value one throughout, which unlike zero can be divided
// by and, as text, parsed.
func (w *warmup) bucketInputs(rows int) []warmupTensor {
	inputs := make([]warmupTensor, len(w.version.Signature.Inputs))
	for i, spec := range w.version.Signature.Inputs {
		shape := make(tensor.Shape, len(spec.Shape))
		for d, extent := range spec.Shape {
			shape[d] = max(extent, 1)
			if extent == 0 {
				shape[d] = 0
			}
		}
		if w.batchDims(shape) == 1 {
			shape[0] = int64(rows)
		}
		inputs[i] = warmupTensor{shape: shape, fill: fillOnes}
	}
	return inputs
}

func (w *warmup) runSample(ctx context.Context, sample *modelconfig.Warmup) error {
	inputs, err := w.sampleInputs(sample)
	if err != nil {
		return err
	}
	for range max(1, sample.Count) {
		for _, instance := range w.version.Instances {
			if err := w.runSampleOn(ctx, instance, inputs); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *warmup) runSampleOn(ctx context.Context, instance engine.Instance, inputs []warmupTensor) error {
	streamer, ok := instance.(engine.Streamer)
	if !ok || !w.decoupled() {
		_, err := w.runOnce(ctx, instance, inputs)
		return err
	}
	tensors := make([]tensor.Tensor, len(inputs))
	for i, spec := range w.version.Signature.Inputs {
		data, err := inputs[i].data(spec.Datatype)
		if err != nil {
			return err
		}
		tensors[i] = tensor.Tensor{Name: spec.Name, Datatype: spec.Datatype, Shape: inputs[i].shape, Data: data}
	}
	return streamer.Stream(ctx, tensors, func([]tensor.Tensor) error { return nil })
}

// runOnce runs one batch and measures the run itself.
func (w *warmup) runOnce(ctx context.Context, instance engine.Instance, inputs []warmupTensor) (time.Duration, error) {
	shapes := make([]tensor.Shape, len(inputs))
	for i := range inputs {
		shapes[i] = inputs[i].shape
	}
	binding, err := instance.Bind(shapes)
	if err != nil {
		return 0, err
	}
	for i := range binding.Inputs {
		if inputs[i].shape == nil {
			continue
		}
		if err := inputs[i].fillInto(&binding.Inputs[i]); err != nil {
			return 0, err
		}
	}
	begin := time.Now()
	err = instance.Run(ctx, binding)
	elapsed := time.Since(begin)
	w.rest(ctx, elapsed)
	return elapsed, err
}
