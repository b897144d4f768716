// SPDX-License-Identifier: Apache-2.0

package batching

// times are the times an arriving item is queued with.
func (c *core) times(it *Item) times {
	t := times{order: never, timeout: never, wait: never}
	if limit := c.queue.levels[it.level].policy.limit(it.Timeout); limit > 0 {
		t.timeout = after(c.now, limit)
	}
	switch {
	case it.Deadline == 0:
	case c.options.PreserveOrdering: // it expires then, but does not overtake
		t.timeout = min(t.timeout, it.Deadline)
	default:
		t.order = it.Deadline
	}
	if delay := c.options.MaxQueueDelay; delay > 0 && c.options.MaxRows > 0 {
		t.wait = after(c.now, delay)
		if due := c.due(it); due != never {
			slack := due - c.now - c.latency.planned(it.size)
			t.wait = min(t.wait, c.now+max(slack/2, 0))
		}
	}
	return t
}

// due is when an item should be answered: its deadline, or else the latency
// objective, unless that is lost already. To hurry a lost one would cost the others
// without helping it.
func (c *core) due(it *Item) int64 {
	if it.Deadline != 0 {
		return it.Deadline
	}
	if c.options.LatencyObjective == 0 {
		return never
	}
	due := after(it.Enqueued, c.options.LatencyObjective)
	if c.latency.slow(it.size, due-c.now) {
		return never
	}
	return due
}

// hopeless reports whether an item can no longer meet its deadline, even alone.
func (c *core) hopeless(it *Item) bool {
	switch {
	case it.Deadline == 0:
		return false
	case it.Deadline <= c.now:
		return true
	case it.probing || !c.latency.slow(it.size, it.Deadline-c.now):
		return false
	}
	it.probing = !c.latency.believes(it.size)
	return !it.probing
}

// hopelessAt is the time from which hopeless holds.
func (c *core) hopelessAt(it *Item) int64 {
	if it.probing {
		return it.Deadline
	}
	return it.Deadline - max(c.latency.planned(it.size)-1, 0)
}

// expire refuses or delays what has been in the queue for too long.
func (c *core) expire(out *actions) {
	for c.queue.timeouts.next() <= c.now {
		it := c.queue.timeouts.top()
		if it.Deadline != 0 && it.Deadline <= c.now {
			c.queue.take(it)
			c.miss(it, out)
		} else {
			c.timeOut(it, out)
		}
	}
}

// missDeadlines refuses the earliest of each level that can no longer be met. A later
// one is looked at when its item comes first, which is before it has passed.
func (c *core) missDeadlines(out *actions) {
	for i := range c.queue.levels {
		timed := &c.queue.levels[i].timed
		for it := timed.top(); it != nil && c.hopeless(it); it = timed.top() {
			c.queue.take(it)
			c.miss(it, out)
		}
	}
}

// timeOut does what the policy says with an item whose time in the queue is over.
func (c *core) timeOut(it *Item, out *actions) {
	if c.queue.levels[it.level].policy.Action == TimeoutDelay {
		c.counters.delayed++
		c.queue.delay(it)
		return
	}
	c.counters.timedOut++
	c.queue.take(it)
	c.refuse(it, ErrTimeout, out)
}

// miss refuses an item, taken out of its level, that cannot meet its deadline.
func (c *core) miss(it *Item, out *actions) {
	c.counters.deadlineMissed++
	c.refuse(it, ErrDeadline, out)
}

// waiting reports whether the queue waits for company.
func (c *core) waiting() bool {
	return !c.closed && c.queue.waits.top() != nil && c.now < c.queue.waits.next()
}

// waitOver is the reason why the wait for company has ended.
func (c *core) waitOver() Reason {
	it := c.queue.waits.top()
	if c.now < after(it.Enqueued, c.options.MaxQueueDelay) {
		return ReasonDeadline
	}
	return ReasonDelay
}

// wake is the next time at which something happens though no event comes.
func (c *core) wake() int64 {
	if c.queue.items == 0 {
		return never
	}
	at := c.queue.timeouts.next()
	for i := range c.queue.levels {
		if it := c.queue.levels[i].timed.top(); it != nil {
			at = min(at, c.hopelessAt(it))
		}
	}
	if len(c.idle) > 0 {
		at = min(at, c.queue.waits.next())
	}
	return at
}
