// SPDX-License-Identifier: Apache-2.0

package batching

import "math"

// event is something that happened, and a node of the inbox. Arrivals and ends of
// runs are embedded in the item and the instance they are about.
type event struct {
	next *event
	kind eventKind
	// at is when it happened.
	at       int64
	item     *Item     // eventArrive, eventCancel
	instance *instance // eventFinish
	call     *call     // eventCancel, eventStats, eventClose
}

type eventKind uint8

const (
	eventArrive eventKind = iota // an item was handed over
	eventCancel                  // an item's caller no longer wants it
	eventFinish                  // an instance is done with its batch
	eventTick                    // a time the core asked to be woken at has come
	eventClose                   // no more items will be taken
	eventStats                   // somebody wants the numbers
)

// call is what an event asks for and is answered.
type call struct {
	err       error // eventCancel: why
	cancelled bool  // eventCancel: the item left the queue
	stats     Stats // eventStats
	done      chan struct{}
}

// actions is what the shell has to do after steps. Both lists run through their
// members, so that any number of actions costs no allocation.
type actions struct {
	answered list      // items to give back to their callers, in this order
	runs     *instance // instances to run their batch, linked by nextRun, in any order
	drained  bool      // closed, and nothing is left
}

// instance is one place where batches run.
type instance struct {
	index   int
	batch   []*Item
	rows    int
	started int64
	nextRun *instance

	finish event
	// lead tells the instance's worker to run the batch; nil before the first time.
	lead chan struct{}
}

// core is the policy. Its state changes by step alone.
type core struct {
	options    Options
	rowsMax    int // rows of a batch; 1 where the model does not batch
	rowsDue    int // fewer queued rows than this cannot end a wait for company
	queue      queue
	arrivals   list // all unanswered items, kept with PreserveOrdering only
	unanswered int  // their number
	latency    latencies
	counters   counters
	instances  []*instance
	idle       []*instance // a stack, so that the one with the warmest caches is next
	taken      []*Item     // scratch of pick
	now        int64
	seq        uint64
	closed     bool
	drained    bool // closed and empty, and the shell was told
}

// newCore makes a core for valid options.
func newCore(o Options, seed []Observation) *core {
	c := &core{
		options:  o,
		rowsMax:  max(o.MaxRows, 1),
		queue:    newQueue(&o),
		arrivals: list{kind: linkArrival},
		latency:  newLatencies(seed),
		now:      math.MinInt64,
	}
	c.rowsDue = c.rowsMax
	for _, size := range o.PreferredSizes {
		c.rowsDue = min(c.rowsDue, size)
	}
	for i := range o.Instances {
		inst := &instance{index: i}
		inst.finish = event{kind: eventFinish, instance: inst}
		c.instances = append(c.instances, inst)
	}
	for i := range c.instances {
		c.idle = append(c.idle, c.instances[len(c.instances)-1-i])
	}
	return c
}

// step brings the core to the time of an event and adds what is to be done to out.
// Time that runs backwards counts as standing still.
func (c *core) step(e *event, out *actions) {
	c.now = max(c.now, e.at)
	cause := c.apply(e, out)
	if c.queue.items > 0 {
		c.expire(out)
		c.dispatch(cause, out)
		c.missDeadlines(out)
	}
	if c.closed && !c.drained && c.queue.items == 0 && len(c.idle) == len(c.instances) {
		c.drained, out.drained = true, true
	}
}

// apply changes the state by the event itself, and returns the reason for a
// dispatch that follows from nothing else.
func (c *core) apply(e *event, out *actions) (cause Reason) {
	switch e.kind {
	case eventArrive:
		c.arrive(e.item, out)
		return ReasonIdle
	case eventFinish:
		c.finish(e.instance, out)
		return ReasonNext
	case eventClose:
		c.closed = true
		return ReasonDrain
	case eventCancel:
		e.call.cancelled = c.cancel(e.item, e.call.err, out)
	case eventStats:
		e.call.stats = c.stats()
	}
	return ReasonDelay
}

// arrive queues an item or refuses it.
func (c *core) arrive(it *Item, out *actions) {
	c.enrol(it)
	if err := c.admit(it); err != nil {
		it.Err, it.state = err, stateOutside
		out.answered.pushBack(it)
		return
	}
	it.state = stateQueued
	if c.options.PreserveOrdering {
		c.arrivals.pushBack(it)
		c.unanswered++
	}
	c.queue.add(it, c.times(it))
}

// enrol fills in what the core keeps of an item.
func (c *core) enrol(it *Item) {
	it.Enqueued, it.Started, it.Reason, it.Err = c.now, 0, reasonNone, nil
	it.seq, it.probing = c.seq, false
	c.seq++
	it.size = 1
	if c.options.MaxRows > 0 {
		it.size = it.Rows
	}
	it.level = c.options.DefaultPriority - 1
	if it.Priority >= 1 && it.Priority <= c.options.PriorityLevels {
		it.level = it.Priority - 1
	}
}

// admit says why an item cannot be queued.
func (c *core) admit(it *Item) error {
	level := &c.queue.levels[it.level]
	switch {
	case c.closed:
		return ErrClosed
	case level.policy.MaxQueueSize > 0 && level.held >= level.policy.MaxQueueSize,
		max(c.queue.items, c.unanswered) >= c.options.QueueItemsMax:
		c.counters.queueFull++
		return ErrQueueFull
	}
	return nil
}

// finish learns from a run and frees its instance.
func (c *core) finish(inst *instance, out *actions) {
	c.latency.observe(inst.rows, c.now-inst.started)
	c.idle = append(c.idle, inst)
	if c.options.PreserveOrdering {
		for _, it := range inst.batch {
			it.state = stateAnswered
		}
		c.release(out)
	}
}

// cancel takes an item out that is still queued, and answers it whatever the order.
func (c *core) cancel(it *Item, err error, out *actions) bool {
	if it.state != stateQueued {
		return false
	}
	c.counters.cancelled++
	c.queue.take(it)
	c.queue.drop(it)
	it.Err, it.state = err, stateOutside
	out.answered.pushBack(it)
	if c.options.PreserveOrdering {
		c.arrivals.remove(it)
		c.unanswered--
		c.release(out)
	}
	return true
}

// refuse answers an item that was taken out of its level.
func (c *core) refuse(it *Item, err error, out *actions) {
	c.queue.drop(it)
	it.Err, it.state = err, stateAnswered
	if c.options.PreserveOrdering {
		c.release(out)
	} else {
		out.answered.pushBack(it)
	}
}

// release answers, in the order of arrival, what waits for nothing earlier.
func (c *core) release(out *actions) {
	for it := c.arrivals.first; it != nil && it.state == stateAnswered; it = c.arrivals.first {
		c.arrivals.remove(it)
		c.unanswered--
		out.answered.pushBack(it)
	}
}
