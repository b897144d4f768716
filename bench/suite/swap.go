// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/millrace-ml/millrace/bench/loadgen"
	"github.com/millrace-ml/millrace/bench/models"
	millracev1 "github.com/millrace-ml/millrace/proto/millrace/v1"
)

// swapLoad is a load during which the model's version was swapped again and again.
//
// A request belongs to the swaps if any part of its life, from when it was due to
// its answer, lies between the call of a swap and its end: load, warm-up, flip,
// drain and release. It belongs to the time before if it was answered before the
// first swap was called.
type swapLoad struct {
	Capacity     float64             `json:"capacity_per_second"`
	Load         *loadgen.Result     `json:"load"`
	Swaps        int                 `json:"swaps"`
	SwapMillis   []float64           `json:"swap_ms"`
	Before       loadgen.Percentiles `json:"before"`
	During       loadgen.Percentiles `json:"during"`
	BeforeCount  int                 `json:"before_requests"`
	DuringCount  int                 `json:"during_requests"`
	FirstSwapped string              `json:"first_swap_steps"`
}

const (
	// swapPause keeps swaps apart.
	swapPause = 100 * time.Millisecond
	// swapSamplesMax bounds the requests that are kept one by one.
	swapSamplesMax = 1 << 22
)

var errNoSwaps = errors.New("no requests were in flight during a swap, or before the first")

func swapUnderLoad(ctx context.Context, b *bench) ([]float64, any, error) {
	w, err := models.Middle().Workload(1)
	if err != nil {
		return nil, nil, err
	}
	server, err := b.serve(ctx)
	if err != nil {
		return nil, nil, err
	}
	capacity, err := b.perSecond(server, w, loadgen.Options{Concurrency: 32})(ctx)
	if err != nil {
		return nil, nil, err
	}
	swapper, err := startSwapper(ctx, server, b.pace)
	if err != nil {
		return nil, nil, err
	}
	conns, err := loadgen.Dial(server.url, 1)
	if err != nil {
		return nil, nil, errors.Join(err, swapper.stop())
	}
	defer conns.Close()
	result, err := loadgen.Run(ctx, conns, w, loadgen.Options{
		Rate: capacityShare * capacity, Arrivals: loadgen.Poisson, SamplesMax: swapSamplesMax, CheckEvery: 16,
		Warmup: b.pace.warmup, Duration: b.pace.quiet + b.pace.swapping,
	})
	if err := errors.Join(err, swapper.stop()); err != nil {
		return nil, nil, err
	}
	d := summarizeSwaps(result, swapper.swaps)
	d.Capacity = capacity
	if d.BeforeCount == 0 || d.DuringCount == 0 {
		return nil, d, errNoSwaps
	}
	return []float64{float64(result.Failed + result.Unsent), d.During.P99Micros / d.Before.P99Micros}, d, nil
}

func summarizeSwaps(result *loadgen.Result, swaps []swap) swapLoad {
	d := swapLoad{Load: result, Swaps: len(swaps)}
	var before, during []time.Duration
	for _, sample := range result.Samples {
		due, done := result.Started.Add(sample.Due), result.Started.Add(sample.Done())
		switch {
		case len(swaps) > 0 && done.Before(swaps[0].began):
			before = append(before, sample.Latency)
		case overlapsAny(swaps, due, done):
			during = append(during, sample.Latency)
		}
	}
	for _, s := range swaps {
		d.SwapMillis = append(d.SwapMillis, s.ended.Sub(s.began).Seconds()*1e3)
	}
	if len(swaps) > 0 {
		d.FirstSwapped = swaps[0].steps
	}
	d.Before, d.BeforeCount = loadgen.Summarize(before), len(before)
	d.During, d.DuringCount = loadgen.Summarize(during), len(during)
	return d
}

// swap is when one swap was called and when it answered, and what it did.
type swap struct {
	began, ended time.Time
	steps        string
}

func overlapsAny(swaps []swap, from, to time.Time) bool {
	for _, s := range swaps {
		if from.Before(s.ended) && to.After(s.began) {
			return true
		}
	}
	return false
}

// swapper swaps versions in the background, after a quiet time, until it is stopped
// or its time is over.
type swapper struct {
	cancel context.CancelFunc
	done   chan struct{}
	// Valid once done is closed.
	swaps []swap
	err   error
}

func startSwapper(ctx context.Context, server *process, p pace) (*swapper, error) {
	conn, err := grpc.NewClient(server.url, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	s := &swapper{cancel: cancel, done: make(chan struct{})}
	end := time.Now().Add(p.warmup + p.quiet + p.swapping)
	go func() {
		defer close(s.done)
		defer conn.Close()
		s.err = s.run(ctx, millracev1.NewAdminClient(conn), p.warmup+p.quiet, end)
	}()
	return s, nil
}

// stop waits for the swap in progress and returns what went wrong with any.
func (s *swapper) stop() error {
	s.cancel()
	<-s.done
	return s.err
}

func (s *swapper) run(ctx context.Context, admin millracev1.AdminClient, delay time.Duration, end time.Time) error {
	for version := int64(1); time.Now().Before(end); version = 3 - version {
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return nil
		}
		delay = swapPause
		began := time.Now()
		// A swap that has begun is not cancelled: the server would still be at it.
		response, err := admin.SwapVersion(context.WithoutCancel(ctx), &millracev1.SwapVersionRequest{Model: models.Middle().Name, Version: version})
		if err != nil {
			return fmt.Errorf("swap to version %d: %w", version, err)
		}
		s.swaps = append(s.swaps, swap{began: began, ended: time.Now(), steps: describeSteps(response.Steps)})
	}
	return nil
}

func describeSteps(steps []*millracev1.Step) string {
	text := ""
	for _, step := range steps {
		text += fmt.Sprintf("%s %d us; ", step.Name, step.Micros)
	}
	return text
}
