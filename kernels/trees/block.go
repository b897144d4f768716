// SPDX-License-Identifier: Apache-2.0

package trees

import "slices"

// Sizes that the layouts and the kernels agree on.
const (
	wordRows         = 64 // rows of a word
	wideWords        = 4  // words of a wide tile
	tileRows         = wordRows * wideWords
	wordAlign        = 8     // expansions write this many words at a time
	columnThresholds = 255   // at most, so that places fit a byte
	minLevels        = 4     // of a search table
	groupFeatures    = 16    // that are transposed together
	blockWords       = 16384 // at most: their indices, times 4, are 16 bits
	pathLeaves       = 256   // of a tree, or a piece, at most: their numbers are a byte
	treeTerms        = 2048  // members of all sets of a tree at most, or walks are faster
	pathSlots        = 2*pathLeaves + 2
	planeSet         = 9 // words for each 64 rows: 8 planes, and where NaN is
)

// block is a run of trees that share one table of truth.
type block struct {
	truth   *truth
	trees   []pathTree
	nodes   []pathNode
	flips   []pathFlips
	exports []pathExport
	reached int // pieces so far, while trees are added
}

// run is trees that are evaluated one after another for the same target.
type run struct {
	target      int // when leaves are single
	block       int // the block whose trees these are, or -1: trees that are walked
	first, last int // range of trees in the block, or in Forest.walks
}

// builder lays out the trees of an ensemble.
type builder struct {
	e      *Ensemble
	f      *Forest
	shape  treeShape
	order  []int32 // trees, by target and then as given
	target []int32 // by tree, when leaves are single
}

// build divides the trees, in order, into blocks and runs.
func (b *builder) build() {
	for at := 0; at < len(b.order); {
		if !b.divides(b.order[at]) {
			b.addWalk(b.order[at])
			at++
			continue
		}
		end, stock := b.stock(at)
		b.addBlock(b.order[at:end], stock)
		at = end
	}
}

// divides reads the tree into b.shape and tells whether rows are divided along it:
// larger trees are walked, as are those whose tests alone are too many for a block or
// take longer than the walk.
func (b *builder) divides(tree int32) bool {
	b.shape.read(b.e, b.e.Roots[tree])
	if len(b.shape.leaves) > minTileCost().leaves || b.e.Double {
		return false
	}
	if len(b.shape.leaves) <= pathLeaves && !slices.ContainsFunc(b.shape.splits, func(s split) bool { return s.test.kind == oneOf }) {
		return true // a threshold takes at most 16 words of its own
	}
	alone, terms := newInventory(), 0
	alone.addTree(&b.shape)
	for _, t := range alone.order {
		terms += memberCount(t.members)
	}
	return alone.words <= blockWords && terms <= treeTerms
}

// stock takes trees from order[at] on for as long as the truth of all their tests fits
// a block. Trees that are walked do not end a block.
func (b *builder) stock(at int) (end int, stock *inventory) {
	stock = newInventory()
	for end = at; end < len(b.order); end++ {
		if !b.divides(b.order[end]) {
			continue
		}
		stock.addTree(&b.shape)
		if stock.words > blockWords {
			break
		}
	}
	if end == len(b.order) {
		return end, stock
	}
	// The last tree's tests are in stock already: take it again without them.
	stock = newInventory()
	for _, tree := range b.order[at:end] {
		if b.divides(tree) {
			stock.addTree(&b.shape)
		}
	}
	return end, stock
}

func (b *builder) addBlock(trees []int32, stock *inventory) {
	index := len(b.f.blocks)
	b.f.blocks = append(b.f.blocks, block{truth: stock.layout()})
	to := &b.f.blocks[index]
	for _, tree := range trees {
		if !b.divides(tree) {
			b.addWalk(tree)
			continue
		}
		first := len(to.trees)
		to.addTree(&b.shape, &b.f.leaves)
		b.extend(index, first, len(to.trees), tree)
	}
	to.truth.at = nil
}

// addWalk lays the tree in b.shape out to be walked.
func (b *builder) addWalk(tree int32) {
	b.extend(-1, len(b.f.walks), len(b.f.walks)+1, tree)
	leaf := b.f.leaves.addTree(b.shape.leaves)
	if b.e.Double {
		b.f.walks = append(b.f.walks, b.f.walk64.addTree(&b.shape, leaf))
		return
	}
	b.f.walks = append(b.f.walks, b.f.walk.addTree(&b.shape, leaf))
}

// extend makes trees of a block, or of the walks, part of the last run.
func (b *builder) extend(block, first, last int, tree int32) {
	target := int(b.target[tree])
	if n := len(b.f.runs); n > 0 {
		run := &b.f.runs[n-1]
		if run.block == block && run.target == target && run.last == first {
			run.last = last
			return
		}
	}
	b.f.runs = append(b.f.runs, run{target: target, block: block, first: first, last: last})
}
