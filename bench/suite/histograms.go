// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"context"

	"github.com/millrace-ml/millrace/bench/loadgen"
	"github.com/millrace-ml/millrace/bench/models"
)

// onOverOff is the throughput with and without something.
type onOverOff struct {
	On     []float64 `json:"on_per_second"`
	Off    []float64 `json:"off_per_second"`
	Ratios []float64 `json:"ratios"`
}

func histogramsOverNone(ctx context.Context, b *bench) ([]float64, any, error) {
	w, err := models.Small().Workload(1)
	if err != nil {
		return nil, nil, err
	}
	on, err := b.serve(ctx, "--latency-histograms=true")
	if err != nil {
		return nil, nil, err
	}
	off, err := b.serve(ctx, "--latency-histograms=false")
	if err != nil {
		return nil, nil, err
	}
	o := loadgen.Options{Concurrency: 32}
	// A difference of a hundredth needs more rounds than the other comparisons.
	values, err := interleave(ctx, 2*b.pace.rounds, b.perSecond(on, w, o), b.perSecond(off, w, o))
	if err != nil {
		return nil, nil, err
	}
	d := onOverOff{On: values[0], Off: values[1], Ratios: ratios(values[0], values[1])}
	return []float64{median(d.Ratios)}, d, nil
}
