// SPDX-License-Identifier: Apache-2.0

package batching

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

var seedFlag = flag.Uint64("seed", 0, "run the randomised test of the core with this seed only")

// TestCoreAgainstModel takes random steps with random options in the core and in the
// model, and wants the same answers and the same batches from both, and the
// invariants of the package from the core.
func TestCoreAgainstModel(t *testing.T) {
	if *seedFlag != 0 {
		walk(t, *seedFlag, 400)
		return
	}
	base := rand.Uint64()
	t.Logf("seeds from %d", base)
	var total counters
	for i := range uint64(100) {
		total.add(walk(t, base+i, 400))
	}
	for _, r := range Reasons() {
		if total.reasons[r].Batches == 0 {
			t.Errorf("no batch in all these steps had the reason %v", r)
		}
	}
	if slices.Contains([]uint64{total.queueFull, total.deadlineMissed, total.timedOut, total.cancelled, total.delayed}, 0) {
		t.Errorf("some refusal never happened: %+v", total)
	}
}

func (c *counters) add(d counters) {
	for r := range c.reasons {
		c.reasons[r].Batches += d.reasons[r].Batches
	}
	c.queueFull += d.queueFull
	c.deadlineMissed += d.deadlineMissed
	c.timedOut += d.timedOut
	c.cancelled += d.cancelled
	c.delayed += d.delayed
}

// walk is one run of the randomised test.
func walk(t *testing.T, seed uint64, steps int) counters {
	r := rand.New(rand.NewPCG(seed, seed))
	o := randomOptions(r)
	if err := o.Validate(); err != nil {
		t.Fatalf("options of seed %d: %v", seed, err)
	}
	w := &walker{t: t, r: r, core: newCore(o, nil), twins: map[*Item]*modelItem{}}
	for i := range bucketCount {
		w.core.latency.observe(1<<i, int64(r.IntN(1000))*int64(time.Microsecond)*int64(i+1))
		w.core.latency.buckets[i].runs = 1 << 40 // beyond doubt: the model has none
	}
	w.core.latency.trust = 1 << 40
	w.model = newModel(o, w.core.latency)
	for range steps {
		w.randomStep()
		if t.Failed() {
			t.Fatalf("seed %d, options %+v", seed, o)
		}
	}
	w.drain()
	if t.Failed() {
		t.Fatalf("seed %d, options %+v", seed, o)
	}
	return w.core.counters
}

func randomOptions(r *rand.Rand) Options {
	pick := func(n int, otherwise time.Duration) time.Duration {
		if r.IntN(3) > 0 {
			return otherwise
		}
		return time.Duration(1+r.IntN(n)) * time.Millisecond
	}
	o := Options{
		MaxRows:       r.IntN(10),
		Instances:     1 + r.IntN(3),
		MaxQueueDelay: pick(5, 0),
		QueueItemsMax: 5 + r.IntN(40),
	}
	o.LatencyObjective = pick(20, 0)
	policy := func() QueuePolicy {
		return QueuePolicy{
			Action:               TimeoutAction(r.IntN(2)),
			DefaultTimeout:       pick(10, 0),
			AllowTimeoutOverride: r.IntN(2) == 0,
			MaxQueueSize:         r.IntN(2) * r.IntN(20),
		}
	}
	o.Policy = policy()
	if r.IntN(2) == 0 {
		o.PriorityLevels = 1 + r.IntN(3)
		o.DefaultPriority = 1 + r.IntN(o.PriorityLevels)
		o.LevelPolicies = map[int]QueuePolicy{1: policy()}
	} else if r.IntN(2) == 0 {
		o.PreserveOrdering = true
		o.Policy.Action = TimeoutReject
	}
	for o.MaxRows > 0 && r.IntN(2) == 0 {
		o.PreferredSizes = append(o.PreferredSizes, 1+r.IntN(o.MaxRows))
	}
	o.EnsureDefaults()
	return o
}

// walker steps the core and the model together.
type walker struct {
	t     *testing.T
	r     *rand.Rand
	core  *core
	model *model
	now   int64
	items []*Item // handed over and not answered
	twins map[*Item]*modelItem
	last  uint64 // one more than the arrival number of the last ordered answer
	over  bool
}

func (w *walker) randomStep() {
	w.now += int64(w.r.ExpFloat64() * float64(300*time.Microsecond))
	switch n := w.r.IntN(100); {
	case n < 50:
		w.arrive()
	case n < 80:
		w.finish()
	case n < 87 && len(w.items) > 0:
		w.cancel(w.items[w.r.IntN(len(w.items))])
	default:
		if at := w.core.wake(); at != never && w.r.IntN(3) > 0 {
			w.now = max(w.now, at)
		}
		w.step(&event{kind: eventTick}, nil, ReasonDelay)
	}
}

func (w *walker) arrive() {
	it := &Item{Rows: 1 + w.r.IntN(max(w.core.options.MaxRows, 1)), Group: uint64(w.r.IntN(4) / 2), Priority: w.r.IntN(5)}
	if w.r.IntN(3) == 0 {
		it.Rows = 1
	}
	if w.r.IntN(3) == 0 {
		it.Deadline = w.now + int64(w.r.IntN(20))*int64(time.Millisecond) + 1
	}
	if w.r.IntN(4) == 0 {
		it.Timeout = time.Duration(w.r.IntN(10)) * time.Millisecond
	}
	twin := &modelItem{Item: *it}
	w.twins[it], w.items = twin, append(w.items, it)
	twin.seq = w.core.seq
	w.step(&event{kind: eventArrive, item: it}, func() []*modelItem { return w.model.arrive(twin) }, ReasonIdle)
}

func (w *walker) finish() {
	running := slices.Sorted(maps.Keys(w.model.running)) // so that a seed always takes the same steps
	if len(running) == 0 {
		return
	}
	i := running[w.r.IntN(len(running))]
	w.step(&w.core.instances[i].finish, func() []*modelItem { return w.model.finish(i) }, ReasonNext)
}

func (w *walker) cancel(it *Item) {
	c := &call{err: context.Canceled}
	queued := slices.Contains(w.model.queue, w.twins[it])
	w.step(&event{kind: eventCancel, item: it, call: c}, func() []*modelItem {
		return w.model.cancel(w.twins[it], context.Canceled)
	}, ReasonDelay)
	if c.cancelled != queued {
		w.t.Errorf("cancel returned %v for an item whose being queued is %v", c.cancelled, queued)
	}
}

// drain closes the core and finishes everything.
func (w *walker) drain() {
	w.step(&event{kind: eventClose}, func() []*modelItem { w.model.closed = true; return nil }, ReasonDrain)
	w.arrive()
	for len(w.model.running) > 0 {
		w.finish()
	}
	if len(w.items) > 0 || !w.over {
		w.t.Errorf("%d items were never answered, drained is %v", len(w.items), w.over)
	}
}

// step takes one step in both, and compares.
func (w *walker) step(e *event, model func() []*modelItem, cause Reason) {
	finished := map[*Item]bool{}
	if e.kind == eventFinish {
		for _, it := range e.instance.batch {
			finished[it] = true
		}
	}
	e.at, w.model.now = w.now, w.now
	var wantAnswers []*modelItem
	if model != nil {
		wantAnswers = model()
	}
	more, wantRuns := w.model.settle(cause)
	wantAnswers = append(wantAnswers, more...)

	var out actions
	w.core.step(e, &out)
	w.compareAnswers(&out, wantAnswers)
	w.compareRuns(&out, wantRuns)
	w.check()
	if !w.core.options.PreserveOrdering {
		for it := range finished { // the shell has answered these
			w.forget(it)
		}
	}
	w.over = w.over || out.drained
}

func (w *walker) compareAnswers(out *actions, want []*modelItem) {
	var got []string
	for it := out.answered.first; it != nil; it = it.links[linkQueue].next {
		got = append(got, fmt.Sprint(it.seq, it.Err))
		if w.core.options.PreserveOrdering && (it.Err == nil || it.Started > 0) {
			if it.seq+1 < w.last {
				w.t.Errorf("B6: item %d was answered after %d", it.seq, w.last-1)
			}
			w.last = it.seq + 1
		}
		w.forget(it)
	}
	var wanted []string
	for _, it := range want {
		wanted = append(wanted, fmt.Sprint(it.seq, it.Err))
	}
	if !w.core.options.PreserveOrdering {
		slices.Sort(got)
		slices.Sort(wanted)
	}
	if !slices.Equal(got, wanted) {
		w.t.Errorf("at %v: answered %v, want %v", time.Duration(w.now), got, wanted)
	}
}

func (w *walker) compareRuns(out *actions, want []modelRun) {
	var got, wanted []string
	for inst := out.runs; inst != nil; inst = inst.nextRun {
		var seqs []uint64
		for _, it := range inst.batch {
			seqs = append(seqs, it.seq)
			if it.Group != inst.batch[0].Group || inst.rows > w.core.rowsMax {
				w.t.Errorf("B3: a batch of %d rows with groups %d and %d", inst.rows, it.Group, inst.batch[0].Group)
			}
			if it.Deadline != 0 && it.Deadline <= w.now || it.Err != nil {
				w.t.Errorf("B4: item %d runs at %d, deadline %d, error %v", it.seq, w.now, it.Deadline, it.Err)
			}
		}
		got = append(got, fmt.Sprint(inst.index, seqs, inst.batch[0].Reason))
	}
	for _, run := range want {
		var seqs []uint64
		for _, it := range run.items {
			seqs = append(seqs, it.seq)
		}
		wanted = append(wanted, fmt.Sprint(run.instance, seqs, run.reason))
	}
	slices.Sort(got)
	slices.Sort(wanted)
	if !slices.Equal(got, wanted) {
		w.t.Errorf("at %v: ran %v, want %v", time.Duration(w.now), got, wanted)
	}
}

// check holds the core's own bookkeeping against the model's.
func (w *walker) check() {
	c, m := w.core, w.model
	if c.queue.items != len(m.queue) || c.queue.rows != m.queuedRows() {
		w.t.Errorf("the core queues %d items of %d rows, the model %d of %d",
			c.queue.items, c.queue.rows, len(m.queue), m.queuedRows())
	}
	if c.queue.items > c.options.QueueItemsMax {
		w.t.Errorf("B5: %d items queued, the bound is %d", c.queue.items, c.options.QueueItemsMax)
	}
	if !slices.Equal(w.idleOf(c), m.idle) {
		w.t.Errorf("B2: idle are %v, the model has %v", w.idleOf(c), m.idle)
	}
	if at := c.wake(); at <= w.now {
		w.t.Errorf("the core asks to be woken at %d, it is %d already", at, w.now)
	}
}

func (w *walker) idleOf(c *core) (idle []int) {
	for _, inst := range c.idle {
		idle = append(idle, inst.index)
	}
	return idle
}

// forget removes an answered item; a second answer for it is an error.
func (w *walker) forget(it *Item) {
	i := slices.Index(w.items, it)
	if i < 0 {
		w.t.Errorf("B1: item %d was answered twice", it.seq)
		return
	}
	w.items = slices.Delete(w.items, i, i+1)
}
