// SPDX-License-Identifier: Apache-2.0

package trees

import "math"

// treeShape is a tree in the form that the layouts start from: its splits in breadth
// first order, children as places in splits or complements of places in leaves, and its
// leaves from left to right.
//
// A tree of more than pathLeaves leaves is cut into pieces. Where a child is cut off,
// its parent's piece has a leaf that gives nothing, and exports the rows that reach it.
// The piece itself begins with a split that asks which rows those are; all others end in
// a leaf that gives nothing.
type treeShape struct {
	splits  []split
	leaves  []int32 // indices into Ensemble.Leaves, or noLeaf
	cuts    []int32 // the splits, in order, that begin a piece
	exports []export
}

// export is a slot that holds the rows that reach a cut of the whole tree.
type export struct {
	slot int
	cut  int32 // place in cuts
}

// noLeaf stands for a leaf that gives nothing.
const noLeaf = math.MaxInt32

// read takes a tree in. The slices of the tree before it are used again.
func (s *treeShape) read(e *Ensemble, root int32) {
	*s = treeShape{splits: s.splits[:0], leaves: s.leaves[:0], cuts: s.cuts[:0]}
	if root < 0 {
		s.leaves = append(s.leaves, ^root)
		return
	}
	s.splits = append(s.splits, splitOf(&e.Nodes[root], e.Double))
	for k := 0; k < len(s.splits); k++ {
		if at := s.splits[k].low; at >= 0 {
			s.splits[k].low = int32(len(s.splits))
			s.splits = append(s.splits, splitOf(&e.Nodes[at], e.Double))
		}
		if at := s.splits[k].high; at >= 0 {
			s.splits[k].high = int32(len(s.splits))
			s.splits = append(s.splits, splitOf(&e.Nodes[at], e.Double))
		}
	}
	s.number()
	if len(s.leaves) > pathLeaves {
		s.cut()
	}
}

// number walks the tree from left to right to put its leaves in order. Before, a child that
// is a leaf is the complement of what leaves has of it; after, of its place.
func (s *treeShape) number() {
	type visit struct {
		at   int32
		high bool
	}
	todo := []visit{{0, true}, {0, false}}
	for len(todo) > 0 {
		v := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		n := &s.splits[v.at]
		child := &n.low
		if v.high {
			child = &n.high
		}
		if *child < 0 {
			s.leaves = append(s.leaves, ^*child)
			*child = ^int32(len(s.leaves) - 1)
			continue
		}
		todo = append(todo, visit{*child, true}, visit{*child, false})
	}
}

// cut chooses the cuts, from the leaves up: where a piece gets too large its larger
// child is cut off. Pieces have about half of pathLeaves at least.
func (s *treeShape) cut() {
	const most = pathLeaves - 1 // a piece has a leaf for the rows that are not in it
	size := make([]int32, len(s.splits))
	sizeOf := func(child int32) int32 {
		if child < 0 {
			return 1
		}
		return size[child]
	}
	isCut := make([]bool, len(s.splits))
	for k := len(s.splits) - 1; k >= 0; k-- {
		low, high := s.splits[k].low, s.splits[k].high
		for sizeOf(low)+sizeOf(high) > most {
			off := low
			if sizeOf(high) > sizeOf(low) {
				off = high
			}
			isCut[off], size[off] = true, 1
		}
		size[k] = sizeOf(low) + sizeOf(high)
	}
	for k, cut := range isCut {
		if cut {
			s.cuts = append(s.cuts, int32(k))
		}
	}
}

// piece makes to the piece that begins at a split: the cut of that place in s.cuts, or,
// when negative, the top of the tree.
func (s *treeShape) piece(root int32, cut int, to *treeShape) {
	*to = treeShape{splits: to.splits[:0], leaves: to.leaves[:0], exports: to.exports[:0]}
	from := []int32{root} // by place in to.splits
	if cut >= 0 {
		to.splits = append(to.splits, split{
			test: test{kind: reached, feature: int32(cut)}, low: ^int32(noLeaf), high: 1,
		})
		from = []int32{-1, root}
	}
	cutAt := make(map[int32]int32, len(s.cuts))
	for i, k := range s.cuts {
		cutAt[k] = int32(i)
	}
	child := func(at int32, slot int) int32 {
		if at < 0 {
			return ^s.leaves[^at]
		}
		if cut, is := cutAt[at]; is {
			to.exports = append(to.exports, export{slot: slot, cut: cut})
			return ^int32(noLeaf)
		}
		from = append(from, at)
		return int32(len(from) - 1)
	}
	for k := len(to.splits); k < len(from); k++ {
		n := s.splits[from[k]]
		n.low, n.high = child(n.low, 2*k+1), child(n.high, 2*k+2)
		to.splits = append(to.splits, n)
	}
	to.number()
}
