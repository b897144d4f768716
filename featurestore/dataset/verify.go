// SPDX-License-Identifier: Apache-2.0

package dataset

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/offline"
	"github.com/millrace-ml/millrace/featurestore/plan"
	"github.com/millrace-ml/millrace/featurestore/window"
)

// VerifyOptions are what Verify is asked for.
type VerifyOptions struct {
	Catalog *definition.Catalog
	Log     *offline.Log
	// Service names one service; empty is all.
	Service string
	// From and To bound the moment that vectors were asked for: From is included and To is
	// not. Zero is no bound.
	From, To time.Time
	// Kept is since when the log has all events. Vectors with windows that reach back further
	// are skipped. Zero says that nothing was deleted.
	Kept time.Time
	// Examples is how many mismatches of a feature are listed: 0 is 5, at most 1000.
	Examples int
	// Workers, MemoryMax and TempDir are those of Options.
	Workers   int
	MemoryMax int64
	TempDir   string

	parts int
}

// Verify computes the served vectors that are in the log again, from the events in the log
// alone: for every entity the events up to the one that had been applied when the vector
// was served, in the order of the log, through the same states as online.
func Verify(ctx context.Context, o VerifyOptions) (*Parity, error) {
	base := Options{Workers: o.Workers, MemoryMax: o.MemoryMax, parts: o.parts}
	base.EnsureDefaults()
	o.Workers, o.MemoryMax, o.parts = base.Workers, base.MemoryMax, base.parts
	if o.Examples == 0 {
		o.Examples = examplesDefault
	}
	if o.Catalog == nil || o.Log == nil || o.Examples < 0 || o.Examples > 1000 {
		return nil, fmt.Errorf("%w: a catalog and a log are needed, and 0 to 1000 examples", ErrOptions)
	}
	if o.Service != "" && o.Catalog.Service(o.Service) == nil {
		return nil, fmt.Errorf("%w: service %q is not defined", ErrOptions, o.Service)
	}
	all := new(Parity)
	for i, s := range o.Catalog.Services {
		if o.Service != "" && s.Name != o.Service {
			continue
		}
		v := &verification{o: &o, service: s, parity: new(Parity), strangers: o.Service == "" && i == 0}
		if err := v.run(ctx); err != nil {
			return nil, fmt.Errorf("service %s: %w", s.Name, err)
		}
		all.merge(v.parity)
	}
	return all, nil
}

// merge adds the parity of another service.
func (p *Parity) merge(o *Parity) {
	p.Vectors, p.Compared, p.Mismatched = p.Vectors+o.Vectors, p.Compared+o.Compared, p.Mismatched+o.Mismatched
	for reason, n := range o.Skipped {
		if p.Skipped == nil {
			p.Skipped = map[string]int64{}
		}
		p.Skipped[reason] += n
	}
	p.Features = append(p.Features, o.Features...)
}

// vectorStreams are the streams of a log that have served vectors.
func vectorStreams(log *offline.Log) (names []string) {
	for _, s := range log.Streams() {
		if !slices.ContainsFunc(plan.VectorColumns(), func(c offline.Column) bool { return !slices.Contains(s.Columns, c) }) {
			names = append(names, s.Stream)
		}
	}
	return names
}

// verification is that of one service.
type verification struct {
	o       *VerifyOptions
	service *definition.Service
	// strangers says that it counts the vectors of services that are not defined.
	strangers bool
	version   string
	reach     int64 // of the longest window back from the moment asked for
	engine    *engine
	tables    []plan.Table

	mu sync.Mutex // of parity
	*parityOf
	parity *Parity
}

// parityOf is where the columns of a vector begin among the engine's.
type parityOf struct {
	numbers, texts                    int
	status, stream, id, sequence, key int
}

// extras are the engine's columns for what was served.
func (v *verification) extras() (extra []column.Column) {
	c := &parityOf{}
	add := func(t column.Type, n int) int {
		at := len(extra)
		for range n {
			extra = append(extra, column.Column{Type: t})
		}
		return at
	}
	texts := 0
	for i := range v.service.Features {
		if v.service.Features[i].Type == column.String {
			texts++
		}
	}
	c.numbers, c.texts = add(column.Float64, len(v.service.Features)), add(column.String, texts)
	c.status, c.stream, c.id = add(column.String, 1), add(column.String, 1), add(column.String, 1)
	c.sequence, c.key = add(column.Int64, 1), add(column.String, 1)
	v.parityOf = c
	return extra
}

func (v *verification) run(ctx context.Context) error {
	v.version, v.tables = plan.ShortHash(v.service.Hash()), plan.Tables(v.o.Catalog)
	var err error
	v.engine, err = newEngine(v.o.Catalog, v.service, engineOptions{workers: v.o.Workers, memoryMax: v.o.MemoryMax, tempDir: v.o.TempDir,
		parts: v.o.parts, asOf: math.MaxInt64, logged: true, replay: true, extra: v.extras()})
	if err != nil {
		return err
	}
	defer v.engine.close()
	v.reach = reachOf(v.engine.tables)
	for i, stream := range vectorStreams(v.o.Log) {
		if err := v.read(ctx, i, stream); err != nil {
			return fmt.Errorf("stream %s: %w", stream, err)
		}
	}
	ev := &events{engine: v.engine, full: v.o.Catalog, log: v.o.Log, until: math.MaxInt64, refused: new(refusals)}
	if len(v.engine.mu.batches) > 0 {
		if err := ev.read(ctx, nil, nil, nil); err != nil {
			return err
		}
	}
	if err := v.engine.compute(ctx, func(int, int) {}); err != nil {
		return err
	}
	return v.compare(ctx)
}

// reachOf is how far the windows of tables reach back, in microseconds.
func reachOf(tables []*table) (reach int64) {
	for _, t := range tables {
		if t.View == nil {
			continue
		}
		d := t.View.Window.Definition()
		for _, f := range d.Features {
			reach = max(reach, (f.Window + f.Hop + f.Delay).Microseconds())
		}
	}
	return reach
}

// read reads the vectors of a stream.
func (v *verification) read(ctx context.Context, place int, stream string) error {
	q := offline.Query{Stream: stream, Versions: offline.AllVersions, From: bound(v.o.From, 0), To: bound(v.o.To, 0)}
	for _, c := range plan.VectorColumns() {
		q.Columns = append(q.Columns, c.Name)
	}
	return v.o.Log.ScanParallel(ctx, q, v.o.Workers, func(_ context.Context, slice int, s *offline.Scanner) error {
		r := vectorReader{verification: v, asker: v.engine.asker(), slice: place<<32 | slice, stream: stream}
		defer r.asker.giveBack()
		empty(r.asker.batch)
		for s.Next() {
			if err := r.add(s.Record()); err != nil {
				return err
			}
		}
		return errors.Join(s.Err(), r.flush())
	})
}

// vectorReader turns logged vectors into rows, for one goroutine.
type vectorReader struct {
	*verification
	asker       *asker
	slice, part int
	stream      string
	logged      plan.LoggedVector
	inputs      plan.Inputs
	sequences   []uint64
}

func (r *vectorReader) add(record *offline.Record) error {
	if record.Values[0].IsNull() {
		return nil // answered without features
	}
	if reason := r.decode(record); reason != "" {
		r.mu.Lock()
		defer r.mu.Unlock()
		if reason != notMine {
			r.parity.Vectors++
			r.parity.skip(reason, 1)
		}
		return nil
	}
	r.append(record)
	if r.asker.batch.Rows == assembleRows {
		return r.flush()
	}
	return nil
}

// notMine says that a vector is of another service.
const notMine = "of another service"

// decode reads a vector, and says why it cannot be compared.
func (r *vectorReader) decode(record *offline.Record) string {
	name := record.Values[0].Text()
	if name != r.service.Name {
		if r.strangers && r.o.Catalog.Service(name) == nil {
			return skipService
		}
		return notMine
	}
	if err := plan.DecodeVector(record.Values, &r.logged); err != nil {
		return skipCorrupt
	}
	if r.logged.Version != r.version {
		return skipVersion
	}
	features := len(r.service.Features)
	if len(r.logged.Numbers) != features || len(r.logged.Texts) != r.status-r.texts || len(r.logged.Keys) != len(r.engine.order) ||
		r.logged.Inputs(r.service, &r.inputs) != nil || !inRange(r.logged.At) {
		return skipCorrupt
	}
	if kept := bound(r.o.Kept, math.MinInt64); kept != math.MinInt64 && r.logged.At-r.reach < kept {
		return skipRetained
	}
	return ""
}

// append adds the vector as a row.
func (r *vectorReader) append(record *offline.Record) {
	b, next := r.asker.batch, 0
	column := func() *column.Column {
		next++
		return &b.Columns[next-1]
	}
	for i := range r.inputs.Keys {
		copyRow(column(), &r.inputs.Keys[i], 0)
	}
	for i := range r.inputs.Request {
		copyRow(column(), &r.inputs.Request[i], 0)
	}
	column().AppendInt(r.logged.At)
	for _, x := range r.logged.Numbers {
		column().AppendNumber(x)
	}
	for _, t := range r.logged.Texts {
		column().AppendText(t)
	}
	status := make([]byte, len(r.logged.Status))
	for i, s := range r.logged.Status {
		status[i] = byte(s)
	}
	column().AppendText(string(status))
	column().AppendText(r.stream)
	column().AppendText(strings.Clone(record.ID))
	column().AppendInt(int64(record.Sequence))
	column().AppendText(strings.Join(keysOf(r.tables, r.engine.assembler.Tables(), r.logged.Keys), "; "))
	r.sequences = append(r.sequences, r.logged.Sequences...)
	b.Rows++
}

func (r *vectorReader) flush() error {
	err := r.asker.addApplied(r.asker.batch, r.sequences, r.slice, r.part)
	empty(r.asker.batch)
	r.sequences = r.sequences[:0]
	r.part++
	return err
}

// verdicts of a batch of vectors.
type compared struct {
	*comparer
	vectors, matched, gone, past int64
}

// compare computes the vectors and compares them.
func (v *verification) compare(ctx context.Context) error {
	all := newComparer(v.service, v.o.Examples)
	first, features := v.engine.time+1, len(v.service.Features)
	err := assemble(ctx, v.engine, func(a *assembled) (*compared, error) {
		c := &compared{comparer: newComparer(v.service, v.o.Examples)}
		for row := range a.rows.Rows {
			s := v.served(a.rows.Columns[first:], a.rows.Columns[first-1].Ints[row], row)
			switch c.vectors++; {
			case a.marks[row]&markGone != 0:
				c.gone++
			case c.excused(s, &a.vectors, row, a.suspect[row*features:(row+1)*features]):
				c.past++
			case c.compare(s, &a.vectors, row, a.marks[row]&markInexact != 0):
				c.matched++
			}
		}
		return c, nil
	}, func(c *compared) error {
		all.add(c.comparer)
		v.parity.Vectors += c.vectors
		v.parity.Compared += c.vectors - c.gone - c.past
		v.parity.Mismatched += c.vectors - c.gone - c.past - c.matched
		v.parity.skip(skipRecord, c.gone)
		v.parity.skip(skipPast, c.past)
		return nil
	})
	v.parity.Features = all.features
	return err
}

// served reads a row back.
func (v *verification) served(columns []column.Column, at int64, row int) *served {
	s := &served{stream: columns[v.stream].Texts[row], id: columns[v.id].Texts[row], sequence: uint64(columns[v.sequence].Ints[row]), at: at,
		keys: func() []string { return strings.Split(columns[v.key].Texts[row], "; ") }}
	for i := range v.service.Features {
		s.numbers = append(s.numbers, columns[v.numbers+i].Numbers[row])
	}
	for i := v.texts; i < v.status; i++ {
		s.texts = append(s.texts, columns[i].Texts[row])
	}
	for _, x := range []byte(columns[v.parityOf.status].Texts[row]) {
		s.status = append(s.status, window.Status(x))
	}
	return s
}
