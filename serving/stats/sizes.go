// SPDX-License-Identifier: Apache-2.0

package stats

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"
)

// sizesMax bounds how many batch sizes are told apart. Runs of further sizes are
// counted together with those of empty batches, as size otherSizes.
const (
	sizesMax   = 1024
	otherSizes = 0
)

// sizeCounters are the runs of one batch size on one lane.
type sizeCounters struct {
	runs, rows, input, infer, output atomic.Uint64

	_ [unsafe.Sizeof(cacheLine{}) - 5*8]byte
}

func (c *sizeCounters) add(b Batch) {
	c.runs.Add(1)
	c.rows.Add(uint64(max(b.Rows, 0)))
	c.input.Add(uint64(max(b.InputNanos, 0)))
	c.infer.Add(uint64(max(b.InferNanos, 0)))
	c.output.Add(uint64(max(b.OutputNanos, 0)))
}

// sizeTable counts runs by batch size. The map that known points to never changes:
// a size met for the first time replaces it by a copy with one entry more.
type sizeTable struct {
	lanes int
	known atomic.Pointer[map[int][]sizeCounters] // batch size -> by lane
	grow  sync.Mutex
}

// at is the counters of a batch size, by lane.
func (t *sizeTable) at(rows int) []sizeCounters {
	rows = max(rows, otherSizes)
	if counters := t.get(rows); counters != nil {
		return counters
	}
	return t.insert(rows)
}

func (t *sizeTable) get(rows int) []sizeCounters {
	known := t.known.Load()
	if known == nil {
		return nil
	}
	return (*known)[rows]
}

func (t *sizeTable) insert(rows int) []sizeCounters {
	t.grow.Lock()
	defer t.grow.Unlock()
	old := map[int][]sizeCounters{}
	if known := t.known.Load(); known != nil {
		old = *known
	}
	if len(old) >= sizesMax {
		rows = otherSizes
	}
	if counters := old[rows]; counters != nil {
		return counters // someone else was first
	}
	next := maps.Clone(old)
	next[rows] = make([]sizeCounters, t.lanes)
	t.known.Store(&next)
	return next[rows]
}

// snapshot adds up the lanes, by increasing batch size, with the rows of each.
func (t *sizeTable) snapshot() (batches []BatchSnapshot, rows uint64) {
	known := t.known.Load()
	if known == nil {
		return nil, 0
	}
	for _, size := range slices.Sorted(maps.Keys(*known)) {
		b := BatchSnapshot{Size: size}
		for i := range (*known)[size] {
			c := &(*known)[size][i]
			b.Runs += c.runs.Load()
			b.InputNanos += c.input.Load()
			b.InferNanos += c.infer.Load()
			b.OutputNanos += c.output.Load()
			rows += c.rows.Load()
		}
		batches = append(batches, b)
	}
	return batches, rows
}
