// SPDX-License-Identifier: Apache-2.0

package window

import (
	"fmt"
	"math"
)

const (
	// timeMax bounds times so that adding windows cannot overflow; it is the year 20237.
	timeMax = int64(1) << 59
	// ValueMax is the largest magnitude of a value, 2^480; squares still sum exactly.
	ValueMax = 0x1p480
)

// Event is something that happened to the entity.
type Event struct {
	// Time is when it happened, in microseconds since 1970 UTC.
	Time int64
	// Arrival is when it became known, likewise; zero means the same as Time.
	Arrival int64
	// ID tells events of one time apart; two events with equal Time and ID are one.
	ID uint64
	// Values has one value per column of the view; NaN is null.
	Values []float64
	// Keys has one value per key column of the view; zero is null. See KeyOf.
	Keys []uint64
}

func (e *Event) arrival() int64 {
	if e.Arrival == 0 {
		return e.Time
	}
	return e.Arrival
}

// check reports what makes the event unfit for the view.
func (v *View) check(e *Event) error {
	if len(e.Values) != len(v.def.Columns) || len(e.Keys) != len(v.def.Keys) {
		return fmt.Errorf("%w: %d values and %d keys, the view has %d columns and %d key columns",
			ErrEvent, len(e.Values), len(e.Keys), len(v.def.Columns), len(v.def.Keys))
	}
	if e.Time < -timeMax || e.Time > timeMax || e.Arrival < -timeMax || e.Arrival > timeMax {
		return fmt.Errorf("%w: time %d or arrival %d out of range", ErrEvent, e.Time, e.Arrival)
	}
	for i, x := range e.Values {
		if math.Abs(x) > ValueMax {
			return fmt.Errorf("%w: column %q: %v is not finite or too large", ErrEvent, v.def.Columns[i], x)
		}
	}
	return nil
}

// acceptable says whether the event came within the view's bounds on earliness and lateness.
func (v *View) acceptable(e *Event) Outcome {
	late := e.arrival() - e.Time
	switch {
	case late > v.lateness:
		return TooLate
	case -late > v.future:
		return TooEarly
	}
	return Applied
}

// KeyOf hashes a string to a key or an event id: FNV-1a, mixed, never zero. The hash is
// part of the stored format and does not change.
func KeyOf(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	if h = mix(h); h == 0 {
		return 1
	}
	return h
}

// mix spreads the bits of x one to one (the finaliser of SplitMix64, Steele 2014).
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}
