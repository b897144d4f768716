// SPDX-License-Identifier: Apache-2.0

package streams

import (
	"context"
	"errors"
	"io"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// fake is a stream whose client is the test.
type fake struct {
	grpc.ServerStream
	ctx  context.Context
	in   chan int
	sent []int
}

func (f *fake) Context() context.Context { return f.ctx }

func (f *fake) Recv() (*int, error) {
	select {
	case q, ok := <-f.in:
		if !ok {
			return nil, io.EOF
		}
		return &q, nil
	case <-f.ctx.Done():
		return nil, f.ctx.Err()
	}
}

func (f *fake) Send(a *int) error {
	if *a < 0 {
		return errors.New("cannot be sent")
	}
	f.sent = append(f.sent, *a)
	return nil
}

func double(_ context.Context, q *int) *int {
	a := 2 * *q
	return &a
}

func TestInOrder(t *testing.T) {
	var s Stopper
	f := &fake{ctx: t.Context(), in: make(chan int, 3)}
	for i := range 3 {
		f.in <- i
	}
	close(f.in)
	if err := Serve(&s, f, double); err != nil || len(f.sent) != 3 || f.sent[2] != 4 {
		t.Errorf("sent %v, %v", f.sent, err)
	}
	f = &fake{ctx: t.Context(), in: make(chan int, 1)}
	f.in <- -1
	if err := Serve(&s, f, double); err == nil {
		t.Error("a stream that cannot be sent to went on")
	}
}

// TestStop: a stream that waits ends, one that answers when it has.
func TestStop(t *testing.T) {
	var s Stopper
	idle, busy := &fake{ctx: t.Context(), in: make(chan int)}, &fake{ctx: t.Context(), in: make(chan int, 2)}
	answering, goOn := make(chan struct{}), make(chan struct{})
	idleEnded, busyEnded := make(chan error, 1), make(chan error, 1)
	go func() { idleEnded <- Serve(&s, idle, double) }()
	busy.in <- 1
	busy.in <- 2
	go func() {
		busyEnded <- Serve(&s, busy, func(ctx context.Context, q *int) *int {
			answering <- struct{}{}
			<-goOn
			return double(ctx, q)
		})
	}()
	<-answering
	s.Stop()
	s.Stop()
	if err := <-idleEnded; status.Code(err) != codes.Unavailable {
		t.Errorf("the idle stream ended with %v", err)
	}
	select {
	case err := <-busyEnded:
		t.Errorf("ended with %v before its answer", err)
	default:
	}
	// The first request is answered, the second is not begun.
	goOn <- struct{}{}
	if err := <-busyEnded; status.Code(err) != codes.Unavailable || len(busy.sent) != 1 || busy.sent[0] != 2 {
		t.Errorf("sent %v, ended with %v", busy.sent, err)
	}
	if err := Serve(&s, &fake{ctx: t.Context(), in: make(chan int)}, double); status.Code(err) != codes.Unavailable {
		t.Errorf("a stream that begins after Stop ended with %v", err)
	}
}
