// SPDX-License-Identifier: Apache-2.0

package labeling

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Annotation is what somebody says of a task now.
type Annotation struct {
	Annotator string
	// Kind is KindAnnotation, KindSkip, KindPostpone or KindReview.
	Kind    string
	Value   Value
	At      time.Time
	Lead    time.Duration
	Comment string
}

// TaskView is all that is known of a task.
type TaskView struct {
	Task   Task
	Status Status
	// Final is the value of a task that is done, and of gold.
	Final *Value
	// Annotations are what people say, by time, a review last; what is undone is not there.
	Annotations []Annotation
	// Leases are who has the task, and until when, by the clock of leases.
	Leases map[string]time.Time
}

func (t *task) annotations() []Annotation {
	var all []Annotation
	for name, e := range t.entries {
		if e.kind != "" && e.kind != KindRetracted {
			all = append(all, Annotation{name, e.kind, e.value, e.at, e.lead, e.comment})
		}
	}
	slices.SortFunc(all, func(a, b Annotation) int {
		return cmp.Or(a.At.Compare(b.At), strings.Compare(a.Annotator, b.Annotator))
	})
	if e := t.review; e != nil && e.kind == KindReview {
		all = append(all, Annotation{e.by.name, e.kind, e.value, e.at, e.lead, e.comment})
	}
	return all
}

func (t *task) view() TaskView {
	v := TaskView{Task: t.Task, Status: t.status, Annotations: t.annotations(), Leases: map[string]time.Time{}}
	if t.final != nil {
		final := *t.final
		v.Final = &final
	}
	for name, e := range t.entries {
		if e.lease.active {
			v.Leases[name] = e.lease.expires
		}
	}
	if e := t.review; e != nil && e.lease.active {
		v.Leases[e.by.name] = e.lease.expires
	}
	return v
}

// Task is all that is known of a task.
func (s *Store) Task(project, id string) (TaskView, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire()
	t, err := s.find(project, id)
	if err != nil {
		return TaskView{}, err
	}
	return t.view(), nil
}

// PageMax is the largest page of Tasks.
const PageMax = 1000

// Tasks is a page of the tasks of a project as they were added, from an offset: of a
// status, or of all if it is empty. Next is the offset of the page behind it, 0 if there
// is none.
func (s *Store) Tasks(project string, status Status, offset, limit int) (page []TaskView, next int, err error) {
	if offset < 0 || limit < 1 || limit > PageMax {
		return nil, 0, fmt.Errorf("%w page: offset %d and limit %d, want 0 or more and 1 to %d", ErrInvalid, offset, limit, PageMax)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire()
	p, err := s.project(project)
	if err != nil {
		return nil, 0, err
	}
	for i := min(offset, len(p.order)); i < len(p.order); i++ {
		if len(page) == limit {
			return page, i, nil
		}
		if t := p.order[i]; status == "" || t.status == status {
			page = append(page, t.view())
		}
	}
	return page, 0, nil
}

// Each visits every task of a project as it was added, until visit returns an error, which
// it returns. The lock is held for a page at a time and never while visiting, so people go
// on labelling; every task is seen as it is when its page is read.
func (s *Store) Each(project string, visit func(*TaskView) error) error {
	for offset := 0; ; {
		page, next, err := s.Tasks(project, "", offset, 256)
		if err != nil {
			return err
		}
		for i := range page {
			if err := visit(&page[i]); err != nil {
				return err
			}
		}
		if next == 0 {
			return nil
		}
		offset = next
	}
}

// Counts sums a project up.
type Counts struct {
	Open, Review, Done, Gold int
	// Ready are the open tasks that somebody could be handed now, and Leased the leases.
	Ready, Leased int
	People        []PersonCounts
}

// PersonCounts sums an annotator up.
type PersonCounts struct {
	Name                          string
	Annotations, Skips, Postponed int
	// Today are the annotations and skips since midnight, in UTC.
	Today                           int
	GoldSeen, GoldRight, Overridden int
	// Held is the number of tasks they have now.
	Held int
	// Lead is the median time for an annotation, of those that say it.
	Lead time.Duration
	// Last is when they last said something.
	Last time.Time
}

// Counts sums a project up, people by name. Overridden counts annotations of tasks that
// are done with another value.
func (s *Store) Counts(project string) (Counts, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire()
	p, err := s.project(project)
	if err != nil {
		return Counts{}, err
	}
	midnight := s.now().UTC().Truncate(24 * time.Hour)
	c := Counts{Open: p.counts[StatusOpen], Review: p.counts[StatusReview], Done: p.counts[StatusDone],
		Gold: p.counts[StatusGold], Ready: p.open.size}
	for _, who := range p.people {
		c.People = append(c.People, who.counts(midnight))
		c.Leased += len(who.held)
	}
	for _, who := range p.reviewers {
		c.Leased += len(who.held)
	}
	slices.SortFunc(c.People, func(a, b PersonCounts) int { return strings.Compare(a.Name, b.Name) })
	return c, nil
}

func (who *person) counts(midnight time.Time) PersonCounts {
	c := PersonCounts{Name: who.name, Held: len(who.held)}
	var leads []time.Duration
	for at := who.history.Front(); at != nil; at = at.Next() {
		e := at.Value.(*entry)
		c.Last = e.at
		if e.kind != KindPostpone && !e.at.Before(midnight) {
			c.Today++
		}
		switch e.kind {
		case KindSkip:
			c.Skips++
		case KindPostpone:
			c.Postponed++
		case KindAnnotation:
			c.Annotations++
			if e.lead > 0 {
				leads = append(leads, e.lead)
			}
			right := e.t.final != nil && agree(&e.t.p.Labels, e.value, *e.t.final)
			switch {
			case e.t.Gold != nil:
				c.GoldSeen++
				if right {
					c.GoldRight++
				}
			case e.t.final != nil && !right:
				c.Overridden++
			}
		}
	}
	if len(leads) > 0 {
		slices.Sort(leads)
		c.Lead = leads[len(leads)/2]
	}
	return c
}

// agree tells whether two checked values are the same, numbers within the tolerance.
func agree(l *LabelSet, a, b Value) bool {
	if l.Kind == Number {
		_, n := medianOf([]Value{a, b}, l.Tolerance)
		return n == 2
	}
	return a.Key() == b.Key()
}
