// SPDX-License-Identifier: Apache-2.0

package dataset

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"strings"
	"sync"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/expression"
	"github.com/millrace-ml/millrace/featurestore/offline"
	"github.com/millrace-ml/millrace/featurestore/plan"
	"github.com/millrace-ml/millrace/featurestore/source"
)

// events reads the events of sources into an engine's tables.
type events struct {
	engine *engine
	// full is the whole catalogue.
	full       *definition.Catalog
	log        *offline.Log
	inputs     bool // are read, besides the log
	until      int64
	badRowsMax int64
	refused    *refusals
	// read has what was read, by source.
	mu struct {
		sync.Mutex
		read []SourceRead
	}
}

// SourceRead says what was read of a source.
type SourceRead struct {
	Source string `json:"source"`
	// Rows are those of its inputs, without BadRows, which were left out.
	Rows    int64 `json:"rows"`
	BadRows int64 `json:"bad_rows"`
	// Records are those of its stream in the log, all versions.
	Records int64 `json:"records"`
	// bad are some of the bad rows.
	bad []source.RowError
}

// sources are those that the service's tables read, and another one unless it is nil.
func (ev *events) sources(also *definition.Source) []*definition.Source {
	var all []*definition.Source
	for _, t := range ev.engine.tables {
		if s := t.source(); !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	if also != nil && !slices.Contains(all, also) {
		all = append(all, also)
	}
	return all
}

// check refuses sources that nothing can be read of.
func (ev *events) check(labels *definition.Source) error {
	for _, s := range ev.sources(labels) {
		if ev.log == nil && len(s.Inputs) == 0 {
			return fmt.Errorf("%w: source %s has no inputs, and there is no log of what was pushed", ErrOptions, s.Name)
		}
	}
	return nil
}

// router returns a router of a source and its tables by the router's numbers. It knows
// the tables that the service reads; but all of them if fields are late, because
// whether a record is an amendment depends on the keys of all tables.
func (ev *events) router(s *definition.Source) (r *plan.Router, all []plan.Table, tables []*table) {
	e := ev.engine
	if !slices.ContainsFunc(s.Fields, func(f definition.Field) bool { return f.Late }) {
		tables = slices.Clone(e.tables)
		for i, t := range tables {
			if t.source() != s {
				tables[i] = nil
			}
		}
		return plan.NewRouter(e.catalog, s), plan.Tables(e.catalog), tables
	}
	all = plan.Tables(ev.full)
	tables = make([]*table, len(all))
	for i, t := range all {
		k := slices.IndexFunc(e.tables, func(u *table) bool { return u.View == t.View && u.Lookup == t.Lookup })
		if k >= 0 && e.tables[k].source() == s {
			tables[i] = e.tables[k]
		}
	}
	return plan.NewRouter(ev.full, s), all, tables
}

// feeds lends feeds, as many as are in use at once.
type feeds struct {
	make func() *feed
	mu   struct {
		sync.Mutex
		idle []*feed
	}
}

func (p *feeds) take() *feed {
	p.mu.Lock()
	defer p.mu.Unlock()
	if last := len(p.mu.idle) - 1; last >= 0 {
		f := p.mu.idle[last]
		p.mu.idle = p.mu.idle[:last]
		return f
	}
	return p.make()
}

func (p *feeds) put(f *feed) {
	p.mu.Lock()
	p.mu.idle = append(p.mu.idle, f)
	p.mu.Unlock()
}

func (p *feeds) close() {
	for _, f := range p.mu.idle {
		f.close()
	}
}

func (ev *events) feeds(s *definition.Source) *feeds {
	r, all, tables := ev.router(s)
	return &feeds{make: func() *feed { return newFeed(r, all, tables, ev.engine.asOf, ev.until, ev.refused) }}
}

// fieldsOf are the fields of a source that its tables read; nil for all. A source with
// late fields is read whole: what is not null tells events from amendments.
func (ev *events) fieldsOf(s *definition.Source) []int {
	need := make([]bool, len(s.Fields))
	for i, f := range s.Fields {
		if f.Late {
			return nil
		}
		need[i] = i == s.ID || i == s.Timestamp || i == s.Arrival
	}
	for _, t := range ev.engine.tables {
		if t.source() == s {
			t.fields(need)
		}
	}
	var fields []int
	for i, n := range need {
		if n {
			fields = append(fields, i)
		}
	}
	return fields
}

// fields marks the fields that a table reads.
func (t *table) fields(need []bool) {
	t.numbers(need)
	if t.Lookup != nil {
		mark(need, t.Lookup.Keys...)
		mark(need, t.Lookup.Fields...)
		return
	}
	mark(need, t.View.Keys...)
	for _, c := range t.View.Columns {
		mark(need, c.LateField)
	}
	for _, c := range t.View.KeyColumns {
		mark(need, c.Field)
	}
}

// numbers marks the fields that a table reads as numbers.
func (t *table) numbers(need []bool) {
	if t.Lookup != nil {
		mark(need, t.Lookup.Fields...)
		return
	}
	markRead(need, t.View.Filter)
	for _, c := range t.View.Columns {
		mark(need, c.Field)
		markRead(need, c.Program)
		markRead(need, c.Filter)
	}
	for _, c := range t.View.KeyColumns {
		markRead(need, c.Filter)
	}
}

func mark(need []bool, fields ...int) {
	for _, f := range fields {
		if f >= 0 {
			need[f] = true
		}
	}
}

func markRead(need []bool, p *expression.Program) {
	if p != nil {
		mark(need, p.Fields()...)
	}
}

// sliceRows is how many rows of an input are spread over the parts at once: enough that
// some hundred go to each, and not so many that their columns fall out of the cache.
const sliceRows = 32768

// readInputs reads the inputs of a source. also, unless nil, sees each slice before the
// tables do, and then all fields are read.
func (ev *events) readInputs(ctx context.Context, s *definition.Source, also func(slice int, b *column.Batch) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	o := source.Options{BadRowsMax: ev.badRowsMax, RowNumbers: s.ID < 0, BatchRows: sliceRows}
	if also == nil {
		o.Fields = ev.fieldsOf(s)
	}
	r, err := source.Open(ctx, s, o)
	if err != nil {
		return err
	}
	defer r.Close()
	lent := ev.feeds(s)
	defer lent.close()
	err = r.ReadParallel(ev.engine.workers, func(slice int, b *column.Batch) error {
		if also != nil {
			if err := also(slice, b); err != nil {
				return err
			}
		}
		f := lent.take()
		defer lent.put(f)
		return f.batch(slice, b)
	})
	if err != nil {
		return err
	}
	ev.note(SourceRead{Source: s.Name, Rows: r.Rows(), BadRows: r.BadCount(), bad: r.Bad()})
	return nil
}

// logSlice is the first number of a slice of the log; those of inputs are lower.
const logSlice = 1 << 20

// records sees the records of a slice of the log, whose values have places by field.
type records func(slice int, s *definition.Source, places []int, scan iter.Seq[*offline.Record]) error

// readLog reads the events of a source that are in the log. also, unless nil, sees each
// record after the tables do.
func (ev *events) readLog(ctx context.Context, s *definition.Source, also records) error {
	stream := plan.Schema(s).Stream
	if !slices.ContainsFunc(ev.log.Streams(), func(o offline.Schema) bool { return o.Stream == stream }) {
		return nil // nothing was pushed yet
	}
	q := offline.Query{Stream: stream, Versions: offline.AllVersions}
	if ev.engine.asOf < math.MaxInt64 {
		q.AsOf = ev.engine.asOf
	}
	if ev.until < math.MaxInt64 {
		q.To = ev.until
	}
	r, _, _ := ev.router(s)
	lent := ev.feeds(s)
	defer lent.close()
	return ev.log.ScanParallel(ctx, q, ev.engine.workers, func(_ context.Context, slice int, scan *offline.Scanner) error {
		f := lent.take()
		defer lent.put(f)
		places, n, slice := r.Places(scan.Columns()), int64(0), logSlice+slice
		var failed error
		each := func(yield func(*offline.Record) bool) {
			for ; failed == nil && scan.Next(); n++ {
				r := scan.Record()
				if failed = f.record(r, places); failed != nil || !yield(r) {
					return
				}
			}
		}
		if also != nil {
			if err := also(slice, s, places, each); err != nil {
				return err
			}
		} else {
			each(func(*offline.Record) bool { return true })
		}
		ev.note(SourceRead{Source: s.Name, Records: n})
		return errors.Join(failed, scan.Err(), f.cut(slice))
	})
}

// note adds what was read of a source.
func (ev *events) note(read SourceRead) {
	ev.mu.Lock()
	defer ev.mu.Unlock()
	i := slices.IndexFunc(ev.mu.read, func(o SourceRead) bool { return o.Source == read.Source })
	if i < 0 {
		ev.mu.read = append(ev.mu.read, read)
		return
	}
	o := &ev.mu.read[i]
	o.Rows, o.BadRows, o.Records, o.bad = o.Rows+read.Rows, o.BadRows+read.BadRows, o.Records+read.Records, append(o.bad, read.bad...)
}

// list is what was read, by name.
func (ev *events) list() []SourceRead {
	ev.mu.Lock()
	defer ev.mu.Unlock()
	slices.SortFunc(ev.mu.read, func(a, b SourceRead) int { return strings.Compare(a.Source, b.Source) })
	return ev.mu.read
}

// read reads everything. also sees the slices of the inputs of one source, which may be
// nil, and logged its records.
func (ev *events) read(ctx context.Context, labels *definition.Source, also func(slice int, b *column.Batch) error, logged records) error {
	for _, s := range ev.sources(labels) {
		see, record := also, logged
		if s != labels {
			see, record = nil, nil
		}
		if ev.inputs && len(s.Inputs) > 0 {
			if err := ev.readInputs(ctx, s, see); err != nil {
				return err
			}
		}
		if ev.log != nil {
			if err := ev.readLog(ctx, s, record); err != nil {
				return fmt.Errorf("source %s: event log: %w", s.Name, err)
			}
		}
	}
	return nil
}
