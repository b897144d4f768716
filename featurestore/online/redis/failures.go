// SPDX-License-Identifier: Apache-2.0

package redis

// failuresMax bounds the events that are remembered because their push failed behind the
// log.
const failuresMax = 1 << 14

// failure is an event that is in the log, but was told not to be in Redis. The store sees
// to it that it gets there; when it is pushed again it is a duplicate, whatever the state
// can still tell.
type failure struct {
	table  int
	entity string // its key there: that in Redis is another after a loss
	event  eventID
}

// failures are the last ones of a process; the zero value is empty.
type failures struct {
	known map[failure]bool
	order []failure // a ring, oldest at next once it is full
	next  int
}

func (f *failures) add(n failure) {
	if f.known[n] {
		return
	}
	if f.known == nil {
		f.known = map[failure]bool{}
	}
	f.known[n] = true
	if len(f.order) < failuresMax {
		f.order = append(f.order, n)
		return
	}
	delete(f.known, f.order[f.next])
	f.order[f.next] = n
	f.next = (f.next + 1) % failuresMax
}

func (f *failures) has(n failure) bool { return len(f.known) > 0 && f.known[n] }
