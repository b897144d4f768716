// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"

	"github.com/millrace-ml/millrace/featurestore/online"
)

// revisionsMax bounds how often a change of the records meets a revision that another
// replica has just made.
const revisionsMax = 16

// state is the record of a bucket as just read.
type state struct {
	fields map[string]string
	record *record // nil if there is none
}

// all runs a script that returns the record in every bucket. arguments is asked for
// each; a nil answer leaves the bucket out.
func (s *Store) all(ctx context.Context, sc *script, arguments func(b int) []string) ([]state, error) {
	var requests []request
	var places []int
	for b := range s.buckets {
		if args := arguments(b); args != nil {
			requests = append(requests, request{script: sc, keys: []string{s.buckets[b].key}, args: args})
			places = append(places, b)
		}
	}
	if len(requests) == 0 {
		return make([]state, len(s.buckets)), nil
	}
	if err := s.conn.call(ctx, s.options.WriteDeadline, requests); err != nil {
		return nil, err
	}
	states := make([]state, len(s.buckets))
	for i, b := range places {
		fields, err := fieldsOf(&requests[i].reply)
		if err == nil {
			states[b].fields = fields
			states[b].record, err = parseRecord(fields, s.options.Log, s.tables)
		}
		if err != nil {
			return nil, fmt.Errorf("redis at %s: %s: %w", s.conn.address, s.buckets[b].key, err)
		}
	}
	return states, nil
}

// join makes log and tables known and adopts the records. Who wrote for the log before
// is who the store writes as until a recovery ends.
func (s *Store) join(ctx context.Context) error {
	o, empty := &s.options, ""
	if o.Log != "" && o.Position() == 0 {
		empty = formatOwner(s.newOwner())
	}
	states, err := s.all(ctx, joinScript, func(int) []string {
		args := []string{newID(), o.Log, empty, strconv.Itoa(len(s.tables))}
		for i := range s.tables {
			args = append(args, s.tables[i].print, newPart())
		}
		return append(args, o.Members...)
	})
	if err != nil {
		return err
	}
	for b := range states {
		r := states[b].record
		if r == nil {
			return fmt.Errorf("redis at %s: %w: %s vanished", s.conn.address, ErrIncomplete, s.buckets[b].key)
		}
		if r.owner != 0 {
			own := newOwner(r.owner, 0)
			own.writes.Store(writesOf(states[b].fields, own))
			s.buckets[b].owner.Store(own)
		}
		s.buckets[b].adopt(r)
	}
	return nil
}

func newID() string { return strconv.FormatUint(rand.Uint64(), 16) }

// newPart names a table's part of the keys, one that was never used before.
func newPart() string { return strconv.FormatUint(uint64(rand.Uint32()), 36) }

// begin notes that tables are rebuilt.
func (s *Store) begin(ctx context.Context, rebuilt [][]bool) error {
	attempt := newID()
	return s.insist(ctx, beginScript, func(b int) []string {
		args := []string{s.buckets[b].record.Load().revision, s.options.Log, attempt}
		for t, is := range rebuilt[b] {
			if is {
				args = append(args, s.tables[t].print, newPart())
			}
		}
		if len(args) == 3 {
			return nil
		}
		return args
	}, func(b int, st *state) bool {
		for t, is := range rebuilt[b] {
			if is && st.fields["b:"+s.options.Log+"/"+s.tables[t].print] != attempt {
				return false
			}
		}
		return true
	})
}

// insist runs a script that changes the records in every bucket until it has. The script
// does nothing if the revision is another one, as when another replica starts as well.
func (s *Store) insist(ctx context.Context, sc *script, arguments func(b int) []string, worked func(b int, st *state) bool) error {
	finished := make([]bool, len(s.buckets))
	for range revisionsMax {
		states, err := s.all(ctx, sc, func(b int) []string {
			if finished[b] {
				return nil
			}
			return arguments(b)
		})
		if err != nil {
			return err
		}
		open := false
		for b := range states {
			st := &states[b]
			if st.fields == nil {
				continue
			}
			if worked(b, st) {
				finished[b] = true
			} else if err := s.same(b, st.record); err != nil {
				return s.lose(err)
			}
			open = open || !finished[b]
			s.buckets[b].adopt(st.record)
		}
		if !open {
			return nil
		}
	}
	return fmt.Errorf("redis at %s: %w: other replicas keep changing the records", s.conn.address, ErrIncomplete)
}

// finish ends the opening or a recovery: all of the log is in the tables.
func (s *Store) finish(ctx context.Context, from phase) error {
	s.finishing.Lock()
	defer s.finishing.Unlock()
	if p := s.at(); p != from {
		switch p {
		case ready:
			return nil
		case closed:
			return online.ErrClosed
		}
		return s.incomplete()
	}
	if s.options.Log != "" {
		if err := s.loader.flush(ctx); err != nil {
			if from == opening && ctx.Err() == nil {
				return s.lose(fmt.Errorf("the event log was not replayed to its end: %w", err))
			}
			return err
		}
		if err := s.done(ctx); err != nil {
			return err
		}
	}
	if !s.phase.CompareAndSwap(int32(from), int32(ready)) {
		return s.incomplete()
	}
	return nil
}

// done tells Redis that all of the log is in the tables. From then on the store writes
// under a number of its own, and one that was opened for the log before is fenced.
func (s *Store) done(ctx context.Context) error {
	end := s.options.Position()
	if err := s.durable(ctx, end); err != nil {
		return err
	}
	own := s.newOwner()
	err := s.insist(ctx, doneScript, func(b int) []string {
		args := []string{s.buckets[b].record.Load().revision, s.options.Log, formatOwner(own), strconv.FormatUint(end, 10)}
		return append(args, s.prints()...)
	}, func(b int, st *state) bool {
		if st.record == nil || st.record.owner != own {
			return false
		}
		s.buckets[b].owner.Store(newOwner(own, 0))
		return true
	})
	if err == nil {
		s.counts.checkpoints.Add(1)
		raise(&s.counts.through, end)
	}
	return err
}

// prints are the tables as the records name them.
func (s *Store) prints() []string {
	prints := make([]string, len(s.tables))
	for i := range s.tables {
		prints[i] = s.tables[i].print
	}
	return prints
}

// same reports what of a bucket is not any more what it was, whereby the store has to
// recover.
func (s *Store) same(b int, r *record) error {
	old := s.buckets[b].record.Load()
	switch {
	case r == nil:
		return fmt.Errorf("%s is gone", s.buckets[b].key)
	case r.writes < s.buckets[b].seen.Load():
		return fmt.Errorf("%s went back in time", s.buckets[b].key)
	case r.id != old.id:
		return fmt.Errorf("another replica found that %s lost states", s.buckets[b].key)
	}
	for t := range r.tables {
		if r.tables[t].part != old.tables[t].part {
			return fmt.Errorf("table %s is computed again", s.tables[t].name)
		}
	}
	return nil
}

// refresh loads the records, after an answer that told of a new revision. Who had to wait
// for another to do so takes what that found; if it is not enough, the next answer says so.
func (s *Store) refresh(ctx context.Context) error {
	before := s.refreshes.Load()
	s.refreshing.Lock()
	defer s.refreshing.Unlock()
	if s.refreshes.Load() != before {
		if err := ctx.Err(); err != nil {
			return s.conn.unavailable(err)
		}
		return nil
	}
	defer s.refreshes.Add(1)
	states, err := s.all(ctx, loadScript, func(int) []string { return []string{} })
	if err != nil {
		return err
	}
	for b := range states {
		own, r := s.buckets[b].owner.Load(), states[b].record
		if err := s.same(b, r); err != nil {
			return s.lose(err)
		}
		fenced := s.options.Log != "" && s.at() == ready && r.owner != own.id
		if fenced && own == s.buckets[b].owner.Load() {
			if !s.fenced.Swap(true) {
				s.options.Logger.Error("another store was opened for the same event log; this one writes no more", "log", s.options.Log)
			}
			s.buckets[b].owner.Store(newOwner(own.id, 0)) // its count is gone from the record
		} else if writesOf(states[b].fields, own) < own.writes.Load() && own == s.buckets[b].owner.Load() {
			return s.lose(fmt.Errorf("%s went back in time", s.buckets[b].key))
		}
		s.buckets[b].adopt(r)
	}
	return nil
}

// resync finds out what was lost, says so, and makes log and tables known anew.
func (s *Store) resync(ctx context.Context) error {
	states, err := s.all(ctx, declareScript, func(b int) []string {
		k := s.buckets[b].known()
		args := []string{k.record.id, strconv.FormatUint(k.seen, 10), k.owner.field, strconv.FormatUint(k.writes, 10), newID()}
		return append(args, slices.Concat(k.record.members, s.options.Members)...)
	})
	if err != nil {
		return err
	}
	for b := range states {
		if r := states[b].record; r == nil || r.writes < s.buckets[b].seen.Load() {
			return fmt.Errorf("redis at %s: %s went back in time again", s.conn.address, s.buckets[b].key)
		}
	}
	return s.join(ctx)
}

// Forget takes a log out of those whose events are to be in the tables, because its
// replica and with it the log are gone for good. After a loss its events stay lost. The
// empty name stands for events that no log has.
func (s *Store) Forget(ctx context.Context, logName string) error {
	if logName == s.options.Log && logName != "" {
		return errors.New("redis: a store cannot forget its own log")
	}
	_, err := s.all(ctx, forgetScript, func(int) []string { return []string{logName} })
	if err != nil {
		return err
	}
	return s.refresh(ctx)
}

// Discard gives up what Redis has of the log, before pushes and reads begin: Rebuild then
// lists all tables. It is for a log that cannot be replayed from ReplayFrom any more. The
// other replicas compute the tables again as well.
func (s *Store) Discard(ctx context.Context) error {
	if p := s.at(); p != opening && p != recovering {
		return errors.New("redis: states can be discarded only before pushes and reads begin")
	}
	return s.insist(ctx, discardScript, func(b int) []string {
		return append([]string{s.buckets[b].record.Load().revision, s.options.Log}, s.prints()...)
	}, func(_ int, st *state) bool {
		if st.record == nil {
			return false
		}
		for t := range st.record.tables {
			if st.record.tables[t].known {
				return false
			}
		}
		return true
	})
}

// durable waits for the log, if it has to.
func (s *Store) durable(ctx context.Context, sequence uint64) error {
	if s.options.Durable == nil || sequence == 0 {
		return nil
	}
	return s.options.Durable(ctx, sequence)
}
