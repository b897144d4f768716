// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"fmt"
	"math"
	"slices"

	"github.com/millrace-ml/millrace/featurestore/online"
	"github.com/millrace-ml/millrace/featurestore/plan"
	"github.com/millrace-ml/millrace/featurestore/window"
)

// update carries out an update; again says that its event is known to be there. changed
// says that there is something to write. Errors are those of window.Aggregator; check
// finds them before.
func (v *value) update(a *window.Aggregator, t *table, u *plan.Update, again bool) (o window.Outcome, changed bool, err error) {
	switch {
	case t.view == nil:
		o = v.replace(&u.Event, u.Row)
		return o, o == window.Applied, nil
	case len(u.Amend) > 0:
		o, err = v.amend(a, &u.Event, u.Amend)
		return o, err == nil && o == window.Applied, err
	}
	id := eventID{u.Event.Time, u.Event.ID}
	o = window.Duplicate
	if !again && !v.known(id) {
		if o, err = v.add(a, t, &u.Event); err != nil {
			return o, false, err
		}
	}
	_, begun := v.state.Now()
	changed = begun && o != window.Duplicate && o != window.TooEarly
	if o == window.Duplicate && len(u.Late) > 0 {
		o, err = v.amend(a, &u.Event, u.Late)
		changed = err == nil && o == window.Applied
	}
	return o, changed, err
}

// add adds an event to the state.
func (v *value) add(a *window.Aggregator, t *table, e *window.Event) (window.Outcome, error) {
	o, err := a.Update(&v.state, e)
	if err != nil || o != window.Applied && o != window.AppliedUnchecked {
		return o, err
	}
	v.newest = max(v.newest, e.Time)
	if o == window.AppliedUnchecked || v.mayFold(t, e.Time) {
		v.remember(eventID{e.Time, e.ID})
	}
	return o, nil
}

// mayFold reports whether the state may soon fold an event of that time into a tile, where
// it is not told from a duplicate any more: it is old, or the state is near its bounds.
func (v *value) mayFold(t *table, time int64) bool {
	now, _ := v.state.Now()
	return time <= now-t.apart/2 || v.state.Len() > t.entries/2 || v.state.Bytes() > t.bytes/2
}

// amend sets columns of an event. It is Applied if one of them was; else the outcome is
// that of the last.
func (v *value) amend(a *window.Aggregator, e *window.Event, set []plan.Amendment) (o window.Outcome, err error) {
	applied := false
	for i := range set {
		if o, err = a.Amend(&v.state, e.Time, e.ID, set[i].Column, set[i].Value, arrivalOf(e)); err != nil {
			return 0, err
		}
		applied = applied || o == window.Applied
	}
	if applied {
		return window.Applied, nil
	}
	return o, nil
}

// replace keeps the row if its event is newer, by time, then arrival, then id.
func (v *value) replace(e *window.Event, row []byte) window.Outcome {
	arrival := arrivalOf(e)
	if v.row != nil {
		if v.newest == e.Time && v.arrival == arrival && v.id == e.ID {
			return window.Duplicate
		}
		if !v.olderThan(e.Time, arrival, e.ID) {
			return window.TooLate
		}
	}
	v.newest, v.arrival, v.id = e.Time, arrival, e.ID
	v.row = append(make([]byte, 0, len(row)), row...) // never nil
	return window.Applied
}

func (v *value) olderThan(time, arrival int64, id uint64) bool {
	switch {
	case time != v.newest:
		return time > v.newest
	case arrival != v.arrival:
		return arrival > v.arrival
	}
	return id > v.id
}

func arrivalOf(e *window.Event) int64 {
	if e.Arrival == 0 {
		return e.Time
	}
	return e.Arrival
}

// seen is what a read of the entity is based on, to a reader of the log of owner.
func (v *value) seen(owner uint64) plan.Seen {
	return plan.Seen{EventTime: v.newest, Sequence: v.sequence(owner)}
}

// timeMax bounds times as package window does.
const timeMax = int64(1) << 59

// check reports what makes an update unfit for its table, so that behind the log nothing
// is refused any more.
func (t *table) check(u *plan.Update) error {
	e := &u.Event
	switch {
	case len(u.Key) == 0 || len(u.Key) > online.KeyBytesMax:
		return fmt.Errorf("%w: a key of %d bytes; it has 1 to %d", window.ErrEvent, len(u.Key), online.KeyBytesMax)
	case !inTime(e.Time) || !inTime(e.Arrival):
		return fmt.Errorf("%w: time %d or arrival %d out of range", window.ErrEvent, e.Time, e.Arrival)
	case t.view == nil && len(u.Row) > online.RowBytesMax:
		return fmt.Errorf("%w: a row of %d bytes, at most %d", window.ErrEvent, len(u.Row), online.RowBytesMax)
	case t.view == nil:
		return nil
	}
	for _, list := range [...][]plan.Amendment{u.Amend, u.Late} {
		for _, c := range list {
			if !slices.Contains(t.columns, c.Column) || math.Abs(c.Value) > window.ValueMax {
				return fmt.Errorf("%w: column %q cannot be %v", window.ErrEvent, c.Column, c.Value)
			}
		}
	}
	if len(u.Amend) > 0 {
		return nil
	}
	if len(e.Values) != len(t.columns) || len(e.Keys) != t.keys {
		return fmt.Errorf("%w: %d values and %d keys for %d columns and %d key columns", window.ErrEvent,
			len(e.Values), len(e.Keys), len(t.columns), t.keys)
	}
	for i, x := range e.Values {
		if math.Abs(x) > window.ValueMax {
			return fmt.Errorf("%w: column %q: %v is not finite or too large", window.ErrEvent, t.columns[i], x)
		}
	}
	return nil
}

func inTime(t int64) bool { return t >= -timeMax && t <= timeMax }
