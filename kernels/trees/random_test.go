// SPDX-License-Identifier: Apache-2.0

package trees

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/millrace-ml/millrace/kernels/kerneltest"
)

// shape says what a random ensemble is like.
type shape struct {
	trees, leaves     int // leaves of a tree: exactly this many, or up to it
	features, targets int
	exact             bool // number of leaves
	chain             bool // trees are as deep as they can be
	compares          []Compare
	grid              int // thresholds are among this many a feature; 0: anything
	weights           int // of a leaf; 0: one, for the tree's target; -1: any number
	aggregate         Aggregate
	base, double      bool
	missing           bool // MissingTrue is random
	special           bool // thresholds and leaves include special values
}

func (s shape) String() string {
	return fmt.Sprintf("trees=%d/leaves=%d/features=%d/targets=%d/weights=%d/grid=%d/aggregate=%d",
		s.trees, s.leaves, s.features, s.targets, s.weights, s.grid, s.aggregate)
}

// grown builds an ensemble of random trees.
func grown(r *rand.Rand, s shape) *Ensemble {
	e := &Ensemble{Features: s.features, Targets: s.targets, Aggregate: s.aggregate, Double: s.double}
	if s.base {
		for range s.targets {
			e.Base = append(e.Base, r.NormFloat64())
		}
	}
	e.Nodes = make([]Node, 0, s.trees*s.leaves) // children are pointed to while trees grow
	for range s.trees {
		e.Roots = append(e.Roots, s.grow(r, e))
	}
	return e
}

// grow appends a tree: it splits random leaves until there are enough.
func (s shape) grow(r *rand.Rand, e *Ensemble) int32 {
	count := s.leaves
	if !s.exact {
		count = 1 + r.IntN(s.leaves)
	}
	target := int32(r.IntN(s.targets))
	root := ^int32(len(e.Leaves))
	e.Leaves = append(e.Leaves, s.leaf(r, target))
	open := []*int32{&root}
	for range count - 1 {
		i := r.IntN(len(open))
		if s.chain {
			i = len(open) - 1
		}
		n := s.node(r)
		n.True, n.False = *open[i], ^int32(len(e.Leaves))
		if r.IntN(2) == 0 {
			n.True, n.False = n.False, n.True
		}
		e.Leaves = append(e.Leaves, s.leaf(r, target))
		*open[i] = int32(len(e.Nodes))
		e.Nodes = append(e.Nodes, n)
		last := &e.Nodes[len(e.Nodes)-1]
		open[i] = &last.True
		open = append(open, &last.False)
	}
	return root
}

func (s shape) node(r *rand.Rand) Node {
	n := Node{Feature: int32(r.IntN(s.features)), Threshold: s.threshold(r)}
	if len(s.compares) > 0 {
		n.Compare = s.compares[r.IntN(len(s.compares))]
	}
	if n.Compare == Member {
		for range r.IntN(8) {
			n.Members = append(n.Members, s.threshold(r))
		}
	}
	n.MissingTrue = s.missing && r.IntN(2) == 0
	return n
}

func (s shape) threshold(r *rand.Rand) float64 {
	if s.special && r.IntN(4) == 0 {
		if v := float64(kerneltest.Specials[r.IntN(len(kerneltest.Specials))]); v == v {
			return v
		}
	}
	if s.grid > 0 {
		return float64(r.IntN(s.grid)-s.grid/2) / float64(s.grid) * 4
	}
	return r.NormFloat64()
}

func (s shape) leaf(r *rand.Rand, target int32) (l Leaf) {
	value := func() float64 {
		if s.special && r.IntN(50) == 0 {
			return float64(kerneltest.Specials[r.IntN(9)])
		}
		return r.NormFloat64() * 0.1
	}
	switch {
	case s.weights == 0:
		return Leaf{Weights: []Weight{{target, value()}}}
	case s.weights < 0:
		for range r.IntN(4) {
			l.Weights = append(l.Weights, Weight{int32(r.IntN(s.targets)), value()})
		}
		return l
	}
	for _, t := range r.Perm(s.targets)[:min(s.weights, s.targets)] {
		l.Weights = append(l.Weights, Weight{int32(t), value()})
	}
	return l
}

// inputs are rows that hit thresholds, and special values, now and then.
func inputs(r *rand.Rand, e *Ensemble, rows int) []float32 {
	x := make([]float32, rows*e.Features)
	kerneltest.Fill(r, x, 1)
	for i := range x {
		if len(e.Nodes) > 0 && r.IntN(4) == 0 {
			n := &e.Nodes[r.IntN(len(e.Nodes))]
			x[i] = float32(n.Threshold)
			if len(n.Members) > 0 {
				x[i] = float32(n.Members[0])
			}
			if r.IntN(3) == 0 {
				x[i] = math.Nextafter32(x[i], float32(r.NormFloat64()))
			}
		}
	}
	kerneltest.Sprinkle(r, x, 15)
	return x
}

var everyCompare = []Compare{LessEqual, Less, GreaterEqual, Greater, Equal, NotEqual, Member}
