// SPDX-License-Identifier: Apache-2.0

package dataset

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"unsafe"
)

// wordBytes is the size of a word: all that is held between two steps is words.
const wordBytes = 8

// budget is the memory that a run may hold between its steps.
type budget struct {
	max  int64
	used atomic.Int64
}

// take asks for bytes; false means that they belong on disk.
func (b *budget) take(bytes int) bool {
	if b.used.Add(int64(bytes)) <= b.max {
		return true
	}
	b.used.Add(-int64(bytes))
	return false
}

func (b *budget) give(bytes int) { b.used.Add(-int64(bytes)) }

// store keeps blobs of words, in memory while the budget lasts and then in a temporary
// file. It may be used by many goroutines. What it lends is good until close: nothing of it
// may be used afterwards.
type store struct {
	budget *budget
	dir    string
	// block is the usual size of a blob in words.
	block int
	end   atomic.Int64 // of the file
	mu    struct {
		sync.Mutex
		file *os.File
		// free are blocks to be used again, by size, at most as many as were in use at once.
		free [blockSizes][][]uint64
		// slabs are what blocks are cut from, rest what is left of the last.
		slabs [][]byte
		rest  []uint64
	}
}

// blob is words of a store: in memory, or size words of its file.
type blob struct {
	words []uint64
	at    int64
	size  int
}

// Blocks have blockWords words, unless memory is scarce: large enough to be written to
// disk at full speed. Where few words come together they have a fourth of it, or a
// sixteenth, or a sixty-fourth.
const (
	blockWords    = 4096
	blockWordsMin = 64
	blockSizes    = 4
)

// Slabs have slabBytes bytes, or the memory there may be, but slabBytesMin at least.
const (
	slabBytes    = 32 << 20
	slabBytesMin = 1 << 20
)

func newStore(b *budget, dir string, block int) *store {
	return &store{budget: b, dir: dir, block: min(max(block, blockWordsMin), blockWords)}
}

// buffer returns an empty buffer for n words or more. Of the sizes of blocks it has the
// largest that is not above likely, so that little of it stays empty.
func (s *store) buffer(n, likely int) []uint64 {
	words, which := s.block, 0
	for which < blockSizes-1 && words > likely && words/4 >= n {
		words /= 4
		which++
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	free := &s.mu.free[which]
	last := len(*free) - 1
	switch {
	case n > words:
		return make([]uint64, 0, n)
	case last < 0:
		return s.cutLocked(words)
	}
	b := (*free)[last]
	*free = (*free)[:last]
	return b
}

// cutLocked cuts a block from a slab. s.mu must be held.
func (s *store) cutLocked(words int) []uint64 {
	if len(s.mu.rest) < words {
		bytes := int(min(max(s.budget.max, slabBytesMin), slabBytes))
		slab := newSlab(bytes)
		if slab == nil {
			return make([]uint64, 0, words)
		}
		s.mu.slabs = append(s.mu.slabs, slab)
		s.mu.rest = unsafe.Slice((*uint64)(unsafe.Pointer(unsafe.SliceData(slab))), bytes/wordBytes)
	}
	b := s.mu.rest[:0:words]
	s.mu.rest = s.mu.rest[words:]
	return b
}

// recycle takes a buffer back, if it is a block.
func (s *store) recycle(b []uint64) {
	words := s.block
	for which := range blockSizes {
		if cap(b) == words {
			s.mu.Lock()
			s.mu.free[which] = append(s.mu.free[which], b[:0])
			s.mu.Unlock()
			return
		}
		words /= 4
	}
}

// put keeps words, which are the store's from now on.
func (s *store) put(words []uint64) (blob, error) {
	if s.budget.take(cap(words) * wordBytes) {
		return blob{words: words, size: len(words)}, nil
	}
	file, err := s.open()
	if err != nil {
		return blob{}, err
	}
	size := int64(len(words)) * wordBytes
	b := blob{at: s.end.Add(size) - size, size: len(words)}
	if _, err := file.WriteAt(bytesOf(words), b.at); err != nil {
		return blob{}, fmt.Errorf("temporary file: %w", err)
	}
	s.recycle(words)
	return b, nil
}

// open makes the file at the first need. It has no name for long, so that nothing is left
// of it whatever happens.
func (s *store) open() (*os.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.file != nil {
		return s.mu.file, nil
	}
	file, err := os.CreateTemp(s.dir, "millrace-dataset-*.tmp")
	if err != nil {
		return nil, fmt.Errorf("temporary file: %w", err)
	}
	_ = os.Remove(file.Name()) // where open files cannot be removed, close does
	s.mu.file = file
	return file, nil
}

// append appends the words of a blob to others.
func (s *store) append(to []uint64, b blob) ([]uint64, error) {
	if b.words != nil {
		return append(to, b.words...), nil
	}
	begin := len(to)
	to = grow(to, b.size)
	s.mu.Lock()
	file := s.mu.file
	s.mu.Unlock()
	if file == nil {
		return nil, errors.New("temporary file: it is closed")
	}
	if _, err := file.ReadAt(bytesOf(to[begin:]), b.at); err != nil {
		return nil, fmt.Errorf("temporary file: %w", err)
	}
	return to, nil
}

// view returns the words of a blob: itself where it is in memory, else a copy in memory
// that is used again. They are good until the blob is dropped.
func (s *store) view(b blob, scratch []uint64) (words, used []uint64, err error) {
	if b.words != nil {
		return b.words, scratch, nil
	}
	scratch, err = s.append(scratch[:0], b)
	return scratch, scratch, err
}

// drop lets the memory of a blob go.
func (s *store) drop(b blob) {
	if b.words != nil {
		s.budget.give(cap(b.words) * wordBytes)
		s.recycle(b.words)
	}
}

// close lets everything go.
func (s *store) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.free = [blockSizes][][]uint64{}
	for _, slab := range s.mu.slabs {
		freeSlab(slab)
	}
	s.mu.slabs, s.mu.rest = nil, nil
	if s.mu.file != nil {
		_ = s.mu.file.Close()
		_ = os.Remove(s.mu.file.Name()) // not there any more, on most systems
		s.mu.file = nil
	}
}

// grow returns the words with n more at the end, of any content.
func grow(words []uint64, n int) []uint64 {
	if need := len(words) + n; need > cap(words) {
		larger := make([]uint64, len(words), need+need/4)
		copy(larger, words)
		words = larger
	}
	return words[:len(words)+n]
}

// bytesOf is the memory of words. What is written so is read by this process alone.
func bytesOf(words []uint64) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(words))), len(words)*wordBytes)
}
