// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	millracev1 "github.com/millrace-ml/millrace/proto/millrace/v1"
)

// decideMany asks for n decisions from some goroutines and checks that each gets its own.
func decideMany(t *testing.T, s *DecideStream, goroutines, n int) {
	t.Helper()
	var running sync.WaitGroup
	for g := range goroutines {
		running.Go(func() {
			for i := g; i < n; i += goroutines {
				d, err := s.Decide(t.Context(), NewDecide("d").Float("score", float64(i)))
				if err != nil {
					t.Errorf("request %d: %v", i, err)
				} else if d.Score != float64(i) || d.Key != d.PredictionID {
					t.Errorf("request %d got the answer to %v", i, d.Score)
				}
			}
		})
	}
	running.Wait()
}

func TestDecideStream(t *testing.T) {
	f := &faulty{decide: echo}
	c, _ := start(t, f, Options{})
	s, err := c.DecideStream(t.Context(), 8)
	if err != nil {
		t.Fatal(err)
	}
	decideMany(t, s, 16, 2000)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var pending []*Pending
	for i := range 8 {
		p, err := s.Start(ctx, NewDecide("d").Float("score", float64(i)))
		if err != nil {
			t.Fatal(err)
		}
		pending = append(pending, p)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	cancel() // too late: the answers are there
	for i, p := range pending {
		if d, err := p.Wait(); err != nil || d.Score != float64(i) {
			t.Errorf("request %d: %v %v", i, d, err)
		}
	}
	if _, err := s.Decide(t.Context(), NewDecide("d")); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if n := f.streams.Load(); n != 1 {
		t.Errorf("%d streams for all requests, want 1", n)
	}
}

// TestDecideStreamRefusals checks that a refused request fails alone.
func TestDecideStreamRefusals(t *testing.T) {
	c, _ := start(t, &faulty{decide: func(q *millracev1.DecideRequest) (*millracev1.DecideResponse, error) {
		if q.Facts[0].Value.GetNumber() < 0 {
			return nil, wrong
		}
		return echo(q)
	}}, Options{})
	s, err := c.DecideStream(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for i := range 10 {
		score := float64(i)
		if i%2 == 1 {
			score = -score
		}
		_, err := s.Decide(t.Context(), NewDecide("d").Float("score", score))
		var failure *Error
		if (i%2 == 1) != (errors.As(err, &failure) && failure.Code == codes.InvalidArgument && failure.Field == "facts.amount") {
			t.Errorf("request %d: %v", i, err)
		}
	}
}

// TestDecideStreamBreaks checks that requests with keys survive streams that end under
// them, and that those without are not sent twice.
func TestDecideStreamBreaks(t *testing.T) {
	f := &faulty{decide: echo, cut: 60}
	c, _ := start(t, f, Options{RetryShare: 0.2})
	c.budget.tokens.Store(1 << 40) // the budget has a test of its own
	c.budget.share = 0
	s, err := c.DecideStream(t.Context(), 4)
	if err != nil {
		t.Fatal(err)
	}
	decideMany(t, s, 4, 400)
	if n := f.streams.Load(); n < 400/60 {
		t.Errorf("%d streams, want at least %d", n, 400/60)
	}
	failed := 0
	for range 130 { // two streams end in that many
		_, err := s.Decide(t.Context(), &DecideRequest{Decision: "d", Keys: KeyNone, facts: NewDecide("").Float("score", 1).facts})
		var failure *Error
		if err == nil {
			continue
		}
		if failed++; !errors.As(err, &failure) || failure.Code != codes.Unavailable || failure.Attempts != 1 {
			t.Errorf("without a key: %v", err)
		}
	}
	if failed == 0 {
		t.Error("no request without a key failed, though streams broke under them")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// TestDecideStreamIsBounded checks that a full stream makes callers wait until their
// deadline, and that closing the client fails what is in flight.
func TestDecideStreamIsBounded(t *testing.T) {
	release := make(chan struct{})
	c, _ := start(t, &faulty{decide: func(q *millracev1.DecideRequest) (*millracev1.DecideResponse, error) {
		<-release
		return echo(q)
	}}, Options{})
	defer close(release)
	s, err := c.DecideStream(t.Context(), 2)
	if err != nil {
		t.Fatal(err)
	}
	var pending []*Pending
	for range 2 {
		p, err := s.Start(t.Context(), NewDecide("d").Float("score", 1))
		if err != nil {
			t.Fatal(err)
		}
		pending = append(pending, p)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := s.Start(ctx, NewDecide("d")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a third request: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	for _, p := range pending {
		if _, err := p.Wait(); !errors.Is(err, ErrClosed) {
			t.Errorf("in flight at Close: %v", err)
		}
	}
	if _, err := c.DecideStream(t.Context(), 2); !errors.Is(err, ErrClosed) {
		t.Errorf("a stream of a closed client: %v", err)
	}
	if _, err := c.DecideStream(t.Context(), inFlightMax+1); status.Code(err) != codes.InvalidArgument {
		t.Errorf("a stream with too many in flight: %v", err)
	}
}

// ledger is a source that counts each event once by its id.
type ledger struct {
	mu     sync.Mutex
	seen   map[int64]int
	pushes int
}

func (l *ledger) push(q *millracev1.PushRequest) (*millracev1.PushResponse, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pushes++; l.seen == nil {
		l.seen = map[int64]int{}
	}
	answer := &millracev1.PushResponse{}
	for row, id := range q.Columns[0].Integers {
		if id%100 == 99 {
			answer.Errors = append(answer.Errors, &millracev1.PushError{Row: uint32(row), Field: fmt.Sprintf("columns.amount[%d]", row), Message: "is below 0"})
			continue
		}
		answer.Accepted++
		if l.seen[id]++; l.seen[id] > 1 {
			answer.Duplicates++
		}
	}
	return answer, nil
}

// outcomes counts what Done is told.
type outcomes struct {
	mu                     sync.Mutex
	byID                   map[int64]int
	taken, refused, failed int
	last                   error
}

func (o *outcomes) done(e *Event, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.byID == nil {
		o.byID = map[int64]int{}
	}
	o.byID[e.fields[0].bits]++
	var refused *EventError
	switch {
	case err == nil:
		o.taken++
	case errors.As(err, &refused):
		o.refused++
	default:
		o.failed, o.last = o.failed+1, err
	}
}

func payment(id int) *Event {
	return NewEvent().Int("id", int64(id)).Float("amount", 12.5).Text("channel", "web").Bool("known", id%2 == 0)
}

func pushMany(t *testing.T, s *PushStream, goroutines, n int) {
	t.Helper()
	var running sync.WaitGroup
	for g := range goroutines {
		running.Go(func() {
			for i := g; i < n; i += goroutines {
				if err := s.Push(t.Context(), payment(i)); err != nil {
					t.Errorf("event %d: %v", i, err)
				}
			}
		})
	}
	running.Wait()
}

func TestPushStream(t *testing.T) {
	const events = 5000
	l, o := &ledger{}, &outcomes{}
	c, _ := start(t, &faulty{push: l.push}, Options{})
	s, err := c.PushStream(t.Context(), "payments", PushStreamOptions{BatchEvents: 64, QueueEvents: 256, Done: o.done})
	if err != nil {
		t.Fatal(err)
	}
	pushMany(t, s, 8, events)
	if err := s.Flush(t.Context()); err != nil {
		t.Error(err)
	}
	want := PushStats{Accepted: events * 99 / 100, Failed: events / 100}
	if s.Stats() != want || o.taken != events*99/100 || o.refused != events/100 || len(o.byID) != events {
		t.Errorf("after Flush %+v, %d outcomes, taken %d, refused %d; want %+v", s.Stats(), len(o.byID), o.taken, o.refused, want)
	}
	if l.pushes < events/64 || l.pushes > events/4 {
		t.Errorf("%d batches for %d events", l.pushes, events)
	}
	if err := s.Push(t.Context(), NewEvent().Int("id", 1).Int("id", 2)); status.Code(err) != codes.InvalidArgument {
		t.Errorf("a field given twice: %v", err)
	}
	if err := errors.Join(s.Push(t.Context(), payment(1)), s.Close()); err != nil {
		t.Error(err)
	}
	if s.Stats().Duplicates != 1 || o.byID[1] != 2 {
		t.Errorf("Close did not wait: %+v", s.Stats())
	}
	if err := s.Push(t.Context(), payment(2)); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// TestPushStreamBreaks ends streams with batches unacknowledged: with ids all events
// arrive, without they fail, and none has two outcomes.
func TestPushStreamBreaks(t *testing.T) {
	const events = 3000
	for _, ids := range []bool{true, false} {
		t.Run("ids="+strconv.FormatBool(ids), func(t *testing.T) {
			l, o := &ledger{}, &outcomes{}
			f := &faulty{push: l.push, cut: 5}
			c, _ := start(t, f, Options{})
			options := PushStreamOptions{BatchEvents: 50, Linger: time.Hour, Done: o.done}
			if ids {
				options.IDField = "id"
			}
			s, err := c.PushStream(t.Context(), "payments", options)
			if err != nil {
				t.Fatal(err)
			}
			pushMany(t, s, 4, events)
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			if n := f.streams.Load(); n < 2 {
				t.Errorf("%d streams: none broke", n)
			}
			for id, n := range o.byID {
				if n != 1 {
					t.Errorf("event %d has %d outcomes", id, n)
				}
			}
			if o.taken+o.refused+o.failed != events || ids != (o.failed == 0) {
				t.Errorf("%d taken, %d refused, %d failed of %d; the last failed by %v", o.taken, o.refused, o.failed, events, o.last)
			}
			var failure *Error
			if !ids && (!errors.As(o.last, &failure) || failure.Retryable || failure.Code != codes.Unavailable) {
				t.Errorf("events without ids failed by %#v", o.last)
			}
		})
	}
}

// TestPushStreamRefused checks that a batch that is refused as a whole is asked about by
// a call of its own, whose code says what is wrong.
func TestPushStreamRefused(t *testing.T) {
	var refusals atomic.Int64
	l, o := &ledger{}, &outcomes{}
	c, _ := start(t, &faulty{push: func(q *millracev1.PushRequest) (*millracev1.PushResponse, error) {
		if q.Source != "payments" {
			return nil, status.Error(codes.NotFound, "source x: not defined")
		}
		if refusals.Add(1) <= 3 {
			return nil, full
		}
		return l.push(q)
	}}, Options{})
	for source, want := range map[string]codes.Code{"payments": codes.OK, "x": codes.NotFound} {
		*o = outcomes{}
		s, err := c.PushStream(t.Context(), source, PushStreamOptions{IDField: "id", Done: o.done})
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(s.Push(t.Context(), payment(1)), s.Close()); err != nil {
			t.Error(err)
		}
		if status.Code(o.last) != want || len(o.byID) != 1 {
			t.Errorf("source %s: %v, want %v", source, o.last, want)
		}
	}
}

// TestPushStreamIsBounded checks that a full queue makes Push wait, and that the end of
// the stream's context fails what is queued and leaves nothing running.
func TestPushStreamIsBounded(t *testing.T) {
	release := make(chan struct{})
	o := &outcomes{}
	c, _ := start(t, &faulty{push: func(*millracev1.PushRequest) (*millracev1.PushResponse, error) {
		<-release
		return nil, away
	}}, Options{})
	defer close(release)
	ctx, cancel := context.WithCancel(t.Context())
	s, err := c.PushStream(ctx, "payments", PushStreamOptions{BatchEvents: 2, QueueEvents: 4, InFlight: 1, IDField: "id", Done: o.done})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		if err := s.Push(t.Context(), payment(i)); err != nil {
			t.Fatal(err)
		}
	}
	short, cancelShort := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancelShort()
	if err := s.Push(short, payment(4)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a fifth event: %v", err)
	}
	cancel()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if o.failed != 4 || !errors.Is(o.last, context.Canceled) {
		t.Errorf("%d of 4 events failed, by %v", o.failed, o.last)
	}
	if err := s.Push(t.Context(), payment(5)); err == nil {
		t.Error("a stream that ended took an event")
	}
}

// TestPushStreamHangs checks that a server that never acknowledges is given up after the
// time limit of a push.
func TestPushStreamHangs(t *testing.T) {
	release := make(chan struct{})
	o := &outcomes{}
	c, _ := start(t, &faulty{push: func(*millracev1.PushRequest) (*millracev1.PushResponse, error) {
		<-release
		return nil, away
	}}, Options{PushTimeout: 20 * time.Millisecond})
	defer close(release)
	s, err := c.PushStream(t.Context(), "payments", PushStreamOptions{Done: o.done})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Push(t.Context(), payment(1)), s.Close()); err != nil {
		t.Error(err)
	}
	if o.failed != 1 || !errors.Is(o.last, context.DeadlineExceeded) {
		t.Errorf("%d events failed, by %v", o.failed, o.last)
	}
}

// TestEventKinds checks that an event of other kinds fails alone, and that fields left
// out are null.
func TestEventKinds(t *testing.T) {
	events := []*Event{
		NewEvent().Int("id", 1).Null("note"), NewEvent().Int("id", 2).Text("note", "x").Float("amount", 2),
		NewEvent().Text("id", "3"), NewEvent().Float("amount", 4).Int("id", 4).Bool("known", true),
	}
	m, good, bad := encodeEvents("payments", events, true)
	var failure *Error
	if len(good) != 3 || len(bad) != 1 || bad[0].event != events[2] || !errors.As(bad[0].err, &failure) || failure.Field != "columns.id" {
		t.Fatalf("good %v, bad %v", good, bad)
	}
	want := "id [1 2 4] [] [] [] []; note [] [] [ x ] [] [0 2]; amount [] [0 2 4] [] [] [0]; known [] [] [] [false false true] [0 1]; "
	got := ""
	for _, c := range m.Columns {
		got += fmt.Sprintln(c.Name, c.Integers, c.Numbers, c.Texts, c.Bools, c.Nulls)
		got = got[:len(got)-1] + "; "
	}
	if got != want || !m.NoWait || m.Ids != nil {
		t.Errorf("columns %s\nwant %s", got, want)
	}
}
