// SPDX-License-Identifier: Apache-2.0

package groundtruth

import (
	"math/rand/v2"
	"testing"
)

// TestIndex against a map, with hashes that collide.
func TestIndex(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	x := newIndex(100, 50, true)
	defer x.close()
	type known struct {
		slot uint32
		hash uint64
	}
	byTime := map[int64]known{}
	next := int64(0)
	for range 40_000 {
		if r.IntN(5) > 1 && len(byTime) < 5000 {
			at := next + r.Int64N(1000)
			if _, ok := byTime[at]; ok {
				continue
			}
			hash := uint64(r.IntN(300)) * 0x1000000010001
			slot, err := x.add(entry{hash: hash, time: at})
			if err != nil {
				t.Fatal(err)
			}
			byTime[at] = known{slot, hash}
			next++
			continue
		}
		if len(byTime) == 0 {
			continue
		}
		slot := x.heap[0]
		at := x.at(slot).time
		k, ok := byTime[at]
		if !ok || k.slot != slot {
			t.Fatalf("slot %d of time %d is none, or another", slot, at)
		}
		due := x.due(slot)
		for other, o := range byTime {
			if x.due(o.slot) < due {
				t.Fatalf("%d is due before %d", other, at)
			}
			break // one at random is enough for each round
		}
		if e := x.at(slot); !e.mature() {
			e.record |= matureBit
			x.down(0)
			continue
		}
		x.removeFirst()
		delete(byTime, at)
	}
	for at, k := range byTime {
		found := 0
		x.each(k.hash, func(slot uint32) bool {
			if x.at(slot).time == at {
				found++
			}
			return false
		})
		if found != 1 {
			t.Errorf("time %d is there %d times", at, found)
		}
	}
	if x.used != len(byTime) || len(x.heap) != len(byTime) {
		t.Errorf("%d used, %d in the heap, want %d", x.used, len(x.heap), len(byTime))
	}
}
