// SPDX-License-Identifier: Apache-2.0

package online

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// An index with many equal tags agrees with a map, whatever is added and removed.
func TestIndexAgreesWithMap(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	var x index
	slots := map[int]uint32{}
	for step := range 200_000 {
		if slot := random.IntN(400); random.IntN(2) == 0 {
			if _, there := slots[slot]; !there {
				tag := uint32(random.IntN(60))
				x.add(tag, slot)
				slots[slot] = tag
			}
		} else if tag, there := slots[slot]; there {
			x.remove(tag, slot)
			delete(slots, slot)
		}
		if step%997 == 0 {
			checkIndex(t, &x, slots)
		}
	}
}

// checkIndex finds every slot between its home and the next free place, and no other.
func checkIndex(t *testing.T, x *index, slots map[int]uint32) {
	t.Helper()
	if x.used != len(slots) {
		t.Fatalf("%d used of %d", x.used, len(slots))
	}
	mask := len(x.places) - 1
	for slot, tag := range slots {
		i := int(tag) & mask
		for x.places[i] != uint64(tag)<<32|uint64(slot+1) {
			if x.places[i] == 0 {
				t.Fatalf("slot %d with tag %d is not found", slot, tag)
			}
			i = (i + 1) & mask
		}
	}
}

// Keys of every length are found again and told apart, through removal, reuse of slots
// and packing; and the memory accounted for returns to nothing.
func TestTableKeys(t *testing.T) {
	random := rand.New(rand.NewPCG(2, 2))
	tables := []table{{}, {lookup: true}}
	for i := range tables {
		tb := &tables[i]
		known := map[string]int{}
		hash := func(k string) uint64 { return uint64(len(k)%7)<<32 | uint64(len(k)%5) } // many collide
		for range 20_000 {
			k := strings.Repeat("x", random.IntN(3)) + fmt.Sprint(random.IntN(300)) + strings.Repeat("y", 20*random.IntN(3))
			slot, there := known[k]
			if got := tb.find(hash(k), []byte(k)); there != (got >= 0) || there && got != slot {
				t.Fatalf("key %q: slot %d, want %d, %v", k, got, slot, there)
			}
			if !there {
				known[k] = tb.insert(hash(k), []byte(k))
				if got := string(tb.appendKey(nil, known[k])); got != k {
					t.Fatalf("key %q is stored as %q", k, got)
				}
			} else if random.IntN(2) == 0 {
				tb.remove(slot)
				delete(known, k)
			}
		}
		if tb.entities() != int64(len(known)) || tb.used != len(known) {
			t.Errorf("%d entities, %d used, want %d", tb.entities(), tb.used, len(known))
		}
		if max := 4 * (tb.used + chunkLen) * 70; len(tb.keys) > max {
			t.Errorf("%d bytes of keys for %d entities", len(tb.keys), tb.used)
		}
		for _, slot := range known {
			tb.remove(slot)
		}
		if tb.bytes != 0 || tb.entities() != 0 || tb.index.used != 0 {
			t.Errorf("an empty table has %d bytes, %d entities, %d places", tb.bytes, tb.entities(), tb.index.used)
		}
		if tb.memory() <= 0 {
			t.Errorf("memory of %d bytes", tb.memory())
		}
	}
}

// Short keys that differ only in trailing zeros are different keys.
func TestShortKeys(t *testing.T) {
	var tb table
	for n := 1; n <= keyInHead; n++ {
		tb.insert(7, make([]byte, n))
	}
	for n := 1; n <= keyInHead; n++ {
		if got := tb.find(7, make([]byte, n)); got != n-1 {
			t.Errorf("%d zero bytes are in slot %d", n, got)
		}
	}
}

// What a shard counts for its budget is what its entities hold.
func TestBytesAreCounted(t *testing.T) {
	l := openLocal(t, quiet(Options{Tables: smallTables(t), Shards: 1}))
	random := rand.New(rand.NewPCG(3, 3))
	for id := range uint64(3000) {
		u := updatesOf(strings.Repeat("k", random.IntN(12))+fmt.Sprint(random.IntN(100)), id)
		u[1].Row = make([]byte, random.IntN(50))
		apply(t, l, u[random.IntN(3)])
	}
	for i := range l.shards[0].mu.tables {
		tb := &l.shards[0].mu.tables[i]
		want := int64(0)
		for slot := range tb.used {
			want += tb.slotCost(slot) + tb.contentBytes(slot)
		}
		if tb.bytes != want {
			t.Errorf("table %d: %d bytes, want %d", i, tb.bytes, want)
		}
	}
}
