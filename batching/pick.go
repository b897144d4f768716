// SPDX-License-Identifier: Apache-2.0

package batching

import "slices"

// pick is a batch being put together.
type pick struct {
	// taken are items taken out of their levels: those of the batch, which have the
	// group of the first one, and between them those passed over.
	taken []*Item
	items int   // those of the batch
	rows  int   // their rows
	due   int64 // the earliest of their due times
	// cut is why the batch cannot grow, if it cannot.
	cut Reason
	// preferred is the largest number of leading items that make a preferred size.
	preferred int
}

// dispatch starts batches for as long as an instance is idle and one is ready.
func (c *core) dispatch(cause Reason, out *actions) {
	for len(c.idle) > 0 && c.queue.items > 0 && c.start(cause, out) {
	}
}

// start starts the next batch. It reports false when there is none: all items were
// refused, or wait for company.
func (c *core) start(cause Reason, out *actions) bool {
	if c.waiting() && c.queue.rows < c.rowsDue {
		return false
	}
	p := c.pick(out)
	n, reason := c.decide(&p, cause)
	inst := c.idle[len(c.idle)-1]
	inst.batch = c.keep(&p, n, inst.batch[:0])
	if n == 0 {
		return false
	}
	c.idle = c.idle[:len(c.idle)-1]
	inst.rows, inst.started = 0, c.now
	for _, it := range inst.batch {
		c.queue.drop(it)
		inst.rows += it.size
		it.state, it.Started, it.Reason = stateRunning, c.now, reason
	}
	c.counters.dispatched(reason, inst.rows)
	inst.nextRun, out.runs = out.runs, inst
	return true
}

// pick takes items out of their levels, in order, for as long as they can share a
// batch. Items of other groups are passed over, at most rowsMax of them. Items that
// can no longer meet their deadline are refused.
func (c *core) pick(out *actions) pick {
	p := pick{taken: c.taken[:0], due: never}
	for p.cut == reasonNone {
		it := c.queue.first()
		if it == nil {
			break
		}
		switch {
		case c.hopeless(it):
			c.queue.take(it)
			c.miss(it, out)
		case p.items == 0 || it.Group == p.taken[0].Group:
			c.grow(&p, it)
		case len(p.taken)-p.items < c.rowsMax:
			c.queue.take(it)
			p.taken = append(p.taken, it)
		default:
			p.cut = ReasonGroup
		}
	}
	if p.cut == reasonNone && p.items < len(p.taken) {
		p.cut = ReasonGroup
	}
	c.taken = p.taken
	return p
}

// grow adds an item to the batch, or says why it cannot be added.
func (c *core) grow(p *pick, it *Item) {
	rows, due := p.rows+it.size, min(p.due, c.due(it))
	if rows > c.rowsMax {
		p.cut = ReasonFull
		return
	}
	if p.items > 0 && due != never && c.latency.slow(rows, due-c.now) && c.latency.believes(rows) {
		p.cut = ReasonDeadline
		return
	}
	c.queue.take(it)
	p.taken = append(p.taken, it)
	p.items, p.rows, p.due = p.items+1, rows, due
	if rows == c.rowsMax {
		p.cut = ReasonFull
	}
	if slices.Contains(c.options.PreferredSizes, rows) {
		p.preferred = p.items
	}
}

// decide says how many of the picked items to run now, and why so many.
func (c *core) decide(p *pick, cause Reason) (items int, reason Reason) {
	switch {
	case p.items == 0:
		return 0, reasonNone
	case c.options.MaxRows == 0:
		return p.items, ReasonSingle
	case c.closed:
		return p.items, ReasonDrain
	case p.cut == ReasonFull || p.cut == ReasonDeadline:
		return p.items, p.cut
	case p.preferred > 0:
		return p.preferred, ReasonPreferred
	case c.waiting():
		return 0, reasonNone
	case p.cut == ReasonGroup:
		return p.items, ReasonGroup
	case cause == ReasonNext || c.options.MaxQueueDelay == 0:
		return p.items, cause
	}
	return p.items, c.waitOver()
}

// keep moves the first n items of the batch to batch, and everything else that was
// taken back to its place in the queue.
func (c *core) keep(p *pick, n int, batch []*Item) []*Item {
	if len(p.taken) == 0 {
		return batch
	}
	group, back := p.taken[0].Group, p.taken[:0]
	for _, it := range p.taken {
		if len(batch) < n && it.Group == group {
			batch = append(batch, it)
		} else {
			back = append(back, it)
		}
	}
	for _, it := range slices.Backward(back) {
		c.queue.restore(it)
	}
	return batch
}
