// SPDX-License-Identifier: Apache-2.0

package online

import (
	"context"
	"errors"

	"github.com/millrace-ml/millrace/featurestore/plan"
	"github.com/millrace-ml/millrace/featurestore/window"
)

// errRef says that a reader was asked for what was not fetched, or not so.
var errRef = errors.New("online store: no such ref, or not of that kind")

// Reader reads entities of a Local. It sees every event whose Apply returned before
// the call of View or Lookup. It is for one goroutine at a time.
type Reader struct {
	local       *Local
	refs        []ref
	keys        []byte
	aggregators []*window.Aggregator // by table, nil until needed
	// approached is how many of refs have been brought near, near and touched are memory for
	// that.
	approached int
	near       [64]int
	touched    int
}

// ref is an entity asked for.
type ref struct {
	table      int
	begin, end int // of the key in Reader.keys
	hash       uint64
}

var _ plan.Reader = (*Reader)(nil)

func newReader(l *Local) *Reader {
	return &Reader{local: l, aggregators: make([]*window.Aggregator, len(l.options.Tables))}
}

// Fetch implements plan.Reader. It only notes the keys: entities are looked for when
// they are read.
func (r *Reader) Fetch(_ context.Context, refs []plan.Ref) error {
	r.refs, r.keys = r.refs[:0], r.keys[:0]
	for i := range refs {
		begin := len(r.keys)
		r.keys = append(r.keys, refs[i].Key...)
		r.refs = append(r.refs, ref{refs[i].Table, begin, len(r.keys), r.local.hashOf(refs[i].Key)})
	}
	r.approached = 0
	if len(r.refs) < approachMin {
		r.approached = len(r.refs)
	}
	return nil
}

// approachMin is how many entities are worth approaching.
const approachMin = 16

// approach touches the memory of the entities from ref i on that are in one shard, so
// that the reads that follow find it in the cache. Each read by itself waits for main
// memory some six times in a row; here those of all tables of a row, which share a key
// and so a shard, wait together. Approached too far ahead, they would be gone again.
func (r *Reader) approach(i int) {
	shard, end := r.local.shardOf(r.refs[i].hash), i+1
	for end < len(r.refs) && end-i < len(r.near) && r.local.shardOf(r.refs[end].hash) == shard {
		end++
	}
	r.approached = end
	if end-i > 1 {
		r.touched += r.approachShard(r.local.shards[shard], r.refs[i:end])
	}
}

// approachShard does it in steps, each of which asks for memory that no other of the
// same step depends on. It returns something of what it saw, or the compiler would
// leave it out.
func (r *Reader) approachShard(sh *shard, refs []ref) (seen int) {
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	for i := range refs {
		r.near[i] = -1
		if t := refs[i].table; t >= 0 && t < len(sh.mu.tables) {
			r.near[i] = sh.mu.tables[t].guess(refs[i].hash)
		}
	}
	for i := range refs {
		if slot := r.near[i]; slot >= 0 {
			seen += int(sh.mu.tables[refs[i].table].head(slot).keyLen)
		}
	}
	for i := range refs {
		if slot := r.near[i]; slot >= 0 {
			seen += sh.mu.tables[refs[i].table].reach(slot)
		}
	}
	return seen
}

// Release implements plan.Reader.
func (r *Reader) Release() { r.refs, r.keys = r.refs[:0], r.keys[:0] }

// View implements plan.Reader. Errors wrap window.ErrArguments, and, with a bound on
// memory, ErrUnavailable, ErrCorrupt or ErrClosed.
func (r *Reader) View(i int, at int64, into []float64, status []window.Status) (plan.Seen, error) {
	ref, key, err := r.ref(i, false)
	if err != nil {
		return plan.Seen{}, err
	}
	a := r.aggregator(ref.table)
	sh := r.local.shards[r.local.shardOf(ref.hash)]
	for {
		seen, found, err := readResident(sh, a, ref, key, at, into, status)
		if found || err != nil {
			return seen, err
		}
		if r.local.budget == 0 {
			return readEntity(a, &entity{}, at, into, status)
		}
		value, resident, err := r.local.load(sh, ref.table, key, ref.hash, nil)
		if err != nil {
			return plan.Seen{}, err
		}
		if resident {
			continue
		}
		var e entity
		if value != nil {
			if e, err = r.local.decode(ref.table, key, value); err != nil {
				return plan.Seen{}, err
			}
		}
		return readEntity(a, &e, at, into, status)
	}
}

func readResident(sh *shard, a *window.Aggregator, ref *ref, key []byte, at int64, into []float64, status []window.Status) (seen plan.Seen, found bool, err error) {
	sh.mu.RLock()
	t := &sh.mu.tables[ref.table]
	slot := t.find(ref.hash, key)
	if slot < 0 {
		sh.mu.RUnlock()
		return seen, false, nil
	}
	c, bit := t.mark(slot)
	if c.recent.Load()&bit == 0 {
		c.recent.Or(bit)
	}
	s := t.state(slot)
	seen.Missed, err = a.Read(s, at, into, status)
	seen.EventTime, _ = s.Newest(at)
	if c.removed&bit == 0 {
		seen.Sequence = c.heads[slot%chunkLen].applied
	}
	sh.mu.RUnlock()
	return seen, true, err
}

// readEntity reads an entity that nobody else can see.
func readEntity(a *window.Aggregator, e *entity, at int64, into []float64, status []window.Status) (seen plan.Seen, err error) {
	seen.Missed, err = a.Read(&e.state, at, into, status)
	seen.EventTime, _ = e.state.Newest(at)
	seen.Sequence = e.applied
	return seen, err
}

// Lookup implements plan.Reader. A row whose event lies after the time asked for is
// not there yet. Errors are those of View.
func (r *Reader) Lookup(i int, at int64) (value []byte, seen plan.Seen, err error) {
	ref, key, err := r.ref(i, true)
	if err != nil {
		return nil, seen, err
	}
	sh := r.local.shards[r.local.shardOf(ref.hash)]
	for {
		row, applied, found := lookResident(sh, ref, key)
		if !found && r.local.budget != 0 {
			stored, resident, err := r.local.load(sh, ref.table, key, ref.hash, nil)
			if err != nil {
				return nil, seen, err
			}
			if resident {
				continue
			}
			if stored != nil {
				e, err := r.local.decode(ref.table, key, stored)
				if err != nil {
					return nil, seen, err
				}
				row, applied = e.row, e.applied
			}
		}
		if row.value == nil || row.time > at {
			return nil, plan.Seen{Sequence: applied}, nil
		}
		return row.value, plan.Seen{EventTime: row.time, Sequence: applied}, nil
	}
}

// lookResident returns what is kept of an entity in a lookup.
func lookResident(sh *shard, ref *ref, key []byte) (found row, applied uint64, ok bool) {
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	t := &sh.mu.tables[ref.table]
	slot := t.find(ref.hash, key)
	if slot < 0 {
		return row{}, 0, false
	}
	c, bit := t.mark(slot)
	if c.recent.Load()&bit == 0 {
		c.recent.Or(bit)
	}
	return *t.row(slot), c.heads[slot%chunkLen].applied, true
}

func (r *Reader) ref(i int, lookup bool) (*ref, []byte, error) {
	if i < 0 || i >= len(r.refs) {
		return nil, nil, errRef
	}
	ref := &r.refs[i]
	if ref.table < 0 || ref.table >= len(r.aggregators) || r.local.shapes[ref.table].lookup != lookup {
		return nil, nil, errRef
	}
	if i == r.approached {
		r.approach(i)
	}
	return ref, r.keys[ref.begin:ref.end], nil
}

func (r *Reader) aggregator(table int) *window.Aggregator {
	if r.aggregators[table] == nil {
		r.aggregators[table] = r.local.options.Tables[table].View.Window.NewAggregator()
	}
	return r.aggregators[table]
}
