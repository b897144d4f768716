// SPDX-License-Identifier: Apache-2.0

package trees

import (
	"testing"

	"github.com/millrace-ml/millrace/kernels/kerneltest"
)

// TestLeafNumbers checks that leaves have numbers of their own, which are what the
// flips on the way to them make.
func TestLeafNumbers(t *testing.T) {
	r := kerneltest.Rand(t, 1)
	for _, s := range []shape{
		{leaves: 1}, {leaves: 2}, {leaves: 31}, {leaves: 33}, {leaves: 200}, {leaves: 256}, {leaves: 256, chain: true},
	} {
		s.trees, s.features, s.targets, s.exact = 1, 3, 1, true
		e := grown(r, s)
		var tree treeShape
		tree.read(e, e.Roots[0])
		n := numberLeaves(&tree)
		used := 0
		for _, leaf := range n.leaves {
			if leaf != noLeaf {
				used++
			}
		}
		if used != s.leaves || len(n.leaves) >= 2*max(s.leaves, 1) && s.leaves > 1 {
			t.Errorf("%v: %d leaves with numbers below %d", s, used, len(n.leaves))
		}
		checkNumbers(t, &tree, n, 0, 0)
	}
}

// checkNumbers follows the tree from a child on, with the number flipped so far.
func checkNumbers(t *testing.T, tree *treeShape, n *leafNumbers, child int32, number uint8) {
	t.Helper()
	if len(tree.splits) == 0 {
		child = ^0
	}
	if child < 0 {
		if got := n.leaves[number]; got != tree.leaves[^child] {
			t.Errorf("number %d is of leaf %d, not of %d", number, got, tree.leaves[^child])
		}
		return
	}
	split := &tree.splits[child]
	checkNumbers(t, tree, n, split.low, number)
	flipped := number
	for _, flips := range n.flips() {
		for bit, slot := range flips {
			if slot == uint16(2*child+2)*4 {
				flipped ^= 1 << bit
			}
		}
	}
	if flipped == number {
		t.Errorf("split %d flips nothing", child)
	}
	checkNumbers(t, tree, n, split.high, flipped)
}

// TestFewFlips checks that numbers are chosen well: a split of a tree as boosting grows
// them flips little more than one bit, and no bit is flipped much more than others.
func TestFewFlips(t *testing.T) {
	r := kerneltest.Rand(t, 2)
	for range 20 {
		e := grown(r, shape{trees: 1, leaves: 255, features: 3, targets: 1, exact: true})
		var tree treeShape
		tree.read(e, e.Roots[0])
		n, all := numberLeaves(&tree), 0
		for _, count := range n.flipped {
			all += count
		}
		if most := len(n.flips()); all > 3*len(tree.splits)/2 || most > all/4 {
			t.Errorf("%d splits make %d flips, up to %d of a bit", len(tree.splits), all, most)
		}
	}
}
