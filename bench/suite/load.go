// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"google.golang.org/protobuf/proto"

	"github.com/millrace-ml/millrace/bench/echo"
	"github.com/millrace-ml/millrace/bench/loadgen"
	"github.com/millrace-ml/millrace/bench/workload"
)

var errRequestsFailed = errors.New("requests failed")

// serve starts our server on the suite's models.
func (b *bench) serve(ctx context.Context, flags ...string) (*process, error) {
	args := append([]string{
		"serve", "--model-repository", b.repository, "--grpc-address", "127.0.0.1",
		"--allow-http=false", "--metrics-address", "127.0.0.1", "--metrics-port", "0",
	}, flags...)
	return b.start(ctx, args...)
}

// echo starts a peer that answers as version 1 of the workload's model does.
func (b *bench) echo(ctx context.Context, w *workload.Workload, codec echo.Codec) (*process, error) {
	response, err := w.SampleResponse("1")
	if err != nil {
		return nil, err
	}
	encoded, err := proto.Marshal(response)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(b.folder, "response.pb")
	if err := os.WriteFile(path, encoded, 0o600); err != nil {
		return nil, err
	}
	return b.start(ctx, "bench", "echo", "--response", path, "--codec", string(codec))
}

// load runs one round of load on a server. Requests that fail are an error: what a
// server that refuses requests does per second says nothing.
func (b *bench) load(ctx context.Context, p *process, w *workload.Workload, o loadgen.Options) (*loadgen.Result, error) {
	if o.Duration == 0 {
		o.Duration = b.pace.round
	}
	o.Warmup = b.pace.warmup
	conns, err := loadgen.Dial(p.url, 1)
	if err != nil {
		return nil, err
	}
	defer conns.Close()
	result, err := loadgen.Run(ctx, conns, w, o)
	if err != nil {
		return nil, err
	}
	if result.Failed > 0 {
		return nil, fmt.Errorf("%w: %d of %d, for example: %s",
			errRequestsFailed, result.Failed, result.Failed+result.Requests, result.ExampleFailure())
	}
	return result, nil
}

// perSecond is a measure of a server's requests per second.
func (b *bench) perSecond(p *process, w *workload.Workload, o loadgen.Options) measure {
	return func(ctx context.Context) (float64, error) {
		result, err := b.load(ctx, p, w, o)
		if err != nil {
			return 0, err
		}
		return result.RequestsPerSecond, nil
	}
}

// medianMicros is a measure of a server's median latency.
func (b *bench) medianMicros(p *process, w *workload.Workload, o loadgen.Options) measure {
	return func(ctx context.Context) (float64, error) {
		result, err := b.load(ctx, p, w, o)
		if err != nil {
			return 0, err
		}
		return result.Latency.P50Micros, nil
	}
}
