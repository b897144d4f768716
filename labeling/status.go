// SPDX-License-Identifier: Apache-2.0

package labeling

import (
	"container/heap"
	"container/list"
	"math"
	"slices"
	"strings"
	"time"
)

// Status is where a task is in its life.
type Status string

// The statuses.
const (
	// StatusOpen needs more annotations; some may be under way.
	StatusOpen Status = "open"
	// StatusReview waits for, or is with, a reviewer.
	StatusReview Status = "review"
	// StatusDone has a final value.
	StatusDone Status = "done"
	// StatusGold is a gold task: everybody may get it.
	StatusGold Status = "gold"
)

// decide is the status that follows from what people said, and the final value of what is
// done.
func (t *task) decide() (Status, *Value) {
	p := &t.p.Project
	if t.Gold != nil {
		return StatusGold, t.Gold
	}
	if t.review != nil && t.review.kind == KindReview {
		return StatusDone, &t.review.value
	}
	values, skips := t.said()
	switch {
	case len(values) >= p.Overlap:
		if final := consensus(&p.Labels, p.Review, values); final != nil {
			return StatusDone, final
		}
		return StatusReview, nil
	case skips >= p.SkipsMax:
		return StatusReview, nil
	}
	return StatusOpen, nil
}

// said is the values of the annotations, in no order, and the number of skips.
func (t *task) said() (values []Value, skips int) {
	for _, e := range t.entries {
		switch e.kind {
		case KindAnnotation:
			values = append(values, e.value)
		case KindSkip:
			skips++
		}
	}
	return values, skips
}

// consensus is the final value that a policy makes of annotations, nil if a reviewer has
// to decide. It does not depend on their order.
func consensus(l *LabelSet, policy ReviewPolicy, values []Value) *Value {
	if policy == ReviewAlways || len(values) == 0 {
		return nil
	}
	var best Value
	var agreeing int
	if l.Kind == Number {
		best, agreeing = medianOf(values, l.Tolerance)
	} else {
		best, agreeing = mostFrequent(values)
	}
	switch {
	case policy == ReviewUnanimous && agreeing < len(values):
		return nil
	case policy == ReviewMajority && 2*agreeing <= len(values):
		return nil
	}
	return &best
}

// medianOf is the median of numbers, of two the lower, and how many agree with it. For
// all to agree, the outermost must.
func medianOf(values []Value, tolerance float64) (Value, int) {
	numbers := make([]float64, len(values))
	for i, v := range values {
		numbers[i] = *v.Number
	}
	slices.Sort(numbers)
	median, n := numbers[(len(numbers)-1)/2], 0
	for _, x := range numbers {
		if math.Abs(x-median) <= tolerance {
			n++
		}
	}
	if n == len(numbers) && numbers[n-1]-numbers[0] > tolerance {
		n-- // two that agree with the median do not agree with each other
	}
	return Num(median), n
}

// mostFrequent is the most frequent value and how often it is there; of equally frequent
// ones the one whose text comes first.
func mostFrequent(values []Value) (best Value, count int) {
	counts := map[string]int{}
	first := ""
	for _, v := range values {
		key := v.Key()
		counts[key]++
		if n := counts[key]; n > count || n == count && key < first {
			best, count, first = v, n, key
		}
	}
	return best, count
}

// slots is how many more people can be handed the task.
func (t *task) slots() int {
	n := t.p.Overlap
	for _, e := range t.entries {
		if e.lease.active || e.kind == KindAnnotation {
			n--
		}
	}
	return n
}

// eligible tells whether the task may be handed to somebody as a new one.
func (t *task) eligible(name string) bool {
	e := t.entries[name]
	return e == nil || !e.lease.active && (e.kind == "" || e.kind == KindRetracted)
}

// refresh brings status and queues up to date after whatever happened to a task. s.mu must
// be held.
func (s *Store) refresh(t *task) {
	p := t.p
	if t.status != "" {
		p.counts[t.status]--
	}
	before, final := t.status, t.final
	t.status, t.final = t.decide()
	p.counts[t.status]++
	if !t.marked && (t.status == StatusDone || before == StatusDone || before == "") && (before != t.status || final != t.final) {
		t.marked = true
		s.mu.changed = append(s.mu.changed, t)
	}
	var want *queue
	switch {
	case t.status == StatusOpen && t.slots() > 0:
		want = &p.open
	case t.status == StatusReview && (t.review == nil || !t.review.lease.active):
		want = &p.reviews
	}
	at := place{t.Priority, t.seq}
	if t.queued != nil && (t.queued != want || t.place != at) {
		t.queued.remove(t.place)
		t.queued = nil
	}
	if want != nil && t.queued == nil {
		want.insert(t, at)
		t.queued, t.place = want, at
	}
	if want != &p.open {
		return
	}
	for _, who := range p.people {
		if at.before(who.cursor) && t.eligible(who.name) {
			who.cursor = at
		}
	}
}

// person finds or makes somebody's state in a role; nil if the project has too many.
func (s *Store) person(p *project, name string, review bool) *person {
	all := p.people
	if review {
		all = p.reviewers
	}
	who := all[name]
	if who == nil && len(all) < s.o.PeopleMax {
		who = &person{name: name, history: list.New(), postponed: list.New(), cursor: place{priority: math.Inf(1)}}
		all[name] = who
	}
	return who
}

// entry finds or makes the entry of somebody for a task. Whoever reviews a task next takes
// its one entry over.
func (s *Store) entry(t *task, who *person, review bool) *entry {
	e := t.entries[who.name]
	if review {
		e = t.review
	}
	if e == nil {
		e = &entry{t: t, review: review}
		s.mu.bytes += entryBytes
		if review {
			t.review = e
		} else {
			if t.entries == nil {
				t.entries = map[string]*entry{}
			}
			t.entries[strings.Clone(who.name)] = e
		}
	}
	if e.by != who && !e.lease.active {
		e.by = who
	}
	return e
}

// startLease puts a stored lease into the state.
func (s *Store) startLease(e *entry, seq uint64, expires time.Time) {
	s.endLease(e)
	e.lease.seq, e.lease.expires, e.lease.active = seq, expires, true
	heap.Push(&s.mu.leases, e)
	e.by.held = append(e.by.held, e)
	if e.inPostponed != nil {
		e.by.postponed.Remove(e.inPostponed)
		e.inPostponed = nil
	}
	s.refresh(e.t)
}

// endLease takes a lease back; the caller refreshes the task.
func (s *Store) endLease(e *entry) {
	if !e.lease.active {
		return
	}
	e.lease.active = false
	heap.Remove(&s.mu.leases, e.lease.index)
	e.by.held = slices.DeleteFunc(e.by.held, func(x *entry) bool { return x == e })
	s.listPostponed(e)
}

// listPostponed puts an entry where the order of postponing has it, if it is postponed and
// not with the person.
func (s *Store) listPostponed(e *entry) {
	if e.kind != KindPostpone || e.lease.active || e.inPostponed != nil {
		return
	}
	all := e.by.postponed
	for at := all.Back(); at != nil; at = at.Prev() {
		if at.Value.(*entry).seq < e.seq {
			e.inPostponed = all.InsertAfter(e, at)
			return
		}
	}
	e.inPostponed = all.PushFront(e)
}

// expire ends the leases that are over. Each is ended once, so this costs as much as
// handing them out did.
func (s *Store) expire() {
	if len(s.mu.leases) == 0 {
		return
	}
	now := s.leaseNow()
	for len(s.mu.leases) > 0 && !s.mu.leases[0].lease.expires.After(now) {
		e := s.mu.leases[0]
		s.endLease(e)
		s.refresh(e.t)
	}
}

// say puts a stored answer into the state.
func (s *Store) say(e *entry, a answer) {
	s.endLease(e)
	s.mu.bytes += int64(a.value.bytes()+len(a.comment)) - int64(e.value.bytes()+len(e.comment))
	e.answer = a
	if e.inHistory != nil {
		e.by.history.Remove(e.inHistory)
		e.inHistory = nil
	}
	if e.inPostponed != nil {
		e.by.postponed.Remove(e.inPostponed)
		e.inPostponed = nil
	}
	if a.kind != KindRetracted && !e.review {
		e.inHistory = e.by.history.PushBack(e)
	}
	s.listPostponed(e)
	s.refresh(e.t)
}
