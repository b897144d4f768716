// SPDX-License-Identifier: Apache-2.0

package dataset

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/plan"
	"github.com/millrace-ml/millrace/featurestore/window"
)

// engine computes vectors of one service for many rows, each at a time of its own:
//
//	rows ──► batches ──► queries by key ─┐
//	events ────────────► events by key ──┴► part by part: results by block of rows
//	blocks: batches and results ──► plan.Assembler ──► vectors
//
// Everything between the arrows is in a store.
type engine struct {
	service   *definition.Service
	assembler *plan.Assembler
	// catalog has the views and lookups that the service reads and no others; tables are
	// its tables, order where each table of the assembler is in them.
	catalog *definition.Catalog
	tables  []*table
	order   []int
	store   *store
	workers int

	hindsight bool
	replay    bool
	asOf      int64
	// columns are those of batches: keys, request fields, then what else is carried. time is
	// the place of the row's time among them.
	columns []column.Column
	time    int
	mu      struct {
		sync.Mutex
		batches []batch
		idle    []*asker
	}
	// ranks are the places of batches, by number, in the order of rows; perBlock of them
	// make a block.
	ranks    []int
	perBlock int
}

// batch is rows that were stored.
type batch struct {
	number      int
	slice, part int // its place: the slice of the input, and within that
	rows        int
	blob        blob
}

// engineOptions are what all uses have in common.
type engineOptions struct {
	workers   int
	memoryMax int64
	tempDir   string
	parts     int
	hindsight bool
	// asOf is the latest arrival that counts.
	asOf int64
	// logged says that events come from the log, besides or instead of inputs.
	logged bool
	// replay computes from states, by the order of the log.
	replay bool
	extra  []column.Column
}

func newEngine(c *definition.Catalog, s *definition.Service, o engineOptions) (*engine, error) {
	e := &engine{service: s, assembler: plan.NewAssembler(c, s), workers: o.workers, hindsight: o.hindsight, replay: o.replay, asOf: o.asOf}
	all := plan.Tables(c)
	places := e.assembler.Tables()
	sorted := slices.Sorted(slices.Values(places))
	e.catalog = &definition.Catalog{Entities: c.Entities, Sources: c.Sources}
	for _, p := range sorted {
		if t := all[p]; t.View != nil {
			e.catalog.Views = append(e.catalog.Views, t.View)
		} else {
			e.catalog.Lookups = append(e.catalog.Lookups, t.Lookup)
		}
	}
	for _, p := range places {
		e.order = append(e.order, slices.Index(sorted, p))
	}
	// Of the memory, a quarter may be in blocks that are being filled.
	open := int64(max(1, 3*len(places)*o.parts*o.workers))
	e.store = newStore(&budget{max: o.memoryMax * 3 / 4}, o.tempDir, int(min(o.memoryMax/4/open/wordBytes, blockWords)))
	for _, t := range plan.Tables(e.catalog) {
		p, err := newTable(t, s, o.logged, o.replay)
		if err != nil {
			return nil, err
		}
		p.events, p.queries = newShuffle(e.store, o.parts), newShuffle(e.store, o.parts)
		e.tables = append(e.tables, p)
	}
	for _, entity := range s.Entities {
		e.columns = append(e.columns, column.Column{Name: entity.Key, Type: entity.Type})
	}
	for _, f := range s.Request {
		e.columns = append(e.columns, column.Column{Name: f.Name, Type: f.Type})
	}
	e.time = len(s.Entities) + s.Time
	if s.Time < 0 || o.replay { // a replayed request may have had no time
		e.time = len(e.columns)
		e.columns = append(e.columns, column.Column{Type: column.Timestamp})
	}
	e.columns = append(e.columns, o.extra...)
	return e, nil
}

func (e *engine) close() { e.store.close() }

// newBatch returns an empty batch for add.
func (e *engine) newBatch() *column.Batch { return &column.Batch{Columns: slices.Clone(e.columns)} }

// asker adds rows, for one goroutine.
type asker struct {
	engine    *engine
	spreaders []*spreader
	key       []byte
	// batch is memory for the caller.
	batch *column.Batch
}

// asker lends one that is idle, or a new one.
func (e *engine) asker() *asker {
	e.mu.Lock()
	defer e.mu.Unlock()
	if last := len(e.mu.idle) - 1; last >= 0 {
		a := e.mu.idle[last]
		e.mu.idle = e.mu.idle[:last]
		return a
	}
	a := &asker{engine: e, batch: e.newBatch()}
	for _, t := range e.tables {
		a.spreaders = append(a.spreaders, t.queries.spreader())
	}
	return a
}

func (a *asker) giveBack() {
	a.engine.mu.Lock()
	a.engine.mu.idle = append(a.engine.mu.idle, a)
	a.engine.mu.Unlock()
}

// finishAsking ends the adding of rows.
func (e *engine) finishAsking() error {
	for _, a := range e.mu.idle {
		for i, t := range e.tables {
			t.queries.giveBack(a.spreaders[i])
		}
	}
	e.mu.idle = nil
	for _, t := range e.tables {
		if err := errors.Join(t.queries.finish(), t.events.finish()); err != nil {
			return err
		}
	}
	return nil
}

// add takes rows; slice and part say where they belong in the order of all rows. The
// batch remains the caller's.
func (a *asker) add(b *column.Batch, slice, part int) error {
	return a.addApplied(b, nil, slice, part)
}

// addApplied is add for rows whose events are replayed: applied has, for each row and table
// of the assembler, the sequence of the last event that the row sees.
func (a *asker) addApplied(b *column.Batch, applied []uint64, slice, part int) error {
	if b.Rows == 0 {
		return nil
	}
	e := a.engine
	blob, err := e.store.put(encodeBatch(make([]uint64, 0, encodedSize(b)), b))
	if err != nil {
		return err
	}
	e.mu.Lock()
	number := len(e.mu.batches)
	e.mu.batches = append(e.mu.batches, batch{number: number, slice: slice, part: part, rows: b.Rows, blob: blob})
	e.mu.Unlock()
	times := b.Columns[e.time].Ints
	for i := range e.tables {
		if err := a.ask(i, b, times, applied, number); err != nil {
			return err
		}
		if err := a.spreaders[i].cut(slice); err != nil {
			return err
		}
	}
	return nil
}

// ask writes the queries of a batch on a table. A row without a key asks nothing.
func (a *asker) ask(i int, b *column.Batch, times []int64, applied []uint64, number int) error {
	t, s, order := a.engine.tables[i], a.spreaders[i], a.engine.order
	place, size := slices.Index(order, i), t.querySize()
	var key [2]uint64
	for row := range b.Rows {
		var ok bool
		if a.key, ok = appendKey(a.key[:0], b, t.keys, row); !ok {
			continue
		}
		t.put(key[:], a.key)
		words, err := s.record(partOf(key[0], t.queries.parts()), size)
		if err != nil {
			return err
		}
		copy(words, key[:t.words])
		words[t.words+queryTime], words[t.words+queryRow] = uint64(times[row]), rowName(number, row)
		if t.replayed {
			words[t.words+queryApplied] = applied[row*len(order)+place]
		}
	}
	return nil
}

// appendKey appends the table key that columns hold; false if one is null.
func appendKey(key []byte, b *column.Batch, places []int, row int) ([]byte, bool) {
	for _, p := range places {
		c := &b.Columns[p]
		if c.Null(row) {
			return key, false
		}
		if c.Type == column.String {
			key = plan.AppendTextKey(key, c.Texts[row])
		} else {
			key = plan.AppendIntKey(key, c.Ints[row])
		}
	}
	return key, true
}

// blocksMax bounds the blocks of rows that results are spread over.
const blocksMax = 512

// compute turns queries and events, all of which are in, into results.
func (e *engine) compute(ctx context.Context, progress func(done, total int)) error {
	batches := e.mu.batches
	slices.SortFunc(batches, func(a, b batch) int {
		if a.slice != b.slice {
			return a.slice - b.slice
		}
		return a.part - b.part
	})
	e.ranks = make([]int, len(batches))
	for rank, b := range batches {
		e.ranks[b.number] = rank
	}
	e.perBlock = max(1, (len(batches)+blocksMax-1)/blocksMax)
	var all []func(w *worker) error
	if err := e.finishAsking(); err != nil {
		return err
	}
	for _, t := range e.tables {
		t.results = newShuffle(e.store, e.blocks())
		for part := range t.queries.parts() {
			all = append(all, func(w *worker) error { return e.part(w, t, part) })
		}
	}
	var done atomic.Int64
	err := parallel(ctx, e.workers, len(all), func() *worker {
		return &worker{hindsight: e.hindsight, asOf: e.asOf, aggregators: map[*table]*window.Aggregator{}}
	}, func(w *worker, i int) error {
		err := all[i](w)
		progress(int(done.Add(1)), len(all))
		return err
	})
	for _, t := range e.tables {
		err = errors.Join(err, t.results.finish())
	}
	return err
}

func (e *engine) blocks() int { return (len(e.mu.batches) + e.perBlock - 1) / e.perBlock }

// part computes the results of a part of a table.
func (e *engine) part(w *worker, t *table, part int) error {
	out := t.results.spreader()
	defer t.results.giveBack(out)
	block := func(row uint64) int { return e.ranks[batchOf(row)] / e.perBlock }
	if t.replayed {
		return w.replay(t, part, out, block)
	}
	if t.View != nil {
		return w.views(t, part, out, block)
	}
	return w.lookups(t, part, out, block)
}

// parallel runs work for 0 to n-1 on workers with memory of their own. The first error
// ends it.
func parallel[W any](ctx context.Context, workers, n int, memory func() W, work func(w W, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var group sync.WaitGroup
	for range min(workers, n) {
		group.Go(func() {
			w := memory()
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				if err := work(w, i); err != nil {
					cancel(err)
				}
			}
		})
	}
	group.Wait()
	return context.Cause(ctx)
}
