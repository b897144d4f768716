// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"math"
	"slices"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/expression"
	"github.com/millrace-ml/millrace/featurestore/offline"
	"github.com/millrace-ml/millrace/featurestore/window"
)

// A FieldError says which field of an event is wrong.
type FieldError struct {
	Field   string
	Message string
}

// Error names field and fault.
func (e *FieldError) Error() string { return e.Field + ": " + e.Message }

// Router knows what an event of one source means to the tables.
type Router struct {
	source  *definition.Source
	views   []routedView
	lookups []routedLookup
	// places has, for each field, its column in Schema(source), -1 for the arrival.
	places []int
	// asNumber marks fields that some table reads as a number. context marks those that a
	// record which only fills in late fields may bring: the keys of tables, and what the
	// filters and expressions of late columns read.
	asNumber, context []bool
	late              bool
}

type routedView struct {
	table int
	view  *definition.View
	names []string // of the window's numeric columns
}

type routedLookup struct {
	table  int
	lookup *definition.Lookup
}

// NewRouter returns the router of a source.
func NewRouter(c *definition.Catalog, s *definition.Source) *Router {
	r := &Router{source: s, asNumber: make([]bool, len(s.Fields)), context: make([]bool, len(s.Fields))}
	for i, t := range Tables(c) {
		switch {
		case t.View != nil && t.View.Source == s:
			r.addView(i, t.View)
		case t.Lookup != nil && t.Lookup.Source == s:
			r.addLookup(i, t.Lookup)
		}
	}
	next := 0
	for i, f := range s.Fields {
		r.late = r.late || f.Late
		if i == s.Arrival {
			r.places = append(r.places, -1)
			continue
		}
		r.places = append(r.places, next)
		next++
	}
	return r
}

func (r *Router) addView(table int, v *definition.View) {
	r.views = append(r.views, routedView{table: table, view: v, names: v.Window.Definition().Columns})
	mark(r.context, v.Keys)
	markRead(r.asNumber, v.Filter)
	for _, c := range v.Columns {
		if c.Field >= 0 {
			r.asNumber[c.Field] = true
		}
		markRead(r.asNumber, c.Program)
		markRead(r.asNumber, c.Filter)
		if c.LateField >= 0 {
			markRead(r.context, c.Program)
			markRead(r.context, c.Filter)
		}
	}
	for _, c := range v.KeyColumns {
		markRead(r.asNumber, c.Filter)
	}
}

func (r *Router) addLookup(table int, l *definition.Lookup) {
	r.lookups = append(r.lookups, routedLookup{table: table, lookup: l})
	mark(r.context, l.Keys)
	mark(r.asNumber, l.Fields)
}

func mark(set []bool, fields []int) {
	for _, f := range fields {
		set[f] = true
	}
}

func markRead(set []bool, p *expression.Program) {
	if p != nil {
		mark(set, p.Fields())
	}
}

// Source is the source it routes.
func (r *Router) Source() *definition.Source { return r.source }

// Updates is the largest number of updates an event can have.
func (r *Router) Updates() int { return len(r.views) + len(r.lookups) }

// Places has, for each field of the source, the place of its value among columns of
// a record, or -1 where there is none, as for records that were written before the
// source had the field.
func (r *Router) Places(columns []offline.Column) []int {
	places := make([]int, len(r.source.Fields))
	for i, f := range r.source.Fields {
		places[i] = slices.IndexFunc(columns, func(c offline.Column) bool { return c.Name == f.Name })
		if i == r.source.Arrival {
			places[i] = -1
		}
	}
	return places
}

// Scratch is the memory that routing needs.
type Scratch struct {
	router  *Router
	values  []offline.Value // by field
	row     expression.Row
	updates []Update
	buffers []updateMemory
}

// updateMemory is what an update refers to.
type updateMemory struct {
	key    []byte
	row    []byte
	values []float64
	keys   []uint64
	amend  []Amendment
}

// NewScratch returns memory for one goroutine.
func (r *Router) NewScratch() *Scratch {
	n := len(r.source.Fields)
	return &Scratch{
		router:  r,
		values:  make([]offline.Value, n),
		row:     expression.Row{Numbers: nulls(n), Texts: make([]string, n), NullTexts: make([]bool, n)},
		buffers: make([]updateMemory, r.Updates()),
	}
}

func nulls(n int) []float64 {
	numbers := make([]float64, n)
	for i := range numbers {
		numbers[i] = math.NaN()
	}
	return numbers
}

// Route returns the updates that a record of Schema(source) means. A record in which
// late fields are set, and nothing else but id, time and keys, amends an event; any
// other is an event. An event that lacks a table's key does not touch that table.
//
// Errors are FieldErrors: the record can never be taken as it is.
func (sc *Scratch) Route(r *offline.Record) ([]Update, error) {
	return sc.RouteColumns(r, sc.router.places)
}

// RouteColumns is Route for a record with other columns, whose places are those of
// Router.Places.
func (sc *Scratch) RouteColumns(r *offline.Record, places []int) ([]Update, error) {
	for i := range sc.values {
		sc.values[i] = offline.Value{}
		if p := places[i]; p >= 0 && p < len(r.Values) {
			sc.values[i] = r.Values[p]
		}
	}
	return sc.route(window.Event{Time: r.EventTime, Arrival: r.ArrivalTime, ID: window.KeyOf(r.ID)})
}

// RouteRow is Route for a row of a batch with the source's fields as columns, in
// their order.
func (sc *Scratch) RouteRow(b *column.Batch, row int, id uint64, time, arrival int64) ([]Update, error) {
	for i := range sc.values {
		sc.values[i] = ValueOf(&b.Columns[i], row)
	}
	return sc.route(window.Event{Time: time, Arrival: arrival, ID: id})
}

// ValueOf is a value of a column as the event log holds it.
func ValueOf(c *column.Column, row int) offline.Value {
	if c.Len() == 0 || c.Null(row) { // a column that was not read is empty
		return offline.Value{}
	}
	switch c.Type {
	case column.Bool:
		return offline.Bool(c.Numbers[row] != 0)
	case column.Float64:
		return offline.Float64(c.Numbers[row])
	case column.Int64:
		return offline.Int64(c.Ints[row])
	case column.Timestamp:
		return offline.Timestamp(c.Ints[row])
	}
	return offline.String(c.Texts[row])
}

// route returns the updates of the event whose values are loaded; e names it.
func (sc *Scratch) route(e window.Event) ([]Update, error) {
	if err := sc.load(); err != nil {
		return nil, err
	}
	amends := sc.amends()
	sc.updates = sc.updates[:0]
	for i := range sc.router.views {
		sc.routeView(&sc.router.views[i], &sc.buffers[i], e, amends)
	}
	if amends {
		return sc.updates, nil // a lookup keeps whole rows
	}
	for i := range sc.router.lookups {
		sc.routeLookup(&sc.router.lookups[i], &sc.buffers[len(sc.router.views)+i], e)
	}
	return sc.updates, nil
}

// load makes the values readable by expressions.
func (sc *Scratch) load() error {
	fields := sc.router.source.Fields
	for i := range fields {
		v := sc.values[i]
		sc.row.NullTexts[i] = v.IsNull()
		if fields[i].Type == column.String {
			sc.row.Texts[i] = ""
			if !v.IsNull() {
				sc.row.Texts[i] = v.Text()
			}
			continue
		}
		sc.row.Numbers[i] = numberOf(v)
		if sc.router.asNumber[i] && v.Type() == offline.TypeInt64 && (v.Int64() > column.IntegerMax || v.Int64() < -column.IntegerMax) {
			return &FieldError{Field: fields[i].Name, Message: fmt.Sprintf("%d is beyond 2^53, which a feature cannot hold exactly; declare the field as string", v.Int64())}
		}
	}
	return nil
}

// amends reports whether the record only fills in late fields.
func (sc *Scratch) amends() bool {
	if !sc.router.late {
		return false
	}
	s, late := sc.router.source, false
	for i, f := range s.Fields {
		switch {
		case f.Late:
			late = late || !sc.values[i].IsNull()
		case sc.router.Context(i):
		case !sc.values[i].IsNull():
			return false
		}
	}
	return late
}

func (sc *Scratch) routeView(rv *routedView, m *updateMemory, e window.Event, amends bool) {
	v := rv.view
	var ok bool
	if m.key, ok = sc.appendKey(m.key[:0], v.Keys); !ok {
		return
	}
	u := Update{Table: rv.table, Key: m.key, Event: e}
	m.amend = m.amend[:0]
	if amends {
		// The filter cannot be asked: the fields it reads are not here. An event that it
		// left out is unknown to the state, and its amendment has no effect.
		if m.amend = sc.appendLate(m.amend, rv); len(m.amend) > 0 {
			u.Amend = m.amend
			sc.updates = append(sc.updates, u)
		}
		return
	}
	if v.Filter != nil && !v.Filter.True(&sc.row) {
		return
	}
	m.values = m.values[:0]
	for i := range v.Columns {
		m.values = append(m.values, sc.column(&v.Columns[i]))
	}
	m.keys = m.keys[:0]
	for i := range v.KeyColumns {
		m.keys = append(m.keys, sc.keyColumn(&v.KeyColumns[i]))
	}
	u.Event.Values, u.Event.Keys = m.values, m.keys
	m.amend = sc.appendLate(m.amend, rv)
	u.Late = m.amend
	sc.updates = append(sc.updates, u)
}

// appendLate appends the columns that late fields give a value.
func (sc *Scratch) appendLate(to []Amendment, rv *routedView) []Amendment {
	if !sc.router.late {
		return to
	}
	for i := range rv.view.Columns {
		c := &rv.view.Columns[i]
		if c.LateField < 0 || sc.values[c.LateField].IsNull() {
			continue
		}
		if x := sc.column(c); !math.IsNaN(x) {
			to = append(to, Amendment{Column: rv.names[i], Value: x})
		}
	}
	return to
}

func (sc *Scratch) column(c *definition.Column) float64 {
	x := math.NaN()
	if c.Filter != nil && !c.Filter.True(&sc.row) {
		return x
	}
	if c.Field >= 0 {
		x = sc.row.Numbers[c.Field]
	} else if c.Program != nil {
		x = c.Program.Number(&sc.row)
	}
	if math.Abs(x) > window.ValueMax { // what cannot be summed exactly is no value
		return math.NaN()
	}
	return x
}

func (sc *Scratch) keyColumn(c *definition.KeyColumn) uint64 {
	v := sc.values[c.Field]
	if v.IsNull() || c.Filter != nil && !c.Filter.True(&sc.row) {
		return 0
	}
	if v.Type() == offline.TypeString {
		return window.KeyOf(v.Text())
	}
	return mix(uint64(v.Int64()))
}

// mix spreads an integer over 64 bits (the finaliser of SplitMix64, Steele et al.
// 2014). It is one to one, but for -1, which shares the image of another: zero, the
// image it would have, means null.
func mix(x uint64) uint64 {
	x++
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	if x ^= x >> 31; x != 0 {
		return x
	}
	return 1
}

func (sc *Scratch) routeLookup(rl *routedLookup, m *updateMemory, e window.Event) {
	var ok bool
	if m.key, ok = sc.appendKey(m.key[:0], rl.lookup.Keys); !ok {
		return
	}
	m.row = AppendRow(m.row[:0], rl.lookup, sc.values)
	sc.updates = append(sc.updates, Update{Table: rl.table, Key: m.key, Row: m.row, Event: e})
}

// appendKey appends the key that the fields hold; false if one is null.
func (sc *Scratch) appendKey(key []byte, fields []int) ([]byte, bool) {
	for _, f := range fields {
		v := sc.values[f]
		if v.IsNull() {
			return key, false
		}
		if v.Type() == offline.TypeString {
			key = AppendTextKey(key, v.Text())
		} else {
			key = AppendIntKey(key, v.Int64())
		}
	}
	return key, true
}

// Context reports whether a record that only fills in late fields may bring the
// field: the id, the time, keys of tables, and what filters and expressions of late
// columns read.
func (r *Router) Context(field int) bool {
	s := r.source
	return field == s.ID || field == s.Timestamp || field == s.Arrival || r.context[field]
}
