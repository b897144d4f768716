// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/millrace-ml/millrace/proto/inference"
	millracev1 "github.com/millrace-ml/millrace/proto/millrace/v1"
)

// scripted stands in for a connection: each call fails with the next of errs, nil
// succeeds, and so does what comes after them.
type scripted struct {
	millracev1.DecisionsClient
	millracev1.FeaturesClient
	inference.GRPCInferenceServiceClient
	errs  []error
	calls atomic.Int64
	mu    sync.Mutex // guards keys and deadlines
	keys  []string
	// hang makes that many of the first calls wait until their context ends.
	hang      int64
	deadlines []time.Duration
}

func (s *scripted) Close() error { return nil }

func (s *scripted) step(ctx context.Context) error {
	n := s.calls.Add(1)
	if deadline, has := ctx.Deadline(); has {
		s.mu.Lock()
		s.deadlines = append(s.deadlines, time.Until(deadline))
		s.mu.Unlock()
	}
	if n <= s.hang {
		<-ctx.Done()
		return status.FromContextError(ctx.Err()).Err()
	}
	if int(n) <= len(s.errs) {
		return s.errs[n-1]
	}
	return nil
}

func (s *scripted) Decide(ctx context.Context, q *millracev1.DecideRequest, _ ...grpc.CallOption) (*millracev1.DecideResponse, error) {
	s.mu.Lock()
	s.keys = append(s.keys, q.IdempotencyKey)
	s.mu.Unlock()
	return &millracev1.DecideResponse{Decision: "approve"}, s.step(ctx)
}

func (s *scripted) Push(ctx context.Context, q *millracev1.PushRequest, _ ...grpc.CallOption) (*millracev1.PushResponse, error) {
	return &millracev1.PushResponse{Accepted: 1}, s.step(ctx)
}

func (s *scripted) Get(ctx context.Context, q *millracev1.GetRequest, _ ...grpc.CallOption) (*millracev1.GetResponse, error) {
	return &millracev1.GetResponse{Rows: 1}, s.step(ctx)
}

func (s *scripted) ModelInfer(ctx context.Context, q *inference.ModelInferRequest, _ ...grpc.CallOption) (*inference.ModelInferResponse, error) {
	return &inference.ModelInferResponse{ModelName: q.ModelName}, s.step(ctx)
}

// scriptedClient waits the longest time between attempts.
func scriptedClient(t *testing.T, s *scripted, o Options) *Client {
	t.Helper()
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		t.Fatal(err)
	}
	c := newClient([]lane{{conn: s, decisions: s, features: s, inference: s}}, o)
	c.jitter = func(bound time.Duration) time.Duration { return bound - 1 }
	return c
}

var (
	away    = status.Error(codes.Unavailable, "the server stops")
	full    = status.Error(codes.ResourceExhausted, "the log's queue is full")
	tooBig  = status.Error(codes.ResourceExhausted, "grpc: received message larger than max (9 vs. 8)")
	wrong   = status.Error(codes.InvalidArgument, "invalid request: facts.amount: the decision d takes no such fact")
	timeout = status.Error(codes.DeadlineExceeded, "too late")
)

// TestRepeats tells which calls are repeated after which errors.
func TestRepeats(t *testing.T) {
	decide := func(q *DecideRequest) func(context.Context, *Client) error {
		return func(ctx context.Context, c *Client) error { _, err := c.Decide(ctx, q); return err }
	}
	push := func(e *Events) func(context.Context, *Client) error {
		e.Ints("id", 1)
		return func(ctx context.Context, c *Client) error { _, err := c.Push(ctx, "payments", e); return err }
	}
	get := func(ctx context.Context, c *Client) error { _, err := c.Get(ctx, NewGet("fraud")); return err }
	infer := func(ctx context.Context, c *Client) error { _, err := c.Infer(ctx, NewInfer("m")); return err }
	for name, test := range map[string]struct {
		call  func(context.Context, *Client) error
		errs  []error
		calls int64
		code  codes.Code
	}{
		"decide":                   {decide(NewDecide("d")), []error{away, full}, 3, codes.OK},
		"decide to the end":        {decide(NewDecide("d")), []error{away, full, away, away}, 3, codes.Unavailable},
		"decide with a key":        {decide(&DecideRequest{Key: "k", Keys: KeyNone}), []error{away}, 2, codes.OK},
		"decide, key of policy":    {decide(&DecideRequest{Keys: KeyOfPolicy}), []error{away}, 2, codes.OK},
		"decide without a key":     {decide(&DecideRequest{Keys: KeyNone}), []error{away}, 1, codes.Unavailable},
		"decide, wrong":            {decide(NewDecide("d")), []error{wrong}, 1, codes.InvalidArgument},
		"decide, too large":        {decide(NewDecide("d")), []error{tooBig}, 1, codes.ResourceExhausted},
		"decide, late":             {decide(NewDecide("d")), []error{timeout}, 1, codes.DeadlineExceeded},
		"decide, away, then wrong": {decide(NewDecide("d")), []error{away, wrong}, 2, codes.InvalidArgument},
		"push":                     {push(&Events{IDs: []string{"a"}}), []error{full}, 2, codes.OK},
		"push, id field":           {push(&Events{IDField: "id"}), []error{full}, 2, codes.OK},
		"push, other id field":     {push(&Events{IDField: "number"}), []error{full}, 1, codes.ResourceExhausted},
		"push without ids":         {push(&Events{}), []error{away}, 1, codes.Unavailable},
		"push, an id is missing":   {push(&Events{IDs: []string{""}}), []error{away}, 1, codes.Unavailable},
		"get":                      {get, []error{away, away}, 3, codes.OK},
		"infer":                    {infer, []error{full, away}, 3, codes.OK},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &scripted{errs: test.errs}
				c := scriptedClient(t, s, Options{})
				defer c.Close()
				err := test.call(t.Context(), c)
				if status.Code(err) != test.code || s.calls.Load() != test.calls {
					t.Errorf("%d calls, error %v; want %d, %v", s.calls.Load(), err, test.calls, test.code)
				}
				var failure *Error
				if errors.As(err, &failure) != (err != nil) || err != nil && failure.Attempts != int(test.calls) {
					t.Errorf("the error %#v does not say %d attempts", err, test.calls)
				}
			})
		})
	}
}

func TestKeysAreMadeOncePerCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{errs: []error{away, away}}
		c := scriptedClient(t, s, Options{})
		defer c.Close()
		q := NewDecide("d").Int("customer_id", 7)
		for range 2 {
			d, err := c.Decide(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			if d.Key != s.keys[len(s.keys)-1] || d.Attempts != 3-2*min(1, len(s.keys)-3) {
				t.Errorf("the decision has the key %q and %d attempts", d.Key, d.Attempts)
			}
		}
		if k := s.keys; len(k) != 4 || k[0] == "" || k[0] != k[1] || k[1] != k[2] || k[2] == k[3] {
			t.Errorf("keys %q: want one for three attempts, and another for the second call", k)
		}
	})
}

// TestWaits holds the waits to their bounds, which double, and to the deadline.
func TestWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{errs: slices.Repeat([]error{away}, 100)}
		c := scriptedClient(t, s, Options{Attempts: 5, Backoff: 20 * time.Millisecond, BackoffMax: 50 * time.Millisecond})
		defer c.Close()
		began := time.Now()
		if _, err := c.Decide(t.Context(), NewDecide("d")); status.Code(err) != codes.Unavailable {
			t.Error(err)
		}
		if took, want := time.Since(began), (20+40+50+50)*time.Millisecond; took != want || s.calls.Load() != 5 {
			t.Errorf("%d calls in %v, want 5 in %v", s.calls.Load(), took, want)
		}
		if s.deadlines[0] != time.Second || s.deadlines[4] != time.Second-160*time.Millisecond {
			t.Errorf("attempts had %v left, want the default deadline over all of them", s.deadlines)
		}

		ctx, cancel := context.WithTimeout(t.Context(), 15*time.Millisecond)
		defer cancel()
		began = time.Now()
		if _, err := c.Decide(ctx, NewDecide("d")); status.Code(err) != codes.Unavailable || time.Since(began) != 0 {
			t.Errorf("after %v: %v; want the server's error at once, as a wait would pass the deadline", time.Since(began), err)
		}
	})
}

func TestJitterIsFull(t *testing.T) {
	c := newClient(nil, Options{})
	defer c.cancel()
	low, high := time.Hour, time.Duration(0)
	for range 1000 {
		d := c.jitter(time.Second)
		low, high = min(low, d), max(high, d)
	}
	if low < 0 || high >= time.Second || low > 100*time.Millisecond || high < 900*time.Millisecond {
		t.Errorf("waits from %v to %v, want them all over [0, 1s)", low, high)
	}
}

// TestBudget holds repeats to a share of the calls, however ill the server is.
func TestBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const calls = 1000
		s := &scripted{errs: slices.Repeat([]error{away}, 10*calls)}
		c := scriptedClient(t, s, Options{Attempts: 10, RetryShare: 0.1})
		defer c.Close()
		for range calls {
			if _, err := c.Get(t.Context(), NewGet("fraud")); err == nil {
				t.Fatal("no error")
			}
		}
		if repeats := s.calls.Load() - calls; repeats > calls/10+budgetBurst || repeats < calls/10 {
			t.Errorf("%d repeats of %d calls, want a tenth and a burst of %d", repeats, calls, budgetBurst)
		}
	})
}

func TestHedge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{hang: 1}
		c := scriptedClient(t, s, Options{Hedge: 10 * time.Millisecond})
		defer c.Close()
		began := time.Now()
		d, err := c.Decide(t.Context(), NewDecide("d"))
		if err != nil || d.Attempts != 2 || time.Since(began) != 10*time.Millisecond || s.keys[0] != s.keys[1] {
			t.Errorf("%+v %v after %v, keys %q; want the second request's answer, with the same key", d, err, time.Since(began), s.keys)
		}
		synctest.Wait() // the request that lost has ended, or the bubble would not

		s.calls.Store(0)
		if _, err := c.Decide(t.Context(), &DecideRequest{Keys: KeyNone}); !errors.Is(err, context.DeadlineExceeded) || s.calls.Load() != 1 {
			t.Errorf("without a key: %d calls, %v; want one that is late", s.calls.Load(), err)
		}
	})
}

func TestCloseEndsWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{errs: slices.Repeat([]error{away}, 10)}
		c := scriptedClient(t, s, Options{Backoff: time.Hour})
		result := make(chan error, 1)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Hour)
		defer cancel()
		go func() { _, err := c.Get(ctx, NewGet("fraud")); result <- err }()
		synctest.Wait()
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if err := <-result; status.Code(err) != codes.Unavailable || s.calls.Load() != 1 {
			t.Errorf("%d calls, %v; want the last error", s.calls.Load(), err)
		}
		if err := c.Close(); !errors.Is(err, ErrClosed) {
			t.Errorf("a second Close returned %v", err)
		}
	})
}

func TestErrors(t *testing.T) {
	for _, test := range []struct {
		err       error
		field     string
		retryable bool
	}{
		{wrong, "facts.amount", false},
		{status.Error(codes.InvalidArgument, "invalid request: facts: invalid fact: amount is below 0"), "facts.amount", false},
		{status.Error(codes.InvalidArgument, "invalid request: columns.amount[3]: 1.5 is not a whole number"), "columns.amount[3]", false},
		{status.Error(codes.InvalidArgument, "source payments: invalid request: ids: 3 of them for 4 events"), "ids", false},
		{status.Error(codes.InvalidArgument, "invalid request: idempotency_key: 300 bytes, at most 256"), "idempotency_key", false},
		{status.Error(codes.NotFound, `decision "x": no such decision`), "", false},
		{away, "", true},
		{context.DeadlineExceeded, "", false},
	} {
		e := newError("decide", test.err)
		if e.Field != test.field || e.Retryable != test.retryable {
			t.Errorf("%v: field %q, retryable %v", test.err, e.Field, e.Retryable)
		}
	}
	late := newError("get", status.Error(codes.DeadlineExceeded, "late"))
	if !errors.Is(late, context.DeadlineExceeded) || errors.Is(late, context.Canceled) {
		t.Error("errors.Is does not find the deadline, or finds what is not there")
	}
	if e := newError("push", ErrClosed); !errors.Is(e, ErrClosed) || e.Code != codes.Canceled {
		t.Errorf("a closed client gives %#v", e)
	}
}

func TestOptionsReportAll(t *testing.T) {
	o := Options{Connections: 65, Attempts: 11, RetryShare: 0.5, Keepalive: time.Second, Backoff: time.Second, BackoffMax: 1, MessageBytesMax: 1, Hedge: -1}
	_, err := Dial(t.Context(), "localhost:1", o)
	var all interface{ Unwrap() []error }
	if !errors.As(err, &all) || len(all.Unwrap()) != 7 {
		t.Errorf("seven mistakes gave %v", err)
	}
}
