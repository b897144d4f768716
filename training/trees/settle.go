// SPDX-License-Identifier: Apache-2.0

package trees

import "math"

// settle gives the leaves of a grown tree their values and adds them to the scores of
// their rows.
func (f *fit) settle(root *branch, k int) {
	var leaves []*branch
	var find func(b *branch)
	find = func(b *branch) {
		if b.left == nil {
			leaves = append(leaves, b)
			return
		}
		find(b.left)
		find(b.right)
	}
	find(root)
	scores := f.scores[k]
	parallel(f.workers, len(leaves), func(i int) {
		b := leaves[i]
		rows := f.grow.order[b.lo:b.hi]
		b.value = f.leafValue(b, rows, k)
		b.weight = float32(len(rows))
		if f.table.Weights != nil {
			w := 0.0
			for _, row := range rows {
				w += float64(f.table.Weights[row])
			}
			b.weight = float32(w)
		}
		for _, row := range rows {
			scores[row] += b.value
		}
	})
}

// leafValue is -G/(H+lambda) of the derivatives as they are, not as they were packed.
func (f *fit) leafValue(b *branch, rows []int32, k int) float32 {
	if p, ok := f.objective.(pinball); ok {
		return float32(f.learningRate) * f.residual(rows, k, p.quantile)
	}
	pairs, g, h := f.pairs[k], 0.0, 0.0
	for _, row := range rows {
		g += float64(pairs[row].g)
		h += float64(pairs[row].h)
	}
	value := -shrink(g, f.alpha) / (h + f.lambda)
	if math.IsNaN(value) {
		value = 0
	}
	if f.grow.rules.bounded {
		// Bounds are in units of packed sums.
		unit := f.grow.rules.scale.h / f.grow.rules.scale.g
		value = min(max(value, b.lower*unit), b.upper*unit)
	}
	return float32(value * f.learningRate)
}

// residual is a quantile of label less score.
func (f *fit) residual(rows []int32, k int, q float64) float32 {
	lacks := make([]float32, len(rows))
	order := make([]int32, len(rows))
	table := *f.table
	if f.table.Weights != nil {
		table.Weights = make([]float32, len(rows))
	}
	for i, row := range rows {
		lacks[i], order[i] = f.table.Labels[row]-f.scores[k][row], int32(i)
		if f.table.Weights != nil {
			table.Weights[i] = f.table.Weights[row]
		}
	}
	return quantileOf(&table, lacks, order, q)
}

// flatten makes the tree, children side by side.
func (f *fit) flatten(root *branch) tree {
	branches := []*branch{root}
	var t tree
	for i := 0; i < len(branches); i++ {
		b := branches[i]
		n := node{feature: -1, set: -1, value: b.value}
		if b.left != nil {
			n = f.splitNode(b)
			n.left = int32(len(branches))
			branches = append(branches, b.left, b.right)
		}
		t = append(t, n)
	}
	for i := len(t) - 1; i >= 0; i-- {
		t[i].weight = branches[i].weight
		if b := branches[i]; b.left != nil {
			t[i].weight = t[t[i].left].weight + t[t[i].left+1].weight
		}
	}
	return t
}

func (f *fit) splitNode(b *branch) node {
	of := &f.grow.data.features[b.best.feature]
	n := node{feature: b.best.feature, set: -1, gain: float32(b.best.gain), bin: b.best.bin, missingLeft: b.best.missingLeft}
	if of.cuts != nil {
		n.threshold = of.cuts[b.best.bin]
		return n
	}
	n.set = int32(len(f.sides))
	f.sides = append(f.sides, b.best.categories)
	var codes []int32
	for bin, code := range of.codes {
		if b.best.categories[bin] == 1 {
			codes = append(codes, code)
		}
	}
	f.model.sets = append(f.model.sets, setOf(codes))
	return n
}
