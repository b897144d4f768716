// SPDX-License-Identifier: Apache-2.0

package attribution

import (
	"maps"
	"slices"

	"gonum.org/v1/gonum/integrate/quad"
)

// split is how a node parts rows.
type split struct {
	// less, equal, greater and missing are 1 where a value that compares so with the
	// threshold takes the branch for true, else 0.
	less, equal, greater, missing uint8
	threshold                     float32
	column                        int32
	// yes is the child for true, no that for false; before is their previous node, or the
	// number of nodes where there is none.
	yes, no, before int32
}

// link is a node seen from below: where sums and parts go, and a leaf's value.
type link struct {
	parent, feature int32
	value           float64
}

// node is a node of a tree while the tree is made, by order of a walk that meets parents before children.
type node struct {
	leaf bool
	split
	// parent is the node above, its feature the one it splits by; previous is the nearest
	// node above, itself not included, whose parent splits by that feature too, or -1.
	parent, previous, feature int32
	// share is the part of the rows at nodes of the same feature's splits on the path that
	// comes here.
	share float64
	// source is the node's place in the ensemble.
	source int
}

// tree is a tree with the scores of one output.
type tree struct {
	// chunks is how many times four points there are.
	output, chunks int
	splits         []split
	links          []link
	// expected is the mean of the leaves' values by rows.
	expected float64
	// steps has a step for each chunk of each of three cases of each node: the row does not
	// go the way of the feature's splits, before this one already; it does not since this
	// one; it does.
	steps []step
}

// step is what a node does to four points: factors turn the product of the parent into the
// node's; parts times the sums of its leaves are what its feature adds. It fills a line of
// the cache.
type step struct{ factors, parts [4]float64 }

// builder makes a tree of an ensemble's nodes.
type builder struct {
	explainer *Explainer
	from      *ensemble
	id        int64
	nodes     map[int64]int
	made      []node
	// most is the greatest number of features on a path.
	most int
}

// depthOfTreesMax bounds the recursion.
const depthOfTreesMax = 1024

// tree walks the nodes from the root.
func (b *builder) tree(root int64) error {
	if root < 0 {
		return refuse("tree %d has no root", b.id)
	}
	if _, err := b.walk(root, node{parent: -1, previous: -1, feature: -1, share: 1}, 0); err != nil {
		return err
	}
	if len(b.made) != len(b.nodes) {
		return refuse("tree %d has nodes that no way leads to", b.id)
	}
	return nil
}

// walk adds a node, whose ties to those above are given, and what is below it.
func (b *builder) walk(id int64, n node, depth int) (int32, error) {
	i, ok := b.nodes[id]
	if !ok {
		return 0, refuse("tree %d has no node %d", b.id, id)
	}
	if len(b.made) > len(b.nodes) || depth > depthOfTreesMax {
		return 0, refuse("tree %d has a cycle or is deeper than %d", b.id, depthOfTreesMax)
	}
	t, at := b.from, int32(len(b.made))
	n.leaf, n.threshold, n.source = t.modes[i] == leaf, t.thresholds[i], i
	n.compare(t.modes[i], t.missing[i] != 0)
	b.made = append(b.made, n)
	if n.leaf {
		b.most = max(b.most, b.features(at))
		return at, nil
	}
	feature, err := b.explainer.single(t.features[i])
	if err != nil {
		return 0, err
	}
	b.made[at].column = int32(t.features[i])
	yes, ok := b.nodes[t.trues[i]]
	no, ok2 := b.nodes[t.falses[i]]
	if !ok || !ok2 {
		return 0, refuse("tree %d: node %d lacks a child", b.id, id)
	}
	previous := at
	for previous >= 0 && b.made[previous].feature != feature {
		previous = b.made[previous].parent
	}
	before := 1.0
	if previous >= 0 {
		before = b.made[previous].share
	}
	below := func(child, other int, next int64) (int32, error) {
		return b.walk(next, node{parent: at, previous: previous, feature: feature, share: before * share(t.hits[child], t.hits[other])}, depth+1)
	}
	first, err := below(yes, no, t.trues[i])
	if err != nil {
		return 0, err
	}
	second, err := below(no, yes, t.falses[i])
	b.made[at].yes, b.made[at].no = first, second
	return at, err
}

// features counts the different features on the path to a node.
func (b *builder) features(at int32) int {
	count := 0
	for ; at > 0; at = b.made[at].parent {
		if b.made[at].previous < 0 {
			count++
		}
	}
	return count
}

// outputs are those that leaves have scores of.
func (b *builder) outputs() []int64 {
	found := map[int64]bool{}
	for _, n := range b.made {
		for _, place := range b.from.leaves[b.key(n)] {
			if target := b.from.targets[place]; n.leaf && target >= 0 && target < int64(b.explainer.outputs) {
				found[target] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(found))
}

func (b *builder) key(n node) [2]int64 { return [2]int64{b.id, b.from.ids[n.source]} }

// points is how many make the quadrature exact.
func (b *builder) points() int { return max(1, (b.most+1)/2) }

// steps is how many a tree of the nodes has.
func (b *builder) steps() int { return len(b.made) * 3 * ((b.points() + 3) / 4) }

// finish makes the tree for an output.
func (b *builder) finish(output int64) *tree {
	points := b.points()
	t := &tree{output: int(output), chunks: (points + 3) / 4, links: make([]link, len(b.made))}
	// Points beyond those needed weigh nothing.
	at, weights := make([]float64, 4*t.chunks), make([]float64, 4*t.chunks)
	quad.Legendre{}.FixedLocations(at[:points], weights[:points], 0, 1)
	t.steps = make([]step, b.steps())
	reach := make([]float64, len(b.made))
	for i, n := range b.made {
		reach[i] = 1
		if i > 0 {
			before := 1.0
			if n.previous >= 0 {
				before = b.made[n.previous].share
			}
			reach[i] = reach[n.parent] * n.share / before
			t.tabulate(i, &n, before, at, weights)
		}
		t.links[i] = link{parent: n.parent, feature: n.feature}
		if !n.leaf {
			n.before = b.made[n.yes].previous
			if n.before < 0 {
				n.before = int32(len(b.made))
			}
			t.splits = append(t.splits, n.split)
			continue
		}
		for _, place := range b.from.leaves[b.key(n)] {
			if b.from.targets[place] == output {
				t.links[i].value += float64(b.from.weights[place])
			}
		}
		t.expected += t.links[i].value * reach[i]
	}
	return t
}

// tabulate fills the factors and parts of a node whose feature had a share before.
func (t *tree) tabulate(i int, n *node, before float64, at, weights []float64) {
	factor := func(share, owns, x float64) float64 { return share*(1-x) + owns*x }
	for c, owns := range [3][2]float64{{0, 0}, {1, 0}, {1, 1}} {
		for q, x := range at {
			old, now := factor(before, owns[0], x), factor(n.share, owns[1], x)
			to := &t.steps[(i*3+c)*t.chunks+q/4]
			to.factors[q%4] = now / old
			// What was put down to the feature at its split above for the same leaves is
			// taken back.
			to.parts[q%4] = weights[q] * ((owns[1]-n.share)/now - (owns[0]-before)/old)
		}
	}
}

// scratch is memory of one call.
type scratch struct {
	columns []float32
	// products and sums are by node and chunk.
	products, sums [][4]float64
	// goes says whether the row goes the way of all splits of a node's feature; cases are
	// the nodes' cases.
	goes, cases []uint8
}

// explain adds what features add to the tree's score.
func (t *tree) explain(s *scratch, to []float64) {
	t.decide(s)
	for chunk := range t.chunks {
		t.integrate(s, chunk, to)
	}
}

// decide finds the cases of all nodes. It does not branch on the row's values, since such
// branches are mispredicted.
func (t *tree) decide(s *scratch) {
	none := len(t.links)
	goes, cases := s.goes[:none+1], s.cases[:none]
	// The last stands for nodes whose feature no split above has.
	goes[none] = 1
	for i := range t.splits {
		n := &t.splits[i]
		taken, before := n.takes(s.columns[n.column]), goes[n.before]
		yes, no := before&taken, before&(1-taken)
		goes[n.yes], goes[n.no] = yes, no
		cases[n.yes], cases[n.no] = before+yes, before+no
	}
}

// takes is 1 where a value takes the branch for true.
func (n *split) takes(x float32) uint8 {
	return one(x < n.threshold)&n.less | one(x == n.threshold)&n.equal | one(x > n.threshold)&n.greater | one(x != x)&n.missing
}

// one is compiled without a branch.
func one(b bool) uint8 {
	var x uint8
	if b {
		x = 1
	}
	return x
}

// compare sets what takes reads.
func (n *split) compare(m mode, missingTrue bool) {
	n.less, n.equal, n.greater = one(m == less || m == lessOrEqual || m == notEqual),
		one(m == equal || m == lessOrEqual || m == greaterOrEqual), one(m == greater || m == greaterOrEqual || m == notEqual)
	// What is missing equals nothing.
	n.missing = one(missingTrue || m == notEqual)
}

// integrate adds the parts of four points.
func (t *tree) integrate(s *scratch, chunk int, to []float64) {
	count := len(t.links)
	products, sums, cases := s.products[:count], s.sums[:count], s.cases[:count]
	products[0] = [4]float64{1, 1, 1, 1}
	sums[0] = [4]float64{}
	for i := 1; i < count; i++ {
		n := &t.links[i]
		f := &t.steps[(i*3+int(cases[i]))*t.chunks+chunk].factors
		above := &products[n.parent]
		p := [4]float64{above[0] * f[0], above[1] * f[1], above[2] * f[2], above[3] * f[3]}
		products[i] = p
		v := n.value // 0 but for leaves
		sums[i] = [4]float64{p[0] * v, p[1] * v, p[2] * v, p[3] * v}
	}
	for i := count - 1; i > 0; i-- {
		n := &t.links[i]
		f := &t.steps[(i*3+int(cases[i]))*t.chunks+chunk].parts
		sum, above := &sums[i], &sums[n.parent]
		above[0] += sum[0]
		above[1] += sum[1]
		above[2] += sum[2]
		above[3] += sum[3]
		to[n.feature] += sum[0]*f[0] + sum[1]*f[1] + (sum[2]*f[2] + sum[3]*f[3])
	}
}
