// SPDX-License-Identifier: Apache-2.0

// Package streams answers the requests of a stream in their order, and ends streams
// that wait for a request when the server stops, which gRPC by itself does not do: a
// graceful stop waits for its clients.
//
// A Stopper may be used from many goroutines.
package streams

import (
	"context"
	"errors"
	"io"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Stopper ends streams. The zero value is ready.
type Stopper struct {
	once    sync.Once
	stop    sync.Once
	stopped chan struct{}
}

func (s *Stopper) done() chan struct{} {
	s.once.Do(func() { s.stopped = make(chan struct{}) })
	return s.stopped
}

// Stop ends all streams, those to come too, each after the request that it is answering.
// Their clients get Unavailable, and may ask again elsewhere what was not answered.
func (s *Stopper) Stop() { s.stop.Do(func() { close(s.done()) }) }

// Stopped is closed by Stop, for handlers that do not use Serve.
func (s *Stopper) Stopped() <-chan struct{} { return s.done() }

// errStopped is what the client of a stream gets that ends for Stop.
var errStopped = status.Error(codes.Unavailable, "the server stops")

// Serve answers the requests of a stream until its client ends it, a message cannot be
// sent, or Stop.
func Serve[Q, A any](s *Stopper, stream grpc.BidiStreamingServer[Q, A], answer func(context.Context, *Q) *A) error {
	loop := &loop[Q, A]{stream: stream, answer: answer, stopped: s.done()}
	ended := make(chan error, 1)
	// The handler has to return for a stream to end, so somebody else waits for requests.
	// It ends with the stream, which is when the handler has returned.
	go func() { ended <- loop.run() }()
	select {
	case err := <-ended:
		return err
	case <-s.done():
	}
	loop.busy.Lock() // waits until an answer under way is sent
	defer loop.busy.Unlock()
	return errStopped
}

type loop[Q, A any] struct {
	stream  grpc.BidiStreamingServer[Q, A]
	answer  func(context.Context, *Q) *A
	stopped <-chan struct{}
	busy    sync.Mutex // held while a request is answered
}

func (l *loop[Q, A]) run() error {
	for {
		q, err := l.stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := l.one(q); err != nil {
			return err
		}
	}
}

func (l *loop[Q, A]) one(q *Q) error {
	l.busy.Lock()
	defer l.busy.Unlock()
	select {
	case <-l.stopped: // the handler returns, or has returned
		return errStopped
	default:
		return l.stream.Send(l.answer(l.stream.Context(), q))
	}
}
