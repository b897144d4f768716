// SPDX-License-Identifier: Apache-2.0

package dataset

import (
	"math"

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

// plainRow is what is known of a row that takes the short way.
type plainRow struct {
	row           int32
	time, arrival int64
}

// sort finds the rows of a batch that take the short way, and sends the others, which
// amend, or have late values that must not be known yet, the long way.
func (f *feed) sort(b *column.Batch) error {
	f.plain = f.plain[:0]
	for row := range b.Rows {
		time, arrival, ok := times(f.source, b, row)
		if !ok || arrival > f.asOf || time >= f.until || f.special(b, row, time, arrival) {
			if err := f.row(b, row); err != nil {
				return err
			}
			continue
		}
		f.plain = append(f.plain, plainRow{row: int32(row), time: time, arrival: arrival})
	}
	return nil
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
	var key [2]uint64
	parts, l := t.events.parts(), &t.layout
	size, hashed := l.size(), t.hashesIDs()
	for i := range f.plain {
		p := &f.plain[i]
		row := int(p.row)
		if d.integer {
			c := &b.Columns[d.keys[0]]
			if c.Null(row) {
				continue
			}
			key[0] = uint64(c.Ints[row]) ^ 1<<63
		} else {
			var ok bool
			if f.id, ok = appendKey(f.id[:0], b, d.keys, row); !ok {
				continue
			}
			t.put(key[:], f.id)
		}
		if !t.keeps(key) {
			continue
		}
		words, err := s.record(partOf(key[0], parts), size)
		if err != nil {
			return err
		}
		if words[0] = key[0]; l.key == 2 {
			words[1] = key[1]
		}
		words[l.time()] = uint64(p.time)
		if hashed {
			words[l.id()] = f.eventID(b, row)
		} else {
			words[l.id()] = uint64(b.Columns[len(f.source.Fields)].Ints[row])
		}
		late := d.fill(t, words[l.value():], b, row)
		if l.bitemporal {
			words[l.arrival()], words[l.order()], words[l.late()] = uint64(p.arrival), 0, late
		}
	}
	return nil
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
