// SPDX-License-Identifier: Apache-2.0

package batching

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// gate is an executor whose runs end when the test lets them.
type gate struct {
	started chan []*Item
	release chan struct{}
}

func newGate() *gate {
	return &gate{started: make(chan []*Item, 100), release: make(chan struct{})}
}

func (g *gate) Execute(_ int, batch []*Item) {
	g.started <- append([]*Item(nil), batch...)
	<-g.release
}

// mailbox is an owner that keeps what it is told.
type mailbox chan *Item

func (m mailbox) ItemDone(it *Item) { m <- it }

func newBatcher(t *testing.T, o Options, e Executor) *Batcher {
	t.Helper()
	b, err := New(o, e, nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestDoRunsOnTheCallersGoroutine(t *testing.T) {
	e := executorFunc(func(_ int, batch []*Item) { panic(batch[0]) })
	b := newBatcher(t, Options{MaxRows: 4}, e)
	it := &Item{Rows: 1}
	defer func() {
		if recover() != it {
			t.Error("a lone item did not run on the goroutine of its caller")
		}
	}()
	_ = b.Do(t.Context(), it)
}

type executorFunc func(instance int, batch []*Item)

func (f executorFunc) Execute(instance int, batch []*Item) { f(instance, batch) }

func TestQueuedCallersShareTheNextBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		b := newBatcher(t, Options{MaxRows: 8}, g)
		results := make(chan error, 4)
		do := func() {
			go func() { results <- b.Do(t.Context(), &Item{Rows: 1}) }()
			synctest.Wait()
		}
		for range 4 {
			do()
		}
		if n := len(<-g.started); n != 1 {
			t.Errorf("the first batch has %d items, want 1", n)
		}
		g.release <- struct{}{}
		if next := <-g.started; len(next) != 3 || next[0].Reason != ReasonNext {
			t.Errorf("the next batch has %d items and reason %v, want 3 and next", len(next), next[0].Reason)
		}
		g.release <- struct{}{}
		for range 4 {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
		b.Close()
	})
}

func TestContextEndsWhileQueued(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		b := newBatcher(t, Options{MaxRows: 8}, g)
		running, queued := make(chan error), make(chan error)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { running <- b.Do(ctx, &Item{Rows: 1}) }()
		synctest.Wait()
		go func() { queued <- b.Do(ctx, &Item{Rows: 1}) }()
		synctest.Wait()
		cancel()
		if err := <-queued; !errors.Is(err, context.Canceled) {
			t.Errorf("the queued item ended with %v, want context.Canceled", err)
		}
		g.release <- struct{}{} // only now does the running one end
		if err := <-running; err != nil {
			t.Errorf("the running item ended with %v, want no error", err)
		}
		b.Close()
		if n := len(g.started); n != 1 {
			t.Errorf("%d batches ran, want 1", n)
		}
		if err := b.Do(ctx, &Item{Rows: 1}); !errors.Is(err, context.Canceled) {
			t.Errorf("an ended context gave %v", err)
		}
	})
}

func TestDeadlinePassesWhileQueued(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		b := newBatcher(t, Options{MaxRows: 8}, g)
		answers := make(mailbox, 3)
		for _, deadline := range []int64{0, Now() + int64(time.Second), Now() + int64(time.Hour)} {
			if err := b.Submit(&Item{Rows: 1, Deadline: deadline, Owner: answers}); err != nil {
				t.Fatal(err)
			}
		}
		start := time.Now()
		it := <-answers // no event but the timer
		if waited := time.Since(start); !errors.Is(it.Err, ErrDeadline) || waited != time.Second {
			t.Errorf("the answer was %v after %v, want ErrDeadline after 1s", it.Err, waited)
		}
		if !errors.Is(it.Err, context.DeadlineExceeded) {
			t.Error("ErrDeadline is not a context.DeadlineExceeded")
		}
		close(g.release)
		for range 2 {
			if it := <-answers; it.Err != nil {
				t.Error(it.Err)
			}
		}
		b.Close()
		if s := b.Stats(); s.DeadlineMissed != 1 || s.Reasons[ReasonNext].Rows != 1 {
			t.Errorf("stats are %+v", s)
		}
	})
}

func TestDoTakesTheDeadlineOfItsContext(t *testing.T) {
	b := newBatcher(t, Options{MaxRows: 8}, &countingExecutor{})
	defer b.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	for _, own := range []int64{0, never} {
		it := &Item{Rows: 1, Deadline: own}
		if err := b.Do(ctx, it); err != nil {
			t.Fatal(err)
		}
		if deadline, _ := ctx.Deadline(); it.Deadline != Nanos(deadline) {
			t.Errorf("the deadline is %d, want %d", it.Deadline, Nanos(deadline))
		}
	}
}

func TestQueueDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &countingExecutor{}
		b := newBatcher(t, Options{MaxRows: 8, MaxQueueDelay: time.Minute}, e)
		start := time.Now()
		var callers sync.WaitGroup
		for range 2 {
			callers.Go(func() {
				it := &Item{Rows: 2}
				if err := b.Do(t.Context(), it); err != nil || it.Reason != ReasonDelay {
					t.Errorf("the answer was %v, the reason %v", err, it.Reason)
				}
			})
		}
		callers.Wait()
		if waited := time.Since(start); waited != time.Minute || e.batches.Load() != 1 {
			t.Errorf("%d batches ran after %v, want 1 after a minute", e.batches.Load(), waited)
		}
		for range 4 { // a full batch does not wait, and the last to come leads it
			callers.Go(func() {
				if err := b.Do(t.Context(), &Item{Rows: 2}); err != nil {
					t.Error(err)
				}
			})
		}
		callers.Wait()
		if waited := time.Since(start); waited != time.Minute {
			t.Errorf("a full batch waited until %v", waited)
		}
		b.Close()
	})
}

func TestCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		b := newBatcher(t, Options{MaxRows: 8}, g)
		answers := make(mailbox, 2)
		running, queued := &Item{Rows: 1, Owner: answers}, &Item{Rows: 1, Owner: answers}
		for _, it := range []*Item{running, queued} {
			if err := b.Submit(it); err != nil {
				t.Fatal(err)
			}
		}
		if b.Cancel(running) {
			t.Error("a running item was cancelled")
		}
		if !b.Cancel(queued) || b.Cancel(queued) {
			t.Error("a queued item was not cancelled, or was twice")
		}
		if it := <-answers; it != queued || !errors.Is(it.Err, context.Canceled) {
			t.Errorf("the first answer is %+v, want the cancelled one", it)
		}
		close(g.release)
		if it := <-answers; it != running || it.Err != nil {
			t.Errorf("the second answer is %+v, want the run", it)
		}
		b.Close()
	})
}

func TestCloseRunsWhatIsQueued(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		b := newBatcher(t, Options{MaxRows: 2}, g)
		answers := make(mailbox, 6)
		for range 5 {
			if err := b.Submit(&Item{Rows: 1, Owner: answers}); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		closed := make(chan struct{})
		for range 2 {
			go func() {
				b.Close()
				closed <- struct{}{}
			}()
		}
		synctest.Wait()
		if err := b.Do(t.Context(), &Item{Rows: 1}); !errors.Is(err, ErrClosed) {
			t.Errorf("Do after Close gave %v", err)
		}
		for range 3 {
			select {
			case <-closed:
				t.Error("Close returned before the runs ended")
			default:
			}
			g.release <- struct{}{}
			synctest.Wait()
		}
		<-closed
		<-closed
		late := &Item{Rows: 1, Owner: answers}
		if err := b.Submit(late); err != nil {
			t.Fatal(err)
		}
		for range 5 {
			if it := <-answers; it.Err != nil {
				t.Error(it.Err)
			}
		}
		if it := <-answers; it != late || !errors.Is(it.Err, ErrClosed) {
			t.Errorf("Submit after Close was answered %v", it.Err)
		}
	})
}

func TestInvalidItems(t *testing.T) {
	b := newBatcher(t, Options{MaxRows: 4}, &countingExecutor{})
	defer b.Close()
	for _, rows := range []int{-1, 0, 5} {
		if err := b.Do(t.Context(), &Item{Rows: rows}); !errors.Is(err, ErrInvalidItem) {
			t.Errorf("%d rows gave %v", rows, err)
		}
		if err := b.Submit(&Item{Rows: rows, Owner: make(mailbox)}); !errors.Is(err, ErrInvalidItem) {
			t.Errorf("%d rows gave %v", rows, err)
		}
	}
	if err := b.Submit(&Item{Rows: 1}); !errors.Is(err, ErrInvalidItem) {
		t.Errorf("no owner gave %v", err)
	}
}

// TestOrderedAnswers has items of one stream run on many instances at once.
func TestOrderedAnswers(t *testing.T) {
	e := executorFunc(func(_ int, batch []*Item) {
		for range rand.IntN(200) {
			rand.Uint64()
		}
	})
	b := newBatcher(t, Options{MaxRows: 2, Instances: 4, PreserveOrdering: true}, e)
	const items = 2000
	answers := make(mailbox, items)
	all := make([]Item, items)
	for i := range all {
		all[i] = Item{Rows: 1, Owner: answers}
		if err := b.Submit(&all[i]); err != nil {
			t.Fatal(err)
		}
		if i%10 == 0 {
			if err := b.Do(t.Context(), &Item{Rows: 1}); err != nil {
				t.Error(err)
			}
		}
	}
	b.Close()
	if len(answers) != items {
		t.Fatalf("%d answers for %d items", len(answers), items)
	}
	last := int64(-1)
	for range items {
		it := <-answers
		if int64(it.seq) < last {
			t.Fatalf("item %d was answered after %d", it.seq, last)
		}
		last = int64(it.seq)
	}
}

// TestLeader prefers the one that is awake, and then the first that is waited for.
func TestLeader(t *testing.T) {
	async, first, second := &Item{}, &Item{sync: true}, &Item{sync: true}
	inst := &instance{batch: []*Item{async, first, second}}
	if inst.leader(second) != second || inst.leader(nil) != first || inst.leader(&Item{}) != first {
		t.Error("the wrong item leads")
	}
	if inst.batch = inst.batch[:1]; inst.leader(nil) != nil {
		t.Error("an item leads that nobody waits for")
	}
}

// TestRelieve leaves events in the inbox for the goroutine that takes over.
func TestRelieve(t *testing.T) {
	b := newBatcher(t, Options{MaxRows: 4}, &countingExecutor{})
	answers := make(mailbox, 1)
	it := &Item{Rows: 1, Owner: answers}
	it.arrival = event{kind: eventArrive, item: it}
	b.inbox.push(&it.arrival)
	var out actions
	b.emptyInbox(0, &out)
	if got := <-answers; got != it || out.runs != nil {
		t.Errorf("the event was not passed on")
	}
	b.Close()
}

func TestInboxKeepsOrder(t *testing.T) {
	var in inbox
	events := make([]event, 5)
	for i := range events {
		in.push(&events[i])
	}
	e := in.takeAll()
	for i := range events {
		if e != &events[i] {
			t.Fatalf("event %d is out of order", i)
		}
		e = e.next
	}
	if e != nil || in.takeAll() != nil {
		t.Error("the inbox is not empty")
	}
}

// TestStress mixes everything, then wants each item answered once, none run that was
// refused, and never two batches on an instance.
func TestStress(t *testing.T) {
	for _, o := range []Options{
		{MaxRows: 8, Instances: 2, QueueItemsMax: 40},
		{MaxRows: 8, MaxQueueDelay: 20 * time.Microsecond, PreferredSizes: []int{4}},
		{MaxRows: 4, Instances: 3, PreserveOrdering: true},
		{PriorityLevels: 2, DefaultPriority: 2, Policy: QueuePolicy{DefaultTimeout: 50 * time.Microsecond, Action: TimeoutDelay}},
	} {
		e := &strictExecutor{}
		b := newBatcher(t, o, e)
		s := &stress{t: t, b: b}
		var callers sync.WaitGroup
		for i := range 8 {
			callers.Go(func() { s.doer(i) })
			callers.Go(func() { s.submitter(i) })
		}
		callers.Go(func() {
			for s.answered.Load() < 2000 {
				b.Stats()
			}
			b.Close()
		})
		callers.Wait()
		if got, want := e.ran.Load(), s.succeeded.Load(); got != want {
			t.Errorf("%+v: %d items were run, %d have succeeded", o, got, want)
		}
		if s.succeeded.Load() == 0 || s.answered.Load() != s.sent.Load() || e.overlaps.Load() > 0 {
			t.Errorf("%+v: %d sent, %d answered, %d succeeded, %d overlaps", o,
				s.sent.Load(), s.answered.Load(), s.succeeded.Load(), e.overlaps.Load())
		}
	}
}

// strictExecutor notices two batches on one instance.
type strictExecutor struct {
	busy          [4]atomic.Bool
	ran, overlaps atomic.Int64
}

func (e *strictExecutor) Execute(instance int, batch []*Item) {
	if !e.busy[instance].CompareAndSwap(false, true) {
		e.overlaps.Add(1)
	}
	e.ran.Add(int64(len(batch)))
	e.busy[instance].Store(false)
}

type stress struct {
	t                         *testing.T
	b                         *Batcher
	sent, answered, succeeded atomic.Int64
}

// ItemDone counts an answer.
func (s *stress) ItemDone(it *Item) {
	s.answered.Add(1)
	if it.Err == nil {
		s.succeeded.Add(1)
	}
}

// doer calls Do until the batcher is closed, now and then with a context that ends.
func (s *stress) doer(n int) {
	it := &Item{}
	for i := 0; !errors.Is(it.Err, ErrClosed); i++ {
		ctx, cancel := context.WithCancel(context.Background())
		if i%5 == 0 {
			ctx, cancel = context.WithTimeout(context.Background(), time.Duration(20+i%50)*time.Microsecond)
		}
		if i%7 == 0 {
			go cancel()
		}
		it.Rows, it.Group, it.Priority, it.Deadline = 1+n%3, uint64(i%2), n%3, 0
		s.sent.Add(1)
		if err := s.b.Do(ctx, it); err != it.Err {
			s.t.Errorf("Do returned %v, the item has %v", err, it.Err)
		}
		s.ItemDone(it)
		cancel()
	}
}

// submitter keeps a few items in flight and cancels some of them.
func (s *stress) submitter(n int) {
	home := make(mailbox, 4)
	for range cap(home) {
		home <- &Item{}
	}
	for open, i := true, 0; open; i++ {
		it := <-home
		open = !errors.Is(it.Err, ErrClosed)
		it.Rows, it.Group, it.Priority, it.Owner = 1+n%3, uint64(i%2), n%3, both{s, home}
		s.sent.Add(1)
		if err := s.b.Submit(it); err != nil {
			s.t.Error(err)
		}
		if n == 0 {
			s.b.Cancel(it)
		}
	}
	for range cap(home) {
		<-home
	}
}

// both counts an item and sends it home.
type both struct {
	*stress
	home mailbox
}

func (o both) ItemDone(it *Item) {
	o.stress.ItemDone(it)
	o.home <- it
}

func TestDoDoesNotAllocate(t *testing.T) {
	b := newBatcher(t, Options{MaxRows: 4}, &countingExecutor{})
	defer b.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	it := &Item{Rows: 1}
	if n := testing.AllocsPerRun(1000, func() {
		if err := b.Do(ctx, it); err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("Do allocates %v times", n)
	}
	answers := make(mailbox, 8)
	var items [8]Item
	if n := testing.AllocsPerRun(1000, func() {
		for i := range items {
			items[i].Rows, items[i].Owner, items[i].Deadline = 1, answers, Now()+int64(time.Hour)
			if err := b.Submit(&items[i]); err != nil {
				t.Error(err)
			}
		}
		for range items {
			<-answers
		}
	}); n != 0 {
		t.Errorf("eight Submits allocate %v times", n)
	}
}
