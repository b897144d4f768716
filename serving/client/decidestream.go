// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	millracev1 "github.com/millrace-ml/millrace/proto/millrace/v1"
)

// inFlightMax is the most requests that may be in flight on a stream.
const inFlightMax = 1 << 16

// DecideStream asks for decisions over one stream: many requests are in flight at once,
// and cost less each than calls of their own. The server answers them one after another,
// so a slow one holds up those behind it; several streams go side by side.
type DecideStream struct {
	client *Client
	ctx    context.Context
	cancel context.CancelFunc
	// slots bounds what is in flight, over all wires.
	slots chan struct{}
	mu    struct {
		sync.Mutex
		wire   *decideWire
		closed bool
	}
}

// DecideStream opens a stream with at most inFlight requests in flight, at most 65,536; 0
// is 256. It ends with ctx or Close. A stream that breaks is opened again by the next
// request.
func (c *Client) DecideStream(ctx context.Context, inFlight int) (*DecideStream, error) {
	if inFlight == 0 {
		inFlight = 256
	}
	if inFlight < 0 || inFlight > inFlightMax {
		return nil, invalidRequest("decide stream", "", "%d requests in flight: the bound is between 1 and %d", inFlight, inFlightMax)
	}
	if c.ctx.Err() != nil {
		return nil, ErrClosed
	}
	s := &DecideStream{client: c, slots: make(chan struct{}, inFlight)}
	s.ctx, s.cancel = c.within(ctx)
	return s, nil
}

// Pending is a decision that was asked for.
type Pending struct {
	message  *millracev1.DecideRequest
	ctx      context.Context
	cancel   context.CancelFunc
	done     chan struct{}
	decision *Decision
	err      error
}

// Wait returns the decision, or the error of the request. It is called once.
func (p *Pending) Wait() (*Decision, error) {
	defer p.cancel()
	select {
	case <-p.done:
	case <-p.ctx.Done():
		select {
		case <-p.done: // an answer that is there is given, however late it is asked for
		default:
			return nil, newError("decide", p.ctx.Err())
		}
	}
	if p.err != nil {
		return nil, p.err
	}
	p.decision.Key, p.decision.Attempts = p.message.IdempotencyKey, 1
	return p.decision, nil
}

// Start sends a request, once, and returns before its answer; it waits while the stream is
// full. The deadline of ctx, or the default, bounds the answer too.
func (s *DecideStream) Start(ctx context.Context, q *DecideRequest) (*Pending, error) {
	p, err := s.start(ctx, q.message())
	if err != nil {
		return nil, newError("decide", err)
	}
	return p, nil
}

// Decide is Client.Decide over the stream: repeats, when they are safe, go over the stream
// that is then open.
func (s *DecideStream) Decide(ctx context.Context, q *DecideRequest) (*Decision, error) {
	message, plan := q.message(), q.plan(s.client)
	plan.hedge = false // behind the first in the same queue it could not be faster
	d, attempts, err := call(ctx, s.client, plan, func(ctx context.Context, _ *lane) (*Decision, error) {
		p, err := s.start(ctx, message)
		if err != nil {
			return nil, err
		}
		return p.Wait()
	})
	if err != nil {
		return nil, err
	}
	d.Attempts = attempts
	return d, nil
}

func (s *DecideStream) start(ctx context.Context, message *millracev1.DecideRequest) (*Pending, error) {
	p := &Pending{message: message, done: make(chan struct{})}
	p.ctx, p.cancel = bound(ctx, s.client.options.DecideTimeout)
	select {
	case s.slots <- struct{}{}:
	case <-p.ctx.Done():
		defer p.cancel()
		return nil, p.ctx.Err()
	case <-s.ctx.Done():
		defer p.cancel()
		return nil, s.ended()
	}
	if err := s.enqueue(p); err != nil {
		<-s.slots
		p.cancel()
		return nil, err
	}
	return p, nil
}

// ended is why the stream takes no requests, nil if it does.
func (s *DecideStream) ended() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.endedLocked()
}

func (s *DecideStream) endedLocked() error {
	if s.mu.closed || s.client.ctx.Err() != nil {
		return ErrClosed
	}
	return s.ctx.Err()
}

// enqueue hands a request to the wire that is open, or to a new one. The wire's queues
// have room for all slots, so it never waits.
func (s *DecideStream) enqueue(p *Pending) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.endedLocked(); err != nil {
		return err
	}
	if s.mu.wire == nil {
		w, err := s.open()
		if err != nil {
			return err
		}
		s.mu.wire = w
	}
	s.mu.wire.queue <- p
	return nil
}

// Close waits for the answers to what was started, at most Options.DecideTimeout, and ends
// the stream. A second Close returns ErrClosed.
func (s *DecideStream) Close() error {
	s.mu.Lock()
	if s.mu.closed {
		s.mu.Unlock()
		return ErrClosed
	}
	s.mu.closed = true
	w := s.mu.wire
	s.mu.wire = nil
	if w != nil {
		close(w.queue)
	}
	s.mu.Unlock()
	if w != nil {
		limit := time.AfterFunc(s.client.options.DecideTimeout, s.cancel)
		<-w.ended
		limit.Stop()
	}
	s.cancel()
	return nil
}

// decideWire is one gRPC stream and its two goroutines.
type decideWire struct {
	owner  *DecideStream
	ctx    context.Context
	cancel context.CancelFunc
	queue  chan *Pending // closed by Close or by the end of the wire, under the owner's mu
	sent   chan *Pending // in the order of the answers
	ended  chan struct{} // everything was answered
}

type decideCall = grpc.BidiStreamingClient[millracev1.DecideRequest, millracev1.DecideResponse]

// open starts a wire; s.mu must be held.
func (s *DecideStream) open() (*decideWire, error) {
	if err := s.client.track(1); err != nil {
		return nil, err
	}
	w := &decideWire{
		owner: s, queue: make(chan *Pending, cap(s.slots)), sent: make(chan *Pending, cap(s.slots)), ended: make(chan struct{}),
	}
	w.ctx, w.cancel = context.WithCancel(s.ctx)
	go w.run()
	return w, nil
}

// run sends what is queued, until the queue is closed and all of it was answered.
func (w *decideWire) run() {
	defer w.owner.client.streams.Done()
	defer close(w.ended)
	defer w.cancel()
	stream, err := w.owner.client.lane().decisions.StreamDecide(w.ctx)
	if err != nil {
		w.fail(err)
		return
	}
	received := make(chan struct{})
	go func() {
		defer close(received)
		w.receive(stream)
	}()
	for p := range w.queue {
		if err := p.ctx.Err(); err != nil { // nobody waits any more; it need not be sent
			w.settle(p, nil, err)
			continue
		}
		w.sent <- p
		_ = stream.Send(p.message) // receive learns why, and answers
	}
	_ = stream.CloseSend() // likewise
	close(w.sent)
	<-received
}

// receive matches the answers with the requests, which the server answers in order, until
// the stream ends.
func (w *decideWire) receive(stream decideCall) {
	for {
		answer, err := stream.Recv()
		if err == nil {
			err = w.match(answer)
		}
		if err == nil {
			continue
		}
		if errors.Is(err, io.EOF) {
			err = &Error{Code: codes.Unavailable, Message: "the server ended the stream", Retryable: true}
		}
		w.cancel() // a Send that waits for the server's window ends
		w.fail(err)
		for p := range w.sent {
			w.settle(p, nil, err)
		}
		return
	}
}

// match settles the oldest request with an answer. An error ends the stream, whose answers
// are no longer known to belong to its requests.
func (w *decideWire) match(answer *millracev1.DecideResponse) error {
	select {
	case p, open := <-w.sent:
		if !open {
			break
		}
		if answer.RequestId != p.message.RequestId {
			err := malformed("decide", "it is that to request %q in place of %q", answer.RequestId, p.message.RequestId)
			w.settle(p, nil, err)
			return err
		}
		d, err := newDecision(answer)
		w.settle(p, d, err)
		return nil
	default:
	}
	return malformed("decide", "it answers no request")
}

// fail takes the wire away from its stream and fails what is queued.
func (w *decideWire) fail(err error) {
	s := w.owner
	s.mu.Lock()
	if s.mu.wire == w {
		s.mu.wire = nil
		close(w.queue)
	}
	s.mu.Unlock()
	for p := range w.queue {
		w.settle(p, nil, err)
	}
}

func (w *decideWire) settle(p *Pending, d *Decision, err error) {
	p.decision = d
	if err != nil {
		// The client's end reaches the stream's context a moment later.
		if w.owner.ctx.Err() != nil || w.owner.client.ctx.Err() != nil {
			err = fmt.Errorf("the stream was ended: %w", w.owner.ended())
		}
		p.err = newError("decide", err)
	}
	close(p.done)
	<-w.owner.slots
}
