// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"context"
	"fmt"

	"github.com/millrace-ml/millrace/bench/direct"
	"github.com/millrace-ml/millrace/bench/loadgen"
	"github.com/millrace-ml/millrace/bench/models"
)

// overDirect is a server's rows per second beside those of direct runs.
type overDirect struct {
	Direct []float64 `json:"direct_rows_per_second"`
	// BatchSizes are direct runs at each batch size, measured before the rounds.
	BatchSizes []direct.Rate `json:"direct_batch_sizes"`
	Best       int           `json:"direct_best_batch_size"`
	Loads      []rowsLoad    `json:"loads"`
}

// rowsLoad is one way to send rows, always with 64 requests in flight.
type rowsLoad struct {
	Load   string    `json:"load"`
	Server []float64 `json:"server_rows_per_second"`
	Ratios []float64 `json:"ratios"`

	rows    int
	options loadgen.Options
}

// rowsLoads are measured beside each other; the first is the suite's row. The
// others show what the transport takes: less, the more rows a message carries.
func rowsLoads() []rowsLoad {
	unary := loadgen.Options{Concurrency: 64}
	return []rowsLoad{
		{rows: 64, options: unary},
		{rows: 1, options: unary},
		{rows: 16, options: unary},
		{rows: 64, options: loadgen.Options{Stream: true, Streams: 4, Window: 16}},
	}
}

func rowsOverDirect(ctx context.Context, b *bench) ([]float64, any, error) {
	server, err := b.serve(ctx)
	if err != nil {
		return nil, nil, err
	}
	model, err := b.openDirect(ctx, models.Middle())
	if err != nil {
		return nil, nil, err
	}
	defer model.Close()
	best, all, err := model.Best(ctx, b.pace.directEach)
	if err != nil {
		return nil, nil, err
	}
	d := overDirect{BatchSizes: all, Best: best.BatchSize, Loads: rowsLoads()}
	measures := []measure{func(ctx context.Context) (float64, error) {
		return model.RowsPerSecond(ctx, best.BatchSize, b.pace.round)
	}}
	for _, load := range d.Loads {
		w, err := models.Middle().Workload(load.rows)
		if err != nil {
			return nil, nil, err
		}
		measures = append(measures, b.perSecond(server, w, load.options))
	}
	values, err := interleave(ctx, b.pace.rounds, measures...)
	if err != nil {
		return nil, nil, err
	}
	d.Direct = values[0]
	for i := range d.Loads {
		d.Loads[i].fill(values[i+1], d.Direct)
	}
	return []float64{median(d.Loads[0].Ratios)}, d, nil
}

// fill completes the load from its requests per second.
func (l *rowsLoad) fill(perSecond, direct []float64) {
	how := "unary"
	if l.options.Stream {
		how = "stream"
	}
	l.Load = fmt.Sprintf("%s, 64 in flight, %d rows per request", how, l.rows)
	for _, requests := range perSecond {
		l.Server = append(l.Server, requests*float64(l.rows))
	}
	l.Ratios = ratios(l.Server, direct)
}
