// SPDX-License-Identifier: Apache-2.0

package evaluation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/modelconfig"
	"github.com/millrace-ml/millrace/evaluation/report"
)

// How long latency is measured, at most.
const (
	warmups      = 20
	singleRuns   = 2000
	singleBudget = 500 * time.Millisecond
	batchRuns    = 50
	batchBudget  = 300 * time.Millisecond
)

// speed measures the model by itself: single rows, and a large batch, on one core.
func (e *run) speed(ctx context.Context) (err error) {
	if e.model == nil || e.NoLatency {
		return nil
	}
	e.Progress("latency", 0, -1)
	p, err := newPredictor(e.model, e.rows, e.numbers)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrModel, e.model.about.Path, err)
	}
	instance, err := e.model.model.NewInstance(engine.Placement{Kind: modelconfig.KindCPU, Threads: 1})
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrModel, e.model.about.Path, err)
	}
	defer func() { err = errors.Join(err, instance.Close()) }()
	single, err := p.times(ctx, instance, 1, singleRuns, singleBudget)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrModel, e.model.about.Path, err)
	}
	rows := min(p.step, e.rows.Rows)
	batch, err := p.times(ctx, instance, rows, batchRuns, batchBudget)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrModel, e.model.about.Path, err)
	}
	e.model.about.Latency = &report.Latency{
		RowP50Micros: micros(quantile(single, 0.5)), RowP99Micros: micros(quantile(single, 0.99)),
		BatchRows: rows, RowsPerSecond: float64(rows) / quantile(batch, 0.5).Seconds(),
	}
	return nil
}

// times runs so many rows again and again, other rows each time, and sorts how long it took.
// What is timed is the filling of the input and the run.
func (p *predictor) times(ctx context.Context, instance engine.Instance, rows, runs int, budget time.Duration) ([]time.Duration, error) {
	var all []time.Duration
	began := time.Now()
	for i := range warmups + runs {
		from := i * rows % max(1, p.rows.Rows-rows+1)
		start := time.Now()
		b, err := p.fill(instance, from, from+rows)
		if err == nil {
			err = instance.Run(ctx, b)
		}
		if err != nil {
			return nil, err
		}
		took := max(time.Since(start), 1)
		if i >= warmups || rows > 1 && i > 0 {
			all = append(all, took)
		}
		if len(all) > 2 && time.Since(began) > budget {
			break
		}
	}
	slices.Sort(all)
	return all, nil
}

// quantile is the smallest of sorted times that the share q does not exceed.
func quantile(sorted []time.Duration, q float64) time.Duration {
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }
