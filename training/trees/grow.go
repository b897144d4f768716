// SPDX-License-Identifier: Apache-2.0

package trees

import (
	"cmp"
	"math"
	"slices"
	"sync"

	"github.com/millrace-ml/millrace/training/learn"
)

// histogramBytesMax bounds the histograms that wait for their nodes to be split, where
// the most useful leaf is split first; further ones are made again when they are needed.
const histogramBytesMax = 256 << 20

// grower grows trees on one table, one at a time.
type grower struct {
	*options
	features []learn.Feature
	data     *binned
	workers  int
	// histogramBytes is histogramBytesMax.
	histogramBytes int

	// Of the tree that is grown: the packed derivatives by row, whether features may be
	// used, the rows by node, and their packed derivatives in that order.
	rules   rules
	packed  []uint64
	used    []bool
	order   []int32
	spare   []int32
	ordered []uint64

	// free are histograms that no node has.
	free struct {
		sync.Mutex
		list []*histogram
	}
}

// grow makes a tree of the rows in order.
func (g *grower) grow() *branch {
	root := &branch{hi: len(g.order), lower: math.Inf(-1), upper: math.Inf(1)}
	g.gatherAll(root, g.workers)
	for _, v := range g.ordered[:root.hi] {
		root.sum += v
	}
	if !g.splittable(root) {
		return root
	}
	g.build(root, g.workers)
	root.found = make([]split, g.data.layout.groups)
	parallel(g.workers, len(root.found), func(group int) { g.search(root, group) })
	g.choose(root)
	if g.maxLeaves > 0 {
		g.byGain(root)
	} else {
		g.byLevel(root)
	}
	return root
}

// byLevel splits whatever gains. Large nodes are split by all workers together; what is
// below is a piece of work for one worker, who stays with it while it is in the cache.
func (g *grower) byLevel(root *branch) {
	large := 0
	if g.workers > 1 {
		large = max(blockRows/2, root.rows()/(4*g.workers))
	} else {
		large = math.MaxInt
	}
	level, pieces := []*branch{root}, []*branch(nil)
	for len(level) > 0 {
		var batch []*branch
		for _, b := range level {
			switch {
			case b.best.gain <= 0:
				g.release(b)
			case b.rows() < large:
				pieces = append(pieces, b)
			default:
				batch = append(batch, b)
			}
		}
		level = g.expand(batch, g.workers)
	}
	slices.SortStableFunc(pieces, func(a, b *branch) int { return cmp.Compare(b.rows(), a.rows()) })
	parallel(g.workers, len(pieces), func(i int) { g.piece(pieces[i]) })
}

func (g *grower) piece(b *branch) {
	if b.best.gain <= 0 {
		g.release(b)
		return
	}
	g.expand([]*branch{b}, 1)
	g.piece(b.left)
	g.piece(b.right)
}

// byGain splits the leaf that gains most, as long as there may be more leaves.
func (g *grower) byGain(root *branch) {
	open := []*branch{root}
	bytes := len(g.data.features) * binsMax * 8
	for leaves := 1; leaves < g.maxLeaves; leaves++ {
		most := 0
		for i, b := range open {
			if b.best.gain > open[most].best.gain {
				most = i
			}
		}
		b := open[most]
		if b.best.gain <= 0 {
			break
		}
		g.expand([]*branch{b}, g.workers)
		open[most] = b.left
		open = append(open, b.right)
		if len(open)*bytes > g.histogramBytes {
			g.release(b.left)
			g.release(b.right)
		}
	}
	for _, b := range open {
		g.release(b)
	}
}

// expand splits nodes and finds the best splits of their children, which it returns.
func (g *grower) expand(batch []*branch, workers int) []*branch {
	wide := 1
	if workers > 1 && len(batch) < 2*workers {
		wide = workers
	}
	step := func(i int) {
		g.partition(batch[i], wide)
		g.gatherAll(smaller(batch[i]), wide)
	}
	if wide > 1 {
		for i := range batch {
			step(i)
		}
	} else {
		parallel(workers, len(batch), step)
	}
	var work []*branch
	children := make([]*branch, 0, 2*len(batch))
	for _, b := range batch {
		children = append(children, b.left, b.right)
		if !g.splittable(b.left) && !g.splittable(b.right) {
			g.release(b)
			continue
		}
		g.inherit(b, workers)
		work = append(work, b)
	}
	groups := g.data.layout.groups
	if small := len(work) == 1 && work[0].rows() < 1024; small {
		workers = 1
	}
	parallel(workers, len(work)*groups, func(task int) { g.group(work[task/groups], task%groups) })
	for _, b := range work {
		g.choose(b.left)
		g.choose(b.right)
	}
	return children
}

func smaller(b *branch) *branch {
	if b.right.rows() < b.left.rows() {
		return b.right
	}
	return b.left
}

// splittable reports whether a node may have children at all.
func (g *grower) splittable(b *branch) bool {
	return b.depth < g.maxDepth && b.rows() >= 2*g.minChildRows && b.rows() > 1 &&
		uint64(hOf(b.sum)) >= 2*uint64(g.rules.weightMin)
}

// inherit gives the parent's histogram to the larger child, which group makes its own, and
// a new one to the smaller.
func (g *grower) inherit(b *branch, workers int) {
	if b.hist == nil {
		g.gatherAll(b, workers)
		g.build(b, workers)
	}
	small := smaller(b)
	small.hist = g.take()
	large := b.left
	if small == large {
		large = b.right
	}
	large.hist, b.hist = b.hist, nil
	groups := g.data.layout.groups
	found := make([]split, 2*groups)
	small.found, large.found = found[:groups], found[groups:]
}

// group makes the histograms of the children for a group of features and searches them.
func (g *grower) group(b *branch, group int) {
	small, large := smaller(b), b.left
	if small == large {
		large = b.right
	}
	g.add(small, group)
	lo, hi := g.span(group)
	for f := lo; f < hi; f++ {
		from, of := &large.hist.sums[f], &small.hist.sums[f]
		for bin := range from {
			from[bin] -= of[bin]
		}
		if large.hist.counts != nil {
			counts, of := &large.hist.counts[f], &small.hist.counts[f]
			for bin := range counts {
				counts[bin] -= of[bin]
			}
		}
	}
	g.search(small, group)
	g.search(large, group)
}

func (g *grower) span(group int) (lo, hi int) {
	return group * g.data.width, min((group+1)*g.data.width, len(g.data.features))
}

// add makes a group's part of a node's histogram from its rows.
func (g *grower) add(b *branch, group int) {
	lo, hi := g.span(group)
	rows := g.order[b.lo:b.hi]
	clear(b.hist.sums[lo:hi])
	addGroup(b.hist.sums[lo:hi], g.data.groups[group], rows, g.ordered[b.lo:b.hi])
	if b.hist.counts != nil {
		clear(b.hist.counts[lo:hi])
		countGroup(b.hist.counts[lo:hi], g.data.groups[group], rows)
	}
}

func (g *grower) build(b *branch, workers int) {
	b.hist = g.take()
	parallel(workers, g.data.layout.groups, func(group int) { g.add(b, group) })
}

// search finds the best split of a node among a group of features.
func (g *grower) search(b *branch, group int) {
	var best split
	if g.splittable(b) {
		lo, hi := g.span(group)
		for f := lo; f < hi; f++ {
			if !g.used[f] {
				continue
			}
			if s := g.searchFeature(b, f); s.gain > best.gain {
				best = s
				best.feature = int32(f)
			}
		}
	}
	b.found[group] = best
}

func (g *grower) searchFeature(b *branch, f int) split {
	sums, of := &b.hist.sums[f], &g.data.features[f]
	var counts *[binsMax]uint32
	if b.hist.counts != nil {
		counts = &b.hist.counts[f]
	}
	switch {
	case of.cuts == nil:
		return g.rules.unordered(sums, counts, of, b)
	case g.rules.plain():
		return g.rules.ordered(sums, of, b.sum)
	}
	return g.rules.careful(sums, counts, of, b, g.features[f].Monotone)
}

func (g *grower) choose(b *branch) {
	for _, s := range b.found {
		if s.gain > b.best.gain {
			b.best = s
		}
	}
	b.found = nil
}

func (g *grower) gatherAll(b *branch, workers int) {
	if workers == 1 || b.rows() < 4*blockRows {
		g.gather(b)
		return
	}
	parallel(workers, blocksOf(b.rows()), func(k int) {
		lo, hi := block(k, b.rows())
		g.gather(&branch{lo: b.lo + lo, hi: b.lo + hi})
	})
}

func (g *grower) take() *histogram {
	g.free.Lock()
	defer g.free.Unlock()
	if n := len(g.free.list); n > 0 {
		h := g.free.list[n-1]
		g.free.list = g.free.list[:n-1]
		return h
	}
	h := &histogram{sums: make([][binsMax]uint64, len(g.data.features))}
	if g.rules.rowsMin > 1 {
		h.counts = make([][binsMax]uint32, len(g.data.features))
	}
	return h
}

func (g *grower) release(b *branch) {
	if b.hist == nil {
		return
	}
	g.free.Lock()
	g.free.list = append(g.free.list, b.hist)
	g.free.Unlock()
	b.hist = nil
}
