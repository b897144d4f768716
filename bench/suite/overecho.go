// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"context"

	"github.com/millrace-ml/millrace/bench/echo"
	"github.com/millrace-ml/millrace/bench/loadgen"
	"github.com/millrace-ml/millrace/bench/models"
	"github.com/millrace-ml/millrace/bench/workload"
)

// overEcho is a server's requests per second beside the echo's, round by round.
type overEcho struct {
	Load   string    `json:"load"`
	Server []float64 `json:"server_per_second"`
	Echo   []float64 `json:"echo_per_second"`
	Ratios []float64 `json:"ratios"`
	// ProtobufEcho is what generated code alone gives, for information.
	ProtobufEcho []float64 `json:"protobuf_echo_per_second,omitempty"`
}

func unaryOverEcho(ctx context.Context, b *bench) ([]float64, any, error) {
	return b.smallOverEcho(ctx, loadgen.Options{Concurrency: 32})
}

func streamOverEcho(ctx context.Context, b *bench) ([]float64, any, error) {
	return b.smallOverEcho(ctx, streamLoad)
}

// streamLoad keeps four streams full.
var streamLoad = loadgen.Options{Stream: true, Streams: 4, Window: 64}

// smallOverEcho compares our server with both echoes on the small model.
func (b *bench) smallOverEcho(ctx context.Context, o loadgen.Options) ([]float64, any, error) {
	w, err := models.Small().Workload(1)
	if err != nil {
		return nil, nil, err
	}
	return b.overEcho(ctx, w, o, echo.Raw, echo.Protobuf)
}

// overEcho compares our server with echoes, the first of which the value is over.
func (b *bench) overEcho(ctx context.Context, w *workload.Workload, o loadgen.Options, codecs ...echo.Codec) ([]float64, any, error) {
	server, err := b.serve(ctx)
	if err != nil {
		return nil, nil, err
	}
	measures := []measure{b.perSecond(server, w, o)}
	for _, codec := range codecs {
		peer, err := b.echo(ctx, w, codec)
		if err != nil {
			return nil, nil, err
		}
		measures = append(measures, b.perSecond(peer, w.Echoed("1"), o))
	}
	values, err := interleave(ctx, b.pace.rounds, measures...)
	if err != nil {
		return nil, nil, err
	}
	o.Duration, o.Warmup = b.pace.round, b.pace.warmup
	o.EnsureDefaults()
	d := overEcho{Load: o.Description(), Server: values[0], Echo: values[1]}
	if len(values) > 2 {
		d.ProtobufEcho = values[2]
	}
	d.Ratios = ratios(d.Server, d.Echo)
	return []float64{median(d.Ratios)}, d, nil
}
