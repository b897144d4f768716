// SPDX-License-Identifier: Apache-2.0

package groundtruth

import (
	"errors"
)

// orphans is feedback whose prediction is not there (yet).
type orphans struct {
	byTarget map[uint64]orphan
	queue    []waiting // in order of arrival, from first on
	first    int
	count    int
	listed   []Unmatched // the last ones, a ring
	next     int
}

// orphan is the feedback about one target.
type orphan struct {
	head ref
	// due is when the newest is given up, and with it all. The files have them until safe.
	due, safe int64
	count     int
}

type waiting struct {
	target uint64
	due    int64
}

// unmatchedMax is how many Live.Unmatched lists.
const unmatchedMax = 1000

// Unmatched is feedback whose prediction did not come in time.
type Unmatched struct {
	FeedbackID, Source string
	// PredictionID is empty for feedback by entity.
	PredictionID string
	// EventTime and Arrival, in microseconds.
	EventTime, Arrival int64
}

// Unmatched lists the last feedback, 1000 at most, whose prediction did not come in
// time, oldest first.
func (l *Live) Unmatched() []Unmatched {
	o := &l.orphans
	if len(o.listed) < unmatchedMax {
		return append([]Unmatched(nil), o.listed...)
	}
	return append(append([]Unmatched(nil), o.listed[o.next:]...), o.listed[:o.next]...)
}

func (o *orphans) list(u Unmatched) {
	if len(o.listed) < unmatchedMax {
		o.listed = append(o.listed, u)
		return
	}
	o.listed[o.next] = u
	o.next = (o.next + 1) % unmatchedMax
}

// targetOf is the hash of what feedback waits for: kind p is a prediction, e an entity.
func (l *Live) targetOf(kind byte, target string) uint64 {
	return l.hash(string(kind) + "\x00" + target)
}

// wait keeps feedback for a prediction to come.
func (l *Live) wait(kind byte, target string, c *candidate, now int64) error {
	for l.orphans.count >= l.options.OrphansMax || len(l.orphans.queue)-l.orphans.first >= 2*l.options.OrphansMax {
		if err := l.giveUp(); err != nil {
			return err
		}
	}
	due := addTimes(now, l.options.OrphanAge.Microseconds())
	return l.waitUntil(l.targetOf(kind, target), target, c, due)
}

func (l *Live) waitUntil(at uint64, target string, c *candidate, due int64) error {
	o := l.orphans.byTarget[at]
	if due > o.safe { // store those before it anew, or their file goes too early
		o.safe = addTimes(due, l.options.OrphanAge.Microseconds())
		if err := l.keepUntil(&o); err != nil {
			return err
		}
	}
	head, err := l.spillCandidate(o.head, c, target, o.safe)
	if err != nil {
		return err
	}
	o.head, o.due = head, max(o.due, due)
	o.count++
	l.orphans.byTarget[at] = o
	l.orphans.count++
	l.orphans.queue = append(l.orphans.queue, waiting{at, due})
	return nil
}

// keepUntil stores a chain again, to be there until it is safe.
func (l *Live) keepUntil(o *orphan) error {
	chain, targets, err := l.waitingAt(o.head)
	if err != nil {
		return err
	}
	o.head = 0
	for i := len(chain) - 1; i >= 0; i-- {
		if o.head, err = l.spillCandidate(o.head, &chain[i], targets[i], o.safe); err != nil {
			return err
		}
	}
	return nil
}

// waitingAt reads a chain of feedback that waits, and what each is about.
func (l *Live) waitingAt(at ref) (chain []candidate, targets []string, err error) {
	for at != 0 {
		next, target, c, err := l.chained(at)
		if errors.Is(err, errGone) {
			l.stats.Displaced++
			break
		} else if err != nil {
			return nil, nil, err
		}
		chain, targets = append(chain, c), append(targets, target)
		at = next
	}
	return chain, targets, nil
}

// giveUp counts the feedback that waits longest as unmatched.
func (l *Live) giveUp() error {
	q := &l.orphans
	w := q.queue[q.first]
	q.first++
	if q.first > len(q.queue)/2 && q.first > 1024 {
		n := copy(q.queue, q.queue[q.first:])
		q.queue, q.first = q.queue[:n], 0
	}
	o, ok := q.byTarget[w.target]
	if !ok || o.due > w.due {
		return nil // found, or waiting on behind others about the same
	}
	delete(q.byTarget, w.target)
	q.count -= o.count
	l.stats.Unmatched += int64(o.count)
	chain, targets, err := l.waitingAt(o.head)
	for i := len(chain) - 1; i >= 0; i-- {
		c := &chain[i]
		u := Unmatched{FeedbackID: c.feedback, Source: c.source, EventTime: c.event, Arrival: c.arrival}
		if !c.byEntity {
			u.PredictionID = targets[i]
		}
		q.list(u)
	}
	return err
}

// expireOrphans gives up what waited long enough.
func (l *Live) expireOrphans(now int64) error {
	for q := &l.orphans; q.first < len(q.queue) && q.queue[q.first].due < now; {
		if err := l.giveUp(); err != nil {
			return err
		}
	}
	return nil
}

// adopt attaches the feedback that waited for a prediction, or for its entity.
func (l *Live) adopt(slot uint32, kind byte, target string, mine func(*candidate) bool) error {
	if l.orphans.count == 0 {
		return nil
	}
	hash := l.targetOf(kind, target)
	o, ok := l.orphans.byTarget[hash]
	if !ok {
		return nil
	}
	chain, about, err := l.waitingAt(o.head)
	if err != nil {
		return err
	}
	var taken, left []candidate
	var targets []string
	for i := range chain {
		if about[i] == target && mine(&chain[i]) {
			taken = append(taken, chain[i])
		} else {
			left, targets = append(left, chain[i]), append(targets, about[i])
		}
	}
	if len(taken) == 0 {
		return nil
	}
	delete(l.orphans.byTarget, hash)
	l.orphans.count -= o.count
	for i := len(left) - 1; i >= 0; i-- {
		if err := l.waitUntil(hash, targets[i], &left[i], o.due); err != nil {
			return err
		}
	}
	return l.attach(slot, taken...)
}
