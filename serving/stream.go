// SPDX-License-Identifier: Apache-2.0

package serving

import (
	"context"
	"errors"
	"io"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/millrace-ml/millrace/batching"
)

// modelStreamInfer handles ModelStreamInfer: many requests in flight on one
// stream, answered in the order they came. Two goroutines serve a stream: one
// receives, checks and queues; the handler's own sends. Between them stands a
// bounded channel of requests in order of arrival. When it is full nothing more is
// received, and the transport's flow control slows the client.
//
// Requests to decoupled models run beside that order, each on a goroutine of its
// own, at most decoupledInFlightMax a stream.
func modelStreamInfer(srv any, grpcStream grpc.ServerStream) error {
	s := srv.(*inferenceService).server
	st := &stream{
		server:    s,
		grpc:      grpcStream,
		ctx:       grpcStream.Context(),
		inOrder:   make(chan *request, s.limits.StreamInFlight),
		decoupled: make(chan struct{}, decoupledInFlightMax),
		strict:    wantsStatusErrors(grpcStream.Context()),
	}
	return st.serve()
}

const decoupledInFlightMax = 64

// stream is the state of one ModelStreamInfer call.
type stream struct {
	server  *Server
	grpc    grpc.ServerStream
	ctx     context.Context
	inOrder chan *request
	// receiveErr is written before inOrder is closed and read after.
	receiveErr error

	decoupled chan struct{}  // a token per decoupled request in flight
	running   sync.WaitGroup // decoupled requests in flight

	// strict: the client asked for errors as the status of the stream.
	strict bool
	send   struct {
		sync.Mutex
		err error // why nothing more can be sent
	}
}

// wantsStatusErrors reads the metadata by which a client asks that an error ends
// the stream with its real code, instead of travelling in band.
func wantsStatusErrors(ctx context.Context) bool {
	md, ok := metadata.FromIncomingContext(ctx)
	if !ok {
		return false
	}
	values := md.Get("triton_grpc_error")
	return len(values) > 0 && values[0] == "true"
}

// serve sends until the receiver has ended and all its requests are answered, or
// until nothing more can be sent. Returning from the handler breaks the stream, so
// that the receiver ends a moment later in that case.
//
// When the server stops, a stream that has nothing left to answer ends: its client
// may keep it open for days.
func (st *stream) serve() error {
	go st.receive()
	for {
		r, err := st.next()
		if err != nil {
			go st.abandon()
			st.awaitDecoupled()
			return err
		}
		if r == nil {
			if st.receiveErr != nil {
				return st.receiveErr
			}
			return st.sendError()
		}
		if !st.await(r) {
			st.abandon(r)
			return st.ctx.Err()
		}
		if err := st.answer(r); err != nil {
			go st.abandon()
			return err
		}
	}
}

// next takes the next request in order, nil when there will be none. Requests that came
// before a stop come before it here, too: they are answered.
func (st *stream) next() (*request, error) {
	select {
	case r := <-st.inOrder:
		return r, nil
	case <-st.server.stopping:
	}
	select {
	case r := <-st.inOrder:
		return r, nil
	default:
		return nil, errShuttingDown
	}
}

// abandon ends what is left of a stream whose client has gone: requests that wait in
// the queue leave it without running, and those that run are awaited, because the
// batcher owns them until they are done. The receiver ends with the stream, so that
// this does too.
func (st *stream) abandon(left ...*request) {
	for _, r := range left {
		r.cancel()
	}
	for r := range st.inOrder {
		r.cancel()
		left = append(left, r)
	}
	for _, r := range left {
		<-r.ready
		r.settle()
		r.release()
	}
}

// cancel takes a request out of its queue, if it is in one.
func (r *request) cancel() {
	if r.outcome == nil {
		r.model.batcher.Cancel(&r.Item)
	}
}

// receive takes requests off the stream until the client closes it or it breaks.
// It closes the order when nobody can fail into it any more.
func (st *stream) receive() {
	defer func() {
		st.running.Wait()
		close(st.inOrder)
	}()
	for {
		r := newRequest()
		if err := st.grpc.RecvMsg(r); err != nil {
			r.release()
			if !errors.Is(err, io.EOF) {
				st.receiveErr = err
			}
			return
		}
		r.stream = true
		st.start(r)
	}
}

// start queues a request, or notes why it cannot be. A request takes its place in
// the order before it is queued, because its answer may come at any time then.
func (st *stream) start(r *request) {
	if err := st.server.prepare(st.ctx, r); err != nil {
		r.outcome = toError(err)
		r.ready <- struct{}{}
		st.inOrder <- r
		return
	}
	if r.model.decoupled {
		st.startDecoupled(r)
		return
	}
	st.inOrder <- r
	if err := r.model.batcher.Submit(&r.Item); err != nil {
		r.Err = err
		r.ready <- struct{}{}
	}
}

// ItemDone implements batching.Owner for streamed requests: it wakes the sender.
func (r *request) ItemDone(*batching.Item) { r.ready <- struct{}{} }

// await waits until the request is done. It reports false when the client goes
// before that.
func (st *stream) await(r *request) bool {
	select {
	case <-r.ready:
	default:
		select {
		case <-r.ready:
		case <-st.ctx.Done():
			return false
		}
	}
	r.settle()
	return true
}

// settle counts and words the failure of a request that is done.
func (r *request) settle() {
	if r.outcome == nil && r.Err != nil {
		r.outcome = toError(r.failed(r.Err))
	}
}

// answer sends the reply or the failure of a request that is done, and releases
// it. It reports an error when the stream has to end.
func (st *stream) answer(r *request) error {
	if r.outcome == nil {
		return st.sendMessage(r)
	}
	defer r.release()
	if st.strict {
		return st.endSending(r.outcome)
	}
	return st.sendMessage(failureOf(r))
}

// failureOf makes the in-band answer of a failed request.
func failureOf(r *request) *request {
	var head []byte
	if r.model != nil {
		head = r.model.head
	} else {
		head = appendTextField(nil, replyModelName, r.modelName)
		head = appendTextField(head, replyVersion, r.version)
	}
	failure := newRequest()
	failure.reply = encodeStreamError(r.outcome.Text, head, r.id)
	return failure
}

// sendMessage sends an answered request; the codec releases it. Answers of
// decoupled requests come from several goroutines, so that sending takes turns.
func (st *stream) sendMessage(r *request) error {
	st.send.Lock()
	defer st.send.Unlock()
	if st.send.err != nil {
		r.release()
		return st.send.err
	}
	st.send.err = st.grpc.SendMsg(r)
	return st.send.err
}

// endSending keeps decoupled requests that still run from sending after the handler
// has returned.
func (st *stream) endSending(err error) error {
	st.send.Lock()
	defer st.send.Unlock()
	if st.send.err == nil {
		st.send.err = err
	}
	return st.send.err
}

func (st *stream) sendError() error {
	st.send.Lock()
	defer st.send.Unlock()
	return st.send.err
}
