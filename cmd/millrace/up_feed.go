// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"strconv"
	"time"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/plan"
	"github.com/millrace-ml/millrace/featurestore/source"
	"github.com/millrace-ml/millrace/featurestore/window"
	millracev1 "github.com/millrace-ml/millrace/proto/millrace/v1"
	"github.com/millrace-ml/millrace/serving/frontend/policy"
)

// eventReader reads events in the order of time: a source's inputs, or what takes their place.
type eventReader interface {
	Next(*column.Batch) (bool, error)
	Close() error
}

// feed yields the events of a source one by one, from a moment on. Rows that cannot be
// used are left out, as a load of them leaves them out.
type feed struct {
	source *definition.Source
	reader eventReader
	from   int64
	batch  column.Batch
	row    int
}

func openFeed(ctx context.Context, s *definition.Source, from int64) (*feed, error) {
	r, err := source.Open(ctx, s, source.Options{BadRowsMax: -1})
	if err != nil {
		return nil, err
	}
	return &feed{source: s, reader: r, from: from, row: -1}, nil
}

// openFeed opens what is replayed.
func (r *replay) openFeed(ctx context.Context, from int64) (*feed, error) {
	if r.events == nil {
		return openFeed(ctx, r.source, from)
	}
	events, err := r.events(from)
	if err != nil {
		return nil, err
	}
	return &feed{source: r.source, reader: events, from: from, row: -1}, nil
}

func (f *feed) close() { f.reader.Close() }

// next goes to the next event; false after the last.
func (f *feed) next() (bool, error) {
	for {
		for f.row++; f.row < f.batch.Rows; f.row++ {
			if !f.column(f.source.Timestamp).Null(f.row) && !f.column(f.source.ID).Null(f.row) && f.time() >= f.from {
				return true, nil
			}
		}
		more, err := f.reader.Next(&f.batch)
		if err != nil || !more {
			return false, err
		}
		f.row = -1
	}
}

func (f *feed) column(i int) *column.Column { return &f.batch.Columns[i] }

// time is when the event happened, in microseconds.
func (f *feed) time() int64 { return f.column(f.source.Timestamp).Ints[f.row] }

// id tells the event apart.
func (f *feed) id() uint64 {
	c := f.column(f.source.ID)
	if c.Type == column.String {
		return window.KeyOf(c.Texts[f.row])
	}
	return window.KeyOf(strconv.FormatInt(c.Ints[f.row], 10))
}

// request asks for a decision about the event: it is the request.
func (f *feed) request(p *policy.Policy) *millracev1.DecideRequest {
	q := &millracev1.DecideRequest{Decision: p.Name}
	for i := range p.Facts {
		field := f.source.Field(p.Facts[i].Name)
		if field < 0 || f.source.Fields[field].Late || f.column(field).Null(f.row) {
			continue
		}
		q.Facts = append(q.Facts, &millracev1.Fact{Name: p.Facts[i].Name, Value: wireValue(f.column(field), f.row)})
	}
	return q
}

func wireValue(c *column.Column, row int) *millracev1.Value {
	switch c.Type {
	case column.String:
		return &millracev1.Value{Kind: &millracev1.Value_Text{Text: c.Texts[row]}}
	case column.Bool:
		return &millracev1.Value{Kind: &millracev1.Value_Bool{Bool: c.Numbers[row] != 0}}
	case column.Float64:
		return &millracev1.Value{Kind: &millracev1.Value_Number{Number: c.Numbers[row]}}
	}
	return &millracev1.Value{Kind: &millracev1.Value_Integer{Integer: c.Ints[row]}}
}

// appendTo adds the event, with some of its fields, to a push.
func (f *feed) appendTo(q *millracev1.PushRequest, with func(*definition.Field) bool) {
	place := 0
	for i := range f.source.Fields {
		if i == f.source.Arrival || !with(&f.source.Fields[i]) {
			continue
		}
		if len(q.Columns) == place {
			q.Columns = append(q.Columns, &millracev1.Column{Name: f.source.Fields[i].Name})
		}
		appendWire(q.Columns[place], f.column(i), f.row)
		place++
	}
}

func appendWire(to *millracev1.Column, c *column.Column, row int) {
	null, n := c.Null(row), 0
	switch c.Type {
	case column.String:
		to.Texts = append(to.Texts, c.Texts[row])
		n = len(to.Texts)
	case column.Bool:
		to.Bools = append(to.Bools, !null && c.Numbers[row] != 0)
		n = len(to.Bools)
	case column.Float64:
		x := c.Numbers[row]
		if null {
			x = 0
		}
		to.Numbers = append(to.Numbers, x)
		n = len(to.Numbers)
	default:
		to.Integers = append(to.Integers, c.Ints[row])
		n = len(to.Integers)
	}
	if null {
		to.Nulls = append(to.Nulls, uint32(n-1))
	}
}

// labelFeed reads the source a second time, behind the first by the time that a late
// field takes to become known, and pushes the field then. So nothing waits in memory.
type labelFeed struct {
	replay *replay
	feed   *feed
	field  int
	after  int64 // microseconds
	more   bool
	batch  *millracev1.PushRequest
	rows   int
	oldest int64 // when the first of the batch became known
	keys   map[string]bool
}

// labelFeeds has a feed for each late field.
type labelFeeds []*labelFeed

func newLabelFeeds(ctx context.Context, r *replay) (labelFeeds, error) {
	var all labelFeeds
	for i := range r.source.Fields {
		field := &r.source.Fields[i]
		if !field.Late {
			continue
		}
		after := field.KnownAfter.Microseconds()
		f, err := r.openFeed(ctx, r.labelsFrom()-after)
		if err != nil {
			all.close()
			return nil, err
		}
		l := &labelFeed{replay: r, feed: f, field: i, after: after, keys: labelFields(r.catalog, r.source, i)}
		all = append(all, l)
		if l.more, err = f.next(); err != nil {
			all.close()
			return nil, err
		}
	}
	return all, nil
}

// labelFields are the fields of a push that tells a late one: itself, and those by which
// the event and its entities are found.
func labelFields(c *definition.Catalog, s *definition.Source, late int) map[string]bool {
	router := plan.NewRouter(c, s)
	names := map[string]bool{s.Fields[late].Name: true}
	for i := range s.Fields {
		if router.Context(i) {
			names[s.Fields[i].Name] = true
		}
	}
	return names
}

func (all labelFeeds) close() {
	for _, l := range all {
		l.feed.close()
	}
}

// until sends what has become known by a moment, now and then.
func (all labelFeeds) until(now int64) error {
	for _, l := range all {
		if err := l.until(now); err != nil {
			return err
		}
	}
	return nil
}

func (l *labelFeed) until(now int64) (err error) {
	for l.more && l.feed.time()+l.after <= now {
		if l.rows == 0 {
			l.batch, l.oldest = &millracev1.PushRequest{Source: l.replay.source.Name, NoWait: true}, l.feed.time()+l.after
		}
		if c := l.feed.column(l.field); !c.Null(l.feed.row) {
			l.feed.appendTo(l.batch, func(f *definition.Field) bool { return l.keys[f.Name] })
			l.rows++
			if l.field == l.replay.label {
				l.replay.report.known(l.feed.id(), c.Number(l.feed.row) != 0)
			}
		}
		if o := l.replay.outcomes; o != nil {
			o.add(l.field, l.feed, l.feed.time()+l.after)
		}
		if l.rows == labelBatch {
			l.flush()
		}
		if l.more, err = l.feed.next(); err != nil {
			return err
		}
	}
	if l.rows > 0 && now-l.oldest >= int64(labelWait/time.Microsecond) {
		l.flush()
	}
	return nil
}

// flush pushes the labels of the batch, behind the events that they are of: those were
// answered long ago.
func (l *labelFeed) flush() {
	l.replay.jobs <- job{push: l.batch, place: -1}
	l.batch, l.rows = nil, 0
}
