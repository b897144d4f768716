// SPDX-License-Identifier: Apache-2.0

package featurestore

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/offline"
	"github.com/millrace-ml/millrace/featurestore/plan"
	"github.com/millrace-ml/millrace/featurestore/source"
	"github.com/millrace-ml/millrace/featurestore/window"
)

// markSchema is the stream that tells how far each source's history was loaded. The
// id of a record is the source.
var markSchema = offline.Schema{Stream: "materialized", Columns: []offline.Column{
	{Name: "newest", Type: offline.TypeTimestamp},
	{Name: "rows", Type: offline.TypeInt64},
}}

// MaterializeOptions say what history is loaded. The zero value loads all.
type MaterializeOptions struct {
	// Sources are names; nil is every source that has inputs.
	Sources []string
	// Until leaves out events from this moment on, in microseconds; 0 is the store's now.
	Until int64
	// Full also looks for events that are older than the newest one of the last load. It
	// holds the ids of all events of the log in memory, 8 bytes each.
	Full bool
	// BadRowsMax is how many rows may be bad before it ends; negative is any number.
	BadRowsMax int64
	// Progress is told how many rows of a source were read; it may be nil.
	Progress func(source string, rows int64)
}

// Materialized says what became of a source's history.
type Materialized struct {
	Source string
	// Loaded events are in the log and count in the features.
	Loaded int64
	// Known ones had been loaded or pushed before, or, but for a full load, are older than
	// the newest of the last load. Future ones lie beyond Until, Unusable ones lack what a
	// feature needs.
	Known, Future, Unusable int64
	// Withheld late values were not known yet: they are to be pushed when they are.
	Withheld int64
	// Bad rows could not be read; FirstBad says what was wrong with the first.
	Bad      int64
	FirstBad string
}

// Materialize loads the history of sources into the event log and the states. An
// event that has been loaded or pushed before, by time and id, is not loaded again:
// so it can be called any number of times, also after a crash, and as the inputs
// grow. Ids of events not older than the last load are held in memory, 8 bytes each.
func (s *Store) Materialize(ctx context.Context, o MaterializeOptions) ([]Materialized, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.leave()
	if o.Until == 0 {
		o.Until = s.Now()
	}
	if o.Sources == nil {
		for _, source := range s.catalog.Sources {
			if len(source.Inputs) > 0 {
				o.Sources = append(o.Sources, source.Name)
			}
		}
	}
	var all []Materialized
	for _, name := range o.Sources {
		def := s.catalog.Source(name)
		if def == nil {
			return all, fmt.Errorf("source %q: %w", name, ErrUnknown)
		}
		m, err := s.materialize(ctx, s.sources[def.Index], &o)
		all = append(all, m)
		if err != nil {
			return all, err
		}
	}
	return all, nil
}

// materializer loads one source.
type materializer struct {
	store    *Store
	st       *sourceState
	until    int64
	since    int64 // older events are taken for known
	known    map[uint64]struct{}
	scratch  *plan.Scratch
	record   offline.Record
	id       []byte
	outcomes []window.Outcome
	newest   int64
	last     uint64
	result   Materialized
}

func (s *Store) materialize(ctx context.Context, st *sourceState, o *MaterializeOptions) (Materialized, error) {
	m := &materializer{
		store: s, st: st, until: o.Until, scratch: st.router.NewScratch(), result: Materialized{Source: st.source.Name},
		record:   offline.Record{Values: make([]offline.Value, len(st.stream.Schema().Columns))},
		outcomes: make([]window.Outcome, st.router.Updates()),
	}
	if err := m.lookBack(ctx, o.Full); err != nil {
		return m.result, err
	}
	reader, err := source.Open(ctx, st.source, source.Options{BadRowsMax: o.BadRowsMax, RowNumbers: st.source.ID < 0, Parallel: 1})
	if err != nil {
		return m.result, err
	}
	defer reader.Close()
	var b column.Batch
	rows := int64(0)
	for {
		more, err := reader.Next(&b)
		if err != nil {
			return m.result, err
		}
		if !more {
			break
		}
		for row := range b.Rows {
			if err := m.add(ctx, &b, row); err != nil {
				return m.result, err
			}
		}
		if rows += int64(b.Rows); o.Progress != nil {
			o.Progress(st.source.Name, rows)
		}
	}
	m.result.Bad = reader.BadCount()
	if bad := reader.Bad(); len(bad) > 0 {
		m.result.FirstBad = bad[0].Error()
	}
	return m.result, m.mark(ctx)
}

// lookBack finds how far the last load came, and what the log has from there on.
func (m *materializer) lookBack(ctx context.Context, full bool) error {
	log := m.store.log
	marks, err := log.Scan(ctx, offline.Query{Stream: markSchema.Stream, Columns: []string{"newest"}})
	if err != nil {
		return err
	}
	defer marks.Close()
	for marks.Next() && !full {
		if r := marks.Record(); r.ID == m.st.source.Name {
			m.since = max(m.since, r.Values[0].Int64())
		}
	}
	if err := marks.Err(); err != nil {
		return err
	}
	m.known, m.newest = map[uint64]struct{}{}, m.since
	scan, err := log.Scan(ctx, offline.Query{Stream: m.st.stream.Schema().Stream, Columns: []string{}, From: m.since, Versions: offline.AllVersions})
	if err != nil {
		return err
	}
	defer scan.Close()
	for scan.Next() {
		m.known[eventKey(scan.Record().EventTime, scan.Record().ID)] = struct{}{}
	}
	return scan.Err()
}

// eventKey tells events apart by time and id, but for a chance of 2^-64 for each pair.
func eventKey(time int64, id string) uint64 {
	return window.KeyOf(id) ^ uint64(time)*0x9e3779b97f4a7c15
}

// add loads one row.
func (m *materializer) add(ctx context.Context, b *column.Batch, row int) error {
	source := m.st.source
	if !m.time(b, row) {
		m.result.Unusable++
		return nil
	}
	if err := m.name(b, row); err != nil {
		return err
	}
	if m.record.EventTime >= m.until || m.record.ArrivalTime > m.store.Now() {
		m.result.Future++
		return nil
	}
	key := eventKey(m.record.EventTime, m.record.ID)
	if _, known := m.known[key]; known || m.record.EventTime < m.since {
		m.result.Known++
		return nil
	}
	place := 0
	for i := range source.Fields {
		if i == source.Arrival {
			continue
		}
		m.record.Values[place] = m.value(b, i, row)
		place++
	}
	return m.apply(ctx, key)
}

// value is a field of the row; a late one is null while it is not known.
func (m *materializer) value(b *column.Batch, field, row int) offline.Value {
	v, f := plan.ValueOf(&b.Columns[field], row), &m.st.source.Fields[field]
	if f.Late && !v.IsNull() && max(m.record.ArrivalTime, m.record.EventTime+f.KnownAfter.Microseconds()) > m.store.Now() {
		m.result.Withheld++
		return offline.Value{}
	}
	return v
}

func (m *materializer) apply(ctx context.Context, key uint64) error {
	updates, err := m.scratch.Route(&m.record)
	var field *plan.FieldError
	if errors.As(err, &field) {
		m.result.Unusable++
		return nil
	} else if err != nil {
		return err
	}
	err = m.store.states.Apply(ctx, updates, m.record.ArrivalTime, func() (uint64, error) {
		sequence, err := m.appendWaiting(ctx)
		m.last = max(m.last, sequence)
		return sequence, err
	}, m.outcomes[:len(updates)])
	if err != nil {
		return fmt.Errorf("source %s, event %s: %w", m.st.source.Name, m.record.ID, err)
	}
	m.known[key] = struct{}{}
	m.newest = max(m.newest, m.record.EventTime)
	m.result.Loaded++
	return nil
}

// appendWaiting appends the record, and where the log's queue is full waits for the
// disk: a load is not in a hurry.
func (m *materializer) appendWaiting(ctx context.Context) (uint64, error) {
	for {
		sequence, err := m.st.stream.AppendSequence(ctx, &m.record)
		if !errors.Is(err, offline.ErrFull) {
			return sequence, err
		}
		if err := m.store.log.Sync(ctx); err != nil {
			return 0, err
		}
	}
}

// time sets the record's times; false if the row has none.
func (m *materializer) time(b *column.Batch, row int) bool {
	source := m.st.source
	if source.Timestamp < 0 || b.Columns[source.Timestamp].Null(row) {
		return false
	}
	m.record.EventTime = b.Columns[source.Timestamp].Ints[row]
	m.record.ArrivalTime = m.record.EventTime
	if a := source.Arrival; a >= 0 && !b.Columns[a].Null(row) {
		m.record.ArrivalTime = max(m.record.EventTime, b.Columns[a].Ints[row])
	}
	return m.record.EventTime >= 0
}

// name sets the record's id: the source's field, or the place of the row.
func (m *materializer) name(b *column.Batch, row int) error {
	source := m.st.source
	if source.ID < 0 {
		m.id = appendRowID(m.id[:0], b, row)
		m.record.ID = string(m.id)
		return nil
	}
	switch c := &b.Columns[source.ID]; {
	case c.Null(row):
		return fmt.Errorf("source %s: an event of %d has no id", source.Name, m.record.EventTime)
	case c.Type == column.String:
		m.record.ID = c.Texts[row]
	default:
		m.id = strconv.AppendInt(m.id[:0], c.Ints[row], 10)
		m.record.ID = string(m.id)
	}
	return nil
}

func appendRowID(id []byte, b *column.Batch, row int) []byte {
	return source.AppendRowID(id, b.Columns[len(b.Columns)-1].Ints[row])
}

// mark notes how far the load came, durable behind what it loaded.
func (m *materializer) mark(ctx context.Context) error {
	if m.result.Loaded == 0 {
		return nil
	}
	if err := m.store.log.WaitDurable(ctx, m.last); err != nil {
		return err
	}
	return m.store.marks.AppendSync(ctx, &offline.Record{
		ID: m.st.source.Name, EventTime: m.store.Now(), ArrivalTime: m.store.Now(),
		Values: []offline.Value{offline.Timestamp(m.newest), offline.Int64(m.result.Loaded)},
	})
}
