// SPDX-License-Identifier: Apache-2.0

package batching

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestHeap pushes and removes at random and holds the heap against a sorted slice.
func TestHeap(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	h := heap{kind: slotTimeout}
	var sorted []*Item
	for i := range 20_000 {
		if n := len(sorted); n > 0 && r.IntN(n+40) > 40 {
			gone := r.IntN(n)
			h.remove(sorted[gone])
			h.remove(sorted[gone]) // it is out already: no effect
			sorted = slices.Delete(sorted, gone, gone+1)
		} else {
			it := &Item{seq: uint64(i)}
			h.push(it, int64(r.IntN(50)))
			sorted = append(sorted, it)
			slices.SortFunc(sorted, func(a, b *Item) int {
				return cmp.Or(cmp.Compare(a.slots[slotTimeout].at, b.slots[slotTimeout].at), cmp.Compare(a.seq, b.seq))
			})
		}
		if len(h.items) != len(sorted) || len(sorted) > 0 && h.top() != sorted[0] {
			t.Fatalf("seed %d, step %d: the heap of %d items does not have the earliest of %d on top", seed, i, len(h.items), len(sorted))
		}
		for j, it := range h.items {
			if it.slots[slotTimeout].index != j+1 || j > 0 && h.before(it, h.items[(j-1)/2]) {
				t.Fatalf("seed %d, step %d: position %d is out of order", seed, i, j)
			}
		}
	}
}
