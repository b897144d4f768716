// SPDX-License-Identifier: Apache-2.0

package dataset

import (
	"math"
	"math/bits"
	"slices"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/plan"
	"github.com/millrace-ml/millrace/featurestore/window"
)

// direct is the short way from a batch to the words of a table, without an update for each
// event: for lookups, and for views that filter and compute nothing. It does what
// plan.Router does with a whole event, and only with those.
type direct struct {
	// keys are columns of the batch; integer says that there is one, of integers.
	keys    []int
	integer bool
	// values are columns: those of the view, or the fields of a lookup of numbers.
	values []int
	// late are the bits of late columns of a view, by the place in values.
	late uint64
}

// directOf returns the short way for a table, nil if there is none.
func directOf(t *table) *direct {
	if t.Lookup != nil {
		if !t.fixed {
			return nil
		}
		return &direct{keys: t.Lookup.Keys, integer: t.words == 1, values: t.Lookup.Fields}
	}
	v := t.View
	if v.Filter != nil || len(v.KeyColumns) > 0 {
		return nil
	}
	d := &direct{keys: v.Keys, integer: t.words == 1}
	for i, c := range v.Columns {
		if c.Field < 0 || c.Filter != nil {
			return nil
		}
		d.values = append(d.values, c.Field)
		if c.LateField >= 0 {
			d.late |= 1 << i
		}
	}
	return d
}

// directs returns the short ways of the tables that are read; nil if one has none.
func directs(tables []*table) []*direct {
	all := make([]*direct, len(tables))
	for i, t := range tables {
		if t == nil {
			continue
		}
		if all[i] = directOf(t); all[i] == nil {
			return nil
		}
	}
	return all
}

// sort finds the rows of a batch that take the short way, and sends the others the long
// way: those that amend, or have late values that must not be known yet, or have to be
// left out.
func (f *feed) sort(b *column.Batch) error {
	f.plain = resize(f.plain, b.Rows)[:0]
	simple := f.simple(b)
	for row := range b.Rows {
		if !simple {
			time, arrival, ok := times(f.source, b, row)
			if !ok || arrival > f.asOf || time >= f.until || f.special(b, row, time, arrival) {
				if err := f.row(b, row); err != nil {
					return err
				}
				continue
			}
		}
		f.plain = append(f.plain, int32(row))
	}
	return nil
}

// simple says that all rows of a batch take the short way, as far as can be said at a
// glance.
func (f *feed) simple(b *column.Batch) bool {
	s := f.source
	if s.Timestamp < 0 || s.Arrival >= 0 || len(f.late) > 0 || len(f.integers) > 0 || b.Columns[s.Timestamp].Nulls != nil || b.Rows == 0 {
		return false
	}
	all := b.Columns[s.Timestamp].Ints
	low, high := slices.Min(all), slices.Max(all)
	return low >= -timeMax && high <= timeMax && high <= f.asOf && high < f.until
}

// special says that a row is no whole event, or that part of it is not known yet, or that
// it may have to be refused.
func (f *feed) special(b *column.Batch, row int, time, arrival int64) bool {
	for _, i := range f.integers {
		if x := b.Columns[i].Ints[row]; (x > column.IntegerMax || x < -column.IntegerMax) && !b.Columns[i].Null(row) {
			return true
		}
	}
	if len(f.late) == 0 {
		return false
	}
	for _, i := range f.late {
		if !b.Columns[i].Null(row) && knownAt(&f.source.Fields[i], time, arrival) > f.asOf {
			return true
		}
	}
	for _, i := range f.telling {
		if !b.Columns[i].Null(row) {
			return false
		}
	}
	return true
}

// putPlain writes the rows that take the short way to a table.
func (f *feed) putPlain(b *column.Batch, t *table, d *direct, s *spreader) error {
	if d.integer && t.only == nil && b.Columns[d.keys[0]].Nulls == nil {
		return f.putIntegers(b, t, d, s)
	}
	var key [2]uint64
	parts := t.events.parts()
	for _, row := range f.plain {
		var ok bool
		if f.id, ok = appendKey(f.id[:0], b, d.keys, int(row)); !ok {
			continue
		}
		if t.put(key[:], f.id); !t.keeps(key) {
			continue
		}
		words, err := s.record(partOf(key[0], parts), t.layout.size())
		if err != nil {
			return err
		}
		copy(words, key[:t.words])
		f.fill(words, b, t, d, int(row))
	}
	return nil
}

// putIntegers is putPlain where the key is one integer: where most events go through.
func (f *feed) putIntegers(b *column.Batch, t *table, d *direct, s *spreader) error {
	keys, size := b.Columns[d.keys[0]].Ints, t.layout.size()
	shift := 64 - bits.TrailingZeros(uint(t.events.parts()))
	for _, row := range f.plain {
		key := uint64(keys[row]) ^ 1<<63
		part := int(spread(key) >> shift)
		block := s.open[part]
		n := len(block)
		var words []uint64
		if n+size <= cap(block) {
			block = block[:n+size]
			s.open[part], words = block, block[n:]
		} else {
			var err error
			if words, err = s.record(part, size); err != nil {
				return err
			}
		}
		words[0] = key
		f.fill(words, b, t, d, int(row))
	}
	return nil
}

// fill writes what comes after the key of a row that takes the short way.
func (f *feed) fill(words []uint64, b *column.Batch, t *table, d *direct, row int) {
	l, s := &t.layout, f.source
	time := b.Columns[s.Timestamp].Ints[row]
	words[l.time()] = uint64(time)
	if t.hashesIDs() {
		words[l.id()] = f.eventID(b, row)
	} else {
		words[l.id()] = uint64(b.Columns[len(s.Fields)].Ints[row])
	}
	late := d.fill(t, words[l.value():], b, row)
	if l.bitemporal {
		_, arrival, _ := times(s, b, row)
		words[l.arrival()], words[l.order()], words[l.late()] = uint64(arrival), 0, late
	}
}

// fill writes the values of a row, and returns the bits of those that are late and there.
func (d *direct) fill(t *table, words []uint64, b *column.Batch, row int) (late uint64) {
	for i, field := range d.values {
		c := &b.Columns[field]
		var x float64
		if c.Type == column.Float64 {
			x = c.Numbers[row]
		} else {
			x = c.Number(row)
		}
		if t.View != nil && math.Abs(x) > window.ValueMax {
			x = math.NaN()
		}
		if x == x {
			late |= 1 << i
		}
		words[i] = math.Float64bits(x)
	}
	return late & d.late
}

// integersOf are the Int64 fields that tables read as numbers, which must be below 2^53.
func integersOf(s *definition.Source, tables []plan.Table) (fields []int) {
	need := make([]bool, len(s.Fields))
	for _, t := range tables {
		if o := (&table{Table: t}); o.source() == s {
			o.numbers(need)
		}
	}
	for i, n := range need {
		if n && s.Fields[i].Type == column.Int64 {
			fields = append(fields, i)
		}
	}
	return fields
}

// tellingOf are the fields that a record which only amends does not have.
func tellingOf(r *plan.Router) (fields []int) {
	for i, f := range r.Source().Fields {
		if !f.Late && !r.Context(i) {
			fields = append(fields, i)
		}
	}
	return fields
}
