// SPDX-License-Identifier: Apache-2.0

package labeling

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/millrace-ml/millrace/featurestore/offline"
)

// Columns of AnnotationStream that are read back.
const (
	columnProject = iota
	columnTask
	columnWho
	columnKind
	columnValue
	columnLead
	columnComment
	answerColumns
)

// rebuild reads the state of the log. Of each event the version with the highest
// sequence counts, so the order of reading does not matter. s.mu must be held.
func (s *Store) rebuild(ctx context.Context) error {
	for _, step := range []func(context.Context) error{s.readProjects, s.readTasks, s.readSuggestions, s.readAnswers, s.readLeases} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) readProjects(ctx context.Context) error {
	err := s.visit(ctx, ProjectStream, 1, func(r *offline.Record) error {
		p := s.mu.projects[r.ID]
		if p == nil {
			p = s.newProject(string(append([]byte(nil), r.ID...)))
		}
		if r.Sequence <= p.seq {
			return nil
		}
		var definition Project
		if err := json.Unmarshal(r.Values[0].Bytes(), &definition); err != nil {
			return err
		}
		p.Project, p.seq = definition, r.Sequence
		return nil
	})
	s.recovered.Projects = len(s.mu.projects)
	return err
}

// storedTask is a task on its way into the state.
type storedTask struct {
	Task
	p   *project
	seq uint64
}

func (s *Store) readTasks(ctx context.Context) error {
	var all []storedTask
	err := s.visit(ctx, TaskStream, 6, func(r *offline.Record) error {
		p := s.mu.projects[r.Values[0].Text()]
		if p == nil {
			s.recovered.Orphans++
			return nil
		}
		if len(all) >= s.o.TasksMax {
			return fmt.Errorf("%w: the log has more tasks than TasksMax, %d", ErrFull, s.o.TasksMax)
		}
		t := storedTask{p: p, seq: r.Sequence}
		t.ID = string(r.Values[1].Bytes())
		t.At = time.UnixMicro(r.Values[2].Int64()).UTC()
		t.Data = append(json.RawMessage(nil), r.Values[3].Bytes()...)
		if !r.Values[4].IsNull() {
			gold, err := parseValue(r.Values[4].Text())
			if err != nil {
				return err
			}
			t.Gold = &gold
		}
		if !r.Values[5].IsNull() {
			if err := json.Unmarshal(r.Values[5].Bytes(), &t.Suggestion); err != nil {
				return err
			}
		}
		all = append(all, t)
		return nil
	})
	if err != nil {
		return err
	}
	slices.SortFunc(all, func(a, b storedTask) int { return cmp.Compare(a.seq, b.seq) })
	for i := range all {
		if t := &all[i]; t.p.tasks[t.ID] == nil {
			s.insert(t.p, &t.Task, t.seq)
		}
	}
	s.recovered.Tasks = s.mu.tasks
	return nil
}

// lookup finds the task of an event, counting those that have none.
func (s *Store) lookup(r *offline.Record) *task {
	if p := s.mu.projects[r.Values[columnProject].Text()]; p != nil {
		if t := p.tasks[r.Values[columnTask].Text()]; t != nil {
			return t
		}
	}
	s.recovered.Orphans++
	return nil
}

func (s *Store) readSuggestions(ctx context.Context) error {
	return s.visit(ctx, PredictionStream, 3, func(r *offline.Record) error {
		t := s.lookup(r)
		if t == nil || r.Sequence <= t.guess {
			return nil
		}
		var g Suggestion
		if err := json.Unmarshal(r.Values[2].Bytes(), &g); err != nil {
			return err
		}
		s.mu.bytes += g.bytes() - t.Suggestion.bytes()
		t.Suggestion, t.guess = g, r.Sequence
		s.refresh(t)
		return nil
	})
}

func (s *Store) readAnswers(ctx context.Context) error {
	newest := map[*entry]answer{}
	speakers := map[*entry]*person{}
	err := s.visit(ctx, AnnotationStream, answerColumns, func(r *offline.Record) error {
		t := s.lookup(r)
		if t == nil {
			return nil
		}
		e, who, err := s.storedEntry(t, r.Values[columnWho].Text(), isReview(t, r.ID))
		if err != nil || r.Sequence <= newest[e].seq {
			return err
		}
		a := answer{kind: kindOf(r.Values[columnKind].Text()), at: time.UnixMicro(r.EventTime).UTC(), seq: r.Sequence,
			lead: time.Duration(r.Values[columnLead].Int64()) * time.Millisecond, comment: string(r.Values[columnComment].Bytes())}
		if !r.Values[columnValue].IsNull() {
			if a.value, err = parseValue(r.Values[columnValue].Text()); err != nil {
				return err
			}
		}
		newest[e], speakers[e] = a, who
		return nil
	})
	if err != nil {
		return err
	}
	ordered := make([]*entry, 0, len(newest))
	for e := range newest {
		ordered = append(ordered, e)
	}
	slices.SortFunc(ordered, func(a, b *entry) int { return cmp.Compare(newest[a].seq, newest[b].seq) })
	for _, e := range ordered {
		e.by = speakers[e]
		s.say(e, newest[e])
		if k := newest[e].kind; k == KindAnnotation || k == KindReview {
			s.recovered.Annotations++
		}
	}
	return nil
}

// kindOf is a constant for a stored kind, which does not live as long as the state.
func kindOf(text string) string {
	for _, k := range []string{KindAnnotation, KindSkip, KindPostpone, KindReview} {
		if text == k {
			return k
		}
	}
	return KindRetracted
}

func isReview(t *task, id string) bool { return id == entryID(t, "", true) }

// storedEntry is the entry of an event, and who spoke in it.
func (s *Store) storedEntry(t *task, name string, review bool) (*entry, *person, error) {
	who := s.person(t.p, name, review)
	if who == nil {
		return nil, nil, fmt.Errorf("%w: project %q has more people than PeopleMax, %d", ErrFull, t.p.Name, s.o.PeopleMax)
	}
	return s.entry(t, who, review), who, nil
}

// storedLease is the newest lease of an entry.
type storedLease struct {
	seq     uint64
	expires time.Time
	who     *person
}

func (s *Store) readLeases(ctx context.Context) error {
	newest := map[*entry]storedLease{}
	err := s.visit(ctx, LeaseStream, 5, func(r *offline.Record) error {
		t := s.lookup(r)
		if t == nil {
			return nil
		}
		e, who, err := s.storedEntry(t, r.Values[2].Text(), r.Values[3].Bool())
		if err == nil && r.Sequence > newest[e].seq {
			newest[e] = storedLease{r.Sequence, time.UnixMicro(r.Values[4].Int64()).UTC(), who}
		}
		return err
	})
	if err != nil {
		return err
	}
	var active []*entry
	now := s.leaseNow()
	for e, l := range newest {
		e.lease.seq, e.lease.expires = l.seq, l.expires
		if l.expires.After(now) && l.seq > e.seq { // an answer ends the lease before it
			active = append(active, e)
		}
	}
	slices.SortFunc(active, func(a, b *entry) int { return cmp.Compare(newest[a].seq, newest[b].seq) })
	for _, e := range active {
		e.by = newest[e].who
		s.startLease(e, newest[e].seq, newest[e].expires)
	}
	s.recovered.Leases = len(active)
	return nil
}
