// SPDX-License-Identifier: Apache-2.0

package labeling

import "time"

// Changed is a task whose final value may have changed.
type Changed struct {
	Project, Task string
	// Data is what the task shows.
	Data []byte
	// Final is its value, nil if it has none, or none any more.
	Final *Value
	// At is when the newest thing that counts was said; zero if Final is nil.
	At time.Time
	// By are those who said it: the reviewer alone, or the annotators, by time.
	By []string
}

// TakeChanged takes at most limit tasks that became done, or are done no longer, or are done
// with another value, since they were last taken; after Open, all tasks are new. It tells
// how they are now, so several changes of a task may be one. Gold tasks are left out.
//
// Whoever carries values elsewhere asks again and again, and compares with what is there:
// after a crash everything comes once more. There can be one such caller.
func (s *Store) TakeChanged(limit int) []Changed {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Changed
	for s.mu.head < len(s.mu.changed) && len(all) < limit {
		t := s.mu.changed[s.mu.head]
		s.mu.changed[s.mu.head] = nil
		s.mu.head++
		t.marked = false
		if t.Gold == nil {
			all = append(all, t.changed())
		}
	}
	if 2*s.mu.head >= len(s.mu.changed) { // what was taken does not pile up before the rest
		s.mu.changed = append(s.mu.changed[:0], s.mu.changed[s.mu.head:]...)
		s.mu.head = 0
	}
	return all
}

func (t *task) changed() Changed {
	c := Changed{Project: t.p.Name, Task: t.ID, Data: t.Data}
	if t.status != StatusDone {
		return c
	}
	final := *t.final
	c.Final = &final
	for _, a := range t.annotations() {
		switch a.Kind {
		case KindReview:
			c.By = nil
		case KindAnnotation:
		default:
			continue
		}
		c.At, c.By = a.At, append(c.By, a.Annotator)
	}
	return c
}
