// SPDX-License-Identifier: Apache-2.0

package dataset

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strings"

	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/offline"
	"github.com/millrace-ml/millrace/featurestore/plan"
	"github.com/millrace-ml/millrace/featurestore/window"
)

// update does to a state what the online store does.
func (v *Verifier) update(table int, s *window.State, u *plan.Update) {
	a := v.aggregator(table)
	columns := u.Amend
	if len(columns) == 0 {
		o, err := a.Update(s, &u.Event)
		if err != nil || o != window.Duplicate {
			return // an event that does not fit was not taken online either
		}
		columns = u.Late
	}
	for _, c := range columns {
		if _, err := a.Amend(s, u.Event.Time, u.Event.ID, c.Column, c.Value, u.Event.Arrival); err != nil {
			return
		}
	}
}

func (v *Verifier) aggregator(table int) *window.Aggregator {
	if v.aggregators == nil {
		v.aggregators = make([]*window.Aggregator, len(v.tables))
	}
	if v.aggregators[table] == nil {
		v.aggregators[table] = v.tables[table].View.Window.NewAggregator()
	}
	return v.aggregators[table]
}

// newerRow says whether an event's row replaces another's, as online.
func newerRow(a, b *window.Event) bool {
	return cmp.Or(cmp.Compare(a.Time, b.Time), cmp.Compare(arrivalOf(a), arrivalOf(b)), cmp.Compare(a.ID, b.ID)) > 0
}

func arrivalOf(e *window.Event) int64 {
	if e.Arrival == 0 {
		return e.Time
	}
	return e.Arrival
}

// shrink forgets half of the entities that are kept, by the hash of their keys.
func (v *Verifier) shrink() {
	for v.bytes > v.o.MemoryMax && v.limit > 1<<32 {
		v.limit /= 2
		for key, e := range v.entities {
			if hashKey([]byte(key)) > v.limit {
				v.bytes -= e.bytes
				e.pending = nil
				delete(v.entities, key)
			}
		}
	}
}

// vector compares a served vector.
func (v *Verifier) vector(stream string, columns []offline.Column, r *offline.Record) {
	values, at := make([]offline.Value, 0, plan.VectorWidth), 0
	for _, c := range plan.VectorColumns() {
		if at = slices.IndexFunc(columns, func(o offline.Column) bool { return o.Name == c.Name }); at < 0 {
			return // written before the stream had vectors
		}
		values = append(values, r.Values[at])
	}
	if values[0].IsNull() {
		return // answered without features
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	b := v.bucketLocked(r.ArrivalTime)
	b.parity.Vectors++
	s := v.services[values[0].Text()]
	if s == nil {
		b.parity.skip(skipService, 1)
		return
	}
	reason := s.read(v, values)
	if reason != "" {
		b.parity.skip(reason, 1)
		return
	}
	logged := &s.reader.logged
	c := b.comparers[s.service.Name]
	if c == nil {
		c = newComparer(s.service, v.o.Examples)
		b.comparers[s.service.Name] = c
	}
	was := served{numbers: logged.Numbers, texts: logged.Texts, status: logged.Status, stream: stream, id: strings.Clone(r.ID), sequence: r.Sequence, at: logged.At,
		keys: func() []string { return keysOf(v.tables, s.places, logged.Keys) }}
	if c.excused(&was, &s.out, 0, s.reader.suspect) {
		b.parity.skip(skipPast, 1)
		return
	}
	b.parity.Compared++
	if !c.compare(&was, &s.out, 0, s.out.Missed > 0) {
		b.parity.Mismatched++
	}
}

// read computes a logged vector, or says why it cannot be.
func (s *verified) read(v *Verifier, values []offline.Value) (reason string) {
	r := s.reader
	if err := plan.DecodeVector(values, &r.logged); err != nil {
		return skipCorrupt
	}
	if r.logged.Version != s.version {
		return skipVersion
	}
	if len(r.logged.Numbers) != len(s.service.Features) || len(r.logged.Texts) != s.assembler.TextWidth() || len(r.logged.Keys) != len(s.places) ||
		r.logged.Inputs(s.service, &s.inputs) != nil || !inRange(r.logged.At) || r.logged.At == 0 {
		return skipCorrupt
	}
	if kept := bound(v.o.Kept, math.MinInt64); kept != math.MinInt64 && r.logged.At-s.reach < kept {
		return skipRetained
	}
	if reason := r.find(s.places); reason != "" {
		return reason
	}
	if err := s.assembler.Assemble(context.Background(), r, &s.inputs, &s.out); err != nil {
		return skipCorrupt
	}
	return ""
}

// stateReader is a plan.Reader of the entities of one logged vector, as they were.
type stateReader struct {
	verifier *Verifier
	service  *definition.Service
	logged   plan.LoggedVector
	entities []seenEntity
	suspect  []bool // features; see there
}

// seenEntity is an entity as a vector saw it: its own state, or a copy brought forward.
type seenEntity struct {
	table int
	state *window.State
	copy  window.State
	bytes []byte // of the copy
	row   []byte
	event window.Event
}

var _ plan.Reader = (*stateReader)(nil)

// Fetch does nothing: find has found the entities.
func (r *stateReader) Fetch(context.Context, []plan.Ref) error { return nil }

// Release does nothing.
func (r *stateReader) Release() {}

// find brings the entities of the logged vector to where they were, and says why it cannot.
func (r *stateReader) find(places []int) (reason string) {
	r.entities, r.suspect = resize(r.entities, len(places)), resize(r.suspect, len(r.service.Features))
	clear(r.suspect)
	for i, table := range places {
		s := &r.entities[i]
		s.table, s.state, s.row, s.event = table, nil, nil, window.Event{}
		if r.logged.Sequences[i] == 0 {
			continue
		}
		if reason := r.verifier.bring(s, r.logged.Keys[i], r.logged.Sequences[i]); reason != "" {
			return reason
		}
	}
	return ""
}

// bring makes s the entity as it was when the record with a sequence had been applied.
func (v *Verifier) bring(s *seenEntity, key []byte, sequence uint64) (reason string) {
	e := v.entity(s.table, key, false)
	switch {
	case e == nil && v.limit < math.MaxUint64:
		return skipSample
	case e == nil:
		return skipRecord
	case e.applied > sequence:
		return skipLogged
	}
	s.state, s.row, s.event = &e.state, e.row, e.latest
	n := 0
	for n < len(e.pending) && e.pending[n].sequence <= sequence {
		n++
	}
	if n == 0 && e.applied != sequence || n > 0 && e.pending[n-1].sequence != sequence {
		return skipRecord
	}
	if n == 0 {
		return ""
	}
	if v.tables[s.table].View == nil {
		for i := range e.pending[:n] {
			if u := &e.pending[i].update; s.row == nil || newerRow(&u.Event, &s.event) {
				s.row, s.event = u.Row, u.Event
			}
		}
		return ""
	}
	s.bytes, _ = e.state.AppendBinary(s.bytes[:0]) // which has no error
	if err := v.tables[s.table].View.Window.Decode(&s.copy, s.bytes); err != nil {
		return skipCorrupt // cannot be
	}
	for i := range e.pending[:n] {
		v.update(s.table, &s.copy, &e.pending[i].update)
	}
	s.state = &s.copy
	return ""
}

// View reads the view of the entity of a table of the service.
func (r *stateReader) View(ref int, at int64, into []float64, status []window.Status) (seen plan.Seen, err error) {
	s := &r.entities[ref]
	state := s.state
	if state == nil {
		state = new(window.State)
	}
	if now, known := state.Now(); known && at < now {
		reaches := r.verifier.reaches[s.table]
		suspects(r.service, &r.verifier.tables[s.table], reaches, at, reaches.expiry(now), r.suspect)
	}
	seen.Missed, err = r.verifier.aggregator(s.table).Read(state, at, into, status)
	return seen, err
}

// Lookup returns the row of the entity.
func (r *stateReader) Lookup(ref int, at int64) ([]byte, plan.Seen, error) {
	s := &r.entities[ref]
	if s.row == nil || s.event.Time > at {
		return nil, plan.Seen{}, nil
	}
	return s.row, plan.Seen{EventTime: s.event.Time}, nil
}

// bucketLocked returns the bucket of a moment, and drops those that left the window. v.mu must
// be held.
func (v *Verifier) bucketLocked(arrival int64) *bucket {
	number := int64(0)
	if v.o.Window > 0 {
		number = arrival / max(1, v.o.Window.Microseconds()/verifierBuckets)
	}
	i, found := slices.BinarySearchFunc(v.buckets, number, func(b bucket, n int64) int { return cmp.Compare(b.number, n) })
	if !found {
		v.buckets = slices.Insert(v.buckets, i, bucket{number: number, comparers: map[string]*comparer{}})
	}
	newest := v.buckets[len(v.buckets)-1].number
	for len(v.buckets) > 1 && v.buckets[0].number <= newest-verifierBuckets && i > 0 {
		v.buckets, i = v.buckets[1:], i-1
	}
	return &v.buckets[i]
}

// Parity reports on the vectors of the window.
func (v *Verifier) Parity() *Parity {
	v.mu.Lock()
	defer v.mu.Unlock()
	all := new(Parity)
	merged := map[string]*comparer{}
	for i := range v.buckets {
		b := &v.buckets[i]
		all.merge(&b.parity)
		for name, c := range b.comparers {
			if merged[name] == nil {
				merged[name] = newComparer(c.service, v.o.Examples)
			}
			merged[name].add(c)
		}
	}
	for _, s := range v.o.Catalog.Services {
		if c := merged[s.Name]; c != nil {
			all.Features = append(all.Features, c.features...)
		}
	}
	return all
}
