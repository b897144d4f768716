// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/expression"
	"github.com/millrace-ml/millrace/featurestore/window"
)

// ErrInputs says that Inputs do not fit the service.
var ErrInputs = errors.New("invalid inputs")

// Assembler computes the vectors of one service.
type Assembler struct {
	service *definition.Service
	tables  []assembled
	// steps fill the features in order.
	steps []step
	// expressions says that there are any, which then see the values before them.
	expressions bool
	textWidth   int
	pool        sync.Pool // *scratch
}

// assembled is a table that the service reads.
type assembled struct {
	table int
	keys  []int // places in Service.Entities
	view  *definition.View
	// lookup is nil for a view; base is where a view's values begin in scratch.values, or
	// the lookup's in scratch.numbers and scratch.texts.
	lookup *definition.Lookup
	base   int
}

// step says where one feature comes from.
type step struct {
	kind   definition.Kind
	text   int // place among text features, -1 for a number
	table  int // place in Assembler.tables
	offset int // place in what it comes from
	// hasDefault says that the default replaces what is not present.
	hasDefault    bool
	defaultNumber float64
	defaultText   string
	program       *expression.Program
}

// scratch is the memory of one call.
type scratch struct {
	refs []Ref
	keys []byte
	// values, status and seen are those of the tables for one row; texts of lookups.
	values []float64
	status []window.Status
	texts  []string
	seen   []Seen
	row    expression.Row // by Service.Env
}

// NewAssembler returns the assembler of a service.
func NewAssembler(c *definition.Catalog, s *definition.Service) *Assembler {
	a := &Assembler{service: s}
	tables, width := Tables(c), 0
	place := func(table int) int {
		if i := slices.IndexFunc(a.tables, func(t assembled) bool { return t.table == table }); i >= 0 {
			return i
		}
		t := assembled{table: table, view: tables[table].View, lookup: tables[table].Lookup, base: width}
		entities := []*definition.Entity(nil)
		if t.view != nil {
			entities, width = t.view.Entities, width+t.view.Window.Width()
		} else {
			entities, width = t.lookup.Entities, width+len(t.lookup.Fields)
		}
		for _, e := range entities {
			t.keys = append(t.keys, slices.Index(s.Entities, e))
		}
		a.tables = append(a.tables, t)
		return len(a.tables) - 1
	}
	for i := range s.Features {
		f := &s.Features[i]
		st := step{kind: f.Kind, text: -1, offset: f.Offset, program: f.Expression,
			hasDefault: f.HasDefault, defaultNumber: f.Default, defaultText: f.DefaultText}
		switch f.Kind {
		case definition.FromView:
			st.table = place(f.View)
			st.offset += a.tables[st.table].base
		case definition.FromLookup:
			st.table = place(len(c.Views) + f.Lookup)
			st.offset += a.tables[st.table].base
		case definition.FromExpression:
			a.expressions = true
		}
		if f.Type == column.String {
			st.text = a.textWidth
			a.textWidth++
		}
		a.steps = append(a.steps, st)
	}
	a.pool.New = func() any {
		env := len(s.Entities) + len(s.Request) + len(s.Features)
		return &scratch{
			values: make([]float64, width), status: make([]window.Status, width), texts: make([]string, width),
			seen: make([]Seen, len(a.tables)),
			row:  expression.Row{Numbers: nulls(env), Texts: make([]string, env), NullTexts: make([]bool, env)},
		}
	}
	return a
}

// Service is the service it computes.
func (a *Assembler) Service() *definition.Service { return a.service }

// Tables are the tables it reads, as places in Tables.
func (a *Assembler) Tables() []int {
	tables := make([]int, len(a.tables))
	for i, t := range a.tables {
		tables[i] = t.table
	}
	return tables
}

// TextWidth is the number of text features.
func (a *Assembler) TextWidth() int { return a.textWidth }

// Assemble computes the vectors of the rows asked for. It fetches all entities at
// once: ref i of the fetch is for row i/len(Tables()) and table Tables()[i%len(Tables())].
//
// Errors: ErrInputs, and what the reader returns.
func (a *Assembler) Assemble(ctx context.Context, r Reader, in *Inputs, out *Vectors) error {
	if err := a.check(in); err != nil {
		return err
	}
	sc := a.pool.Get().(*scratch)
	defer a.pool.Put(sc)
	a.refs(sc, in)
	if err := r.Fetch(ctx, sc.refs); err != nil {
		return err
	}
	defer r.Release()
	a.reset(out, in.Rows)
	for row := range in.Rows {
		if err := a.row(sc, r, in, out, row); err != nil {
			return err
		}
	}
	return nil
}

func (a *Assembler) check(in *Inputs) error {
	s := a.service
	if len(in.Keys) != len(s.Entities) || len(in.Request) != len(s.Request) {
		return fmt.Errorf("%w: %d keys and %d request columns for %d and %d", ErrInputs, len(in.Keys), len(in.Request), len(s.Entities), len(s.Request))
	}
	for i := range in.Keys {
		if c := &in.Keys[i]; c.Type != s.Entities[i].Type || c.Len() != in.Rows {
			return fmt.Errorf("%w: key %s: %d values of type %s for %d rows of type %s", ErrInputs, s.Entities[i].Key, c.Len(), c.Type, in.Rows, s.Entities[i].Type)
		}
	}
	for i := range in.Request {
		if c := &in.Request[i]; c.Type != s.Request[i].Type || c.Len() != in.Rows {
			return fmt.Errorf("%w: request field %s: %d values of type %s for %d rows of type %s", ErrInputs, s.Request[i].Name, c.Len(), c.Type, in.Rows, s.Request[i].Type)
		}
	}
	return nil
}

// refs writes the keys of all rows and tables into one buffer.
func (a *Assembler) refs(sc *scratch, in *Inputs) {
	sc.refs, sc.keys = sc.refs[:0], sc.keys[:0]
	for row := range in.Rows {
		for i := range a.tables {
			t, begin := &a.tables[i], len(sc.keys)
			sc.keys = t.appendKey(sc.keys, in, row)
			// When the buffer grows, refs made before keep the bytes of the old one.
			sc.refs = append(sc.refs, Ref{Table: t.table, Key: sc.keys[begin:len(sc.keys):len(sc.keys)]})
		}
	}
}

// appendKey appends the key of a row's entity; nothing if it has none, since no
// entity has the empty key.
func (t *assembled) appendKey(key []byte, in *Inputs, row int) []byte {
	begin := len(key)
	for _, k := range t.keys {
		switch c := &in.Keys[k]; {
		case c.Null(row):
			return key[:begin]
		case c.Type == column.String:
			key = AppendTextKey(key, c.Texts[row])
		default:
			key = AppendIntKey(key, c.Ints[row])
		}
	}
	return key
}

func (a *Assembler) reset(out *Vectors, rows int) {
	n := rows * len(a.steps)
	out.Rows, out.Width, out.TextWidth, out.Tables, out.Missed = rows, len(a.steps), a.textWidth, len(a.tables), 0
	out.Numbers = slices.Grow(out.Numbers[:0], n)[:n]
	out.Status = slices.Grow(out.Status[:0], n)[:n]
	out.EventTimes = out.EventTimes[:0]
	if out.WantEventTimes {
		out.EventTimes = slices.Grow(out.EventTimes, n)[:n]
		clear(out.EventTimes)
	}
	out.Sequences = out.Sequences[:0]
	if out.WantSequences {
		out.Sequences = slices.Grow(out.Sequences, rows*len(a.tables))[:rows*len(a.tables)]
	}
	out.kept = out.kept[:0]
	t := rows * a.textWidth
	out.Texts = slices.Grow(out.Texts[:0], t)[:t]
}

// moment is the time that a row asks for.
func (a *Assembler) moment(in *Inputs, row int) int64 {
	if in.At != 0 {
		return in.At
	}
	if t := a.service.Time; t >= 0 && !in.Request[t].Null(row) {
		return in.Request[t].Ints[row]
	}
	return in.Now
}

// momentMax bounds the moment asked for, in microseconds from 1970: some 18,000 years,
// from where windows can be counted back.
const momentMax = 1 << 59

func (a *Assembler) badMoment(row int, at int64) error {
	what := "at"
	if t := a.service.Time; t >= 0 {
		what = "request field " + a.service.Request[t].Name
	}
	return fmt.Errorf("%w: %s: row %d: the moment %d is out of range; it is in microseconds since 1970 UTC", ErrInputs, what, row, at)
}

func (a *Assembler) row(sc *scratch, r Reader, in *Inputs, out *Vectors, row int) error {
	at := a.moment(in, row)
	if at > momentMax || at < -momentMax {
		return a.badMoment(row, at)
	}
	for i := range a.tables {
		if err := a.read(sc, out, r, i, row*len(a.tables)+i, at); err != nil {
			return err
		}
		out.Missed = max(out.Missed, sc.seen[i].Missed.Microseconds())
		if out.WantSequences {
			out.Sequences[row*len(a.tables)+i] = sc.seen[i].Sequence
		}
	}
	if a.expressions {
		a.loadEnv(sc, in, row)
	}
	a.fill(sc, in, out, row, at)
	return nil
}

// read reads one table for one row into the scratch.
func (a *Assembler) read(sc *scratch, out *Vectors, r Reader, table, ref int, at int64) (err error) {
	t := &a.tables[table]
	if t.view != nil {
		end := t.base + t.view.Window.Width()
		sc.seen[table], err = r.View(ref, at, sc.values[t.base:end], sc.status[t.base:end])
		return err
	}
	encoded, seen, err := r.Lookup(ref, at)
	if err != nil {
		return err
	}
	sc.seen[table] = seen
	return a.decode(sc, out, t, encoded, at-seen.EventTime)
}

// decode spreads a lookup's row; age is in microseconds.
func (a *Assembler) decode(sc *scratch, out *Vectors, t *assembled, encoded []byte, age int64) error {
	row := RowOf(encoded)
	for i, field := range t.lookup.Fields {
		at := t.base + i
		sc.values[at], sc.texts[at], sc.status[at] = math.NaN(), "", window.NotFound
		if encoded == nil {
			continue
		}
		number, text, null, err := row.Next(t.lookup.Source.Fields[field].Type)
		if err != nil {
			return fmt.Errorf("lookup %s, field %s: %w", t.lookup.Name, t.lookup.Source.Fields[field].Name, err)
		}
		switch {
		case null:
			sc.status[at] = window.Null
		case t.lookup.TTL > 0 && age > t.lookup.TTL.Microseconds():
			sc.status[at] = window.OutsideMaxAge
		default:
			sc.status[at] = window.Present
		}
		sc.values[at] = number
		if text != nil {
			sc.texts[at] = out.keep(text) // the bytes are the reader's
		}
	}
	return nil
}

// loadEnv shows keys and request to the expressions.
func (a *Assembler) loadEnv(sc *scratch, in *Inputs, row int) {
	place := 0
	load := func(c *column.Column) {
		sc.row.NullTexts[place] = c.Null(row)
		if c.Type == column.String {
			sc.row.Texts[place] = c.Texts[row]
		} else {
			sc.row.Numbers[place] = c.Number(row)
		}
		place++
	}
	for i := range in.Keys {
		load(&in.Keys[i])
	}
	for i := range in.Request {
		load(&in.Request[i])
	}
}

// fill computes the features of a row in order.
func (a *Assembler) fill(sc *scratch, in *Inputs, out *Vectors, row int, at int64) {
	numbers, status := out.Row(row), out.StatusRow(row)
	env := len(in.Keys) + len(in.Request)
	for i := range a.steps {
		s := &a.steps[i]
		number, text, st := a.value(sc, in, s, row)
		if out.WantEventTimes {
			out.EventTimes[row*out.Width+i] = a.eventTime(sc, s, st, at)
		}
		// A window that has no value gives its own default, unless the service has one.
		if s.hasDefault && st != window.Present {
			number, text = s.defaultNumber, s.defaultText
		}
		numbers[i], status[i] = number, st
		if s.text >= 0 {
			numbers[i] = math.NaN()
			out.Texts[row*a.textWidth+s.text] = text
		}
		if a.expressions {
			sc.row.Numbers[env+i] = numbers[i]
			sc.row.Texts[env+i] = text
			sc.row.NullTexts[env+i] = s.text >= 0 && st != window.Present && !s.hasDefault
		}
	}
}

// value is a feature before its default.
func (a *Assembler) value(sc *scratch, in *Inputs, s *step, row int) (float64, string, window.Status) {
	switch s.kind {
	case definition.FromView:
		return sc.values[s.offset], "", sc.status[s.offset]
	case definition.FromLookup:
		return sc.values[s.offset], sc.texts[s.offset], sc.status[s.offset]
	case definition.FromRequest:
		return given(&in.Request[s.offset], row)
	case definition.FromKey:
		return given(&in.Keys[s.offset], row)
	}
	if s.text >= 0 {
		text, null := s.program.Text(&sc.row)
		if null {
			return math.NaN(), "", window.Null
		}
		return math.NaN(), text, window.Present
	}
	x := s.program.Number(&sc.row)
	if math.IsNaN(x) {
		return x, "", window.Null
	}
	return x, "", window.Present
}

// given is a value that the request brings.
func given(c *column.Column, row int) (float64, string, window.Status) {
	if c.Null(row) {
		return math.NaN(), "", window.Null
	}
	if c.Type == column.String {
		return math.NaN(), c.Texts[row], window.Present
	}
	return c.Number(row), "", window.Present
}

// eventTime is when what a feature rests on happened.
func (a *Assembler) eventTime(sc *scratch, s *step, st window.Status, at int64) int64 {
	switch s.kind {
	case definition.FromView, definition.FromLookup:
		if st == window.NotFound {
			return 0
		}
		return sc.seen[s.table].EventTime
	}
	return at
}
