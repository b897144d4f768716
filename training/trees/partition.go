// SPDX-License-Identifier: Apache-2.0

package trees

// sidesOf says which bins go left.
func (s *split) sidesOf() *sides {
	if s.categories != nil {
		return s.categories
	}
	var to sides
	for b := range int(s.bin) + 1 {
		to[b] = 1
	}
	to[missingBin] = 0
	if s.missingLeft {
		to[missingBin] = 1
	}
	return &to
}

// partition puts the rows of a branch that go left before those that go right, each in
// the order they had, and makes the children. Large ones are done by block.
func (g *grower) partition(b *branch, workers int) {
	column, left := g.data.column(b.best.feature), b.best.sidesOf()
	order, spare := g.order[b.lo:b.hi], g.spare[b.lo:b.hi]
	n := len(order)
	var lefts int
	if blocks := blocksOf(n); workers > 1 && blocks > 1 {
		counts := make([]int, blocks)
		parallel(workers, blocks, func(k int) {
			lo, hi := block(k, n)
			counts[k] = part(order[lo:hi], spare[lo:hi], column, left)
		})
		lefts = join(order, spare, counts)
	} else {
		lefts = part(order, spare, column, left)
		copy(order[lefts:], spare[:n-lefts])
	}
	b.left = g.child(b, b.lo, b.lo+lefts, b.best.left)
	b.right = g.child(b, b.lo+lefts, b.hi, b.sum-b.best.left)
	if g.rules.bounded {
		g.bound(b)
	}
	b.best.categories = left
}

// part moves the rows that go left to the front and copies the others to spare. It writes
// both and advances one, since branches on data like this are mispredicted.
func part(order, spare []int32, column []byte, left *sides) (lefts int) {
	spare = spare[:len(order)]
	rights := 0
	for _, row := range order {
		goes := int(left[column[int(row)*groupMax]])
		order[lefts] = row
		spare[rights] = row
		lefts += goes
		rights += 1 - goes
	}
	return lefts
}

// join brings the parts of blocks together.
func join(order, spare []int32, counts []int) (lefts int) {
	for k, n := range counts {
		lo, _ := block(k, len(order))
		lefts += copy(order[lefts:], order[lo:lo+n])
	}
	at := lefts
	for k, n := range counts {
		lo, hi := block(k, len(order))
		at += copy(order[at:], spare[lo:hi-n])
	}
	return lefts
}

func (g *grower) child(b *branch, lo, hi int, sum uint64) *branch {
	return &branch{lo: lo, hi: hi, depth: b.depth + 1, sum: sum, lower: b.lower, upper: b.upper}
}

// bound parts the range of values at the middle of the children's, if the split is on a
// monotone feature, so that nothing below them crosses.
func (g *grower) bound(b *branch) {
	monotone := g.features[b.best.feature].Monotone
	if monotone == 0 {
		return
	}
	_, l := g.rules.score(b.left.sum, g.rules.lambda, b.lower, b.upper)
	_, r := g.rules.score(b.right.sum, g.rules.lambda, b.lower, b.upper)
	middle := (l + r) / 2
	if monotone > 0 {
		b.left.upper, b.right.lower = middle, middle
	} else {
		b.left.lower, b.right.upper = middle, middle
	}
}

// gather puts the packed derivatives of a branch's rows in their order.
func (g *grower) gather(b *branch) {
	to := g.ordered[b.lo:b.hi]
	for i, row := range g.order[b.lo:b.hi] {
		to[i] = g.packed[row]
	}
}
