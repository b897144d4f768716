// SPDX-License-Identifier: Apache-2.0

package trees

import (
	"cmp"
	"math/bits"
	"slices"
)

// leafNumbers are the numbers of a tree's leaves, below the power of two that is enough
// for them. They are chosen so that numbers on both sides of a split differ in few bits:
// the bits of a row's number are the XOR of the splits that send it high.
type leafNumbers struct {
	leaves    []int32 // by number: what treeShape.leaves has of it, or noLeaf
	low, high []uint8 // by split: the leaf that is reached from either child by going low
	taken     [pathLeaves]bool
	flipped   [8]int // by bit: how many splits flip it
}

// numberLeaves numbers the leaves of a tree of at most pathLeaves of them. Splits come
// in the order of their depth, so that those that few rows reach choose last.
func numberLeaves(s *treeShape) *leafNumbers {
	n := &leafNumbers{low: make([]uint8, len(s.splits)), high: make([]uint8, len(s.splits))}
	n.leaves = slices.Repeat([]int32{noLeaf}, 1<<bits.Len(uint(len(s.leaves)-1)))
	n.taken[0] = true
	if len(s.splits) == 0 {
		n.leaves[0] = s.leaves[0]
		return n
	}
	for k := range s.splits {
		split := &s.splits[k]
		n.high[k] = n.choose(n.low[k])
		n.pass(s, split.low, n.low[k])
		n.pass(s, split.high, n.high[k])
	}
	return n
}

// pass gives a number to a child.
func (n *leafNumbers) pass(s *treeShape, child int32, number uint8) {
	if child < 0 {
		n.leaves[number] = s.leaves[^child]
		return
	}
	n.low[child] = number
}

// choose takes the number that is left which differs in the fewest bits, and among those
// in the bits that are flipped least.
func (n *leafNumbers) choose(from uint8) uint8 {
	var best uint8
	load := -1
	for _, differ := range byBits {
		to := from ^ differ
		if int(to) >= len(n.leaves) || n.taken[to] {
			continue
		}
		if load >= 0 && bits.OnesCount8(differ) > bits.OnesCount8(best) {
			break
		}
		if most := n.mostFlipped(differ); load < 0 || most < load {
			best, load = differ, most
		}
	}
	n.taken[from^best] = true
	for bit := range 8 {
		n.flipped[bit] += int(best >> bit & 1)
	}
	return from ^ best
}

// mostFlipped is how often the bit of these is flipped that is flipped most.
func (n *leafNumbers) mostFlipped(differ uint8) (most int) {
	for ; differ != 0; differ &= differ - 1 {
		most = max(most, n.flipped[bits.TrailingZeros8(differ)])
	}
	return most
}

// byBits are the numbers from 1 to 255 in the order of how many bits they have.
var byBits = func() (list [255]uint8) {
	for i := range list {
		list[i] = uint8(i + 1)
	}
	slices.SortStableFunc(list[:], func(a, b uint8) int { return cmp.Compare(bits.OnesCount8(a), bits.OnesCount8(b)) })
	return list
}()

// flips lists, by bit, the slots of the high children that flip it.
func (n *leafNumbers) flips() []pathFlips {
	list := make([]pathFlips, slices.Max(n.flipped[:]))
	for i := range list {
		for bit := range list[i] {
			list[i][bit] = noRows * 4
		}
	}
	var at [8]int
	for k := range n.high {
		for bit := range 8 {
			if (n.low[k]^n.high[k])>>bit&1 != 0 {
				list[at[bit]][bit] = uint16(2*k+2) * 4
				at[bit]++
			}
		}
	}
	return list
}
