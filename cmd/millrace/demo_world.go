// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/millrace-ml/millrace/bench/payments"
	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/definition"
)

// worldReader makes the events that a replay plays, day by day.
type worldReader struct {
	source *definition.Source
	world  *payments.World
	// from is the first day that anybody wants, in microseconds.
	from  int64
	truth *demoTruth // told of each payment; nil tells nobody
}

func (d *demo) openWorld(s *definition.Source, from int64, truth *demoTruth) (*worldReader, error) {
	w, err := payments.NewWorld(d.world.options())
	if err != nil {
		return nil, err
	}
	return &worldReader{source: s, world: w, from: time.UnixMicro(from).UTC().Truncate(24 * time.Hour).UnixMicro(), truth: truth}, nil
}

// Close implements eventReader.
func (r *worldReader) Close() error { return nil }

// Next implements eventReader: a day, by the source's fields.
func (r *worldReader) Next(b *column.Batch) (bool, error) {
	var day []payments.Payment
	for {
		if day = r.world.NextDay(); day == nil {
			return false, nil
		}
		if len(day) == 0 || day[len(day)-1].At.UnixMicro() >= r.from {
			break
		}
	}
	if b.Columns == nil {
		b.Columns = make([]column.Column, len(r.source.Fields))
	}
	b.Rows = len(day)
	for i, f := range r.source.Fields {
		c := &b.Columns[i]
		c.Reset()
		c.Name, c.Type = f.Name, f.Type
		for j := range day {
			appendPayment(c, &day[j])
		}
	}
	if r.truth != nil {
		r.truth.add(day)
	}
	return true, nil
}

// appendPayment adds a field of a payment; what a payment does not have is null.
func appendPayment(c *column.Column, p *payments.Payment) {
	switch c.Name {
	case "transaction_id":
		c.AppendInt(p.ID)
	case "event_timestamp":
		c.AppendInt(p.At.UnixMicro())
	case "customer_id":
		c.AppendInt(p.Customer)
	case "terminal_id":
		c.AppendInt(p.Terminal)
	case "amount":
		c.AppendNumber(p.Amount)
	case "is_fraud":
		c.AppendNumber(float64(min(p.Scenario, 1)))
	default:
		c.AppendNull()
	}
}

// dataReader tells the truth of the payments of a file that it reads.
type dataReader struct {
	eventReader
	source *definition.Source
	truth  *demoTruth
}

func (r *dataReader) Next(b *column.Batch) (bool, error) {
	more, err := r.eventReader.Next(b)
	if !more || err != nil {
		return more, err
	}
	id, at, fraud := b.Column("transaction_id"), b.Column("event_timestamp"), b.Column("is_fraud")
	for i := range b.Rows {
		if !fraud.Null(i) && fraud.Number(i) != 0 {
			r.truth.addFraud(id.Ints[i], at.Ints[i])
		}
	}
	return true, nil
}

// demoTruth knows which of the last payments were frauds, for those who label: somebody who
// looks at a payment, and asks its owner, finds out. Nothing else asks it. It may be used by
// many goroutines.
type demoTruth struct {
	mu struct {
		sync.Mutex
		frauds map[int64]int64 // payment to its time, in microseconds
	}
}

// truthMax bounds what is known: the oldest half goes.
const truthMax = 100_000

func (t *demoTruth) add(day []payments.Payment) {
	for i := range day {
		if day[i].Fraud {
			t.addFraud(day[i].ID, day[i].At.UnixMicro())
		}
	}
}

func (t *demoTruth) addFraud(id, at int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.mu.frauds == nil {
		t.mu.frauds = map[int64]int64{}
	}
	if t.mu.frauds[id] = at; len(t.mu.frauds) <= truthMax {
		return
	}
	times := make([]int64, 0, len(t.mu.frauds))
	for _, at := range t.mu.frauds {
		times = append(times, at)
	}
	slices.Sort(times)
	for id, at := range t.mu.frauds {
		if at < times[len(times)/2] {
			delete(t.mu.frauds, id)
		}
	}
}

func (t *demoTruth) fraud(id int64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, fraud := t.mu.frauds[id]
	return fraud
}

// play has a replay play the demo's world in place of the project's history. A nil demo
// leaves it as it is.
func (d *demo) play(u *up, r *replay) error {
	if d == nil {
		return nil
	}
	d.up, d.replay = u, r
	opened := 0 // the first reader is that of events, others are of labels, which come later
	r.events = func(from int64) (eventReader, error) {
		truth := &d.truth
		if opened++; opened > 1 {
			truth = nil
		}
		if d.world.Data == "" {
			return d.openWorld(r.source, from, truth)
		}
		f, err := d.openData(context.Background(), from)
		if err != nil {
			return nil, err
		}
		if truth == nil {
			return f.reader, nil
		}
		return &dataReader{eventReader: f.reader, source: r.source, truth: truth}, nil
	}
	r.before = d.before
	r.line = d.line
	return d.recount()
}
