// SPDX-License-Identifier: Apache-2.0

// Package cache keeps decoded values of a slower store in memory: it may lose an entry,
// it never shows a stale one.
//
// Below it is ristretto, which loses by design: a Set may be dropped or refused, it shows
// only later, and a Del races with Sets under way. So nothing here rests on what
// ristretto does. An entry carries the version of the slower store that it was read at,
// and gives its value out only to a caller that brings the current version: from the
// slower store, with the same look at it that the answer rests on, or an epoch that every
// change raises. Keys are told apart by two independent 64-bit hashes, and the whole key
// is compared.
//
//	C1  Use returns a value only if it was Put under the same key and version.
//	C2  What is kept costs BytesMax at most; up to 32768 entries more are on their way in.
//
// # Concurrency
//
// A Cache may be used from many goroutines. An Entry is immutable, and so must be the
// values. The one goroutine, ristretto's, ends with Close.
package cache

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/dgraph-io/ristretto/v2"
)

// ErrOptions says that a cache cannot be made as asked.
var ErrOptions = errors.New("invalid cache options")

// Version names a state of an entry in the slower store. No two values of a key ever
// have the same one.
type Version [16]byte

// Epoch is the version of all that was read while a counter, which every change raises,
// stood at n.
func Epoch(n uint64) (v Version) {
	binary.LittleEndian.PutUint64(v[:], n)
	return v
}

// AppendKey appends the key of an entity: its table, four bytes, and its key there.
func AppendKey(dst []byte, table int, key []byte) []byte {
	return append(binary.LittleEndian.AppendUint32(dst, uint32(table)), key...)
}

// Options configure a Cache.
type Options struct {
	// BytesMax is the memory of all entries; at least 64 KiB.
	BytesMax int64
	// EntryBytes is what an entry is expected to take, from which the size of the admission
	// statistics follows; zero means 1024.
	EntryBytes int64
}

const (
	bytesMin          = 64 << 10
	entryBytesDefault = 1024
	// countersPerEntry is what ristretto advises; a counter takes about three bytes.
	countersPerEntry = 10
	countersMin      = 1 << 10
	countersMax      = 1 << 26
	getBuffer        = 64
	// entryOverhead is an Entry without its key and value; ristretto adds its own.
	entryOverhead = 64
)

// Entry is a candidate: what was once read. Its value shows only through Cache.Use.
type Entry[V any] struct {
	key     string
	version Version
	bytes   int64
	value   V
}

// Version is the version that the entry was read at.
func (e *Entry[V]) Version() Version { return e.version }

// Bytes is the size of the value, as Put was told.
func (e *Entry[V]) Bytes() int64 { return e.bytes }

// Cache keeps values of type V.
type Cache[V any] struct {
	// open is held for reading by calls into ristretto and for writing by Close, because
	// ristretto may not be called while it closes.
	open   sync.RWMutex
	closed bool
	inner  *ristretto.Cache[string, *Entry[V]]

	hits, misses, stale, puts, lost, evicted atomic.Int64
}

// Stats are counts since the cache was made.
type Stats struct {
	// Hits are values shown, Misses keys without an entry, Stale entries that were not of
	// the current version.
	Hits, Misses, Stale int64
	// Puts are values offered, of which Lost were not taken. Evicted ones had to make room.
	Puts, Lost, Evicted int64
	// Bytes is what is kept, about.
	Bytes int64
}

// New returns an empty cache; Close ends it. Errors wrap ErrOptions.
func New[V any](o Options) (*Cache[V], error) {
	seeds := [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}
	return newHashed[V](o, func(key string) (uint64, uint64) {
		return maphash.String(seeds[0], key), maphash.String(seeds[1], key)
	})
}

// newHashed is New with a hash of one's own, which tests make collide.
func newHashed[V any](o Options, hash func(string) (uint64, uint64)) (*Cache[V], error) {
	if o.EntryBytes <= 0 {
		o.EntryBytes = entryBytesDefault
	}
	if o.BytesMax < bytesMin {
		return nil, fmt.Errorf("%w: %d bytes, at least %d", ErrOptions, o.BytesMax, bytesMin)
	}
	c := &Cache[V]{}
	inner, err := ristretto.NewCache(&ristretto.Config[string, *Entry[V]]{
		NumCounters: min(max(o.BytesMax/o.EntryBytes*countersPerEntry, countersMin), countersMax),
		MaxCost:     o.BytesMax,
		BufferItems: getBuffer,
		KeyToHash:   hash,
		OnEvict:     func(*ristretto.Item[*Entry[V]]) { c.evicted.Add(1) },
		OnReject:    func(*ristretto.Item[*Entry[V]]) { c.lost.Add(1) },
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrOptions, err)
	}
	c.inner = inner
	return c, nil
}

// Find returns what was read of a key some time ago, nil for nothing. The entry is for
// Use, once the current version is known.
func (c *Cache[V]) Find(key string) *Entry[V] {
	c.open.RLock()
	defer c.open.RUnlock()
	if !c.closed {
		if e, ok := c.inner.Get(key); ok && e != nil && e.key == key {
			return e
		}
	}
	c.misses.Add(1)
	return nil
}

// Use returns the value of an entry if it is of the current version.
func (c *Cache[V]) Use(e *Entry[V], current Version) (value V, ok bool) {
	if e == nil {
		return value, false
	}
	if e.version != current {
		c.stale.Add(1)
		return value, false
	}
	c.hits.Add(1)
	return e.value, true
}

// Put offers a value of so many bytes that was read at a version. It may not be taken,
// and it shows only after a while. The key is kept; value must not change any more.
func (c *Cache[V]) Put(key string, version Version, value V, bytes int64) {
	key = strings.Clone(key) // it may be a piece of something large
	e := &Entry[V]{key: key, version: version, bytes: bytes, value: value}
	c.puts.Add(1)
	c.open.RLock()
	defer c.open.RUnlock()
	if c.closed || !c.inner.Set(key, e, bytes+int64(len(key))+entryOverhead) {
		c.lost.Add(1)
	}
}

// Stats reads the counters.
func (c *Cache[V]) Stats() Stats {
	c.open.RLock()
	defer c.open.RUnlock()
	s := Stats{
		Hits: c.hits.Load(), Misses: c.misses.Load(), Stale: c.stale.Load(),
		Puts: c.puts.Load(), Lost: c.lost.Load(), Evicted: c.evicted.Load(),
	}
	if !c.closed {
		s.Bytes = c.inner.MaxCost() - c.inner.RemainingCost()
	}
	return s
}

// Close ends the cache: from then on it has nothing and takes nothing.
func (c *Cache[V]) Close() {
	c.open.Lock()
	defer c.open.Unlock()
	if c.closed {
		return
	}
	c.closed = true
	evicted := c.evicted.Load()
	c.inner.Close()
	c.evicted.Store(evicted) // what Close threw out did not make room for anything
}

// Wait returns when what was Put before shows, or was refused. It is for tests.
func (c *Cache[V]) Wait() {
	c.open.RLock()
	defer c.open.RUnlock()
	if !c.closed {
		c.inner.Wait()
	}
}
