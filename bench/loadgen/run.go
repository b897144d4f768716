// SPDX-License-Identifier: Apache-2.0

package loadgen

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/millrace-ml/millrace/bench/internal/raw"
	"github.com/millrace-ml/millrace/bench/workload"
)

// Errors that end a run before its time.
var (
	// ErrTooManyFailures says that the server refuses the load altogether; the text
	// has one of its answers.
	ErrTooManyFailures = errors.New("too many requests failed")
	// ErrNoStreams says that the server ended all streams.
	ErrNoStreams = errors.New("the server ended all streams")
)

const (
	// failuresMax ends a run, so that a server that is down is not hammered.
	failuresMax = 100_000
	// recordersMax is how many recorders the senders of a run share: enough that
	// they rarely wait for each other, few enough to stay in the caches.
	recordersMax     = 8
	progressInterval = 250 * time.Millisecond
)

// run is one load on one server.
type run struct {
	conns    []grpc.ClientConnInterface
	workload *workload.Workload
	messages []raw.Message
	options  Options

	clock     clock
	end       time.Duration // of the measured time, since the start
	recorders []*recorder
	failures  atomic.Int64
	broken    atomic.Int64 // streams that ended early
	stop      context.CancelCauseFunc
}

// Run loads a server and returns what it measured. The connections must carry
// encoded messages, as those of Dial do. Requests that failed are part of the
// result; an error says that the run did not last its time.
func Run(ctx context.Context, conns Connections, w *workload.Workload, o Options) (*Result, error) {
	interfaces := make([]grpc.ClientConnInterface, len(conns))
	for i, conn := range conns {
		interfaces[i] = conn
	}
	r, err := newRun(interfaces, w, o)
	if err != nil {
		return nil, err
	}
	return r.do(ctx, newAlarm)
}

func newRun(conns []grpc.ClientConnInterface, w *workload.Workload, o Options) (*run, error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if len(conns) == 0 || len(w.Requests) == 0 {
		return nil, fmt.Errorf("%w: %d connections and %d requests", ErrInvalidOptions, len(conns), len(w.Requests))
	}
	r := &run{conns: conns, workload: w, options: o, end: o.Warmup + o.Duration}
	for _, encoded := range w.Requests {
		r.messages = append(r.messages, raw.Message{Data: encoded})
	}
	recorders := min(r.senders(), recordersMax)
	if o.SamplesMax > 0 {
		recorders = 1
	}
	for range recorders {
		r.recorders = append(r.recorders, newRecorder(o.Warmup, r.end, o.SamplesMax))
	}
	return r, nil
}

// senders is the number of goroutines that send.
func (r *run) senders() int {
	if r.options.Stream {
		return r.options.Streams
	}
	return r.options.Concurrency
}

func (r *run) do(ctx context.Context, newAlarm func(context.Context) alarm) (*Result, error) {
	runCtx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	r.stop = stop
	r.clock = clock{start: time.Now()}
	drained := time.AfterFunc(r.end+r.options.Drain, func() { stop(nil) })
	defer drained.Stop()

	var background sync.WaitGroup
	finished := make(chan struct{})
	background.Go(func() { r.reportProgress(finished) })
	overflow, unsent := r.send(runCtx, newAlarm)
	close(finished)
	background.Wait()

	result := merge(r.recorders, r.workload.Rows)
	result.Started = r.clock.start.Add(r.options.Warmup)
	result.Overflow, result.Unsent = overflow, unsent
	return result, r.endedEarly(ctx, runCtx, result)
}

// endedEarly returns why a run did not last its time, or nil if it did.
func (r *run) endedEarly(ctx, runCtx context.Context, result *Result) error {
	err := context.Cause(ctx)
	if cause := context.Cause(runCtx); err == nil && !errors.Is(cause, context.Canceled) {
		err = cause
	}
	if err == nil {
		return nil
	}
	if example := result.ExampleFailure(); example != "" {
		return fmt.Errorf("load on model %q: %w; for example: %s", r.workload.Model, err, example)
	}
	return fmt.Errorf("load on model %q: %w", r.workload.Model, err)
}

// send starts the senders, gives them their requests and waits until they end.
func (r *run) send(ctx context.Context, newAlarm func(context.Context) alarm) (overflow, unsent int64) {
	if r.options.Rate > 0 {
		return r.sendOpen(ctx, newAlarm)
	}
	var group sync.WaitGroup
	for i := range r.senders() {
		from := &closedSource{clock: r.clock, end: r.end, seq: i, step: r.senders()}
		group.Go(func() { r.sender(ctx, i, from) })
	}
	group.Wait()
	return 0, 0
}

// sendOpen paces arrivals to the senders. Unary senders are started as they are
// needed, so that no more take turns than the load asks for.
func (r *run) sendOpen(ctx context.Context, newAlarm func(context.Context) alarm) (overflow, unsent int64) {
	var group sync.WaitGroup
	started := 0
	var work chan arrival
	start := func(first *arrival) {
		i, from := started, &openSource{first: first, rest: work}
		started++
		group.Go(func() { r.sender(ctx, i, from) })
	}
	grow := func(a arrival) bool {
		if started >= r.senders() {
			return false
		}
		start(&a)
		return true
	}
	if r.options.Stream {
		work = make(chan arrival, r.options.Streams*r.options.Window)
		for range r.options.Streams {
			start(nil)
		}
	} else {
		work = make(chan arrival)
	}
	p := &pacer{
		schedule: newSchedule(r.options.Rate, r.options.Arrivals, r.options.Seed),
		end:      r.end, clock: r.clock, alarm: newAlarm(ctx), out: work, grow: grow,
	}
	defer p.alarm.close()
	p.run(ctx)
	group.Wait()
	return p.overflow, p.unsent
}
