// SPDX-License-Identifier: Apache-2.0

package labeling

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"
	"unicode/utf8"
)

var inf = math.Inf(1)

// LeadMax is the longest lead time that is kept; longer ones count as this.
const LeadMax = 24 * time.Hour

// Submission is what somebody says of a task.
type Submission struct {
	Project, Task, Annotator string
	Value                    Value
	// Lead is how long they looked at it.
	Lead time.Duration
	// Comment is for other people, at most ReasonBytesMax.
	Comment string
}

// Result is what became of a submission.
type Result struct {
	// Status is where the task is now; gold tasks pass as done, so as not to be known.
	Status Status
	// Extra means that the lease was over and others have, or had, the task: the
	// annotation is kept as one more opinion.
	Extra bool
}

// Submit takes an annotation, for a task that was leased to the annotator, or a correction
// of one of theirs. It is durable when Submit returns. The same again changes nothing, so
// a page that did not hear the answer sends it again.
func (s *Store) Submit(ctx context.Context, in Submission) (Result, error) {
	return s.tell(ctx, in, KindAnnotation, false)
}

// Skip says that the annotator cannot label the task, with the reason as comment. It is
// not handed to them again.
func (s *Store) Skip(ctx context.Context, project, task, annotator, comment string) (Result, error) {
	return s.tell(ctx, Submission{Project: project, Task: task, Annotator: annotator, Comment: comment}, KindSkip, false)
}

// Postpone gives the task back until the annotator has nothing else to do; meanwhile
// others may get it.
func (s *Store) Postpone(ctx context.Context, project, task, annotator string) (Result, error) {
	return s.tell(ctx, Submission{Project: project, Task: task, Annotator: annotator}, KindPostpone, false)
}

// Review takes the final word on a task. It needs no lease, but while another reviewer
// has one it is ErrConflict. A task that is done may be reviewed too.
func (s *Store) Review(ctx context.Context, in Submission) (Result, error) {
	return s.tell(ctx, in, KindReview, true)
}

// Reopen takes the final word of a reviewer back.
func (s *Store) Reopen(ctx context.Context, project, task, reviewer string) (Result, error) {
	return s.tell(ctx, Submission{Project: project, Task: task, Annotator: reviewer}, KindRetracted, true)
}

func (s *Store) tell(ctx context.Context, in Submission, kind string, review bool) (Result, error) {
	if err := checkPerson(in.Annotator); err != nil {
		return Result{}, err
	}
	result, seq, err := s.tellLocked(ctx, &in, told{kind: kind, review: review})
	if waited := s.durable(ctx, seq); waited != nil {
		err = errors.Join(err, fmt.Errorf("task %q: %w", in.Task, waited))
	}
	return result, err
}

// told says what kind of thing a submission is.
type told struct {
	kind             string
	review, imported bool
	at               time.Time // zero is now
}

// tellLocked checks, stores and applies an answer; it takes s.mu.
func (s *Store) tellLocked(ctx context.Context, in *Submission, how told) (Result, uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	s.expire()
	t, err := s.find(in.Project, in.Task)
	if err != nil {
		return Result{}, 0, err
	}
	if how.at.IsZero() {
		how.at = now
	}
	a, err := t.answer(in, how)
	if err != nil {
		return Result{}, 0, err
	}
	e, err := s.mayTell(t, in.Annotator, how)
	if err != nil {
		return Result{}, 0, err
	}
	if e != nil && !e.lease.active && e.kind == a.kind && e.by.name == in.Annotator && e.value.Key() == a.value.Key() && e.comment == a.comment {
		return t.result(e), e.seq, nil // said before: nothing changes
	}
	who := s.person(t.p, in.Annotator, how.review)
	size := entryBytes + int64(a.value.bytes()+len(a.comment))
	switch {
	case who == nil:
		return Result{}, 0, fmt.Errorf("%w: project %q has %d people", ErrFull, in.Project, s.o.PeopleMax)
	case s.mu.bytes+size > s.o.BytesMax:
		return Result{}, 0, fmt.Errorf("%w: tasks and annotations take %d bytes", ErrFull, s.mu.bytes)
	}
	if a.seq, err = s.appendAnswer(ctx, t, in.Annotator, how.review, &a); err != nil {
		return Result{}, 0, err
	}
	e = s.entry(t, who, how.review)
	s.say(e, a)
	return t.result(e), a.seq, nil
}

// answer checks a submission.
func (t *task) answer(in *Submission, how told) (a answer, err error) {
	if len(in.Comment) > ReasonBytesMax || !utf8.ValidString(in.Comment) {
		return a, fmt.Errorf("%w comment: want at most %d bytes of UTF-8", ErrInvalid, ReasonBytesMax)
	}
	a = answer{kind: how.kind, at: time.UnixMicro(how.at.UnixMicro()).UTC(), comment: in.Comment,
		lead: min(max(in.Lead, 0), LeadMax).Truncate(time.Millisecond)}
	if how.kind != KindAnnotation && how.kind != KindReview {
		return a, nil
	}
	text, err := taskText(&t.p.Project, t.Data)
	if err != nil {
		return a, err
	}
	if a.value, err = t.p.Labels.Check(in.Value, text); err != nil {
		return a, fmt.Errorf("task %q: %w", t.ID, err)
	}
	return a, nil
}

// result says what became of an answer.
func (t *task) result(e *entry) Result {
	if e.review {
		return Result{Status: t.status}
	}
	if t.status == StatusGold {
		return Result{Status: StatusDone}
	}
	return Result{Status: t.status, Extra: e.kind == KindAnnotation && t.slots() < 0}
}

// mayTell finds the entry that an answer belongs to, or says why it is refused. A review
// has none yet if nobody leased the task.
func (s *Store) mayTell(t *task, name string, how told) (*entry, error) {
	e := t.entries[name]
	if how.review {
		e = t.review
		switch {
		case t.Gold != nil:
			return nil, fmt.Errorf("%w: task %q is gold, which is not reviewed", ErrConflict, t.ID)
		case e != nil && e.lease.active && e.by.name != name:
			return nil, fmt.Errorf("%w: task %q is being reviewed by %s until %s", ErrConflict, t.ID, e.by.name, e.lease.expires.Format(time.RFC3339))
		case how.kind == KindRetracted && (e == nil || e.kind != KindReview && e.kind != KindRetracted):
			return nil, fmt.Errorf("%w: task %q was not reviewed", ErrNothing, t.ID)
		}
		return e, nil
	}
	if how.imported {
		if how.kind == KindRetracted && (e == nil || e.kind == "") {
			return nil, fmt.Errorf("%w: %s said nothing of task %q", ErrNothing, name, t.ID)
		}
		return e, nil
	}
	if e == nil || e.lease.seq == 0 && e.kind == "" {
		return nil, fmt.Errorf("%w: task %q, %s", ErrNotLeased, t.ID, name)
	}
	if how.kind == KindPostpone && e.kind != KindPostpone && e.by.postponed.Len() >= PostponedMax {
		return nil, fmt.Errorf("%w: %s has postponed %d tasks; label some of them", ErrFull, name, PostponedMax)
	}
	return e, nil
}

// Undo takes back the newest thing that an annotator said in a project, and hands them the
// task again if it is free. With task given it is ErrConflict unless that is the newest, so
// that a repeated call does not undo two.
func (s *Store) Undo(ctx context.Context, project, annotator, task string) (Assignment, error) {
	if err := checkPerson(annotator); err != nil {
		return Assignment{}, err
	}
	out, seq, err := s.undo(ctx, project, annotator, task)
	return out, errors.Join(err, s.durable(ctx, seq))
}

func (s *Store) undo(ctx context.Context, projectName, name, id string) (Assignment, uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	s.expire()
	p, err := s.project(projectName)
	if err != nil {
		return Assignment{}, 0, err
	}
	who := p.people[name]
	if who == nil || who.history.Len() == 0 {
		return Assignment{}, 0, fmt.Errorf("%w: %s in project %q", ErrNothing, name, projectName)
	}
	e := who.history.Back().Value.(*entry)
	if id != "" && e.t.ID != id {
		return Assignment{}, 0, fmt.Errorf("%w: the newest of %s is task %q, not %.150q", ErrConflict, name, e.t.ID, id)
	}
	a := answer{kind: KindRetracted, value: e.value, at: now, comment: e.comment}
	if a.seq, err = s.appendAnswer(ctx, e.t, name, false, &a); err != nil {
		return Assignment{}, 0, err
	}
	s.say(e, a)
	seq := a.seq
	if (e.t.status == StatusGold || e.t.status == StatusOpen && e.t.slots() > 0) && len(who.held) < HeldMax {
		if err := s.lease(ctx, e.t, who, false, now); err != nil {
			return Assignment{}, seq, err
		}
		seq = e.lease.seq
	}
	return e.assignment(), seq, nil
}
