// SPDX-License-Identifier: Apache-2.0

package client

import (
	"cmp"
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	millracev1 "github.com/millrace-ml/millrace/proto/millrace/v1"
)

// PushStreamOptions configure a PushStream. The zero value is ready.
type PushStreamOptions struct {
	// BatchEvents are sent at once; default 512, at most 100,000.
	BatchEvents int
	// Linger is how long an event waits for others before they are sent; default 5 ms.
	Linger time.Duration
	// QueueEvents bounds the events that have no outcome yet; default 16,384, at most
	// 1,048,576. A Push beyond it waits.
	QueueEvents int
	// InFlight bounds the batches that are sent and not acknowledged; default 8, at most 64.
	InFlight int
	// IDField is the id field of the source, if it has one. What was in flight on a stream
	// that broke is sent again only where all events of the batch have ids.
	IDField string
	// NoWait takes the server's acknowledgement when events are readable, before they are
	// durable.
	NoWait bool
	// Done is told the outcome of every event, once, in the order of the events but for
	// those that never were sent: nil if it was taken. An *EventError says why the server
	// refused it; an *Error why it is not known to have been taken. It is called by one
	// goroutine at a time, and must neither block nor close the stream. It may be nil.
	Done func(*Event, error)
}

const (
	batchEventsMax     = 100_000
	queueEventsMax     = 1 << 20
	batchesInFlightMax = 64
)

func (o *PushStreamOptions) ensureDefaults() {
	defaultTo(&o.BatchEvents, 512)
	defaultTo(&o.Linger, 5*time.Millisecond)
	defaultTo(&o.QueueEvents, 1<<14)
	defaultTo(&o.InFlight, 8)
}

func (o *PushStreamOptions) validate() error {
	var problems []error
	for _, b := range []struct {
		name       string
		value, max int
	}{{"batch events", o.BatchEvents, batchEventsMax}, {"queue events", o.QueueEvents, queueEventsMax}, {"in flight", o.InFlight, batchesInFlightMax}} {
		if b.value < 1 || b.value > b.max {
			problems = append(problems, invalidRequest("push stream", "", "%s: %d is not between 1 and %d", b.name, b.value, b.max))
		}
	}
	if o.Linger < 0 {
		problems = append(problems, invalidRequest("push stream", "", "linger: %v is negative", o.Linger))
	}
	return errors.Join(problems...)
}

// PushStream sends the events of a source in batches over one stream.
//
//	Push ─► queue ─► batches ─► sent ─► Done
//	      bounded  size, linger   └── stream broke: again by Client.Push, if they have ids
type PushStream struct {
	client   *Client
	source   string
	options  PushStreamOptions
	ctx      context.Context
	cancel   context.CancelFunc
	slots    chan struct{} // one for each event without outcome
	in       chan pushItem
	batches  chan *pushBatch
	finished chan struct{}
	done     sync.Mutex // held while Done is called
	counts   struct{ accepted, duplicates, failed atomic.Int64 }
	mu       struct {
		sync.RWMutex
		stopped, closed bool
	}
}

// PushStats count the outcomes of events.
type PushStats struct {
	// Accepted events were taken, Duplicates among them known already; Failed ones were
	// refused, or are not known to have been taken.
	Accepted, Duplicates, Failed int64
}

// pushItem is an event, or a flush that waits for those before it.
type pushItem struct {
	event *Event
	flush chan struct{}
}

// pushBatch is what is sent at once, or a flush.
type pushBatch struct {
	events  []*Event
	message *millracev1.PushRequest
	safe    bool
	flush   chan struct{}
}

// PushStream opens a stream to a source. It ends with ctx, which fails the events without
// outcome, or with Close, which waits for them.
func (c *Client) PushStream(ctx context.Context, source string, o PushStreamOptions) (*PushStream, error) {
	o.ensureDefaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	if err := c.track(2); err != nil {
		return nil, err
	}
	s := &PushStream{
		client: c, source: source, options: o, slots: make(chan struct{}, o.QueueEvents),
		in: make(chan pushItem, o.QueueEvents), batches: make(chan *pushBatch), finished: make(chan struct{}),
	}
	s.ctx, s.cancel = c.within(ctx)
	context.AfterFunc(s.ctx, s.stop) // what is queued then fails
	go s.collect()
	go s.send()
	return s, nil
}

// Push queues an event, which then belongs to the stream until its outcome. It waits while
// the queue is full. An error means that the event was not queued.
func (s *PushStream) Push(ctx context.Context, e *Event) error {
	if err := e.check(); err != nil {
		return err
	}
	select {
	case s.slots <- struct{}{}:
	case <-ctx.Done():
		return newError("push", ctx.Err())
	case <-s.ctx.Done():
		return s.ended()
	}
	if err := s.enqueue(pushItem{event: e}); err != nil {
		<-s.slots
		return err
	}
	return nil
}

func (s *PushStream) enqueue(item pushItem) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.endedLocked(); err != nil {
		return err
	}
	s.in <- item // collect takes from it until it is closed
	return nil
}

// ended is why the stream takes no events, nil if it does.
func (s *PushStream) ended() error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.endedLocked()
}

// endedLocked needs s.mu to be held. Only the end of the stream's context stops it before
// it is closed.
func (s *PushStream) endedLocked() error {
	switch {
	case s.mu.closed || s.client.ctx.Err() != nil:
		return ErrClosed
	case s.ctx.Err() != nil:
		return newError("push", s.ctx.Err())
	}
	return nil
}

// Flush waits until all events pushed before have their outcome.
func (s *PushStream) Flush(ctx context.Context) error {
	flush := make(chan struct{})
	if err := s.enqueue(pushItem{flush: flush}); err != nil {
		return err
	}
	select {
	case <-flush:
		return nil
	case <-ctx.Done():
		return newError("push", ctx.Err())
	}
}

// Close waits until every event has its outcome, and ends the stream. A second Close
// returns ErrClosed.
func (s *PushStream) Close() error {
	s.mu.Lock()
	closed := s.mu.closed
	s.mu.closed = true
	s.mu.Unlock()
	if closed {
		return ErrClosed
	}
	s.stop()
	<-s.finished
	s.cancel()
	return nil
}

// stop takes no more events.
func (s *PushStream) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.mu.stopped {
		s.mu.stopped = true
		close(s.in)
	}
}

// Stats reads the counters.
func (s *PushStream) Stats() PushStats {
	return PushStats{Accepted: s.counts.accepted.Load(), Duplicates: s.counts.duplicates.Load(), Failed: s.counts.failed.Load()}
}

// settle gives an event its outcome.
func (s *PushStream) settle(e *Event, err error) {
	if err != nil {
		s.counts.failed.Add(1)
	}
	<-s.slots
	if s.options.Done != nil {
		s.done.Lock()
		defer s.done.Unlock()
		s.options.Done(e, err)
	}
}

func (s *PushStream) settleAll(b *pushBatch, result *PushResult, err error) {
	if b.flush != nil {
		close(b.flush)
		return
	}
	if err != nil {
		for _, e := range b.events {
			s.settle(e, err)
		}
		return
	}
	s.counts.accepted.Add(int64(result.Accepted))
	s.counts.duplicates.Add(int64(result.Duplicates))
	refused := make([]*EventError, len(b.events))
	for i := range result.Refused {
		refused[result.Refused[i].Row] = &result.Refused[i]
	}
	for i, e := range b.events {
		if refused[i] != nil {
			s.settle(e, refused[i])
			continue
		}
		s.settle(e, nil)
	}
}

// collect makes batches until the queue is closed.
func (s *PushStream) collect() {
	defer s.client.streams.Done()
	defer close(s.batches)
	for item := range s.in {
		open := true
		var events []*Event
		if item.event != nil {
			events, item, open = s.fill(item.event)
			s.hand(events)
		}
		if item.flush != nil {
			s.batches <- &pushBatch{flush: item.flush}
		}
		if !open {
			return
		}
	}
}

// fill collects a batch that begins with an event: until it is full, the linger is over, a
// flush comes, which it returns, or the queue is closed.
func (s *PushStream) fill(first *Event) (events []*Event, flush pushItem, open bool) {
	events = append(events, first)
	timer := time.NewTimer(s.options.Linger)
	defer timer.Stop()
	for len(events) < s.options.BatchEvents {
		select {
		case item, open := <-s.in:
			if item.event == nil {
				return events, item, open
			}
			events = append(events, item.event)
		case <-timer.C:
			return events, pushItem{}, true
		}
	}
	return events, pushItem{}, true
}

// hand makes a batch of events and hands it to send.
func (s *PushStream) hand(events []*Event) {
	message, good, bad := encodeEvents(s.source, events, s.options.NoWait)
	for _, b := range bad {
		s.settle(b.event, b.err)
	}
	if len(good) == 0 {
		return
	}
	b := &pushBatch{events: good, message: message, safe: true}
	for _, e := range good {
		b.safe = b.safe && e.identified(s.options.IDField)
	}
	s.batches <- b
}

// send sends the batches over a stream, which it opens again when it broke.
func (s *PushStream) send() {
	defer s.client.streams.Done()
	defer close(s.finished)
	var w *pushWire
	for b := range s.batches {
		if w != nil && w.ctx.Err() != nil {
			w.finish() // before anything overtakes what was in flight on it
			w = nil
		}
		if w == nil {
			var err error
			if w, err = s.open(); err != nil {
				s.again(b, err, true)
				continue
			}
		}
		w.sent <- b
		if b.message != nil {
			_ = w.stream.Send(b.message) // receive learns why
		}
	}
	if w != nil {
		w.finish()
	}
}

// pushWire is one gRPC stream. Its goroutine ends with finish.
type pushWire struct {
	owner    *PushStream
	stream   grpc.BidiStreamingClient[millracev1.PushRequest, millracev1.PushResponse]
	ctx      context.Context
	cancel   context.CancelCauseFunc
	sent     chan *pushBatch
	received chan struct{}
}

func (s *PushStream) open() (*pushWire, error) {
	w := &pushWire{owner: s, sent: make(chan *pushBatch, s.options.InFlight), received: make(chan struct{})}
	w.ctx, w.cancel = context.WithCancelCause(s.ctx)
	var err error
	if w.stream, err = s.client.lane().features.StreamPush(w.ctx, s.client.options.authorized()...); err != nil {
		w.cancel(nil)
		return nil, err
	}
	go w.receive()
	return w, nil
}

// finish waits until all that was sent has its outcome.
func (w *pushWire) finish() {
	_ = w.stream.CloseSend() // receive learns why
	close(w.sent)
	<-w.received
	w.cancel(nil)
}

// receive matches the acknowledgements with the batches. When the stream breaks, or one
// takes longer than the time limit of a push, it sends what was in flight again.
func (w *pushWire) receive() {
	defer close(w.received)
	var broke error
	for b := range w.sent {
		if b.flush != nil {
			close(b.flush)
			continue
		}
		if broke != nil {
			w.owner.again(b, broke, false)
			continue
		}
		answer, err := w.recv()
		if err != nil {
			broke = err
			w.cancel(nil) // a Send that waits for the server's window ends
			w.owner.again(b, broke, false)
			continue
		}
		if answer.Error != "" {
			// The text says why, but not whether it may pass; a call of its own does.
			w.owner.again(b, errorOf("push", codes.Unknown, answer.Error), false)
			continue
		}
		result, err := newPushResult(answer, len(b.events))
		w.owner.settleAll(b, result, err)
	}
}

// recv is the next acknowledgement, within the time limit of a push.
func (w *pushWire) recv() (*millracev1.PushResponse, error) {
	limit := time.AfterFunc(w.owner.client.options.PushTimeout, func() { w.cancel(context.DeadlineExceeded) })
	defer limit.Stop()
	answer, err := w.stream.Recv()
	switch {
	case err == nil:
		return answer, nil
	case context.Cause(w.ctx) == context.DeadlineExceeded:
		return nil, context.DeadlineExceeded
	case errors.Is(err, io.EOF):
		return nil, &Error{Code: codes.Unavailable, Message: "the server ended the stream", Retryable: true}
	}
	return nil, err
}

// again sends a batch by a call of its own, which is repeated as calls are: where its
// events have ids, or where it never was sent.
func (s *PushStream) again(b *pushBatch, cause error, unsent bool) {
	if b.flush != nil {
		close(b.flush)
		return
	}
	failure := newError("push", cause)
	// The client's end reaches the stream's context a moment later.
	ended := cmp.Or(s.ctx.Err(), s.client.ctx.Err())
	switch {
	case ended != nil:
		s.settleAll(b, nil, newError("push", ended))
	case !b.safe && !unsent:
		failure.Message = "the events have no ids, so they are not sent again: " + failure.Message
		failure.Retryable = false
		s.settleAll(b, nil, failure)
	default:
		result, err := s.client.push(s.ctx, b.message, b.safe, len(b.events))
		s.settleAll(b, result, err)
	}
}
