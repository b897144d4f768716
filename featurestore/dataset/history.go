// SPDX-License-Identifier: Apache-2.0

package dataset

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"math"
	"slices"
	"strconv"
	"sync"
	"time"
	"unsafe"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/offline"
	"github.com/millrace-ml/millrace/featurestore/plan"
	"github.com/millrace-ml/millrace/featurestore/window"
)

// HistoryOptions say whose history ReadHistory computes.
type HistoryOptions struct {
	Catalog *definition.Catalog
	// Service or View names what is computed; the other is empty.
	Service, View string
	// Keys has the keys of the entities, by the name of the key. At events some may be left
	// out: then the event has them.
	Keys map[string]string
	// Request has values of the request, by field. At events those left out are what the
	// event has under their name.
	Request map[string]string
	// Source names the source whose events are the moments. Empty is the view's, or that
	// of the service's first view or lookup.
	Source string
	// From and To bound the moments: From is included and To is not. Zero is no bound, but
	// with Step.
	From, To time.Time
	// Step, unless 0, asks for moments this far apart instead of those of events.
	Step time.Duration
	// AsOf, Hindsight, Log, NoInputs, BadRowsMax, Workers, MemoryMax and TempDir are those of
	// Options.
	AsOf       time.Time
	Hindsight  bool
	Log        *offline.Log
	NoInputs   bool
	BadRowsMax int64
	Workers    int
	MemoryMax  int64
	TempDir    string
	// RowsMax bounds the moments: 0 is 100,000, at most 10 million.
	RowsMax int
}

// History is features over time.
type History struct {
	// Columns are the time, the keys, and the features.
	Columns []Column
	// Rows has these columns, in order of time.
	Rows column.Batch
	// Status has the status of each feature, row by row.
	Status []window.Status
}

const (
	historyRows    = 100_000
	historyRowsMax = 10_000_000
)

// ReadHistory computes the features of an entity at each of its events, or at regular
// moments, as they were known then.
func ReadHistory(ctx context.Context, o HistoryOptions) (*History, error) {
	h, err := newHistory(o)
	if err != nil {
		return nil, err
	}
	defer h.engine.close()
	if err := h.read(ctx); err != nil {
		return nil, err
	}
	if err := h.engine.compute(ctx, func(int, int) {}); err != nil {
		return nil, err
	}
	return h.assemble(ctx)
}

// history is one run of ReadHistory.
type history struct {
	o       HistoryOptions
	service *definition.Service
	source  *definition.Source
	engine  *engine
	events  *events
	// fixed has a value for each key and request field that is given, by column of the
	// engine; from has the field of the source for the others, -1 for null.
	fixed []*column.Column
	from  []int
	// telling are the fields that a mere amendment does not have; nil if nothing is late.
	telling []int

	mu struct {
		sync.Mutex
		rows  column.Batch // moments found, in the engine's columns
		names []uint64     // of their events
		again []bool       // rows of events of which an earlier arrival was found later
		ids   map[[2]uint64]arrival
	}
}

// arrival is which of the arrivals of one event was taken. Slices are read by several
// workers at once, so the first that is seen need not be the first there is.
type arrival struct {
	at         int64
	slice, row int
}

func newHistory(o HistoryOptions) (*history, error) {
	base := Options{Workers: o.Workers, MemoryMax: o.MemoryMax}
	base.EnsureDefaults()
	o.Workers, o.MemoryMax = base.Workers, base.MemoryMax
	if o.RowsMax == 0 {
		o.RowsMax = historyRows
	}
	h := &history{o: o}
	if err := h.find(); err != nil {
		return nil, fmt.Errorf("%w: history: %w", ErrOptions, err)
	}
	asOf := bound(o.AsOf, math.MaxInt64)
	var err error
	h.engine, err = newEngine(o.Catalog, h.service, engineOptions{workers: o.Workers, memoryMax: o.MemoryMax, tempDir: o.TempDir, parts: 1,
		hindsight: o.Hindsight, asOf: asOf, logged: o.Log != nil})
	if err != nil {
		return nil, err
	}
	h.events = &events{engine: h.engine, full: o.Catalog, log: o.Log, inputs: !o.NoInputs, until: bound(o.To, math.MaxInt64),
		badRowsMax: o.BadRowsMax, refused: new(refusals)}
	h.mu.rows, h.mu.ids = *h.engine.newBatch(), map[[2]uint64]arrival{}
	if err := h.fix(); err != nil {
		return nil, fmt.Errorf("%w: history: %w", ErrOptions, err)
	}
	return h, h.events.check(h.source)
}

// find finds what the options name.
func (h *history) find() error {
	o := &h.o
	switch {
	case o.Catalog == nil:
		return fmt.Errorf("no catalog")
	case (o.Service == "") == (o.View == ""):
		return fmt.Errorf("either a service or a view is needed")
	case o.RowsMax < 1 || o.RowsMax > historyRowsMax:
		return fmt.Errorf("%d rows: 1 to %d", o.RowsMax, historyRowsMax)
	case o.Step < 0 || o.Step > 0 && o.Step < time.Microsecond:
		return fmt.Errorf("a step of %v", o.Step)
	case o.Step > 0 && (o.From.IsZero() || o.To.IsZero() || !o.From.Before(o.To)):
		return fmt.Errorf("with a step, from and to are needed, in this order")
	case o.Step > 0 && o.To.Sub(o.From)/o.Step >= time.Duration(o.RowsMax):
		return fmt.Errorf("steps of %v from %v to %v are more than %d moments", o.Step, o.From, o.To, o.RowsMax)
	}
	if o.View != "" {
		v := o.Catalog.View(o.View)
		if v == nil {
			return fmt.Errorf("view %q is not defined", o.View)
		}
		h.service, h.source = serviceOf(v), v.Source
	} else if h.service = o.Catalog.Service(o.Service); h.service == nil {
		return fmt.Errorf("service %q is not defined", o.Service)
	} else if tables := plan.NewAssembler(o.Catalog, h.service).Tables(); len(tables) > 0 {
		h.source = (&table{Table: plan.Tables(o.Catalog)[tables[0]]}).source()
	}
	if o.Source != "" {
		h.source = o.Catalog.Source(o.Source)
	}
	if h.source == nil {
		return fmt.Errorf("source %q is not defined", o.Source)
	}
	return nil
}

// serviceOf is a service with all values of a view.
func serviceOf(v *definition.View) *definition.Service {
	s := &definition.Service{Name: v.Name, Entities: v.Entities, Time: -1}
	for _, f := range v.Features {
		for k := range f.Width {
			name := f.Name
			if f.Width > 1 {
				name = fmt.Sprintf("%s[%d]", f.Name, k)
			}
			s.Features = append(s.Features, definition.Feature{Name: name, Type: column.Float64, Kind: definition.FromView, View: v.Index, Offset: f.Offset + k})
		}
	}
	return s
}

// fix finds where keys and request fields come from.
func (h *history) fix() error {
	known := map[string]bool{}
	field := func(name string, t column.Type, given map[string]string, key bool) error {
		known[name] = true
		place := slices.IndexFunc(h.source.Fields, func(f definition.Field) bool { return f.Name == name && f.Type == t && !f.Late })
		text, there := given[name]
		switch {
		case there:
			c := &column.Column{Name: name, Type: t}
			if err := appendGiven(c, text); err != nil {
				return err
			}
			h.fixed, h.from = append(h.fixed, c), append(h.from, place)
			return nil
		case key && (h.o.Step > 0 || place < 0):
			return fmt.Errorf("the key %s is needed", name)
		case h.o.Step > 0:
			place = -1
		}
		h.fixed, h.from = append(h.fixed, nil), append(h.from, place)
		return nil
	}
	for _, e := range h.service.Entities {
		if err := field(e.Key, e.Type, h.o.Keys, true); err != nil {
			return err
		}
	}
	for _, f := range h.service.Request {
		if err := field(f.Name, f.Type, h.o.Request, false); err != nil {
			return err
		}
	}
	for _, given := range []map[string]string{h.o.Keys, h.o.Request} {
		for name := range given {
			if !known[name] {
				return fmt.Errorf("%s is neither a key nor a request field of %s", name, h.service.Name)
			}
		}
	}
	h.keepOnly()
	if slices.ContainsFunc(h.source.Fields, func(f definition.Field) bool { return f.Late }) {
		h.telling = tellingOf(plan.NewRouter(h.o.Catalog, h.source))
	}
	return nil
}

// keepOnly has tables whose keys are all given keep the events of that entity alone.
func (h *history) keepOnly() {
	for _, t := range h.engine.tables {
		b := column.Batch{Rows: 1}
		for _, k := range t.keys {
			if h.fixed[k] == nil {
				break
			}
			b.Columns = append(b.Columns, *h.fixed[k])
		}
		if len(b.Columns) < len(t.keys) {
			continue
		}
		places := make([]int, len(t.keys))
		for i := range places {
			places[i] = i
		}
		key, _ := appendKey(nil, &b, places, 0)
		t.only = new([2]uint64)
		t.put(t.only[:], key)
	}
}

// appendGiven appends a value that was given as text.
func appendGiven(c *column.Column, text string) error {
	var err error
	switch c.Type {
	case column.String:
		c.AppendText(text)
	case column.Int64:
		var v int64
		v, err = strconv.ParseInt(text, 10, 64)
		c.AppendInt(v)
	case column.Timestamp:
		var v time.Time
		v, err = time.Parse(time.RFC3339Nano, text)
		c.AppendInt(v.UnixMicro())
	case column.Bool:
		var v bool
		v, err = strconv.ParseBool(text)
		c.AppendNumber(map[bool]float64{true: 1}[v])
	default:
		var v float64
		v, err = strconv.ParseFloat(text, 64)
		c.AppendNumber(v)
	}
	if err != nil {
		return fmt.Errorf("%s: %q is no %s", c.Name, text, c.Type)
	}
	return nil
}

// read finds the moments and reads the events.
func (h *history) read(ctx context.Context) error {
	if h.o.Step > 0 {
		for at := h.o.From.UnixMicro(); at < h.o.To.UnixMicro(); at += h.o.Step.Microseconds() {
			h.add(at, func(int, *column.Column) {})
		}
		if err := h.events.read(ctx, nil, nil, nil); err != nil {
			return err
		}
		return h.ask()
	}
	if err := h.events.read(ctx, h.source, h.inputs, h.logged); err != nil {
		return err
	}
	return h.ask()
}

// add adds a moment; value appends what the event has for a field.
func (h *history) add(at int64, value func(field int, to *column.Column)) {
	b := &h.mu.rows
	for i := range h.fixed {
		switch c := &b.Columns[i]; {
		case i == h.engine.time:
			c.AppendInt(at)
		case h.fixed[i] != nil:
			copyRow(c, h.fixed[i], 0)
		case h.from[i] < 0:
			c.AppendNull()
		default:
			value(h.from[i], c)
		}
	}
	if h.engine.time == len(h.fixed) {
		b.Columns[h.engine.time].AppendInt(at)
	}
	b.Rows++
}

// take adds an event of the entity, unless an earlier arrival of it is there already.
func (h *history) take(id uint64, at, arrived int64, slice int, value func(field int, to *column.Column)) error {
	if at < bound(h.o.From, math.MinInt64) || at >= bound(h.o.To, math.MaxInt64) || arrived > h.engine.asOf {
		return nil
	}
	for i, c := range h.fixed[:len(h.service.Entities)] {
		if c == nil || h.from[i] < 0 {
			continue
		}
		has := column.Column{Type: c.Type}
		value(h.from[i], &has)
		if has.Null(0) || c.Type == column.String && has.Texts[0] != c.Texts[0] || c.Type != column.String && has.Ints[0] != c.Ints[0] {
			return nil
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	known, again := h.mu.ids[[2]uint64{id, uint64(at)}]
	if again && cmp.Or(cmp.Compare(known.at, arrived), cmp.Compare(known.slice, slice)) <= 0 {
		return nil
	}
	if h.mu.rows.Rows == h.o.RowsMax {
		return fmt.Errorf("%w: history: there are more than %d events; narrow the range", ErrOptions, h.o.RowsMax)
	}
	if again {
		h.mu.again[known.row] = true
	}
	h.mu.ids[[2]uint64{id, uint64(at)}] = arrival{at: arrived, slice: slice, row: h.mu.rows.Rows}
	h.mu.names, h.mu.again = append(h.mu.names, id), append(h.mu.again, false)
	h.add(at, value)
	return nil
}

// inputs takes a slice of the inputs.
func (h *history) inputs(slice int, b *column.Batch) error {
	var id []byte
	for row := range b.Rows {
		at, arrived, ok := times(h.source, b, row)
		tells := func(f int) bool { return b.Columns[f].Len() > 0 && !b.Columns[f].Null(row) }
		if !ok || h.telling != nil && !slices.ContainsFunc(h.telling, tells) {
			continue
		}
		id = appendID(id[:0], h.source, b, row)
		err := h.take(window.KeyOf(unsafe.String(unsafe.SliceData(id), len(id))), at, arrived, slice, func(field int, to *column.Column) { copyText(to, &b.Columns[field], row) })
		if err != nil {
			return err
		}
	}
	return nil
}

// copyText is copyRow for rows whose memory is used again.
func copyText(to, from *column.Column, row int) {
	copyRow(to, from, row)
	if n := len(to.Texts); n > 0 {
		to.Texts[n-1] = string([]byte(to.Texts[n-1]))
	}
}

// logged takes a slice of the log.
func (h *history) logged(slice int, s *definition.Source, places []int, scan iter.Seq[*offline.Record]) (err error) {
	for r := range scan {
		if h.telling != nil && !slices.ContainsFunc(h.telling, func(f int) bool { return places[f] >= 0 && !r.Values[places[f]].IsNull() }) {
			continue
		}
		err = h.take(window.KeyOf(r.ID), r.EventTime, r.ArrivalTime, slice, func(field int, to *column.Column) {
			switch {
			case field == s.Arrival:
				to.AppendInt(r.ArrivalTime)
			case places[field] < 0:
				to.AppendNull()
			default:
				appendValue(to, r.Values[places[field]])
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// ask sorts the moments and asks for them.
func (h *history) ask() error {
	a := h.engine.asker()
	defer a.giveBack()
	all := &h.mu.rows
	times := all.Columns[h.engine.time].Ints
	order := make([]int, 0, all.Rows)
	for i := range all.Rows {
		if len(h.mu.again) == 0 || !h.mu.again[i] {
			order = append(order, i)
		}
	}
	slices.SortFunc(order, func(i, j int) int {
		c := cmp.Compare(times[i], times[j])
		if c == 0 && len(h.mu.names) > 0 {
			c = cmp.Compare(h.mu.names[i], h.mu.names[j])
		}
		return c
	})
	empty(a.batch)
	for i, row := range order {
		for k := range a.batch.Columns {
			copyRow(&a.batch.Columns[k], &all.Columns[k], row)
		}
		if a.batch.Rows++; a.batch.Rows == assembleRows || i == len(order)-1 {
			if err := a.add(a.batch, 0, i); err != nil {
				return err
			}
			empty(a.batch)
		}
	}
	return nil
}

// assemble computes the features.
func (h *history) assemble(ctx context.Context) (*History, error) {
	out := &output{}
	out.add(Column{Name: "time", Role: roleCarried}, outColumn{t: column.Timestamp, row: h.engine.time})
	for i, e := range h.service.Entities {
		out.add(Column{Name: e.Key, Role: roleCarried}, outColumn{t: e.Type, row: i})
	}
	out.features(h.o.Catalog, h.service, false)
	result := &History{Columns: out.names, Rows: *out.newBatch()}
	err := assemble(ctx, h.engine, func(from *assembled) (*History, error) {
		some := &History{Rows: *out.newBatch(), Status: slices.Clone(from.vectors.Status)}
		out.fill(&some.Rows, from)
		return some, nil
	}, func(some *History) error {
		for i := range some.Rows.Columns {
			for row := range some.Rows.Rows {
				copyRow(&result.Rows.Columns[i], &some.Rows.Columns[i], row)
			}
		}
		result.Rows.Rows += some.Rows.Rows
		result.Status = append(result.Status, some.Status...)
		return nil
	})
	return result, err
}
