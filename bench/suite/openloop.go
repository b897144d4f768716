// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"context"

	"github.com/millrace-ml/millrace/bench/echo"
	"github.com/millrace-ml/millrace/bench/loadgen"
	"github.com/millrace-ml/millrace/bench/models"
	"github.com/millrace-ml/millrace/bench/workload"
)

// capacityShare is how much of a server's capacity an open loop asks for.
const capacityShare = 0.7

// openLoop is the latency at a share of the capacity, round by round.
type openLoop struct {
	Capacity []float64         `json:"capacity_per_second"`
	Loads    []*loadgen.Result `json:"loads"`
	Ratios   []float64         `json:"p99_over_p50"`
}

// openLoopTail measures the server, and beside it the echo at the same share of its
// own capacity: what transport, generator and machine alone make of the tail.
func openLoopTail(ctx context.Context, b *bench) ([]float64, any, error) {
	w, err := models.Small().Workload(1)
	if err != nil {
		return nil, nil, err
	}
	server, err := b.serve(ctx)
	if err != nil {
		return nil, nil, err
	}
	bare, err := b.echo(ctx, w, echo.Raw)
	if err != nil {
		return nil, nil, err
	}
	var d struct {
		Server openLoop `json:"server"`
		Echo   openLoop `json:"echo"`
	}
	values, err := interleave(ctx, b.pace.rounds,
		b.tailRatio(server, w, &d.Server), b.tailRatio(bare, w.Echoed("1"), &d.Echo))
	if err != nil {
		return nil, nil, err
	}
	d.Server.Ratios, d.Echo.Ratios = values[0], values[1]
	return []float64{median(d.Server.Ratios)}, d, nil
}

// tailRatio is a measure of p99 over p50. It finds the capacity anew each time,
// since that drifts with the machine.
func (b *bench) tailRatio(p *process, w *workload.Workload, d *openLoop) measure {
	return func(ctx context.Context) (float64, error) {
		capacity, err := b.perSecond(p, w, loadgen.Options{Concurrency: 32})(ctx)
		if err != nil {
			return 0, err
		}
		result, err := b.load(ctx, p, w, loadgen.Options{
			Rate: capacityShare * capacity, Arrivals: loadgen.Poisson, Seed: uint64(len(d.Loads)),
		})
		if err != nil {
			return 0, err
		}
		d.Capacity, d.Loads = append(d.Capacity, capacity), append(d.Loads, result)
		return result.Latency.P99Micros / result.Latency.P50Micros, nil
	}
}
