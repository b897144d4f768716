// SPDX-License-Identifier: Apache-2.0

package dataset

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/offline"
	"github.com/millrace-ml/millrace/featurestore/plan"
	"github.com/millrace-ml/millrace/featurestore/window"
)

// VerifierOptions say how vectors are verified while they are served.
type VerifierOptions struct {
	Catalog *definition.Catalog
	Log     *offline.Log
	// Window is how far back, by arrival in the log, Parity reports: 0 is an hour, negative
	// is everything since the beginning.
	Window time.Duration
	// Kept is that of VerifyOptions.
	Kept time.Time
	// LagMax is how many records later than an event a vector may be logged that was served
	// before it: 0 is 1<<16, at most 1<<24.
	LagMax int
	// MemoryMax bounds the states that are kept, in bytes: 0 is 256 MiB, at least 1 MiB. When
	// they need more, half of the entities are forgotten, by the hash of their key, and
	// vectors of those are skipped from then on.
	MemoryMax int64
	// Examples is how many mismatches of a feature are listed: 0 is 5, at most 1000.
	Examples int
}

const (
	lagDefault      = 1 << 16
	lagMax          = 1 << 24
	verifierMemory  = 256 << 20
	verifierBuckets = 16 // parts of the window, which moves by one of them
)

func (o *VerifierOptions) ensureDefaults() error {
	if o.Window == 0 {
		o.Window = time.Hour
	}
	if o.LagMax == 0 {
		o.LagMax = lagDefault
	}
	if o.MemoryMax == 0 {
		o.MemoryMax = verifierMemory
	}
	if o.Examples == 0 {
		o.Examples = examplesDefault
	}
	if o.Catalog == nil || o.Log == nil || o.LagMax < 1 || o.LagMax > lagMax || o.MemoryMax < memoryMin || o.Examples < 0 || o.Examples > 1000 {
		return fmt.Errorf("%w: a verifier needs a catalog and a log, 1 to %d records of lag, at least %d bytes, 0 to 1000 examples", ErrOptions, lagMax, memoryMin)
	}
	return nil
}

// Verifier compares served vectors with the log while it grows. It follows the log with
// states of its own, which are as far behind as vectors may come late; a vector is
// computed from a copy of its entities' states, brought up to what it saw.
//
// Step is for one goroutine at a time; Parity may be called by others meanwhile.
type Verifier struct {
	o        VerifierOptions
	tables   []plan.Table
	reaches  []reaches // by table
	wanted   []bool    // tables that some service reads
	services map[string]*verified
	sources  map[string]*follower // by stream
	vectors  map[string]bool      // streams

	position uint64 // newest record seen
	begun    bool
	entities map[string]*tracked
	queue    []waiting // updates that wait, oldest first
	bytes    int64
	// limit is the highest hash of a key that is kept.
	limit       uint64
	aggregators []*window.Aggregator // by table, nil until needed
	key         []byte
	schema      struct { // of the last record
		first  *offline.Column
		places []int
	}

	mu      sync.Mutex
	buckets []bucket // guarded by mu, oldest first
	rebuilt int64
}

// verified is a service and what computes it.
type verified struct {
	service   *definition.Service
	version   string
	assembler *plan.Assembler
	places    []int
	reach     int64
	reader    *stateReader
	inputs    plan.Inputs
	out       plan.Vectors
}

// follower turns records of a source into updates.
type follower struct {
	router  *plan.Router
	scratch *plan.Scratch
}

// tracked is an entity: its state as it was some records ago, and what came since.
type tracked struct {
	table int
	// state is that of a view; row and latest are those of a lookup.
	state   window.State
	row     []byte
	latest  window.Event
	applied uint64
	pending []pending
	bytes   int64
}

// pending is an update that waits.
type pending struct {
	sequence uint64
	update   plan.Update
}

type waiting struct {
	entity   *tracked
	sequence uint64
}

// bucket is what was found in some time.
type bucket struct {
	number    int64 // arrival over the length of a bucket
	parity    Parity
	comparers map[string]*comparer
}

// NewVerifier returns a verifier that has read nothing yet.
func NewVerifier(o VerifierOptions) (*Verifier, error) {
	if err := o.ensureDefaults(); err != nil {
		return nil, err
	}
	v := &Verifier{o: o, tables: plan.Tables(o.Catalog), services: map[string]*verified{}, limit: math.MaxUint64}
	v.wanted, v.reaches = make([]bool, len(v.tables)), make([]reaches, len(v.tables))
	for i, t := range v.tables {
		if t.View != nil {
			d := t.View.Window.Definition()
			v.reaches[i] = newReaches(&d)
		}
	}
	for _, s := range o.Catalog.Services {
		a := plan.NewAssembler(o.Catalog, s)
		w := &verified{service: s, version: plan.ShortHash(s.Hash()), assembler: a, places: a.Tables(), reader: &stateReader{verifier: v, service: s}}
		var read []*table
		for _, p := range w.places {
			v.wanted[p] = true
			read = append(read, &table{Table: v.tables[p]})
		}
		w.reach = reachOf(read)
		v.services[s.Name] = w
	}
	return v, nil
}

// Position is the sequence of the newest record that was looked at.
func (v *Verifier) Position() uint64 { return v.position }

// Rebuilt is how often the log had dropped records before they were looked at, and the
// states were built anew from what it has; vectors in between were passed over.
func (v *Verifier) Rebuilt() int64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.rebuilt
}

// Step reads what the log has since the last step, durable records alone. The first one
// reads all of it, for the states: then vectors are only compared if the log can replay
// them.
func (v *Verifier) Step(ctx context.Context) error {
	v.vectors, v.schema.first = map[string]bool{}, nil // which is good for one replay
	for _, name := range vectorStreams(v.o.Log) {
		v.vectors[name] = true
	}
	if !v.begun {
		v.forget()
		v.begun = true
	}
	err := v.o.Log.Replay(ctx, v.position, v.record)
	if !errors.Is(err, offline.ErrTooOld) {
		return err
	}
	if err := v.rebuild(ctx); err != nil {
		v.begun = false
		return err
	}
	return v.o.Log.Replay(ctx, v.position, v.record)
}

// forget drops all states.
func (v *Verifier) forget() {
	v.entities, v.queue, v.bytes = map[string]*tracked{}, nil, 0
	v.schema.first = nil
	v.sources = map[string]*follower{}
	for _, s := range v.o.Catalog.Sources {
		r := plan.NewRouter(v.o.Catalog, s)
		v.sources[plan.Schema(s).Stream] = &follower{router: r, scratch: r.NewScratch()}
	}
}

// rebuild builds the states from all events that the log has.
func (v *Verifier) rebuild(ctx context.Context) error {
	if v.position > 0 {
		v.mu.Lock()
		v.rebuilt++
		v.mu.Unlock()
	}
	v.forget()
	upTo := v.o.Log.Next() - 1
	if err := v.o.Log.WaitDurable(ctx, upTo); err != nil {
		return err
	}
	for _, s := range v.o.Log.Streams() {
		if f := v.sources[s.Stream]; f != nil {
			if err := v.scan(ctx, f, s.Stream, upTo); err != nil {
				return fmt.Errorf("stream %s: %w", s.Stream, err)
			}
		}
	}
	v.position = upTo
	return nil
}

// scan applies the events of a stream. They come by event time, those of one id newest
// first, and are applied oldest first: states do not depend on the order of different
// events.
func (v *Verifier) scan(ctx context.Context, f *follower, stream string, upTo uint64) error {
	s, err := v.o.Log.Scan(ctx, offline.Query{Stream: stream, Versions: offline.AllVersions})
	if err != nil {
		return err
	}
	defer s.Close()
	places := f.router.Places(s.Columns())
	var group []offline.Record
	flush := func() error {
		slices.SortFunc(group, func(a, b offline.Record) int { return cmp.Compare(a.Sequence, b.Sequence) })
		for i := range group {
			if err := v.event(f, &group[i], places, true); err != nil {
				return err
			}
		}
		group = group[:0]
		return nil
	}
	for s.Next() {
		r := s.Record()
		if r.Sequence > upTo {
			continue
		}
		if len(group) > 0 && (group[0].EventTime != r.EventTime || group[0].ID != r.ID) || len(group) == versionsMax {
			if err := flush(); err != nil {
				return err
			}
		}
		group = append(group, r.Clone())
	}
	return errors.Join(s.Err(), flush())
}

// versionsMax bounds the records of one event that are brought into order together.
const versionsMax = 1024

// record takes a record of the log, in order.
func (v *Verifier) record(stream string, columns []offline.Column, r *offline.Record) error {
	v.position = r.Sequence
	v.settle()
	if f := v.sources[stream]; f != nil {
		if len(columns) == 0 || v.schema.first != &columns[0] {
			v.schema.places = f.router.Places(columns)
			v.schema.first = nil
			if len(columns) > 0 {
				v.schema.first = &columns[0]
			}
		}
		return v.event(f, r, v.schema.places, false)
	}
	if v.vectors[stream] {
		v.vector(stream, columns, r)
	}
	return nil
}

// event keeps what an event means to the entities; now applies it at once.
func (v *Verifier) event(f *follower, r *offline.Record, places []int, now bool) error {
	updates, err := f.scratch.RouteColumns(r, places)
	var field *plan.FieldError
	if errors.As(err, &field) {
		return nil // by definitions that are newer than the record: no store takes it either
	}
	if err != nil {
		return err
	}
	for i := range updates {
		u := &updates[i]
		if !v.wanted[u.Table] {
			continue
		}
		e := v.entity(u.Table, u.Key, true)
		if e == nil {
			continue
		}
		p := pending{sequence: r.Sequence, update: cloneUpdate(u)}
		if now {
			v.apply(e, &p)
			continue
		}
		e.pending = append(e.pending, p)
		v.queue = append(v.queue, waiting{entity: e, sequence: r.Sequence})
		v.account(e, p.bytes())
	}
	if v.bytes > v.o.MemoryMax {
		v.shrink()
	}
	return nil
}

// entityBytes is about what an entity takes besides its state.
const entityBytes = 256

// entity finds an entity, or makes it; nil if it is not kept.
func (v *Verifier) entity(table int, key []byte, create bool) *tracked {
	v.key = append(append(v.key[:0], byte(table), byte(table>>8)), key...)
	if hashKey(v.key) > v.limit {
		return nil
	}
	e := v.entities[string(v.key)]
	if e == nil && create {
		e = &tracked{table: table}
		v.entities[string(v.key)] = e
		v.account(e, entityBytes+int64(len(v.key)))
	}
	return e
}

func hashKey(key []byte) uint64 { return window.KeyOf(string(key)) }

func (v *Verifier) account(e *tracked, bytes int64) {
	e.bytes += bytes
	v.bytes += bytes
}

// bytes is about what an update takes.
func (p *pending) bytes() int64 {
	u := &p.update
	return int64(160 + len(u.Key) + len(u.Row) + 8*len(u.Event.Values) + 8*len(u.Event.Keys) + 24*(len(u.Amend)+len(u.Late)))
}

func cloneUpdate(u *plan.Update) plan.Update {
	c := *u
	c.Key, c.Row = nil, slices.Clone(u.Row)
	c.Event.Values, c.Event.Keys = slices.Clone(u.Event.Values), slices.Clone(u.Event.Keys)
	c.Amend, c.Late = slices.Clone(u.Amend), slices.Clone(u.Late)
	return c
}

// settle applies what no vector can come before any more.
func (v *Verifier) settle() {
	n := 0
	for n < len(v.queue) && v.queue[n].sequence+uint64(v.o.LagMax) <= v.position {
		e := v.queue[n].entity
		n++
		if len(e.pending) == 0 {
			continue // it was forgotten
		}
		p := e.pending[0]
		e.pending[0] = pending{}
		e.pending = e.pending[1:]
		v.account(e, -p.bytes())
		v.apply(e, &p)
	}
	clear(v.queue[:n])
	v.queue = v.queue[n:]
}

// apply brings an entity's own state forward.
func (v *Verifier) apply(e *tracked, p *pending) {
	before := int64(e.state.Bytes() + len(e.row))
	e.applied = max(e.applied, p.sequence)
	if v.tables[e.table].View != nil {
		v.update(e.table, &e.state, &p.update)
	} else if e.row == nil || newerRow(&p.update.Event, &e.latest) {
		e.row, e.latest = p.update.Row, p.update.Event
	}
	v.account(e, int64(e.state.Bytes()+len(e.row))-before)
}
