// SPDX-License-Identifier: Apache-2.0

package serving

import (
	"context"
	"errors"
	"unsafe"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/millrace-ml/millrace/batching"
	"github.com/millrace-ml/millrace/serving/stats"
)

// prepare resolves a decoded request: its model, its data, its place in the queue.
// On an error the request may be released at once.
func (s *Server) prepare(ctx context.Context, r *request) error {
	if r.decodeErr != nil {
		return r.decodeErr
	}
	if !s.accepting.Load() {
		return s.refusal()
	}
	version, err := s.repository.Acquire(textOf(r.modelName), textOf(r.version))
	if err != nil {
		return err
	}
	m := version.Attachment.(*servedModel)
	r.acquired, r.model = version, m
	r.received = batching.Now()
	if m.decoupled && !r.stream {
		return &Error{codes.Unimplemented, "ModelInfer RPC doesn't support models with decoupled transaction policy"}
	}
	return r.resolve(ctx)
}

// resolve checks the request against its model and gives it its place in the queue.
func (r *request) resolve(ctx context.Context) error {
	if err := r.check(r.model); err != nil {
		r.model.stats.RecordFailure(stats.Other, batching.Now()-r.received)
		return err
	}
	r.Owner = r
	r.Priority = int(min(r.params.priority, 1<<31))
	r.Timeout = timeoutOf(r.params.timeoutMicros)
	if deadline, ok := ctx.Deadline(); ok {
		r.Deadline = batching.Nanos(deadline)
	}
	return nil
}

// textOf views bytes of a message as a string, for lookups that do not keep it.
func textOf(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// infer runs one request to its answer: r.reply or r.values on success.
func (s *Server) infer(ctx context.Context, r *request) error {
	if err := s.prepare(ctx, r); err != nil {
		return err
	}
	if err := r.model.batcher.Do(ctx, &r.Item); err != nil {
		return r.failed(err)
	}
	return nil
}

// failed counts a failure of the queue or the run, and puts it in the protocol's
// words.
func (r *request) failed(err error) error {
	reason := stats.Other
	var execution *executionError
	switch {
	case errors.Is(err, context.Canceled):
		reason = stats.Canceled
	case errors.As(err, &execution):
		reason, err = stats.Backend, execution.err
	case errors.Is(err, batching.ErrQueueFull):
		reason, err = stats.Rejected, &Error{codes.Unavailable, r.prefix() + batching.ErrQueueFull.Error()}
	case errors.Is(err, batching.ErrTimeout), errors.Is(err, batching.ErrDeadline), errors.Is(err, context.DeadlineExceeded):
		reason = stats.Rejected
	case errors.Is(err, batching.ErrClosed):
		err = &Error{codes.Unavailable, r.prefix() + "Server is stopping, scheduler for model has stopped accepting new inference requests"}
	}
	r.model.stats.RecordFailure(reason, batching.Now()-r.received)
	return err
}

// refusal is why no request is accepted at all.
func (s *Server) refusal() error {
	select {
	case <-s.ready:
		return errShuttingDown
	default:
		return errNotReady
	}
}

var errNotReady = &Error{codes.Unavailable, "Server not ready"}

var errShuttingDown = &Error{codes.Unavailable, "GRPC server is shutting down and has stopped accepting new requests."}

// modelInfer handles the unary ModelInfer call. It stands in for the generated
// handler, so that the request is decoded into a pooled object and the answer is
// the encoded reply. The codec releases the request when it sends the reply.
func modelInfer(srv any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	s := srv.(*inferenceService).server
	r := newRequest()
	if err := decode(r); err != nil {
		r.release()
		return nil, err
	}
	if err := s.infer(ctx, r); err != nil {
		e := toError(err)
		r.release()
		return nil, e
	}
	return r, nil
}
