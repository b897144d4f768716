// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"github.com/millrace-ml/millrace/featurestore/online"
	"github.com/millrace-ml/millrace/featurestore/online/cache"
	"github.com/millrace-ml/millrace/featurestore/plan"
	"github.com/millrace-ml/millrace/featurestore/window"
)

// fetchEntities bounds the entities that one call of a script reads.
const fetchEntities = 128

// reader implements plan.Reader. What it gives out is immutable and shared with the
// cache.
type reader struct {
	store       *Store
	aggregators []*window.Aggregator
	items       []item
	order       []int // places in items, by bucket
	keys        []byte
	known       []known // of each bucket, for the whole of an attempt
	requests    []request
	asked       []asked // of each request
}

// item is an entity of the last Fetch.
type item struct {
	table, bucket int
	begin, end    int // its key in reader.keys
	name          []byte
	entry         *cache.Entry[*value]
	large         bool   // in the cache, and too large for Redis to copy it
	value         *value // nil for none
	owner         uint64
	err           error
}

// asked is what a request is about.
type asked struct {
	bucket, first, n int // places in reader.order
}

// NewReader implements online.Store.
func (s *Store) NewReader() plan.Reader {
	return &reader{store: s, aggregators: make([]*window.Aggregator, len(s.tables))}
}

// Fetch implements plan.Reader. It asks Redis once, for all entities: for those in the
// cache whether they are still what they were, for the others all they have.
//
// Errors wrap online.ErrUnavailable, ErrIncomplete, or the end of ctx.
func (r *reader) Fetch(ctx context.Context, refs []plan.Ref) error {
	s := r.store
	s.counts.fetches.Add(1)
	if err := s.usable(ctx); err != nil {
		return err
	}
	end := time.Now().Add(s.options.Deadline)
	bounded, cancel := context.WithDeadline(ctx, end)
	defer cancel()
	for range revisionsMax {
		if err := r.look(bounded, refs); err != nil {
			return err
		}
		r.prepare(refs)
		if len(r.requests) == 0 {
			return nil
		}
		if err := s.conn.call(ctx, time.Until(end), r.requests); err != nil {
			return err
		}
		again, err := r.take(bounded)
		if err != nil || !again {
			return err
		}
	}
	return fmt.Errorf("redis at %s: %w: the records keep changing", s.conn.address, ErrIncomplete)
}

// look takes note of the records, and reports a table of the refs that lacks events. What
// was lacking may have come since, so that is asked before.
func (r *reader) look(ctx context.Context, refs []plan.Ref) error {
	for asked := false; ; asked = true {
		r.known = r.known[:0]
		for b := range r.store.buckets {
			r.known = append(r.known, r.store.buckets[b].known())
		}
		table, logName, found := r.lacking(refs)
		if !found {
			return nil
		}
		if asked {
			return r.store.missing(table, logName)
		}
		if err := r.store.refresh(ctx); err != nil {
			return err
		}
	}
}

// lacking returns a table of the refs that lacks events, and whose.
func (r *reader) lacking(refs []plan.Ref) (table int, logName string, found bool) {
	for b := range r.known {
		tables := r.known[b].record.tables
		for i := range refs {
			if t := &tables[refs[i].Table]; !t.whole {
				return refs[i].Table, t.missing, true
			}
		}
	}
	return 0, "", false
}

// prepare makes the requests for entities.
func (r *reader) prepare(refs []plan.Ref) {
	s := r.store
	r.Release()
	r.items = slices.Grow(r.items, len(refs))[:len(refs)]
	r.keys, r.order = r.keys[:0], r.order[:0]
	sort := len(s.buckets) > 1
	for i, ref := range refs {
		it := &r.items[i]
		*it = item{table: ref.Table, begin: len(r.keys)}
		if len(ref.Key) == 0 {
			continue // no entity has the empty key
		}
		it.bucket, it.name = bucketOf(ref.Key, len(s.buckets)), ref.Key
		b := &s.buckets[it.bucket]
		r.keys = b.appendKey(r.keys, r.known[it.bucket].record.tables[ref.Table].part, ref.Key)
		it.end = len(r.keys)
		if it.entry = s.reads.Find(rueidis.BinaryString(r.keys[it.begin:it.end])); it.entry != nil {
			it.large = it.entry.Bytes() > smallBytes
			sort = sort || it.large
		}
		r.order = append(r.order, i)
	}
	if sort {
		slices.SortStableFunc(r.order, r.compare)
	}
	r.ask(string(r.keys))
}

// missing says whose events a table lacks.
func (s *Store) missing(table int, logName string) error {
	if logName == "" {
		return fmt.Errorf("redis at %s: table %s: %w: it lacks events that no log has; Forget accepts that", s.conn.address, s.tables[table].name, ErrIncomplete)
	}
	return fmt.Errorf("redis at %s: table %s: %w: it lacks events of log %q until its replica has replayed it", s.conn.address, s.tables[table].name, ErrIncomplete, logName)
}

// compare orders places by bucket, and what is large last.
func (r *reader) compare(a, b int) int {
	x, y := &r.items[a], &r.items[b]
	switch {
	case x.bucket != y.bucket:
		return x.bucket - y.bucket
	case x.large == y.large:
		return 0
	case x.large:
		return 1
	}
	return -1
}

// ask makes the requests. keys are all keys, one behind the other.
func (r *reader) ask(keys string) {
	s := r.store
	for first := 0; first < len(r.order); {
		bucket := r.items[r.order[first]].bucket
		n := 1
		for first+n < len(r.order) && n < fetchEntities && r.items[r.order[first+n]].bucket == bucket {
			n++
		}
		k := &r.known[bucket]
		q := request{script: readScript, keys: make([]string, 1+n), args: make([]string, 2+n)}
		q.keys[0], q.args[0] = s.buckets[bucket].key, k.owner.field
		versions, small := make([]byte, 0, n*versionBytes), 0
		for i, place := range r.order[first : first+n] {
			it := &r.items[place]
			q.keys[1+i] = keys[it.begin:it.end]
			it.owner = k.owner.id
			if !it.large {
				small = i + 1
			}
			if it.entry != nil {
				version := it.entry.Version()
				versions = append(versions, version[:]...)
				q.args[2+i] = rueidis.BinaryString(versions[len(versions)-versionBytes:])
			}
		}
		q.args[1] = strconv.Itoa(small)
		r.requests = append(r.requests, q)
		r.asked = append(r.asked, asked{bucket, first, n})
		first += n
	}
}

// take reads the answers; again says that the records have changed meanwhile.
func (r *reader) take(ctx context.Context) (again bool, err error) {
	s := r.store
	for i := range r.requests {
		a := &r.asked[i]
		b := &s.buckets[a.bucket]
		k := &r.known[a.bucket]
		v, answers, err := b.judge(k, &r.requests[i].reply)
		switch {
		case err != nil:
			return false, fmt.Errorf("redis at %s: %w", s.conn.address, err)
		case v == lostStates:
			return false, s.lose(fmt.Errorf("%s went back in time", b.key))
		case v == revised:
			if b.record.Load() != k.record {
				return true, nil // another caller loaded it
			}
			return true, s.refresh(ctx)
		case len(answers) != a.n:
			return false, fmt.Errorf("redis at %s: %d answers for %d entities", s.conn.address, len(answers), a.n)
		}
		for j := range answers {
			r.takeOne(&r.items[r.order[a.first+j]], r.requests[i].keys[1+j], &answers[j])
		}
	}
	return false, nil
}

// takeOne reads the answer for one entity. A value that is not what was written is an error
// of that entity alone.
func (r *reader) takeOne(it *item, key string, m *rueidis.RedisMessage) {
	s := r.store
	switch {
	case m.IsNil():
		return
	case m.IsInt64():
		if n, err := m.AsInt64(); err == nil && n == 1 && it.entry != nil {
			it.value, _ = s.reads.Use(it.entry, it.entry.Version()) // Redis has just said so
			return
		}
		it.err = r.corrupt(it, fmt.Errorf("%w: it is no string", online.ErrCorrupt))
		return
	}
	stored, err := m.AsBytes()
	if err != nil {
		it.err = r.corrupt(it, fmt.Errorf("%w: %w", online.ErrCorrupt, err))
		return
	}
	s.counts.loads.Add(1)
	v := new(value)
	if err := v.decode(&s.tables[it.table], stored); err != nil {
		it.err = r.corrupt(it, err)
		return
	}
	if it.entry != nil {
		s.reads.Use(it.entry, v.version()) // counts it as stale
	}
	it.value = v
	s.reads.Put(key, v.version(), v, int64(v.bytes()))
}

// corrupt says which entity is not what was written.
func (r *reader) corrupt(it *item, err error) error {
	s := r.store
	s.counts.corrupt.Add(1)
	return fmt.Errorf("redis at %s: %s: %w", s.conn.address, s.tables[it.table].describe(it.name), err)
}

// View implements plan.Reader. Errors wrap online.ErrCorrupt.
func (r *reader) View(i int, at int64, into []float64, status []window.Status) (plan.Seen, error) {
	it := &r.items[i]
	if it.err != nil {
		return plan.Seen{}, it.err
	}
	a := r.aggregators[it.table]
	if a == nil {
		a = r.store.tables[it.table].view.NewAggregator()
		r.aggregators[it.table] = a
	}
	v := it.value
	if v == nil {
		v = &nothing
	}
	seen := v.seen(it.owner)
	var err error
	seen.Missed, err = a.Read(&v.state, at, into, status)
	return seen, err
}

// nothing is an entity of which nothing is known. It is only read.
var nothing value

// Lookup implements plan.Reader. Errors wrap online.ErrCorrupt.
func (r *reader) Lookup(i int, _ int64) (row []byte, seen plan.Seen, err error) {
	it := &r.items[i]
	if it.err != nil || it.value == nil {
		return nil, plan.Seen{}, it.err
	}
	return it.value.row, it.value.seen(it.owner), nil
}

// Release implements plan.Reader.
func (r *reader) Release() {
	clear(r.items)
	clear(r.requests)
	r.items, r.requests, r.asked = r.items[:0], r.requests[:0], r.asked[:0]
}
