// SPDX-License-Identifier: Apache-2.0

package trees

// node is a part of a grown tree. Of a leaf feature is -1.
type node struct {
	feature int32
	// left is the node for rows that go left; the right one comes next after it.
	left int32
	// threshold is the upper end of what goes left. Where set is not negative it is a set
	// of categories that goes left, by number.
	threshold   float32
	set         int32
	missingLeft bool
	// bin is the last that goes left.
	bin uint8
	// value is a leaf's score; gain is a split's.
	value, gain float32
	// weight is that of the training rows that reached the node.
	weight float32
}

// tree is its nodes, the root first, children after their parents.
type tree []node

func (t tree) leaves() int { return (len(t) + 1) / 2 }

// depth is the number of splits on the longest way to a leaf.
func (t tree) depth() int {
	depths, most := make([]int, len(t)), 0
	for i, n := range t {
		if n.feature >= 0 {
			depths[n.left], depths[n.left+1] = depths[i]+1, depths[i]+1
			most = max(most, depths[i]+1)
		}
	}
	return most
}

// sides says for each bin whether it goes left: 1, or 0.
type sides [binsMax]uint8

// branch is a node while its tree is grown. Its rows are order[lo:hi].
type branch struct {
	lo, hi, depth int
	// sum is packed, of all its rows.
	sum  uint64
	hist *histogram
	best split
	// lower and upper bound its leaf's value so that monotone features stay monotone.
	lower, upper float64
	left, right  *branch
	// found are the best splits by group of features.
	found []split
	// value and weight are set once it is a leaf, weight of splits too.
	value, weight float32
}

func (b *branch) rows() int { return b.hi - b.lo }

// split is a way to part a node's rows. Gain 0 is none.
type split struct {
	gain    float64
	feature int32
	// bin is the last that goes left, of a feature with an order; else categories has 1
	// for the bins that go left.
	bin         uint8
	missingLeft bool
	categories  *sides
	// left is the packed sum of what goes left.
	left uint64
}
