// SPDX-License-Identifier: Apache-2.0

package loadgen

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/millrace-ml/millrace/bench/internal/raw"
	"github.com/millrace-ml/millrace/bench/workload"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// server is a connection to a server of the test's making.
type server func(ctx context.Context, reply *raw.Message) error

func (s server) Invoke(ctx context.Context, _ string, _, reply any, _ ...grpc.CallOption) error {
	return s(ctx, reply.(*raw.Message))
}

func (server) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, errors.New("no streams here")
}

// takes answers each request after a time, any number at once.
func takes(d time.Duration) server {
	return func(ctx context.Context, _ *raw.Message) error { return wait(ctx, d) }
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	}
}

// stalls answers each request after a millisecond, but none between two times.
func stalls(from, to time.Duration) server {
	start := time.Now()
	return func(ctx context.Context, _ *raw.Message) error {
		if now := time.Since(start); now >= from && now < to {
			return wait(ctx, to-now)
		}
		return wait(ctx, time.Millisecond)
	}
}

func oneRequest(t *testing.T) *workload.Workload {
	t.Helper()
	w := workload.New("m", "", 2)
	if err := w.Add([]tensor.Tensor{{Name: "x", Datatype: tensor.FP32, Shape: tensor.Shape{2}, Data: make([]byte, 8)}}); err != nil {
		t.Fatal(err)
	}
	return w
}

// load runs a load on the clock of a bubble.
func load(t *testing.T, s server, o Options) (*Result, error) {
	t.Helper()
	r, err := newRun([]grpc.ClientConnInterface{s}, oneRequest(t), o)
	if err != nil {
		t.Fatal(err)
	}
	return r.do(t.Context(), newRuntimeAlarm)
}

func mustLoad(t *testing.T, s server, o Options) *Result {
	t.Helper()
	result, err := load(t, s, o)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func TestClosedLoopKeepsRequestsInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := mustLoad(t, takes(10*time.Millisecond), Options{Concurrency: 4, Warmup: time.Second, Duration: 2 * time.Second, CheckEvery: -1})
		if got.Requests != 800 || got.RequestsPerSecond != 400 || got.RowsPerSecond != 800 {
			t.Errorf("%d requests, %g requests/s and %g rows/s, want 800, 400 and 800",
				got.Requests, got.RequestsPerSecond, got.RowsPerSecond)
		}
		if math.Abs(got.Latency.P50Micros-10_000) > 10 || math.Abs(got.Latency.MaxMicros-10_000) > 10 {
			t.Errorf("latencies are %+v, want 10 ms", got.Latency)
		}
	})
}

// A stall of one second at 100 requests/s makes 100 requests late, by anything
// from a second to nothing. A closed loop would see one of them.
func TestOpenLoopCountsEveryLateAnswer(t *testing.T) {
	for name, concurrency := range map[string]int{"with room to send": 1024, "with one request at a time": 1} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				got := mustLoad(t, stalls(5*time.Second, 6*time.Second), Options{
					Rate: 100, Arrivals: Constant, Concurrency: concurrency,
					Duration: 10 * time.Second, CheckEvery: -1, SamplesMax: 2000,
				})
				expectStall(t, got)
				if heldBack := got.Overflow > 50; heldBack != (concurrency == 1) {
					t.Errorf("%d requests were held back", got.Overflow)
				}
			})
		})
	}
}

func expectStall(t *testing.T, got *Result) {
	t.Helper()
	if got.Requests != 999 || got.Failed != 0 || got.Unsent != 0 {
		t.Errorf("%d answered, %d failed, %d unsent, want 999, 0 and 0", got.Requests, got.Failed, got.Unsent)
	}
	late := 0
	for _, s := range got.Samples {
		if s.Latency > 500*time.Millisecond {
			late++
		}
	}
	if late < 45 || late > 60 {
		t.Errorf("%d answers were more than half a second late, want about 50", late)
	}
	if p99 := got.Latency.P99Micros; p99 < 0.85e6 || p99 > 1e6 {
		t.Errorf("the 99th percentile is %g us, want about 0.9 s", p99)
	}
}

func TestOpenLoopAccountsForEveryRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rate, seconds, concurrency = 100, 3, 8
		got := mustLoad(t, takes(time.Hour), Options{
			Rate: rate, Arrivals: Constant, Concurrency: concurrency, Duration: seconds * time.Second, Drain: time.Second,
		})
		unanswered := got.Errors[kindUnanswered]
		if got.Requests != 0 || unanswered == nil || unanswered.Count != concurrency {
			t.Fatalf("%d requests answered and %+v unanswered, want 0 and %d", got.Requests, unanswered, concurrency)
		}
		if sum := got.Unsent + unanswered.Count; sum != rate*seconds-1 {
			t.Errorf("%d unsent and %d unanswered make %d, want %d", got.Unsent, unanswered.Count, sum, rate*seconds-1)
		}
	})
}

func TestErrorsAreCountedByCode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		calls := 0
		flaky := server(func(ctx context.Context, _ *raw.Message) error {
			mu.Lock()
			calls++
			refuse := calls%4 == 0
			mu.Unlock()
			if err := wait(ctx, time.Millisecond); err != nil || !refuse {
				return err
			}
			return status.Error(codes.ResourceExhausted, "queue is full")
		})
		got := mustLoad(t, flaky, Options{Concurrency: 2, Duration: time.Second, CheckEvery: -1})
		full := got.Errors["ResourceExhausted"]
		if full == nil || full.Count != 500 || got.Failed != 500 || !strings.Contains(full.Example, "queue is full") {
			t.Errorf("failures are %+v, %d in all, want 500 of ResourceExhausted", full, got.Failed)
		}
		if got.Requests != 1500 {
			t.Errorf("%d requests were answered, want 1500", got.Requests)
		}
	})
}

func TestServerThatRefusesEverythingEndsTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := server(func(context.Context, *raw.Message) error { return status.Error(codes.Unavailable, "nobody home") })
		began := time.Now()
		_, err := load(t, down, Options{Concurrency: 1, Duration: time.Hour})
		if !errors.Is(err, ErrTooManyFailures) || !strings.Contains(fmt.Sprint(err), "nobody home") {
			t.Errorf("the run ended with %v", err)
		}
		if took := time.Since(began); took > time.Minute {
			t.Errorf("the run went on for %v", took)
		}
	})
}

func TestWrongAnswersAreFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		garbled := server(func(ctx context.Context, reply *raw.Message) error {
			reply.Data = append(reply.Data[:0], 0xff)
			return wait(ctx, time.Millisecond)
		})
		got := mustLoad(t, garbled, Options{Concurrency: 1, Duration: 100 * time.Millisecond, CheckEvery: 1})
		wrong := got.Errors[kindWrongAnswer]
		if wrong == nil || wrong.Count != 100 || got.Requests != 0 {
			t.Errorf("%+v wrong and %d right answers, want 100 and 0", wrong, got.Requests)
		}
	})
}

func TestCancelledRunEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		for _, o := range []Options{
			{Concurrency: 2, Duration: time.Hour},
			{Rate: 0.001, Arrivals: Constant, Duration: time.Hour},
		} {
			r, err := newRun([]grpc.ClientConnInterface{takes(time.Millisecond)}, oneRequest(t), o)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := r.do(ctx, newRuntimeAlarm); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("the run ended with %v", err)
			}
		}
	})
}

func TestProgressIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var last Progress
		warm := 0
		mustLoad(t, takes(time.Millisecond), Options{
			Concurrency: 1, Warmup: time.Second, Duration: time.Second, CheckEvery: -1,
			Progress: func(p Progress) {
				if p.Warmup {
					warm++
				}
				last = p
			},
		})
		if warm < 2 || last.Elapsed != 2*time.Second || last.Total != 2*time.Second || last.Requests != 1000 {
			t.Errorf("%d reports in the warm-up, and the last is %+v", warm, last)
		}
	})
}

func TestSampleCoversAllRequests(t *testing.T) {
	r := &run{options: Options{CheckEvery: 256}}
	const distinct, n = 64, 1 << 20
	checks := map[int]int{}
	total := 0
	for seq := range n {
		if r.sampled(seq) {
			checks[seq%distinct]++
			total++
		}
	}
	if len(checks) != distinct {
		t.Errorf("%d of %d requests are ever checked", len(checks), distinct)
	}
	if want := n / 256; total < want/2 || total > want*2 {
		t.Errorf("%d of %d answers are checked, want about %d", total, n, want)
	}
}

func TestOptionsAreValidated(t *testing.T) {
	for want, o := range map[string]Options{
		"duration":    {},
		"concurrency": {Duration: time.Second, Concurrency: -1},
		"in flight":   {Duration: time.Second, Streams: 1 << 10, Window: 1 << 10},
		"rate":        {Duration: time.Second, Rate: math.Inf(1)},
		"arrivals":    {Duration: time.Second, Rate: 1, Arrivals: "bursty"},
		"need a rate": {Duration: time.Second, Arrivals: Poisson},
		"warm-up":     {Duration: time.Second, Warmup: -1},
		"drain":       {Duration: time.Second, Drain: -1},
		"samples":     {Duration: time.Second, SamplesMax: -1},
		"not between": {Duration: time.Second, Rate: math.NaN()},
	} {
		o.EnsureDefaults()
		err := o.Validate()
		if !errors.Is(err, ErrInvalidOptions) || !strings.Contains(err.Error(), want) {
			t.Errorf("options %+v: error is %v, want one with %q", o, err, want)
		}
	}
	both := Options{Concurrency: -1, Warmup: -1}
	both.EnsureDefaults()
	if err := both.Validate(); !strings.Contains(err.Error(), "concurrency") || !strings.Contains(err.Error(), "warm-up") {
		t.Errorf("of two mistakes the error names %v", err)
	}
}
