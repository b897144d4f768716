// SPDX-License-Identifier: Apache-2.0

package dataset

import (
	"cmp"
	"slices"
	"sync"
)

// shuffle spreads records, which are runs of words, over parts. What was written between
// two calls of cut has a number, and the records of a part come back in the order of these
// numbers: those of a file that is sorted by time stay sorted. Records of one number, or
// of different writers with the same, come back in any order, so what is made of them must
// not depend on it.
type shuffle struct {
	store *store
	mu    struct {
		sync.Mutex
		blocks [][]numbered // by part
		idle   []*spreader
	}
}

type numbered struct {
	blob
	number int
}

func newShuffle(s *store, parts int) *shuffle {
	f := &shuffle{store: s}
	f.mu.blocks = make([][]numbered, parts)
	return f
}

func (f *shuffle) parts() int { return len(f.mu.blocks) }

// spreader writes to a shuffle, one goroutine at a time.
type spreader struct {
	shuffle *shuffle
	open    [][]uint64 // by part
	// written and before are the words of a part in full blocks since the last cut, and
	// between the two last.
	written, before []int
	full            []numberedPart
}

type numberedPart struct {
	blob blob
	part int
}

// spreader lends one that is idle, or a new one: there are as many as are in use at once.
func (f *shuffle) spreader() *spreader {
	f.mu.Lock()
	defer f.mu.Unlock()
	if last := len(f.mu.idle) - 1; last >= 0 {
		s := f.mu.idle[last]
		f.mu.idle = f.mu.idle[:last]
		return s
	}
	n := len(f.mu.blocks)
	return &spreader{shuffle: f, open: make([][]uint64, n), written: make([]int, n), before: make([]int, n)}
}

// giveBack takes a spreader back.
func (f *shuffle) giveBack(s *spreader) {
	f.mu.Lock()
	f.mu.idle = append(f.mu.idle, s)
	f.mu.Unlock()
}

// record returns the words of a new record of a part, to be filled before the next call.
func (s *spreader) record(part, words int) ([]uint64, error) {
	b := s.open[part]
	n := len(b)
	if n+words > cap(b) {
		var err error
		if b, err = s.next(part, words); err != nil {
			return nil, err
		}
		n = 0
	}
	s.open[part] = b[:n+words]
	return s.open[part][n:], nil
}

// next begins a block, of a size that the part is likely to need until the next cut.
func (s *spreader) next(part, words int) ([]uint64, error) {
	if b := s.open[part]; b != nil {
		if err := s.put(part, b); err != nil {
			return nil, err
		}
	}
	likely := s.before[part] - s.written[part]
	if likely <= 0 {
		likely = s.written[part]
	}
	return s.shuffle.store.buffer(words, likely), nil
}

func (s *spreader) put(part int, words []uint64) error {
	s.written[part] += len(words)
	b, err := s.shuffle.store.put(words)
	s.full = append(s.full, numberedPart{blob: b, part: part})
	return err
}

// cut gives what was written since the last cut a number.
func (s *spreader) cut(number int) error {
	for part, b := range s.open {
		if b != nil {
			if err := s.put(part, b); err != nil {
				return err
			}
			s.open[part] = nil
		}
		s.before[part], s.written[part] = s.written[part], 0
	}
	f := s.shuffle
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, b := range s.full {
		f.mu.blocks[b.part] = append(f.mu.blocks[b.part], numbered{blob: b.blob, number: number})
	}
	s.full = s.full[:0]
	return nil
}

// finish ends writing; what has no number yet gets 0. All spreaders must have been given
// back.
func (f *shuffle) finish() error {
	for _, s := range f.mu.idle {
		if err := s.cut(0); err != nil {
			return err
		}
	}
	f.mu.idle = nil
	return nil
}

// take takes the blocks of a part out, in the order of their numbers.
func (f *shuffle) take(part int) []numbered {
	f.mu.Lock()
	blocks := f.mu.blocks[part]
	f.mu.blocks[part] = nil
	f.mu.Unlock()
	slices.SortStableFunc(blocks, func(a, b numbered) int { return cmp.Compare(a.number, b.number) })
	return blocks
}

// load takes the records of a part out, into memory that is used again.
func (f *shuffle) load(part int, into []uint64) ([]uint64, error) {
	blocks, size := f.take(part), 0
	for _, b := range blocks {
		size += b.size
	}
	into = grow(into[:0], size)[:0]
	for _, b := range blocks {
		var err error
		if into, err = f.store.append(into, b.blob); err != nil {
			return nil, err
		}
		f.store.drop(b.blob)
	}
	return into, nil
}

// each hands the records of a part to visit, a block at a time, where they are.
func (f *shuffle) each(part int, scratch []uint64, visit func(words []uint64)) ([]uint64, error) {
	for _, b := range f.take(part) {
		var words []uint64
		var err error
		if words, scratch, err = f.store.view(b.blob, scratch); err != nil {
			return scratch, err
		}
		visit(words)
		f.store.drop(b.blob)
	}
	return scratch, nil
}
