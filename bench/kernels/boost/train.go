// SPDX-License-Identifier: Apache-2.0

package boost

import (
	"math"
	"math/rand/v2"
)

// Options say how to grow an ensemble.
type Options struct {
	Trees, Leaves int
	// Rate is what a tree's leaves are multiplied by.
	Rate float64
	Seed uint64
}

// The rest of what the usual libraries are told.
const (
	rowShare    = 0.8
	columns     = Features * 8 / 10
	lambda      = 1.0
	leafRowsMin = 5
)

// Node is a node of a tree. A value below Threshold goes Left, others and NaN go Right.
type Node struct {
	Feature     int32 // -1 for a leaf
	Threshold   float32
	Left, Right int32
	Value       float32 // of a leaf
}

// Model is trees whose leaves are summed, on top of Base.
type Model struct {
	Base  float32
	Trees [][]Node
}

// First is the model of the first n trees.
func (m *Model) First(n int) *Model { return &Model{m.Base, m.Trees[:n]} }

// Train grows an ensemble for the squared error.
func Train(d *Data, o Options) *Model {
	g := &grower{Options: o, data: bin(d), random: rand.New(rand.NewPCG(o.Seed, 1)), pairs: make([]pair, d.Rows())}
	sum := 0.0
	for _, y := range d.Y {
		sum += float64(y)
	}
	m := &Model{Base: float32(sum / float64(max(d.Rows(), 1)))}
	g.residuals = make([]float32, d.Rows())
	for i, y := range d.Y {
		g.residuals[i] = y - m.Base
	}
	for range o.Trees {
		m.Trees = append(m.Trees, g.tree())
	}
	return m
}

// pair is a number of rows and the sum of their gradients, which are whole numbers of
// steps here, so that one addition counts both and no order of rows matters.
type pair uint64

const (
	countShift = 40
	// bias makes gradients positive; with 2^19 rows of it sums stay below countShift.
	bias  = 1 << 20
	steps = bias - 1
)

func (p pair) count() float64 { return float64(p >> countShift) }

// sum is that of the gradients, in steps.
func (p pair) sum() float64 {
	return float64(int64(p&(1<<countShift-1)) - int64(p>>countShift)*bias)
}

// score is what a leaf of these rows takes off the error.
func (p pair) score() float64 { return p.sum() * p.sum() / (p.count() + lambda) }

type histogram [Features][binsMax]pair

// leaf is a leaf of the tree that grows, with its best split.
type leaf struct {
	node      int32
	rows      []int32
	histogram *histogram
	total     pair
	gain      float64
	feature   int
	bin       int // the last one that goes left
}

// grower grows one tree after another.
type grower struct {
	Options
	data      *binned
	random    *rand.Rand
	residuals []float32
	pairs     []pair // 0 for rows that the tree does not see
	step      float64
	columns   []int
	spare     []*histogram
	order     []int32
	moved     []int32
}

func (g *grower) tree() []Node {
	g.sample()
	nodes := []Node{{Feature: -1}}
	root := g.newLeaf(0, g.order)
	g.count(root.histogram, root.rows)
	g.findSplit(root)
	leaves := []*leaf{root}
	for len(leaves) < g.Leaves {
		best := 0
		for i, l := range leaves {
			if l.gain > leaves[best].gain {
				best = i
			}
		}
		l := leaves[best]
		if l.gain <= 0 {
			break
		}
		at := int32(len(nodes))
		nodes[l.node] = Node{Feature: int32(l.feature), Threshold: g.data.edges[l.feature][l.bin], Left: at, Right: at + 1}
		nodes = append(nodes, Node{Feature: -1}, Node{Feature: -1})
		left, right := g.split(l, at)
		leaves[best] = left
		leaves = append(leaves, right)
	}
	for _, l := range leaves {
		value := float32(g.Rate * l.total.sum() / (l.total.count() + lambda) * g.step)
		nodes[l.node].Value = value
		for _, i := range l.rows {
			g.residuals[i] -= value
		}
		g.spare = append(g.spare, l.histogram)
	}
	return nodes
}

// sample chooses the tree's rows and columns and makes whole numbers of its gradients.
func (g *grower) sample() {
	largest := float32(0)
	for _, r := range g.residuals {
		largest = max(largest, r, -r)
	}
	g.step = math.Max(float64(largest), 1e-30) / steps
	g.order = g.order[:0]
	for i, r := range g.residuals {
		g.order = append(g.order, int32(i))
		g.pairs[i] = 0
		if g.random.Float64() < rowShare {
			g.pairs[i] = 1<<countShift + pair(int64(math.Round(float64(r)/g.step))+bias)
		}
	}
	g.moved = append(g.moved[:0], g.order...)
	g.columns = g.random.Perm(Features)[:columns]
}

func (g *grower) newLeaf(node int32, rows []int32) *leaf {
	l := &leaf{node: node, rows: rows}
	if n := len(g.spare); n > 0 {
		l.histogram, g.spare = g.spare[n-1], g.spare[:n-1]
		*l.histogram = histogram{}
	} else {
		l.histogram = new(histogram)
	}
	return l
}

// count adds rows to a histogram.
func (g *grower) count(h *histogram, rows []int32) {
	for _, i := range rows {
		p := g.pairs[i]
		if p == 0 {
			continue
		}
		bins := (*[Features]uint8)(g.data.bins[int(i)*Features:])
		for _, j := range g.columns {
			h[j][bins[j]] += p
		}
	}
}

// split makes two leaves of one. Only the smaller one's rows are counted: the other
// one's histogram is what is left.
func (g *grower) split(l *leaf, node int32) (left, right *leaf) {
	n := 0
	right0 := g.moved[:0]
	for _, i := range l.rows {
		if int(g.data.bins[int(i)*Features+l.feature]) <= l.bin {
			l.rows[n] = i
			n++
		} else {
			right0 = append(right0, i)
		}
	}
	copy(l.rows[n:], right0)
	left, right = g.newLeaf(node, l.rows[:n]), g.newLeaf(node+1, l.rows[n:])
	small, large := left, right
	if len(small.rows) > len(large.rows) {
		small, large = large, small
	}
	g.count(small.histogram, small.rows)
	for _, j := range g.columns {
		for b := range l.histogram[j] {
			large.histogram[j][b] = l.histogram[j][b] - small.histogram[j][b]
		}
	}
	g.spare = append(g.spare, l.histogram)
	g.findSplit(left)
	g.findSplit(right)
	return left, right
}

// findSplit finds where the leaf gains most.
func (g *grower) findSplit(l *leaf) {
	for _, p := range l.histogram[g.columns[0]] {
		l.total += p
	}
	whole := l.total.score()
	for _, j := range g.columns {
		var below pair
		for b := range g.data.edges[j] {
			below += l.histogram[j][b]
			above := l.total - below
			if below.count() < leafRowsMin || above.count() < leafRowsMin {
				continue
			}
			if gain := below.score() + above.score() - whole; gain > l.gain {
				l.gain, l.feature, l.bin = gain, j, b
			}
		}
	}
}
