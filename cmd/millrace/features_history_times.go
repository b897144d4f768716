// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/offline"
	"github.com/millrace-ml/millrace/featurestore/plan"
	"github.com/millrace-ml/millrace/featurestore/source"
)

// errLongHistory says that there are more moments than are printed.
var errLongHistory = usageError{fmt.Errorf("more than %d moments; narrow --from and --to, or give a longer --step", historyRowsMax)}

// times are the moments of the history, in order.
func (h *history) times(ctx context.Context) ([]int64, error) {
	f := h.flags
	from, to := f.from.micros(), f.to.micros()
	if f.step > 0 {
		var times []int64
		step := max(time.Duration(f.step).Microseconds(), 1)
		if (to-from)/step >= historyRowsMax {
			return nil, errLongHistory
		}
		for t := from; t < to; t += step {
			times = append(times, t)
		}
		return times, nil
	}
	found := &eventTimes{from: from, to: to, seen: map[int64]struct{}{}}
	for _, t := range h.tables() {
		if err := found.add(ctx, f, t); err != nil {
			return nil, err
		}
	}
	times := make([]int64, 0, len(found.seen))
	for t := range found.seen {
		times = append(times, t)
	}
	slices.Sort(times)
	return times, nil
}

// keyed is a source with the fields that hold the keys of an entity, and their values.
type keyed struct {
	source *definition.Source
	fields []int
	keys   []column.Column
}

// tables are the views and lookups of the service, by what their entities' events are.
func (h *history) tables() (all []keyed) {
	c := h.flags.options.Catalog
	add := func(s *definition.Source, entities []*definition.Entity, fields []int) {
		k := keyed{source: s, fields: fields}
		for _, e := range entities {
			k.keys = append(k.keys, h.keys[slices.Index(h.service.Entities, e)])
		}
		if !slices.ContainsFunc(all, func(o keyed) bool { return o.source == s && slices.Equal(o.fields, fields) }) {
			all = append(all, k)
		}
	}
	for i := range h.service.Features {
		switch f := &h.service.Features[i]; f.Kind {
		case definition.FromView:
			v := c.Views[f.View]
			add(v.Source, v.Entities, v.Keys)
		case definition.FromLookup:
			l := c.Lookups[f.Lookup]
			add(l.Source, l.Entities, l.Keys)
		}
	}
	return all
}

// eventTimes collects the times of events, at most historyRowsMax.
type eventTimes struct {
	from, to int64
	seen     map[int64]struct{}
}

func (e *eventTimes) note(t int64) error {
	if t < e.from || t >= e.to {
		return nil
	}
	if e.seen[t] = struct{}{}; len(e.seen) > historyRowsMax {
		return errLongHistory
	}
	return nil
}

func (e *eventTimes) add(ctx context.Context, f *historyFlags, k keyed) error {
	if len(k.source.Inputs) > 0 && !f.options.NoInputs {
		if err := e.addInputs(ctx, k, f.options.BadRowsMax); err != nil {
			return err
		}
	}
	if f.options.Log == nil {
		return nil
	}
	return e.addLog(ctx, f.options.Log, k)
}

func (e *eventTimes) addInputs(ctx context.Context, k keyed, badRowsMax int64) error {
	r, err := source.Open(ctx, k.source, source.Options{Fields: append([]int{k.source.Timestamp}, k.fields...), BadRowsMax: badRowsMax, Parallel: 1})
	if err != nil {
		return err
	}
	defer r.Close()
	var b column.Batch
	for {
		if more, err := r.Next(&b); err != nil || !more {
			return err
		}
		at := &b.Columns[k.source.Timestamp]
		for row := range b.Rows {
			if at.Null(row) || !k.is(&b, row) {
				continue
			}
			if err := e.note(at.Ints[row]); err != nil {
				return err
			}
		}
	}
}

// is reports whether a row is an event of the entity.
func (k *keyed) is(b *column.Batch, row int) bool {
	for i, field := range k.fields {
		c, key := &b.Columns[field], &k.keys[i]
		if c.Null(row) || c.Type == column.String && c.Texts[row] != key.Texts[0] || c.Type != column.String && c.Ints[row] != key.Ints[0] {
			return false
		}
	}
	return true
}

func (e *eventTimes) addLog(ctx context.Context, log *offline.Log, k keyed) error {
	q := offline.Query{Stream: plan.Schema(k.source).Stream, From: e.from, To: e.to}
	for _, field := range k.fields {
		q.Columns = append(q.Columns, k.source.Fields[field].Name)
	}
	s, err := log.Scan(ctx, q)
	if errors.Is(err, offline.ErrUnknownStream) {
		return nil // nothing of the source was ever pushed or loaded
	} else if err != nil {
		return err
	}
	defer s.Close()
	for s.Next() {
		same := true
		for i, v := range s.Record().Values {
			key := &k.keys[i]
			if v.IsNull() || key.Type == column.String && v.Text() != key.Texts[0] || key.Type != column.String && v.Int64() != key.Ints[0] {
				same = false
			}
		}
		if !same {
			continue
		}
		if err := e.note(s.Record().EventTime); err != nil {
			return err
		}
	}
	return s.Err()
}
