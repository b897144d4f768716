// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"context"

	"github.com/millrace-ml/millrace/bench/echo"
	"github.com/millrace-ml/millrace/bench/loadgen"
	"github.com/millrace-ml/millrace/bench/models"
)

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
	w, err := models.Middle().Workload(1)
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
	model, err := b.openDirect(ctx, models.Middle())
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
