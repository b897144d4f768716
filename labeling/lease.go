// SPDX-License-Identifier: Apache-2.0

package labeling

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Assignment is a task that somebody has.
type Assignment struct {
	Task Task
	// Expires is when the task goes to somebody else, by the clock of leases; zero if it is not leased, as after
	// an undo when others have it.
	Expires time.Time
	// Before is what the person said of the task before they undid it; nil if nothing.
	Before *Value
	// Annotations are what others said, for a review; nil otherwise.
	Annotations []Annotation
}

// Lease hands out tasks: those that the person has, oldest first, and new ones until there
// are count (1 to HeldMax). Fewer means that there are no more for this person now. A page
// asks for two, so that the next is there when one is done; asking again after a
// restart gives the same. Gold is not told from other tasks here: Task.Gold is nil.
func (s *Store) Lease(ctx context.Context, projectName, annotator string, count int) ([]Assignment, error) {
	return s.hand(ctx, projectName, annotator, count, false)
}

// LeaseReview is Lease for reviewers: tasks in review, with the annotations.
func (s *Store) LeaseReview(ctx context.Context, projectName, reviewer string, count int) ([]Assignment, error) {
	return s.hand(ctx, projectName, reviewer, count, true)
}

func (s *Store) hand(ctx context.Context, projectName, name string, count int, review bool) ([]Assignment, error) {
	if err := checkPerson(name); err != nil {
		return nil, err
	}
	if count < 1 || count > HeldMax {
		return nil, fmt.Errorf("%w count: %d is not in 1 to %d", ErrInvalid, count, HeldMax)
	}
	out, seq, err := s.handOut(ctx, projectName, name, count, review)
	if waited := s.durable(ctx, seq); waited != nil {
		err = errors.Join(err, waited)
	}
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (s *Store) handOut(ctx context.Context, projectName, name string, count int, review bool) (out []Assignment, seq uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	s.expire()
	p, err := s.project(projectName)
	if err != nil {
		return nil, 0, err
	}
	who := s.person(p, name, review)
	if who == nil {
		return nil, 0, fmt.Errorf("%w: project %q has %d people", ErrFull, projectName, s.o.PeopleMax)
	}
	for len(who.held) < count {
		t := s.pick(p, who, review)
		if t == nil {
			break
		}
		if err := s.lease(ctx, t, who, review, now); err != nil {
			return nil, 0, err
		}
	}
	for _, e := range who.held[:min(count, len(who.held))] {
		out = append(out, e.assignment())
		// What was leased earlier may still be on its way to the disk.
		seq = max(seq, e.lease.seq, e.t.seq)
	}
	return out, seq, nil
}

// lease stores a lease and applies it.
func (s *Store) lease(ctx context.Context, t *task, who *person, review bool, now time.Time) error {
	if s.mu.bytes+entryBytes > s.o.BytesMax {
		return fmt.Errorf("%w: tasks and annotations take %d bytes", ErrFull, s.mu.bytes)
	}
	expires := s.leaseNow().Add(t.p.Lease)
	seq, err := s.appendLease(ctx, t, who.name, review, expires, now)
	if err != nil {
		return err
	}
	s.startLease(s.entry(t, who, review), seq, expires)
	return nil
}

// assignment is what the person with an active lease sees.
func (e *entry) assignment() Assignment {
	a := Assignment{Task: e.t.Task}
	if e.lease.active {
		a.Expires = e.lease.expires
	}
	if e.review {
		a.Annotations = e.t.annotations()
		return a
	}
	a.Task.Gold = nil
	if e.kind == KindRetracted && !e.value.empty() {
		before := e.value
		a.Before = &before
	}
	return a
}

// pick is the task that somebody gets next, nil if there is none.
func (s *Store) pick(p *project, who *person, review bool) *task {
	if review {
		if n := p.reviews.from(place{priority: inf}); n != nil {
			return n.task
		}
		return nil
	}
	next := p.next(who)
	if next != nil && goldTurn(s.o.Seed, p.Name, who.name, who.history.Len()+len(who.held), p.GoldShare) {
		for _, t := range p.golds {
			if t.eligible(who.name) {
				return t
			}
		}
	}
	if next != nil {
		return next
	}
	for at := who.postponed.Front(); at != nil; at = at.Next() {
		if t := at.Value.(*entry).t; t.status == StatusGold || t.status == StatusOpen && t.slots() > 0 {
			return t
		}
	}
	return nil
}

// next is the first task of the queue that the person may have. The cursor passes over the
// others once, until they change.
func (p *project) next(who *person) *task {
	for {
		n := p.open.from(who.cursor)
		if n == nil {
			who.cursor = place{priority: -inf, seq: ^uint64(0)}
			return nil
		}
		who.cursor = n.place
		if n.task.eligible(who.name) {
			return n.task
		}
		who.cursor.seq++
	}
}

// goldTurn tells whether the task that somebody gets after so many is gold. It follows
// from its arguments, so a restart does not change it.
func goldTurn(seed uint64, project, name string, had int, share float64) bool {
	h := hashID(seed^0x676f6c64, project+"/"+name)
	return float64(mix(h^uint64(had))>>11)/(1<<53) < share
}

// Renew gives everything that somebody has in a project, as annotator and as reviewer, a
// new lease: a page calls it while its user is there. It says how many there are.
func (s *Store) Renew(ctx context.Context, projectName, name string) (int, error) {
	n, seq, err := s.renew(ctx, projectName, name)
	return n, errors.Join(err, s.durable(ctx, seq))
}

func (s *Store) renew(ctx context.Context, projectName, name string) (n int, seq uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	s.expire()
	p, err := s.project(projectName)
	if err != nil {
		return 0, 0, err
	}
	for _, who := range []*person{p.people[name], p.reviewers[name]} {
		if who == nil {
			continue
		}
		for _, e := range slices.Clone(who.held) {
			expires := s.leaseNow().Add(p.Lease)
			if seq, err = s.appendLease(ctx, e.t, name, e.review, expires, now); err != nil {
				return n, seq, err
			}
			s.startLease(e, seq, expires)
			n++
		}
	}
	return n, seq, nil
}
