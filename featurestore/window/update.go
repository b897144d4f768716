// SPDX-License-Identifier: Apache-2.0

package window

import (
	"fmt"
	"slices"
)

// Update adds an event to the state of its entity, in whatever order events come, and says
// what became of it. The event and its slices remain the caller's.
//
// Errors: ErrEvent for an event that does not fit the view, ErrView for a state of another view.
func (a *Aggregator) Update(s *State, e *Event) (Outcome, error) {
	v := a.view
	if err := v.check(e); err != nil {
		return 0, err
	}
	if o := v.acceptable(e); o != Applied {
		return o, nil
	}
	if err := s.init(v); err != nil {
		return 0, err
	}
	s.now = max(s.now, e.arrival())
	if e.Time <= s.now-v.reach && e.Time <= v.expiry(s.now) {
		s.dropped = max(s.dropped, e.Time)
		return TooLate, nil
	}
	a.row.set(e)
	p := s.find(e.Time, e.ID)
	switch {
	case p.duplicate:
		return Duplicate, nil
	case p.inTile:
		a.addToTile(s, &p.at)
	default:
		a.insert(s, &p)
	}
	a.keepBounds(s)
	if p.inTile || e.Time <= s.folded {
		return AppliedUnchecked, nil
	}
	return Applied, nil
}

// set copies an event, and makes one zero of both.
func (r *row) set(e *Event) {
	r.time, r.id = e.Time, e.ID
	for i, x := range e.Values {
		r.values[i] = x + 0
	}
	copy(r.keys, e.Keys)
}

// place is where in a body an event belongs.
type place struct {
	end       int   // of the entry before it, where its own begins
	before    int64 // newest time of the entry before it
	first     bool  // there is no entry before it
	next      entry // the entry after it, if last is false
	last      bool
	at        entry // the entry it falls on: a tile, or a duplicate
	inTile    bool
	duplicate bool
}

// find walks back from the newest entry to where an event belongs.
func (s *State) find(time int64, id uint64) (p place) {
	end, newest := len(s.body), s.last
	p.last = true
	for end > 0 {
		e := entryAt(s.body, end, newest)
		if e.newest < time || e.newest == time && !e.tile && e.id < id {
			break
		}
		if e.tile && e.oldest(s.body) <= time {
			p.at, p.inTile = e, true
			return p
		}
		if !e.tile && e.newest == time && e.id == id {
			p.at, p.duplicate = e, true
			return p
		}
		p.next, p.last = e, false
		newest, end = newest-e.difference, e.start
	}
	p.end, p.before, p.first = end, newest, end == 0
	return p
}

// insert adds the event in a.row as an entry of its own.
func (a *Aggregator) insert(s *State, p *place) {
	var difference int64
	if !p.first {
		difference = a.row.time - p.before
	}
	out := appendEvent(a.folder.out[:0], difference, &a.row)
	to := p.end
	if !p.last {
		out = appendMoved(out, s.body, &p.next, p.next.newest-a.row.time)
		to = p.next.end
	}
	a.folder.out = out
	a.splice(s, p.end, to, out)
	s.entries++
	s.last = max(s.last, a.row.time)
}

// addToTile adds the event in a.row to the tile whose span it falls into.
func (a *Aggregator) addToTile(s *State, e *entry) {
	part := a.folder.partial(a.view)
	part.addTile(s.body, e)
	part.addRow(&a.row)
	a.folder.out = part.appendTile(a.folder.out[:0], e.difference)
	a.splice(s, e.start, e.end, a.folder.out)
}

// splice replaces a part of the body that has not expired. When memory is short it drops
// what has expired, and takes more if that did not free enough to last for a while.
func (a *Aggregator) splice(s *State, from, to int, with []byte) {
	more := len(with) - (to - from)
	if len(s.body)+more > cap(s.body) {
		cut := a.drop(s)
		from, to = from-cut, to-cut
		if need := len(s.body) + more; need > cap(s.body)-cap(s.body)/16 {
			s.body = append(make([]byte, 0, roundUp(need+need/8)), s.body...)
		}
	}
	s.body = slices.Replace(s.body, from, to, with...)
}

// roundUp rounds to what the allocator hands out anyway, more or less.
func roundUp(n int) int { return (n + 31) &^ 31 }

// Trim drops what lies outside all windows at a time and later, and lowers the memory held
// if much of it is free. Update does so when memory is needed; Trim is for entities that
// are not updated. A read before that time may miss what was dropped.
func (a *Aggregator) Trim(s *State, now int64) {
	if s.view != a.view.tag || now < -timeMax || now > timeMax {
		return
	}
	s.now = max(s.now, now)
	a.drop(s)
	s.fit()
}

// drop takes expired entries out and returns how many bytes they had.
func (a *Aggregator) drop(s *State) int {
	expiry := a.view.expiry(s.now)
	end, newest, count := len(s.body), s.last, uint32(0)
	for end > 0 && newest > expiry {
		e := entryAt(s.body, end, newest)
		newest, end = newest-e.difference, e.start
		count++
	}
	if end == 0 {
		return 0
	}
	s.dropped = max(s.dropped, newest)
	s.entries = count
	if count == 0 {
		s.last = never
	}
	s.body = append(s.body[:0], s.body[end:]...)
	return end
}

// fit gives memory back when less than half of it is used.
func (s *State) fit() {
	if n := roundUp(len(s.body) + len(s.body)/8); 2*n < cap(s.body) {
		s.body = append(make([]byte, 0, n), s.body...)
	}
}

// Amend sets a column of an event that is in the state, as a label that became known at
// the time of arrival. The value must be known by the time it first counts, the event's time
// plus the shortest delay of a feature on the column; later than that is TooLate, because
// values that have been read would change. NaN takes a value back.
//
// Errors: ErrEvent for a column or value that does not fit, ErrView for a state of another view.
func (a *Aggregator) Amend(s *State, time int64, id uint64, column string, value float64, arrival int64) (Outcome, error) {
	v := a.view
	c := slices.Index(v.def.Columns, column)
	if c < 0 || value > ValueMax || value < -ValueMax || arrival < -timeMax || arrival > timeMax {
		return 0, fmt.Errorf("%w: column %q, value %v, arrival %d", ErrEvent, column, value, arrival)
	}
	if s.view != v.tag {
		if s.view != 0 {
			return 0, ErrView
		}
		return Unknown, nil
	}
	if time < -timeMax || time > timeMax || v.amend[c] > 0 && arrival > time+v.amend[c]-1 {
		return TooLate, nil
	}
	if time <= s.now-v.reach && time <= v.expiry(s.now) {
		return Unknown, nil
	}
	p := s.find(time, id)
	if !p.duplicate {
		return Unknown, nil
	}
	p.at.event(s.body, &a.row)
	a.row.values[c] = value + 0
	a.folder.out = appendEvent(a.folder.out[:0], p.at.difference, &a.row)
	a.splice(s, p.at.start, p.at.end, a.folder.out)
	a.keepBounds(s)
	return Applied, nil
}
