// SPDX-License-Identifier: Apache-2.0

package trees

import "math"

// walkNode is a node of a tree that rows walk one node at a time. A leaf is a node that
// leads to itself, so that the rows of a tree go side by side without asking which of
// them have arrived.
type walkNode[F float] struct {
	threshold F
	feature   uint32 // with the flags below
	child     [2]int32
}

// The flags of walkNode.feature; FeaturesMax and NodesMax leave room for them.
const (
	walkNaNHigh = 1 << 31 // NaN goes to child 1
	walkTest    = 1 << 30 // not a threshold: the rest is an index into walkForest.tests
	walkIndex   = walkTest - 1
)

// walkTree is where a tree's nodes and leaves begin. Its leaf nodes follow its splits,
// in the order of their numbers.
type walkTree struct {
	root   int32
	splits int32
	leaf   uint32
}

// walkForest is the trees that are walked.
type walkForest[F float] struct {
	nodes []walkNode[F]
	tests []test
}

func (w *walkForest[F]) addTree(s *treeShape, leaf uint32) walkTree {
	t := walkTree{root: int32(len(w.nodes)), splits: int32(len(s.splits)), leaf: leaf}
	at := func(child int32) int32 {
		if child < 0 {
			return t.root + t.splits + ^child
		}
		return t.root + child
	}
	for i := range s.splits {
		n := &s.splits[i]
		node := walkNode[F]{
			threshold: F(n.test.threshold), feature: uint32(n.test.feature),
			child: [2]int32{at(n.low), at(n.high)},
		}
		switch {
		case n.test.kind != atLeast:
			node.feature = walkTest | uint32(len(w.tests))
			w.tests = append(w.tests, n.test)
		case n.test.nanHigh:
			node.feature |= walkNaNHigh
		}
		w.nodes = append(w.nodes, node)
	}
	for range s.leaves {
		self := int32(len(w.nodes))
		w.nodes = append(w.nodes, walkNode[F]{threshold: F(math.NaN()), child: [2]int32{self, self}})
	}
	return t
}

// walk finds the leaf numbers of rows, four side by side: each waits for memory while
// the others go on.
func (w *walkForest[F]) walk(t walkTree, x []F, ldx int, ids []uint32) {
	if t.splits == 0 {
		clear(ids)
		return
	}
	r := 0
	for ; r+4 <= len(ids); r += 4 {
		x0, x1, x2, x3 := x[r*ldx:], x[(r+1)*ldx:], x[(r+2)*ldx:], x[(r+3)*ldx:]
		a, b, c, d := t.root, t.root, t.root, t.root
		for {
			a1, b1, c1, d1 := w.step(a, x0), w.step(b, x1), w.step(c, x2), w.step(d, x3)
			if (a1-a)|(b1-b)|(c1-c)|(d1-d) == 0 {
				break
			}
			a, b, c, d = a1, b1, c1, d1
		}
		first := t.root + t.splits
		ids[r], ids[r+1], ids[r+2], ids[r+3] = uint32(a-first), uint32(b-first), uint32(c-first), uint32(d-first)
	}
	for ; r < len(ids); r++ {
		at := t.root
		for next := w.step(at, x[r*ldx:]); next != at; next = w.step(at, x[r*ldx:]) {
			at = next
		}
		ids[r] = uint32(at - t.root - t.splits)
	}
}

// step is where a row goes from a node.
func (w *walkForest[F]) step(at int32, row []F) int32 {
	n := &w.nodes[at]
	if n.feature&walkTest != 0 {
		return w.stepTest(n, row)
	}
	v := row[n.feature&walkIndex]
	high := n.feature >> 31
	if v == v {
		high = 0
		if v >= n.threshold {
			high = 1
		}
	}
	return n.child[high&1]
}

func (w *walkForest[F]) stepTest(n *walkNode[F], row []F) int32 {
	t := &w.tests[n.feature&walkIndex]
	if t.holds(float64(row[t.feature])) {
		return n.child[1]
	}
	return n.child[0]
}
