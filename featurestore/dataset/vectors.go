// SPDX-License-Identifier: Apache-2.0

package dataset

import (
	"context"
	"math"
	"slices"
	"sync"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/plan"
	"github.com/millrace-ml/millrace/featurestore/window"
)

// assembleRows is how many rows are assembled at once; their columns fit into the
// second-level cache.
const assembleRows = 8192

// block is the results of some batches, by row.
type block struct {
	tables []blockTable
	// base is the first row of each batch, by rank less that of the first.
	base []int
	rows int
	// marks are those of the results of all tables, by row.
	marks []uint64
}

// blockTable is the results of a table for the rows of a block.
type blockTable struct {
	table *table
	words []uint64
	// result is where the result of a row begins in words, -1 for none.
	result []int32
}

// loadBlock reads the results of block number n into memory that is used again.
func (e *engine) loadBlock(n int, b *block) error {
	first := n * e.perBlock
	b.base, b.rows = b.base[:0], 0
	for _, batch := range e.mu.batches[first:min(first+e.perBlock, len(e.mu.batches))] {
		b.base = append(b.base, b.rows)
		b.rows += batch.rows
	}
	if b.tables == nil {
		b.tables = make([]blockTable, len(e.tables))
	}
	b.marks = resize(b.marks, b.rows)
	clear(b.marks)
	for i, t := range e.tables {
		bt := &b.tables[i]
		bt.table = t
		var err error
		if bt.words, err = t.results.load(n, bt.words); err != nil {
			return err
		}
		bt.result = resize(bt.result, b.rows)
		for k := range bt.result {
			bt.result[k] = -1
		}
		for at := 0; at < len(bt.words); {
			row := bt.words[at] &^ marks
			place := b.base[e.ranks[batchOf(row)]-first] + offsetOf(row)
			bt.result[place] = int32(at)
			b.marks[place] |= bt.words[at] & marks
			at += t.resultSize(bt.words[at:])
		}
	}
	return nil
}

// positions is a plan.Reader that answers by position: what it is asked for are the rows
// of a block from base on, in order. It ignores keys and times, which the results were
// computed for.
type positions struct {
	engine *engine
	block  *block
	base   int
	times  []int64 // of the rows from base on
	row    []byte  // of a lookup
	// suspect marks features, row by row, if results are replayed.
	suspect []bool
}

var _ plan.Reader = (*positions)(nil)

// Fetch does nothing: the block is in memory.
func (p *positions) Fetch(context.Context, []plan.Ref) error { return nil }

// Release does nothing.
func (p *positions) Release() {}

// find returns the table of a ref, its row, and the words of the result, nil for none.
func (p *positions) find(ref int) (t *blockTable, row int, words []uint64) {
	n := len(p.engine.order)
	row = ref / n
	t = &p.block.tables[p.engine.order[ref%n]]
	if at := t.result[p.base+row]; at >= 0 {
		words = t.words[at:]
	}
	return t, row, words
}

// View fills in the values that the service uses.
func (p *positions) View(ref int, _ int64, into []float64, status []window.Status) (plan.Seen, error) {
	t, row, words := p.find(ref)
	if words == nil {
		for i, full := range t.table.full {
			into[full], status[full] = t.table.none[t.table.used[i]], window.NotFound
		}
		return plan.Seen{}, nil
	}
	n := len(t.table.full)
	packed := bytesOf(words[1+n : 1+n+wordsFor(n)])
	for i, full := range t.table.full {
		into[full], status[full] = math.Float64frombits(words[1+i]), window.Status(packed[i])
	}
	if t.table.replayed {
		if expiry := words[t.table.resultSize(nil)-1]; expiry != noExpiry {
			features := len(p.engine.service.Features)
			suspects(p.engine.service, &t.table.Table, t.table.reaches, p.times[row], int64(expiry), p.suspect[row*features:(row+1)*features])
		}
	}
	return plan.Seen{}, nil
}

// Lookup returns the row that was joined. The assembler may ask for another time than that
// of the row, if the service has none; the row's age is right all the same.
func (p *positions) Lookup(ref int, at int64) ([]byte, plan.Seen, error) {
	t, row, words := p.find(ref)
	if words == nil || words[0]&markGone != 0 {
		return nil, plan.Seen{}, nil
	}
	seen := plan.Seen{EventTime: at - (p.times[row] - int64(words[1]))}
	words = words[resultHead:]
	if !t.table.fixed {
		return bytesOf(words[1:])[:words[0]], seen, nil
	}
	p.row = pack(p.row[:0], words[:t.table.layout.values])
	return p.row, seen, nil
}

// assembled is some rows with their vectors.
type assembled struct {
	// rows has the engine's columns.
	rows    column.Batch
	vectors plan.Vectors
	// marks are those of the rows' results.
	marks []uint64
	// suspect marks features, row by row; see there.
	suspect []bool
	kept    texts
}

// assembly is the memory of a goroutine that assembles.
type assembly struct {
	block  block
	words  []uint64
	batch  column.Batch
	inputs plan.Inputs
	out    assembled
}

// assemble computes the vectors of all rows in order. work makes something of some rows,
// many at a time; emit takes what it made, in order and one at a time.
func assemble[T any](ctx context.Context, e *engine, work func(*assembled) (T, error), emit func(T) error) error {
	line := newQueue()
	return parallel(ctx, e.workers, e.blocks(), func() *assembly {
		return &assembly{batch: column.Batch{Columns: slices.Clone(e.columns)}, out: assembled{kept: texts{}}}
	}, func(a *assembly, n int) error {
		var made []T
		err := e.assembleBlock(ctx, a, n, func(rows *assembled) error {
			t, err := work(rows)
			made = append(made, t)
			return err
		})
		if !line.wait(ctx, n) {
			return context.Cause(ctx)
		}
		for i := 0; i < len(made) && err == nil; i++ {
			err = emit(made[i])
		}
		if err == nil {
			line.pass()
		} else {
			line.stop()
		}
		return err
	})
}

func (e *engine) assembleBlock(ctx context.Context, a *assembly, n int, visit func(*assembled) error) error {
	if err := e.loadBlock(n, &a.block); err != nil {
		return err
	}
	first := n * e.perBlock
	for i, base := range a.block.base {
		b := &e.mu.batches[first+i]
		var err error
		if a.words, err = e.store.append(a.words[:0], b.blob); err != nil {
			return err
		}
		e.store.drop(b.blob)
		b.blob = blob{}
		decodeBatch(&a.batch, a.words, b.rows)
		for from := 0; from < b.rows; from += assembleRows {
			to := min(from+assembleRows, b.rows)
			cut(&a.out.rows, &a.batch, from, to)
			a.out.marks = a.block.marks[base+from : base+to]
			if err := e.assembleRows(ctx, a, base+from); err != nil {
				return err
			}
			if err := visit(&a.out); err != nil {
				return err
			}
		}
	}
	return nil
}

// assembleRows computes the vectors of the rows that are in a.out, from row base of the block on.
func (e *engine) assembleRows(ctx context.Context, a *assembly, base int) error {
	keys := len(e.service.Entities)
	columns := a.out.rows.Columns
	a.inputs = plan.Inputs{Rows: a.out.rows.Rows, Keys: columns[:keys], Request: columns[keys : keys+len(e.service.Request)], Now: 1}
	reader := positions{engine: e, block: &a.block, base: base, times: columns[e.time].Ints}
	if e.replay {
		a.out.suspect = resize(a.out.suspect, a.inputs.Rows*len(e.service.Features))
		clear(a.out.suspect)
		reader.suspect = a.out.suspect
	}
	return e.assembler.Assemble(ctx, &reader, &a.inputs, &a.out.vectors)
}

// cut makes one batch a part of another, without copying.
func cut(to, from *column.Batch, begin, end int) {
	to.Rows = end - begin
	to.Columns = resize(to.Columns, len(from.Columns))
	for i := range from.Columns {
		c := from.Columns[i]
		if c.Numbers != nil {
			c.Numbers = c.Numbers[begin:end]
		}
		if c.Ints != nil {
			c.Ints = c.Ints[begin:end]
		}
		if c.Texts != nil {
			c.Texts = c.Texts[begin:end]
		}
		if c.Nulls != nil {
			c.Nulls = c.Nulls[begin:end]
		}
		to.Columns[i] = c
	}
}

// queue lets goroutines pass in the order of their numbers.
type queue struct {
	mu struct {
		sync.Mutex
		next    int
		stopped bool
	}
	moved *sync.Cond
}

func newQueue() *queue {
	q := new(queue)
	q.moved = sync.NewCond(&q.mu.Mutex)
	return q
}

// wait returns when it is the turn of n; false if the queue or ctx ended.
func (q *queue) wait(ctx context.Context, n int) bool {
	stop := context.AfterFunc(ctx, q.stop)
	defer stop()
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.mu.next != n && !q.mu.stopped {
		q.moved.Wait()
	}
	return !q.mu.stopped
}

func (q *queue) pass() {
	q.mu.Lock()
	q.mu.next++
	q.mu.Unlock()
	q.moved.Broadcast()
}

func (q *queue) stop() {
	q.mu.Lock()
	q.mu.stopped = true
	q.mu.Unlock()
	q.moved.Broadcast()
}
