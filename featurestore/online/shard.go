// SPDX-License-Identifier: Apache-2.0

package online

import (
	"hash/maphash"
	"math/bits"
	"sync"
)

// shard is a part of all tables: the entities whose key has a hash of its own kind,
// so that what one event touches under one key lies in one shard.
type shard struct {
	// apply is held by whoever changes what entities hold, from before the log is asked
	// for a sequence until the event is applied: an entity's sequences never go back. It
	// may be held while the log waits for room. It comes before mu.
	apply sync.Mutex
	// mu is held for short steps in memory only, so that reads never wait for a disk.
	mu struct {
		sync.RWMutex
		tables []table
		// flights are the entities being read from disk.
		flights map[flightKey]*flight
		// hand is where the search for an entity to evict goes on.
		hand struct{ table, chunk int }
	}
	_ [64]byte // neighbours are locked by others
}

func newShard(o *Options) *shard {
	sh := &shard{}
	sh.mu.tables = make([]table, len(o.Tables))
	for i := range sh.mu.tables {
		sh.mu.tables[i].lookup = o.Tables[i].Lookup != nil
	}
	sh.mu.flights = map[flightKey]*flight{}
	return sh
}

// hashOf is the hash of a key, which picks its shard and its place there.
func (l *Local) hashOf(key []byte) uint64 { return maphash.Bytes(l.seed, key) }

// shardOf takes the upper bits; the index of a table takes the lower ones.
func (l *Local) shardOf(hash uint64) int { return int(hash >> 32 & uint64(len(l.shards)-1)) }

// bytesLocked is the memory of the shard's entities.
func (sh *shard) bytesLocked() (n int64) {
	for i := range sh.mu.tables {
		n += sh.mu.tables[i].bytes
	}
	return n
}

// evictChunksMax bounds how far one call goes, and so for how long the lock is held.
const evictChunksMax = 256

// evictLocked gives up entities that are on disk and were not asked for lately, until
// the shard keeps to its budget. It returns how many, and whether that was enough.
func (sh *shard) evictLocked(budget int64) (evicted int64, enough bool) {
	over := sh.bytesLocked() - budget
	for range evictChunksMax {
		if over <= 0 {
			return evicted, true
		}
		c := sh.nextChunkLocked()
		if c == nil {
			return evicted, false
		}
		idle := c.used &^ (c.dirty | c.writing | c.pinned | c.removed)
		spared := idle & c.recent.Load()
		c.recent.And(^spared)
		t := &sh.mu.tables[sh.mu.hand.table]
		for idle &^= spared; idle != 0 && over > 0; idle &= idle - 1 {
			before := t.bytes
			t.remove(sh.mu.hand.chunk*chunkLen + bits.TrailingZeros32(idle))
			over -= before - t.bytes
			evicted++
		}
	}
	return evicted, over <= 0
}

// nextChunkLocked moves the hand; nil if there is no chunk in any table.
func (sh *shard) nextChunkLocked() *chunk {
	h := &sh.mu.hand
	for range len(sh.mu.tables) + 1 {
		if h.chunk++; h.chunk < len(sh.mu.tables[h.table].chunks) {
			return sh.mu.tables[h.table].chunks[h.chunk]
		}
		h.table, h.chunk = (h.table+1)%len(sh.mu.tables), -1
	}
	return nil
}
