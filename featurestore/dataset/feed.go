// SPDX-License-Identifier: Apache-2.0

package dataset

import (
	"encoding/binary"
	"errors"
	"math"
	"strconv"
	"unsafe"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/offline"
	"github.com/millrace-ml/millrace/featurestore/plan"
	"github.com/millrace-ml/millrace/featurestore/source"
	"github.com/millrace-ml/millrace/featurestore/window"
)

// timeMax bounds times; it is the year 20237, as in package window.
const timeMax = int64(1) << 59

// feed turns the events of one source into words of the tables they touch, for one
// goroutine. What an event means is decided by plan.Router, as for pushes.
type feed struct {
	source  *definition.Source
	scratch *plan.Scratch
	// tables are by the router's number, nil for those that nobody reads; spreaders write
	// their events.
	tables    []*table
	spreaders []*spreader
	// asOf is the latest arrival that counts, and until the first time that no row asks for.
	asOf, until int64
	late        []int // fields
	id          []byte
	number      uint64 // what a lookup has for the id
	refused     *refusals
	// directs are the short ways of the tables, nil if not all have one; see there.
	directs           []*direct
	plain             []int32 // rows
	integers, telling []int   // fields
}

// newFeed returns a feed; it must be closed.
func newFeed(r *plan.Router, all []plan.Table, tables []*table, asOf, until int64, refused *refusals) *feed {
	f := &feed{source: r.Source(), scratch: r.NewScratch(), tables: tables, spreaders: make([]*spreader, len(tables)),
		asOf: asOf, until: until, refused: refused}
	for i, t := range tables {
		if t != nil {
			f.spreaders[i] = t.events.spreader()
		}
	}
	for i, field := range f.source.Fields {
		if field.Late {
			f.late = append(f.late, i)
		}
	}
	f.directs = directs(tables)
	f.integers, f.telling = integersOf(f.source, all), tellingOf(r)
	return f
}

func (f *feed) close() {
	for i, s := range f.spreaders {
		if s != nil {
			f.tables[i].events.giveBack(s)
		}
	}
}

// cut says that what was taken since the last cut is slice n of the source's events.
func (f *feed) cut(n int) error {
	for _, s := range f.spreaders {
		if s == nil {
			continue
		}
		if err := s.cut(n); err != nil {
			return err
		}
	}
	return nil
}

// batch takes slice n of the rows of history, with the numbers of rows as last column
// where the source has no ids. It may set values of late fields to null.
func (f *feed) batch(n int, b *column.Batch) error {
	if err := f.rows(b); err != nil {
		return err
	}
	return f.cut(n)
}

func (f *feed) rows(b *column.Batch) error {
	if f.directs == nil {
		for row := range b.Rows {
			if err := f.row(b, row); err != nil {
				return err
			}
		}
		return nil
	}
	if err := f.sort(b); err != nil {
		return err
	}
	for i, d := range f.directs {
		if d == nil {
			continue
		}
		if err := f.putPlain(b, f.tables[i], d, f.spreaders[i]); err != nil {
			return err
		}
	}
	return nil
}

// eventID is the id of a row as the log would know it.
func (f *feed) eventID(b *column.Batch, row int) uint64 {
	f.id = appendID(f.id[:0], f.source, b, row)
	return window.KeyOf(unsafe.String(unsafe.SliceData(f.id), len(f.id)))
}

// appendID appends the id of a row: that of the event, or else of the row in its file.
func appendID(to []byte, s *definition.Source, b *column.Batch, row int) []byte {
	if s.ID < 0 {
		return source.AppendRowID(to, b.Columns[len(s.Fields)].Ints[row])
	}
	if c := &b.Columns[s.ID]; c.Type == column.String {
		return append(to, c.Texts[row]...)
	}
	return strconv.AppendInt(to, b.Columns[s.ID].Ints[row], 10)
}

// row takes a row of history.
func (f *feed) row(b *column.Batch, row int) error {
	s, id := f.source, f.eventID(b, row)
	f.number = id
	if s.ID < 0 {
		f.number = uint64(b.Columns[len(s.Fields)].Ints[row])
	}
	time, arrival, ok := times(s, b, row)
	if !ok {
		f.refused.add(s.Name, "time", "the event's time is null or out of range")
		return nil
	}
	if arrival > f.asOf || time >= f.until {
		return nil
	}
	updates, err := f.scratch.RouteRow(b, row, id, time, arrival)
	if err == nil && f.forget(b, row, time, arrival) {
		if len(updates) > 0 && len(updates[0].Amend) > 0 {
			return nil
		}
		updates, err = f.scratch.RouteRow(b, row, id, time, arrival)
	}
	if err != nil {
		return f.refuse(err)
	}
	return f.put(updates, 0)
}

// times are those of a row of history; without an arrival it is when it happened, and it
// never is before.
func times(s *definition.Source, b *column.Batch, row int) (time, arrival int64, ok bool) {
	if s.Timestamp < 0 {
		return 0, 0, false
	}
	c := &b.Columns[s.Timestamp]
	if c.Null(row) {
		return 0, 0, false
	}
	time = c.Ints[row]
	arrival = time
	if s.Arrival >= 0 && !b.Columns[s.Arrival].Null(row) {
		arrival = max(time, b.Columns[s.Arrival].Ints[row])
	}
	return time, arrival, inRange(time) && inRange(arrival)
}

func inRange(time int64) bool { return time >= -timeMax && time <= timeMax }

// knownAt is when a late field of a row of history became known.
func knownAt(f *definition.Field, time, arrival int64) int64 {
	return max(arrival, time+f.KnownAfter.Microseconds())
}

// forget makes late values null that were not known by asOf, and tells if there are any.
func (f *feed) forget(b *column.Batch, row int, time, arrival int64) bool {
	any := false
	for _, i := range f.late {
		c := &b.Columns[i]
		if c.Len() == 0 || c.Null(row) || knownAt(&f.source.Fields[i], time, arrival) <= f.asOf {
			continue
		}
		any = true
		setNull(c, row)
	}
	return any
}

func setNull(c *column.Column, row int) {
	if c.Type == column.Bool || c.Type == column.Float64 {
		c.Numbers[row] = math.NaN()
		return
	}
	for len(c.Nulls) < c.Len() {
		c.Nulls = append(c.Nulls, false)
	}
	c.Nulls[row] = true
}

// record takes a record of the log, whose columns have these places.
func (f *feed) record(r *offline.Record, places []int) error {
	if r.ArrivalTime > f.asOf || r.EventTime >= f.until {
		return nil
	}
	updates, err := f.scratch.RouteColumns(r, places)
	if err != nil {
		return f.refuse(err)
	}
	f.number = window.KeyOf(r.ID)
	return f.put(updates, r.Sequence)
}

// refuse counts an event that can never be taken.
func (f *feed) refuse(err error) error {
	var field *plan.FieldError
	if !errors.As(err, &field) {
		return err
	}
	f.refused.add(f.source.Name, field.Field, field.Message)
	return nil
}

// put writes what an event means.
func (f *feed) put(updates []plan.Update, sequence uint64) error {
	for i := range updates {
		u := &updates[i]
		t := f.tables[u.Table]
		if t == nil {
			continue
		}
		var err error
		if t.View != nil {
			err = t.putEvent(f.spreaders[u.Table], u, sequence)
		} else {
			err = t.putRow(f.spreaders[u.Table], u, f.number, sequence)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// putEvent writes an event of a view.
func (t *table) putEvent(s *spreader, u *plan.Update, sequence uint64) error {
	l := &t.layout
	var key [2]uint64
	if t.put(key[:], u.Key); !t.keeps(key) {
		return nil
	}
	words, err := s.record(partOf(key[0], t.events.parts()), l.size())
	if err != nil {
		return err
	}
	copy(words, key[:l.key])
	words[l.time()], words[l.id()] = uint64(u.Event.Time), u.Event.ID
	values := words[l.value() : l.value()+l.values]
	late := uint64(0)
	if len(u.Amend) > 0 {
		for i := range values {
			values[i] = math.Float64bits(math.NaN())
		}
		clear(words[l.value()+l.values : l.arrival()])
		late = t.amendments(values, u.Amend)
	} else {
		for i, x := range u.Event.Values {
			values[i] = math.Float64bits(x)
		}
		copy(words[l.value()+l.values:], u.Event.Keys)
		late = t.amendments(values, u.Late)
	}
	if !l.bitemporal {
		return nil
	}
	order := sequence << 1
	if len(u.Amend) > 0 {
		order |= 1
	}
	words[l.arrival()], words[l.order()], words[l.late()] = uint64(u.Event.Arrival), order, late
	return nil
}

// amendments sets late columns and returns their bits.
func (t *table) amendments(values []uint64, all []plan.Amendment) (late uint64) {
	for _, a := range all {
		for i, name := range t.columns {
			if name == a.Column {
				values[i] = math.Float64bits(a.Value)
				late |= 1 << i
			}
		}
	}
	return late
}

// putRow writes a row of a lookup. number stands for its id; see hashesIDs.
func (t *table) putRow(s *spreader, u *plan.Update, number, sequence uint64) error {
	var key [2]uint64
	if t.put(key[:], u.Key); !t.keeps(key) {
		return nil
	}
	part, e, l := partOf(key[0], t.events.parts()), &u.Event, &t.layout
	if t.hashesIDs() {
		number = e.ID
	}
	if t.fixed {
		words, err := s.record(part, l.size())
		if err != nil {
			return err
		}
		copy(words, key[:l.key])
		words[l.time()], words[l.id()] = uint64(e.Time), number
		if l.bitemporal {
			words[l.arrival()], words[l.order()], words[l.late()] = uint64(e.Arrival), sequence<<1, 0
		}
		return t.unpack(words[l.value():], u.Row)
	}
	words, err := s.record(part, l.key+rowHead+wordsFor(len(u.Row)))
	if err != nil {
		return err
	}
	copy(words, key[:l.key])
	words = words[l.key:]
	words[rowTime], words[rowID], words[rowArrival], words[rowOrder], words[rowSize] = uint64(e.Time), number, uint64(e.Arrival), sequence<<1, uint64(len(u.Row))
	putBytes(words[rowHead:], u.Row)
	return nil
}

// unpack writes the numbers of an encoded row.
func (t *table) unpack(words []uint64, row []byte) error {
	r := plan.RowOf(row)
	for i, f := range t.Lookup.Fields {
		x, _, _, err := r.Next(t.Lookup.Source.Fields[f].Type)
		if err != nil {
			return err
		}
		words[i] = math.Float64bits(x)
	}
	return nil
}

// pack appends the encoded row of numbers, as plan.AppendRow does.
func pack(row []byte, numbers []uint64) []byte {
	for _, v := range numbers {
		if x := math.Float64frombits(v); x != x {
			row = append(row, 0)
			continue
		}
		row = binary.LittleEndian.AppendUint64(append(row, 1), v)
	}
	return row
}

// wordsFor is how many words hold n bytes.
func wordsFor(n int) int { return (n + wordBytes - 1) / wordBytes }

// putBytes writes bytes, zeros after them.
func putBytes(words []uint64, b []byte) {
	if len(words) == 0 {
		return
	}
	words[len(words)-1] = 0
	copy(bytesOf(words), b)
}
