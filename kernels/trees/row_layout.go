// SPDX-License-Identifier: Apache-2.0

package trees

import "encoding/binary"

// laneSplit is a split of one tree with the leaves it clears.
type laneSplit struct {
	rowSplit
	first, last int  // clears first <= leaf < last
	clearsRight bool // rather than the left branch
}

// laneTree is a tree with its leaves in the order of L1: the nodes and leaves (as
// Node.True) where lanes end.
type laneTree struct {
	splits []laneSplit
	leaves []int32
}

// laneTests calls f with each test that clears what the split clears.
func (s *laneSplit) laneTests(f func(test rowSplit, complement bool)) {
	if s.clearsRight {
		f(s.rowSplit, true)
		return
	}
	s.tests(f)
}

// add appends the tree below at, down to where ends says. It recurses no deeper than
// there are leaves.
func (t *laneTree) add(e *Ensemble, at int32, ends childCounts) {
	if ends.of(at) == 1 {
		t.leaves = append(t.leaves, at)
		return
	}
	from, _ := rowSplitOf(&e.Nodes[at])
	s := laneSplit{rowSplit: from, first: len(t.leaves)}
	near, far := s.left, s.right
	// An equal split is two tests for leaving the one branch: the other cannot be left
	// by any number of tests of which one has to hold.
	if !s.equal && ends.of(s.right) < ends.of(s.left) {
		s.clearsRight = true
		near, far = far, near
	}
	i := len(t.splits)
	t.splits = append(t.splits, s)
	t.add(e, near, ends)
	t.splits[i].last = len(t.leaves)
	t.add(e, far, ends)
}

// laneBuilder lays out an ensemble in lanes.
type laneBuilder struct {
	e      *Ensemble
	words  *rowWords
	leaves childCounts
	ends   childCounts // where lanes end: leaves, or twigs where twigged is set

	twigged bool

	index binIndex
	span  *rowSpan
}

// lanesOf lays out an ensemble in the way that is estimated to be fastest; nil where
// that is to walk it, or it does not fit.
func lanesOf(e *Ensemble, words *rowWords) []*rowSpan {
	b := laneBuilder{e: e, words: words, leaves: countLeaves(e)}
	b.ends, b.twigged = countTwigs(e), true
	best, cost := b.fastest(nil, len(e.Roots)*walkCost)
	if best == nil || len(e.Leaves) <= lanesMean*len(e.Roots) {
		b.ends, b.twigged = b.leaves, false
		best, _ = b.fastest(best, cost)
	}
	return best
}

// lanesMean is how many leaves trees have at the most, on average, that are laid out
// without twigs too, to see whether that is faster: it is up to about 40.
const lanesMean = 64

// fastest lays out the ensemble with spans of several sizes: fewer trees have fewer
// bounds, and so fewer banks. It gives what was best so far where none is faster.
func (b *laneBuilder) fastest(best []*rowSpan, cost int) ([]*rowSpan, int) {
	for _, root := range b.e.Roots {
		if b.ends.of(root) > leavesMax {
			return best, cost
		}
	}
	for _, size := range []int{max(len(b.e.Roots), 1), laneCount, laneCount / 2, laneCount / 4} {
		spans, banks := b.build(size)
		if c := costOf(spans); spans != nil && c < cost {
			best, cost = spans, c
		}
		if banks <= 1 {
			break
		}
	}
	return best, cost
}

// build makes spans of so many trees, and gives the most banks that one has. It makes
// none where one does not fit.
func (b *laneBuilder) build(size int) (spans []*rowSpan, banks int) {
	for first := 0; first < len(b.e.Roots); first += size {
		span, n := b.spanOf(b.e.Roots[first:min(first+size, len(b.e.Roots))])
		banks = max(banks, n)
		if span == nil {
			return nil, banks
		}
		spans = append(spans, span)
	}
	return spans, banks
}

// spanOf lays trees out in groups; nil where they do not fit.
func (b *laneBuilder) spanOf(roots []int32) (span *rowSpan, banks int) {
	b.index = newBinIndex()
	trees := make([]laneTree, len(roots))
	for i, root := range roots {
		trees[i].add(b.e, root, b.ends)
		if !b.addBins(root) {
			return nil, 0
		}
	}
	bins, ok := b.index.build()
	if !ok {
		return nil, slotsMax / 64
	}
	banks = bins.banks()
	b.span = &rowSpan{bins: bins}
	if b.twigged {
		if banks > 1 {
			return nil, banks
		}
		b.addTwig(nil)
	}
	for first := 0; first < len(trees); first += laneCount {
		b.addGroup(trees[first:min(first+laneCount, len(trees))])
	}
	if b.twigged {
		b.span.twigs = alignedCopy(b.span.twigs)
	}
	return b.span, banks
}

// addBins notes what a tree compares with.
func (b *laneBuilder) addBins(root int32) bool {
	ok := true
	b.e.visit(root, func(n *Node) {
		s, known := rowSplitOf(n)
		ok = ok && known
		s.tests(func(test rowSplit, _ bool) { b.index.add(test) })
	})
	return ok
}

// laneStep is one lane of a step.
type laneStep struct{ place, bound, mask uint8 }

// step is what the kernels need of a test, without a mask, and its bank.
func (b *laneBuilder) step(test rowSplit, complement bool) (s laneStep, bank int) {
	slot, bound := b.index.find(binKey{test.feature, test.missingRight}, test.bound)
	bins := &b.span.bins
	bank, place := slot/bins.half, slot%bins.half
	if complement {
		place, bound = place+bins.half, boundsMax-bound
	}
	return laneStep{place: uint8(place), bound: uint8(bound)}, bank
}

// addGroup lays out up to 64 trees.
func (b *laneBuilder) addGroup(trees []laneTree) {
	g := rowGroup{trees: len(trees), planes: 1}
	for i := range trees {
		g.planes = max(g.planes, (len(trees[i].leaves)+planeSize-1)/planeSize)
	}
	g.perPlane = (laneCount/4 + g.planes - 1) / g.planes
	banks := b.span.bins.banks()
	cells := make([][laneCount][]laneStep, g.planes*banks)
	for lane := range trees {
		for i := range trees[lane].splits {
			s := &trees[lane].splits[i]
			s.laneTests(func(test rowSplit, complement bool) {
				step, bank := b.step(test, complement)
				for plane := s.first / planeSize; plane*planeSize < s.last; plane++ {
					step.mask = planeMask(s, plane)
					cell := &cells[(g.planes-1-plane)*banks+bank][lane]
					*cell = append(*cell, step)
				}
			})
		}
	}
	for i := range cells {
		g.emit(&cells[i])
	}
	g.steps = alignedCopy(g.steps)
	if b.twigged {
		b.addTwigs(&g, trees)
	} else {
		b.addWords(&g, trees)
	}
	b.span.groups = append(b.span.groups, g)
}

// planeMask is which leaves of a plane a split clears.
func planeMask(s *laneSplit, plane int) uint8 {
	first := max(s.first-plane*planeSize, 0)
	last := min(s.last-plane*planeSize, planeSize)
	return uint8(1<<last - 1<<first)
}

// emit appends the steps of a plane and bank.
func (g *rowGroup) emit(cell *[laneCount][]laneStep) {
	n := 0
	for lane := range cell {
		n = max(n, len(cell[lane]))
	}
	g.counts = append(g.counts, uint16(n))
	for i := range n {
		var step [stepBytes]uint8
		for lane := range cell {
			s := laneStep{bound: neverFires}
			if i < len(cell[lane]) {
				s = cell[lane][i]
			}
			step[lane], step[laneCount+lane], step[2*laneCount+lane] = s.place, s.bound, s.mask
		}
		g.steps = append(g.steps, step[:]...)
	}
}

// addWords notes what the leaves of a group's trees give. Lanes without a tree give -0:
// adding that changes nothing.
func (b *laneBuilder) addWords(g *rowGroup, trees []laneTree) {
	stride := g.planes * planeSize
	g.words = make([]uint32, laneCount*stride)
	for i := range g.words {
		g.words[i] = noWord
	}
	for lane := range trees {
		for i, leaf := range trees[lane].leaves {
			g.words[lane*stride+i] = b.words.of(^leaf)
		}
	}
}

const noWord = 1 << 31 // the bits of -0

// addTwigs lays out what lanes of a group end in. Lanes without a tree have twig 0.
func (b *laneBuilder) addTwigs(g *rowGroup, trees []laneTree) {
	g.first = make([]uint32, laneCount)
	for lane := range trees {
		g.first[lane] = uint32(len(b.span.twigs) / twigBytes)
		for _, at := range trees[lane].leaves {
			var t laneTree
			t.add(b.e, at, b.leaves)
			b.addTwig(&t)
		}
	}
}

// addTwig appends a twig; nil is one that gives nothing.
func (b *laneBuilder) addTwig(t *laneTree) {
	var twig [twigBytes]uint8
	for i := range twigSize {
		twig[twigBounds+i] = neverFires
		binary.LittleEndian.PutUint32(twig[twigWords+4*i:], noWord)
	}
	if t != nil {
		n := 0
		for i := range t.splits {
			s := &t.splits[i]
			s.laneTests(func(test rowSplit, complement bool) {
				step, _ := b.step(test, complement)
				twig[n], twig[twigBounds+n] = step.place, step.bound
				for leaf := s.first; leaf < s.last; leaf++ {
					clears := twig[twigClears+2*leaf:]
					binary.LittleEndian.PutUint16(clears, binary.LittleEndian.Uint16(clears)|1<<n)
				}
				n++
			})
		}
		for i, leaf := range t.leaves {
			binary.LittleEndian.PutUint32(twig[twigWords+4*i:], b.words.of(^leaf))
		}
	}
	b.span.twigs = append(b.span.twigs, twig[:]...)
}

// Estimates in cycles of one row, from measurements on Zen 4.
const (
	walkCost  = 60 // a tree
	binCost   = 8  // a slot
	stepCost  = 5
	planeCost = 8
	sumCost   = 3 // a tree
	twigCost  = 7 // a tree
)

// costOf estimates the cycles of one row.
func costOf(spans []*rowSpan) int {
	cost := 0
	for _, span := range spans {
		cost += len(span.bins.slots) * binCost
		for i := range span.groups {
			g := &span.groups[i]
			cost += len(g.steps)/stepBytes*stepCost + g.planes*planeCost
			if span.twigs != nil {
				cost += g.trees * twigCost
			} else {
				cost += g.trees * sumCost
			}
		}
	}
	return cost
}

// childCounts is how much there is below each node: leaves, or what stands for them.
type childCounts []int32

// of counts what is below a child or root.
func (c childCounts) of(at int32) int {
	if at < 0 {
		return 1
	}
	return int(c[at])
}

// countLeaves counts leaves.
func countLeaves(e *Ensemble) childCounts {
	counts := make(childCounts, len(e.Nodes)+1)
	e.visitUp(func(i int32, n *Node) { counts[i] = int32(counts.of(n.True) + counts.of(n.False)) })
	return counts
}

// countTwigs counts the twigs that a tree is cut into, and leaves outside of any.
func countTwigs(e *Ensemble) childCounts {
	// A split that is two tests counts as two.
	tests := make(childCounts, len(e.Nodes)+1)
	twigs := make(childCounts, len(e.Nodes)+1)
	e.visitUp(func(i int32, n *Node) {
		tests[i] = int32(tests.of(n.True) + tests.of(n.False))
		if n.Compare == Equal || n.Compare == NotEqual || n.Compare == Member {
			tests[i]++
		}
		twigs[i] = 1
		if tests[i] > twigSize {
			twigs[i] = int32(twigs.of(n.True) + twigs.of(n.False))
		}
	})
	return twigs
}

// visit calls f with each node below a root, parents first.
func (e *Ensemble) visit(root int32, f func(n *Node)) {
	for todo := []int32{root}; len(todo) > 0; {
		at := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if at >= 0 {
			f(&e.Nodes[at])
			todo = append(todo, e.Nodes[at].True, e.Nodes[at].False)
		}
	}
}

// visitUp calls f with each node of every tree, children first.
func (e *Ensemble) visitUp(f func(i int32, n *Node)) {
	var order []int32
	for _, root := range e.Roots {
		order = append(order[:0], root)
		for i := 0; i < len(order); i++ {
			if at := order[i]; at >= 0 {
				order = append(order, e.Nodes[at].True, e.Nodes[at].False)
			}
		}
		for i := len(order) - 1; i >= 0; i-- {
			if at := order[i]; at >= 0 {
				f(at, &e.Nodes[at])
			}
		}
	}
}
