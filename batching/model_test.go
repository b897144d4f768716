// SPDX-License-Identifier: Apache-2.0

package batching

import (
	"cmp"
	"slices"
)

// model is the policy once more, slow and obvious: sorted slices instead of heaps and
// lists, and everything recomputed at each step. It works on copies of the items.
type model struct {
	o        Options
	now      int64
	queue    []*modelItem
	arrivals []*modelItem // unanswered, with PreserveOrdering
	running  map[int][]*modelItem
	started  map[int]int64
	idle     []int
	latency  latencies
	closed   bool
	delays   int
}

type modelItem struct {
	Item
	level, size   int
	timeout, wait int64 // never where there is none
	delayed       int   // 0, or its place among the delayed ones
	answered      bool
}

// modelRun is a batch and where it runs.
type modelRun struct {
	instance int
	items    []*modelItem
	reason   Reason
}

func newModel(o Options, latency latencies) *model {
	m := &model{o: o, latency: latency, running: map[int][]*modelItem{}, started: map[int]int64{}}
	for i := range o.Instances {
		m.idle = append(m.idle, o.Instances-1-i)
	}
	return m
}

func (m *model) arrive(it *modelItem) (answers []*modelItem) {
	it.Enqueued = m.now
	it.level, it.size = m.o.DefaultPriority, it.Rows
	if it.Priority >= 1 && it.Priority <= m.o.PriorityLevels {
		it.level = it.Priority
	}
	if m.o.MaxRows == 0 {
		it.size = 1
	}
	policy, sameLevel := m.policyOf(it), 0
	for _, other := range m.queue {
		if other.level == it.level {
			sameLevel++
		}
	}
	unanswered := len(m.queue)
	if m.o.PreserveOrdering {
		unanswered = len(m.arrivals)
	}
	switch {
	case m.closed:
		it.Err = ErrClosed
		return []*modelItem{it}
	case policy.MaxQueueSize > 0 && sameLevel >= policy.MaxQueueSize, unanswered >= m.o.QueueItemsMax:
		it.Err = ErrQueueFull
		return []*modelItem{it}
	}
	it.timeout, it.wait = never, never
	limit := policy.DefaultTimeout
	if asked := it.Timeout; policy.AllowTimeoutOverride && asked > 0 && (limit == 0 || asked < limit) {
		limit = asked
	}
	if limit > 0 {
		it.timeout = m.now + int64(limit)
	}
	if m.o.MaxQueueDelay > 0 && m.o.MaxRows > 0 {
		it.wait = m.now + int64(m.o.MaxQueueDelay)
		if due := m.due(it); due != never {
			it.wait = min(it.wait, m.now+max(0, due-m.now-m.latency.planned(it.size))/2)
		}
	}
	m.queue = append(m.queue, it)
	m.arrivals = append(m.arrivals, it)
	return nil
}

func (m *model) finish(instance int) (answers []*modelItem) {
	rows := 0
	for _, it := range m.running[instance] {
		rows += it.size
		it.answered = true
	}
	m.latency.observe(rows, m.now-m.started[instance])
	m.idle = append(m.idle, instance)
	delete(m.running, instance)
	return m.release()
}

func (m *model) cancel(it *modelItem, err error) (answers []*modelItem) {
	if !slices.Contains(m.queue, it) {
		return nil
	}
	m.unqueue(it)
	m.arrivals = without(m.arrivals, it)
	it.Err = err
	return append([]*modelItem{it}, m.release()...)
}

// settle expires and dispatches, after an event that would give cause.
func (m *model) settle(cause Reason) (answers []*modelItem, runs []modelRun) {
	answers = m.expire()
	for len(m.idle) > 0 && len(m.queue) > 0 {
		if rows := m.queuedRows(); m.waiting() && rows < m.sizeDue() {
			break
		}
		batch, cut, preferred, refused := m.choose()
		answers = append(answers, refused...)
		n, reason := m.decide(batch, cut, preferred, cause)
		if n == 0 {
			break
		}
		run := modelRun{instance: m.idle[len(m.idle)-1], items: batch[:n], reason: reason}
		m.idle = m.idle[:len(m.idle)-1]
		m.running[run.instance], m.started[run.instance] = run.items, m.now
		for _, it := range run.items {
			m.unqueue(it)
		}
		runs = append(runs, run)
	}
	return append(answers, m.missDeadlines()...), runs
}

// expire handles timeouts.
func (m *model) expire() (answers []*modelItem) {
	byTimeout := slices.Clone(m.queue)
	slices.SortStableFunc(byTimeout, func(a, b *modelItem) int { return cmp.Compare(a.timeout, b.timeout) })
	for _, it := range byTimeout {
		switch {
		case m.o.PreserveOrdering && it.Deadline != 0 && it.Deadline <= m.now:
			answers = append(answers, m.refuse(it, ErrDeadline)...)
		case it.timeout > m.now:
		case it.Deadline != 0 && it.Deadline <= m.now:
			answers = append(answers, m.refuse(it, ErrDeadline)...)
		case m.policyOf(it).Action == TimeoutDelay:
			m.delays++
			it.timeout, it.delayed = never, m.delays
			m.queue = append(without(m.queue, it), it)
		default:
			answers = append(answers, m.refuse(it, ErrTimeout)...)
		}
	}
	return answers
}

// missDeadlines refuses the first of a level, in the order of deadlines, for as long
// as it cannot be answered in time.
func (m *model) missDeadlines() (answers []*modelItem) {
	for {
		var hopeless *modelItem
		for level := range m.o.PriorityLevels + 1 {
			if timed, _ := m.split(level + 1); len(timed) > 0 && m.hopeless(timed[0]) {
				hopeless = timed[0]
			}
		}
		if hopeless == nil {
			return answers
		}
		answers = append(answers, m.refuse(hopeless, ErrDeadline)...)
	}
}

// split lists the items of a level; one past the last level are the delayed ones.
func (m *model) split(level int) (timed, plain []*modelItem) {
	for _, it := range m.queue {
		at := it.level
		if it.delayed > 0 {
			at = m.o.PriorityLevels + 1
		}
		switch {
		case at != level:
		case it.Deadline != 0 && !m.o.PreserveOrdering:
			timed = append(timed, it)
		default:
			plain = append(plain, it)
		}
	}
	slices.SortFunc(timed, func(a, b *modelItem) int {
		return cmp.Or(cmp.Compare(a.Deadline, b.Deadline), cmp.Compare(a.seq, b.seq))
	})
	slices.SortFunc(plain, func(a, b *modelItem) int {
		return cmp.Or(cmp.Compare(a.delayed, b.delayed), cmp.Compare(a.seq, b.seq))
	})
	return timed, plain
}

// ordered is the whole queue in dispatch order.
func (m *model) ordered() (all []*modelItem) {
	for level := range m.o.PriorityLevels + 1 {
		timed, plain := m.split(level + 1)
		for len(timed) > 0 && len(plain) > 0 {
			if m.o.LatencyObjective > 0 && timed[0].Deadline > plain[0].Enqueued+int64(m.o.LatencyObjective) {
				all, plain = append(all, plain[0]), plain[1:]
			} else {
				all, timed = append(all, timed[0]), timed[1:]
			}
		}
		all = append(append(all, timed...), plain...)
	}
	return all
}

func (m *model) choose() (batch []*modelItem, cut Reason, preferred int, refused []*modelItem) {
	rows, passed, earliest, most := 0, 0, int64(never), max(m.o.MaxRows, 1)
	for _, it := range m.ordered() {
		switch due := min(earliest, m.due(it)); {
		case m.hopeless(it):
			refused = append(refused, m.refuse(it, ErrDeadline)...)
		case len(batch) > 0 && it.Group != batch[0].Group:
			if passed++; passed > most {
				return batch, ReasonGroup, preferred, refused
			}
		case rows+it.size > most:
			return batch, ReasonFull, preferred, refused
		case len(batch) > 0 && m.latency.planned(rows+it.size) > due-m.now:
			return batch, ReasonDeadline, preferred, refused
		default:
			batch, rows, earliest = append(batch, it), rows+it.size, due
			if slices.Contains(m.o.PreferredSizes, rows) {
				preferred = len(batch)
			}
			if rows == most {
				return batch, ReasonFull, preferred, refused
			}
		}
	}
	if passed > 0 {
		cut = ReasonGroup
	}
	return batch, cut, preferred, refused
}

func (m *model) decide(batch []*modelItem, cut Reason, preferred int, cause Reason) (int, Reason) {
	all := len(batch)
	switch {
	case all == 0:
		return 0, reasonNone
	case m.o.MaxRows == 0:
		return all, ReasonSingle
	case m.closed:
		return all, ReasonDrain
	case cut == ReasonFull || cut == ReasonDeadline:
		return all, cut
	case preferred > 0:
		return preferred, ReasonPreferred
	case m.waiting():
		return 0, reasonNone
	case cut == ReasonGroup:
		return all, cut
	case m.o.MaxQueueDelay == 0 || cause == ReasonNext:
		return all, cause
	}
	first := slices.MinFunc(m.queue, func(a, b *modelItem) int {
		return cmp.Or(cmp.Compare(a.wait, b.wait), cmp.Compare(a.seq, b.seq))
	})
	if m.now < first.Enqueued+int64(m.o.MaxQueueDelay) {
		return all, ReasonDeadline
	}
	return all, ReasonDelay
}

func (m *model) waiting() bool {
	earliest := int64(never)
	for _, it := range m.queue {
		earliest = min(earliest, it.wait)
	}
	return !m.closed && earliest != never && m.now < earliest
}

func (m *model) due(it *modelItem) int64 {
	switch due := it.Enqueued + int64(m.o.LatencyObjective); {
	case it.Deadline != 0:
		return it.Deadline
	case m.o.LatencyObjective == 0 || m.latency.planned(it.size) > due-m.now:
		return never
	default:
		return due
	}
}

func (m *model) hopeless(it *modelItem) bool {
	return it.Deadline != 0 && (it.Deadline <= m.now || m.latency.planned(it.size) > it.Deadline-m.now)
}

func (m *model) refuse(it *modelItem, err error) []*modelItem {
	m.unqueue(it)
	it.Err, it.answered = err, true
	if m.o.PreserveOrdering {
		return m.release()
	}
	return []*modelItem{it}
}

// release answers what waits for nothing earlier, with PreserveOrdering.
func (m *model) release() (answers []*modelItem) {
	for m.o.PreserveOrdering && len(m.arrivals) > 0 && m.arrivals[0].answered {
		answers, m.arrivals = append(answers, m.arrivals[0]), m.arrivals[1:]
	}
	return answers
}

func (m *model) policyOf(it *modelItem) QueuePolicy {
	if policy, ok := m.o.LevelPolicies[it.level]; ok {
		return policy
	}
	return m.o.Policy
}

func (m *model) queuedRows() (rows int) {
	for _, it := range m.queue {
		rows += it.size
	}
	return rows
}

func (m *model) sizeDue() int {
	return slices.Min(append(m.o.PreferredSizes[:len(m.o.PreferredSizes):len(m.o.PreferredSizes)], max(m.o.MaxRows, 1)))
}

func (m *model) unqueue(it *modelItem) { m.queue = without(m.queue, it) }

func without(items []*modelItem, it *modelItem) []*modelItem {
	return slices.DeleteFunc(slices.Clone(items), func(other *modelItem) bool { return other == it })
}
