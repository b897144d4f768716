// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"context"

	"github.com/millrace-ml/millrace/bench/echo"
	"github.com/millrace-ml/millrace/bench/loadgen"
	"github.com/millrace-ml/millrace/bench/models"
)

// overEcho is a server's requests per second beside the echo's, round by round.
type overEcho struct {
	Load   string    `json:"load"`
	Server []float64 `json:"server_per_second"`
	Echo   []float64 `json:"echo_per_second"`
	Ratios []float64 `json:"ratios"`
	// ProtobufEcho is what generated code alone gives, for information.
	ProtobufEcho []float64 `json:"protobuf_echo_per_second"`
}

func unaryOverEcho(ctx context.Context, b *bench) ([]float64, any, error) {
	return b.overEcho(ctx, loadgen.Options{Concurrency: 32})
}

func streamOverEcho(ctx context.Context, b *bench) ([]float64, any, error) {
	return b.overEcho(ctx, loadgen.Options{Stream: true, Streams: 4, Window: 64})
}

// overEcho compares our server with both echoes on the small model.
func (b *bench) overEcho(ctx context.Context, o loadgen.Options) ([]float64, any, error) {
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
	generated, err := b.echo(ctx, w, echo.Protobuf)
	if err != nil {
		return nil, nil, err
	}
	values, err := interleave(ctx, b.pace.rounds,
		b.perSecond(server, w, o), b.perSecond(bare, w.Echoed("1"), o), b.perSecond(generated, w.Echoed("1"), o))
	if err != nil {
		return nil, nil, err
	}
	o.Duration, o.Warmup = b.pace.round, b.pace.warmup
	o.EnsureDefaults()
	d := overEcho{Load: o.Description(), Server: values[0], Echo: values[1], ProtobufEcho: values[2]}
	d.Ratios = ratios(d.Server, d.Echo)
	return []float64{median(d.Ratios)}, d, nil
}
