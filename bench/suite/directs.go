// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"context"
	"path/filepath"
	"runtime"

	"github.com/millrace-ml/millrace/bench/direct"
	"github.com/millrace-ml/millrace/bench/echo"
	"github.com/millrace-ml/millrace/bench/loadgen"
	"github.com/millrace-ml/millrace/engine/modelconfig"
)

// openDirect loads version 1 of a model into this process, with an instance per
// core, as many as the server has.
func (b *bench) openDirect(ctx context.Context, m testModel) (*direct.Model, error) {
	return direct.Open(ctx, direct.Options{
		Backend:      b.Backend,
		Dir:          filepath.Join(b.repository, m.name, "1"),
		Config:       &modelconfig.Config{Name: m.name, Backend: b.Backend.Name(), MaxBatchSize: batchSizeMax},
		Instances:    runtime.GOMAXPROCS(0),
		BatchSizeMax: batchSizeMax,
	})
}

// overDirect is a server's rows per second beside those of direct runs.
type overDirect struct {
	Server []float64 `json:"server_rows_per_second"`
	Direct []float64 `json:"direct_rows_per_second"`
	Ratios []float64 `json:"ratios"`
	// SingleRow is the server's with one row per request, and its ratios.
	SingleRow       []float64 `json:"single_row_requests_per_second"`
	SingleRowRatios []float64 `json:"single_row_ratios"`
	// BatchSizes are direct runs at each batch size, measured before the rounds.
	BatchSizes []direct.Rate `json:"direct_batch_sizes"`
	Best       int           `json:"direct_best_batch_size"`
}

// rowsPerRequest is what a client that has many rows puts into one request.
const rowsPerRequest = 32

func rowsOverDirect(ctx context.Context, b *bench) ([]float64, any, error) {
	many, err := middle.workload(rowsPerRequest)
	if err != nil {
		return nil, nil, err
	}
	single, err := middle.workload(1)
	if err != nil {
		return nil, nil, err
	}
	server, err := b.serve(ctx)
	if err != nil {
		return nil, nil, err
	}
	model, err := b.openDirect(ctx, middle)
	if err != nil {
		return nil, nil, err
	}
	defer model.Close()
	best, all, err := model.Best(ctx, b.pace.directEach)
	if err != nil {
		return nil, nil, err
	}
	direct := func(ctx context.Context) (float64, error) {
		return model.RowsPerSecond(ctx, best.BatchSize, b.pace.round)
	}
	o := loadgen.Options{Concurrency: 64}
	values, err := interleave(ctx, b.pace.rounds, b.perSecond(server, many, o), direct, b.perSecond(server, single, o))
	if err != nil {
		return nil, nil, err
	}
	d := overDirect{Server: values[0], Direct: values[1], SingleRow: values[2], BatchSizes: all, Best: best.BatchSize}
	for i := range d.Server {
		d.Server[i] *= rowsPerRequest
	}
	d.Ratios, d.SingleRowRatios = ratios(d.Server, d.Direct), ratios(d.SingleRow, d.Direct)
	return []float64{median(d.Ratios)}, d, nil
}

// lone is the latency of one request at a time, in microseconds.
type lone struct {
	Server []float64 `json:"server_p50_us"`
	Echo   []float64 `json:"echo_p50_us"`
	Direct []float64 `json:"direct_p50_us"`
	Ratios []float64 `json:"ratios"`
}

// loneOverEcho takes the direct run off the server's latency: what is left is the
// transport, which the echo has too, and what we add.
func loneOverEcho(ctx context.Context, b *bench) ([]float64, any, error) {
	w, err := middle.workload(1)
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
	model, err := b.openDirect(ctx, middle)
	if err != nil {
		return nil, nil, err
	}
	defer model.Close()
	direct := func(ctx context.Context) (float64, error) {
		latency, err := model.MedianLatency(ctx, 1, b.pace.round)
		return float64(latency.Nanoseconds()) / 1e3, err
	}
	o := loadgen.Options{Concurrency: 1}
	values, err := interleave(ctx, b.pace.rounds, b.medianMicros(server, w, o), b.medianMicros(bare, w.Echoed("1"), o), direct)
	if err != nil {
		return nil, nil, err
	}
	d := lone{Server: values[0], Echo: values[1], Direct: values[2]}
	for i := range d.Server {
		d.Ratios = append(d.Ratios, (d.Server[i]-d.Direct[i])/d.Echo[i])
	}
	return []float64{median(d.Ratios)}, d, nil
}
