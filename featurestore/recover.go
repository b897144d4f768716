// SPDX-License-Identifier: Apache-2.0

package featurestore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/millrace-ml/millrace/featurestore/offline"
	"github.com/millrace-ml/millrace/featurestore/plan"
	"github.com/millrace-ml/millrace/featurestore/window"
)

// recover brings the states up to the log.
func (s *Store) recover(ctx context.Context) error {
	err := s.catchUp(ctx, s.states.Rebuild())
	if !errors.Is(err, offline.ErrTooOld) || s.options.Redis != nil {
		return err
	}
	// The log has let go of what came after the last checkpoint, which was too long ago or
	// is gone. Its partitions have all of it: the states are computed anew.
	s.options.Logger.Warn("the last checkpoint is older than what the event log can replay; features are computed from all of it", "error", err)
	if err := s.states.Close(); err != nil {
		return err
	}
	s.states = nil
	if err := os.RemoveAll(s.onlineDir()); err != nil {
		return err
	}
	if err := s.openStates(ctx); err != nil {
		return err
	}
	all := make([]int, len(plan.Tables(s.catalog)))
	for i := range all {
		all[i] = i
	}
	return s.catchUp(ctx, all)
}

// catchUp computes some tables from the whole log, and replays it for the others.
func (s *Store) catchUp(ctx context.Context, tables []int) error {
	if err := s.rebuild(ctx, tables); err != nil {
		return err
	}
	if len(tables) == len(plan.Tables(s.catalog)) {
		return nil // a scan of the whole log has been applied to all
	}
	return s.replay(ctx)
}

// replay applies what came after the last checkpoint. Entities skip what they have.
func (s *Store) replay(ctx context.Context) error {
	after, end := s.states.ReplayFrom(), s.log.Next()
	if after+1 >= end {
		return nil
	}
	streams := map[string]*replayed{}
	for _, st := range s.sources {
		streams[st.stream.Schema().Stream] = &replayed{scratch: st.router.NewScratch(), router: st.router}
	}
	done, total := int64(0), int64(end-after-1)
	return s.log.Replay(ctx, after, func(stream string, columns []offline.Column, r *offline.Record) error {
		if done++; done%progressEvery == 0 {
			s.options.Progress("replaying the event log", done, total)
		}
		st := streams[stream]
		if st == nil {
			return nil
		}
		updates, err := st.route(columns, r)
		if err != nil {
			return nil // it was refused by these definitions, or would be: it counts nowhere
		}
		return s.states.Replay(ctx, updates, r.Sequence)
	})
}

// progressEvery is the number of records between two calls of Options.Progress.
const progressEvery = 1 << 16

// replayed routes the records of one stream, whose columns may change on the way.
type replayed struct {
	router  *plan.Router
	scratch *plan.Scratch
	columns []offline.Column
	places  []int
}

func (st *replayed) route(columns []offline.Column, r *offline.Record) ([]plan.Update, error) {
	if len(columns) != len(st.columns) || len(columns) > 0 && &columns[0] != &st.columns[0] {
		st.columns, st.places = columns, st.router.Places(columns)
	}
	return st.scratch.RouteColumns(r, st.places)
}

// rebuild computes tables from the whole log.
func (s *Store) rebuild(ctx context.Context, tables []int) error {
	all := plan.Tables(s.catalog)
	for _, st := range s.sources {
		var mine []int
		for _, t := range tables {
			if v := all[t].View; v != nil && v.Source == st.source || v == nil && all[t].Lookup.Source == st.source {
				mine = append(mine, t)
			}
		}
		if len(mine) == 0 {
			continue
		}
		if err := s.rebuildFrom(ctx, st, mine); err != nil {
			return fmt.Errorf("computing the features of source %s from the event log: %w", st.source.Name, err)
		}
	}
	return nil
}

// rebuildFrom applies a source's events to some of its tables, by event time. States
// do not depend on the order of events; only versions of one event have to come as
// they came, which a scan yields newest first.
func (s *Store) rebuildFrom(ctx context.Context, st *sourceState, tables []int) error {
	scan, err := s.log.Scan(ctx, offline.Query{Stream: st.stream.Schema().Stream, Versions: offline.AllVersions})
	if err != nil {
		return err
	}
	defer scan.Close()
	b := &rebuilder{store: s, scratch: st.router.NewScratch(), places: st.router.Places(scan.Columns()), tables: tables}
	for scan.Next() {
		if err := b.add(ctx, scan.Record()); err != nil {
			return err
		}
	}
	if err := scan.Err(); err != nil {
		return err
	}
	return b.flush(ctx)
}

type rebuilder struct {
	store    *Store
	scratch  *plan.Scratch
	places   []int
	tables   []int
	versions []offline.Record
	outcomes []window.Outcome
	done     int64
}

// versionsMax bounds the versions of one event that are put in order. More of them
// are duplicates, which change nothing in any order, or amendments of one column.
const versionsMax = 1024

func (b *rebuilder) add(ctx context.Context, r *offline.Record) error {
	if n := len(b.versions); n > 0 && (n == versionsMax || b.versions[0].EventTime != r.EventTime || b.versions[0].ID != r.ID) {
		if err := b.flush(ctx); err != nil {
			return err
		}
	}
	b.versions = append(b.versions, r.Clone())
	if b.done++; b.done%progressEvery == 0 {
		b.store.options.Progress("computing features from the event log", b.done, 0)
	}
	return nil
}

func (b *rebuilder) flush(ctx context.Context) error {
	slices.Reverse(b.versions)
	for i := range b.versions {
		if err := b.apply(ctx, &b.versions[i]); err != nil {
			return err
		}
	}
	clear(b.versions)
	b.versions = b.versions[:0]
	return nil
}

func (b *rebuilder) apply(ctx context.Context, r *offline.Record) error {
	updates, err := b.scratch.RouteColumns(r, b.places)
	if err != nil {
		return nil // it counts nowhere
	}
	updates = slices.DeleteFunc(updates, func(u plan.Update) bool { return !slices.Contains(b.tables, u.Table) })
	if len(updates) == 0 {
		return nil
	}
	b.outcomes = slices.Grow(b.outcomes[:0], len(updates))[:len(updates)]
	err = b.store.states.Apply(ctx, updates, r.ArrivalTime, func() (uint64, error) { return r.Sequence, nil }, b.outcomes)
	if errors.Is(err, window.ErrEvent) {
		return nil // a view that is new cannot take what was logged before it
	}
	return err
}
