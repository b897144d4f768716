// SPDX-License-Identifier: Apache-2.0

// Package builtin has models that need no files: identity, which answers with its
// inputs after a settable delay; repeat, which answers one request with many
// responses; and failing, which fails when it is told to. They serve tests of
// clients, of batching and of operations.
//
// A model of these backends consists of a configuration alone. identity and failing
// take their signature from it.
//
// Backends and models may be used from many goroutines at once, an instance by one
// at a time. No call waits for longer than ten minutes, and every wait ends with
// its context.
package builtin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/modelconfig"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// delayMax bounds the wait within one run or stream.
const delayMax = 10 * time.Minute

// Backends returns the backends of this package: "identity", "repeat" and "failing".
func Backends() []engine.Backend {
	return []engine.Backend{identityBackend{}, repeatBackend{}, failingBackend{}}
}

// configSignature is the signature that a configuration states.
func configSignature(c *modelconfig.Config) engine.Signature {
	var s engine.Signature
	for _, in := range c.Input {
		s.Inputs = append(s.Inputs, engine.TensorSpec{
			Name: in.Name, Datatype: in.DataType.Datatype, Shape: configShape(c, in.Dims, in.Reshape), Optional: in.Optional,
		})
	}
	for _, out := range c.Output {
		s.Outputs = append(s.Outputs, engine.TensorSpec{
			Name: out.Name, Datatype: out.DataType.Datatype, Shape: configShape(c, out.Dims, out.Reshape),
		})
	}
	return s
}

// configShape adds the batch dimension to configured dims.
func configShape(c *modelconfig.Config, dims []int64, reshape *modelconfig.Reshape) tensor.Shape {
	if reshape != nil {
		dims = reshape.Shape
	}
	if c.MaxBatchSize > 0 {
		return append(tensor.Shape{-1}, dims...)
	}
	return slices.Clone(tensor.Shape(dims))
}

// configDelay is the delay of a run that a configuration states, under either of the
// two names that are in use.
func configDelay(c *modelconfig.Config) (time.Duration, error) {
	var total time.Duration
	for _, name := range []string{"execute_delay_ms", "execution_delay_ms"} {
		delay, err := c.DurationMillisParameter(name, 0)
		if err != nil {
			return 0, err
		}
		total = max(total, delay)
	}
	if total > delayMax {
		return 0, fmt.Errorf("%w: parameter 'execute_delay_ms' of model '%s' is %s, it must be at most %s", engine.ErrInvalidModel, c.Name, total, delayMax)
	}
	return total, nil
}

// pause waits without making a timer for each wait. The zero value is ready.
type pause struct{ timer *time.Timer }

// wait returns after delay, or at the end of ctx with its error.
func (p *pause) wait(ctx context.Context, delay time.Duration) error {
	if delay <= 0 {
		return ctx.Err()
	}
	if p.timer == nil {
		p.timer = time.NewTimer(delay)
	} else {
		p.timer.Reset(delay)
	}
	select {
	case <-p.timer.C:
		return nil
	case <-ctx.Done():
		p.timer.Stop()
		return context.Cause(ctx)
	}
}

// errMissingInput says that a run lacks an input; the models here use all of theirs.
var errMissingInput = errors.New("input is missing")
