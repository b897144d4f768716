// SPDX-License-Identifier: Apache-2.0

package trees

// pathTree is a tree whose rows are divided node by node. Its nodes are in an order in
// which parents precede children. Slot 0 holds the rows that reach the root, which are
// all; the k-th node leaves the rows that go low in slot 2k+1 and those that go high in
// slot 2k+2. A row is at leaf 0 (where those go that always go low) unless nodes send it
// high: each time they do, it is at the leaf that is reached from there by going low.
// Assembly reads it.
type pathTree struct {
	node  uint32 // first of its pathNodes
	pairs uint32 // its pathNodes, in pairs: an odd one is followed by one that does nothing
	leaf  uint32 // where its leaves begin
	kind  uint32 // which of the ways there are to look leaves up
	// The slots that become words of truth, for the pieces of a tree that is in pieces.
	export, exports uint32
	// What flips the bits of the number of a row's leaf.
	flip, flips uint32
}

// pathFlips are slots, times 4, one for each bit of the numbers of leaves: rows in that
// slot have that bit flipped. Slot noRows stands for none.
type pathFlips [8]uint16

// noRows is a slot that no row is ever in.
const noRows = pathSlots - 1

// pathExport packs a slot, in bits 0-15, and the index of a word of truth above, both
// times 4.
type pathExport uint32

func newPathExport(slot int, word uint32) pathExport {
	return pathExport(uint32(slot)*4 | word*4<<16)
}

func (x pathExport) slot() uint32 { return uint32(x) & 0xffff / 4 }
func (x pathExport) word() uint32 { return uint32(x) >> 18 }

// The ways to look up the value of a leaf, by how many entries the tree's table has.
const (
	leaves32 = iota
	leaves64
	leaves256
)

// pathNode packs what a node needs: in bits 0-15 the index of its word of truth, in
// 16-31 the slot of the rows that reach it, both times 4, and in each of the four bytes
// above the leaf that is reached from its high child by going low.
type pathNode uint64

func newPathNode(word uint32, slot, leaf int) pathNode {
	return pathNode(uint64(word)*4 | uint64(slot)*4<<16 | uint64(leaf)*0x01010101<<32)
}

func (n pathNode) word() uint32 { return uint32(n) & 0xffff / 4 }
func (n pathNode) slot() uint32 { return uint32(n) >> 18 }

// addTree appends the tree, in as many pieces as it takes.
func (b *block) addTree(s *treeShape, leaves *leafTables) {
	if len(s.cuts) == 0 {
		b.addPaths(s, leaves)
		return
	}
	piece := treeShape{}
	s.piece(0, -1, &piece)
	b.addPaths(&piece, leaves)
	for i, root := range s.cuts {
		s.piece(root, i, &piece)
		b.addPaths(&piece, leaves)
	}
	b.reached += len(s.cuts)
}

// addPaths appends a tree, or a piece, of at most pathLeaves leaves.
func (b *block) addPaths(s *treeShape, leaves *leafTables) {
	numbers := numberLeaves(s)
	t := pathTree{
		node: uint32(len(b.nodes)), pairs: uint32(len(s.splits)+1) / 2, leaf: leaves.addTree(numbers.leaves),
		export: uint32(len(b.exports)), exports: uint32(len(s.exports)),
		flip: uint32(len(b.flips)),
	}
	slots := make([]int, len(s.splits))
	for k := range s.splits {
		n := &s.splits[k]
		if n.low >= 0 {
			slots[n.low] = 2*k + 1
		}
		if n.high >= 0 {
			slots[n.high] = 2*k + 2
		}
		b.nodes = append(b.nodes, newPathNode(b.word(n.test), slots[k], int(numbers.high[k])))
	}
	if len(s.splits)%2 != 0 {
		b.nodes = append(b.nodes, newPathNode(0, 0, 0))
	}
	for _, x := range s.exports {
		b.exports = append(b.exports, newPathExport(x.slot, b.word(test{kind: reached, feature: x.cut})))
	}
	switch n := len(numbers.leaves); {
	case n <= 32:
		t.kind = leaves32
	case n <= 64:
		t.kind = leaves64
	default:
		t.kind = leaves256
	}
	b.flips = append(b.flips, numbers.flips()...)
	t.flips = uint32(len(b.flips)) - t.flip
	b.trees = append(b.trees, t)
}

// word is where the truth of a test is.
func (b *block) word(t test) uint32 {
	if t.kind == reached {
		return uint32(b.truth.reached + b.reached + int(t.feature))
	}
	return b.truth.at[t]
}
