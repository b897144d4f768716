// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"context"

	"github.com/millrace-ml/millrace/bench/loadgen"
)

// capacityShare is how much of a server's capacity an open loop asks for.
const capacityShare = 0.7

// openLoop is the latency at a share of the capacity, round by round.
type openLoop struct {
	Model    string            `json:"model"`
	Capacity []float64         `json:"capacity_per_second"`
	Loads    []*loadgen.Result `json:"loads"`
	Ratios   []float64         `json:"p99_over_p50"`
}

func openLoopTail(ctx context.Context, b *bench) ([]float64, any, error) {
	server, err := b.serve(ctx)
	if err != nil {
		return nil, nil, err
	}
	var details []openLoop
	for _, m := range []testModel{small, middle} {
		d, err := b.openLoop(ctx, server, m)
		if err != nil {
			return nil, nil, err
		}
		details = append(details, d)
	}
	return []float64{median(details[0].Ratios)}, details, nil
}

// openLoop measures the capacity anew in each round, since it drifts with the
// machine.
func (b *bench) openLoop(ctx context.Context, server *process, m testModel) (openLoop, error) {
	d := openLoop{Model: m.name}
	w, err := m.workload(1)
	if err != nil {
		return d, err
	}
	for round := range b.pace.rounds {
		capacity, err := b.perSecond(server, w, loadgen.Options{Concurrency: 32})(ctx)
		if err != nil {
			return d, err
		}
		result, err := b.load(ctx, server, w, loadgen.Options{
			Rate: capacityShare * capacity, Arrivals: loadgen.Poisson, Seed: uint64(round),
		})
		if err != nil {
			return d, err
		}
		d.Capacity = append(d.Capacity, capacity)
		d.Loads = append(d.Loads, result)
		d.Ratios = append(d.Ratios, result.Latency.P99Micros/result.Latency.P50Micros)
	}
	return d, nil
}
