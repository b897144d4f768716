// SPDX-License-Identifier: Apache-2.0

package trees

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/millrace-ml/millrace/kernels/kerneltest"
)

// rowCase is how a random ensemble of these tests is made.
type rowCase struct {
	trees, leaves, features, targets, weights int
	thresholds                                int     // distinct ones; 0 for any number
	chain                                     float64 // how likely a split cuts off one leaf
	compares                                  []Compare
	missing                                   bool // half of the nodes send NaN to True
	aggregate                                 Aggregate
}

func (c rowCase) String() string {
	return fmt.Sprintf("trees=%d/leaves=%d/features=%d/targets=%d/weights=%d/thresholds=%d/chain=%v/compares=%d/missing=%v/aggregate=%d",
		c.trees, c.leaves, c.features, c.targets, c.weights, c.thresholds, c.chain, len(c.compares), c.missing, c.aggregate)
}

func (c rowCase) ensemble(r *rand.Rand) *Ensemble {
	e := &Ensemble{Features: c.features, Targets: c.targets, Aggregate: c.aggregate}
	if r.IntN(2) == 0 {
		e.Base = make([]float64, c.targets)
		for i := range e.Base {
			e.Base[i] = r.NormFloat64()
		}
	}
	for range c.trees {
		leaves := c.leaves
		if r.IntN(4) == 0 {
			leaves = 1 + r.IntN(c.leaves)
		}
		e.Roots = append(e.Roots, c.grow(e, r, leaves))
	}
	return e
}

func (c rowCase) grow(e *Ensemble, r *rand.Rand, leaves int) int32 {
	if leaves == 1 {
		var l Leaf
		for range c.weights {
			l.Weights = append(l.Weights, Weight{int32(r.IntN(c.targets)), r.NormFloat64()})
		}
		e.Leaves = append(e.Leaves, l)
		return ^int32(len(e.Leaves) - 1)
	}
	at := len(e.Nodes)
	e.Nodes = append(e.Nodes, Node{
		Feature: int32(r.IntN(c.features)), Compare: c.compares[r.IntN(len(c.compares))],
		Threshold: c.threshold(r), MissingTrue: c.missing && r.IntN(2) == 0,
	})
	if e.Nodes[at].Compare == Member {
		e.Nodes[at].Members, e.Nodes[at].Threshold = []float64{c.threshold(r), c.threshold(r)}, 0
	}
	cut := 1 + r.IntN(leaves-1)
	if r.Float64() < c.chain {
		cut = 1
	}
	if r.IntN(2) == 0 {
		cut = leaves - cut
	}
	yes := c.grow(e, r, cut)
	no := c.grow(e, r, leaves-cut)
	e.Nodes[at].True, e.Nodes[at].False = yes, no
	return int32(at)
}

func (c rowCase) threshold(r *rand.Rand) float64 {
	switch {
	case r.IntN(50) == 0:
		if v := kerneltest.Specials[r.IntN(len(kerneltest.Specials))]; v == v {
			return float64(v)
		}
		return 0
	case c.thresholds > 0:
		return float64(r.IntN(c.thresholds))/float64(c.thresholds)*4 - 2
	}
	return r.NormFloat64()
}

// row writes a row whose values often meet thresholds exactly.
func (c rowCase) row(e *Ensemble, r *rand.Rand, x []float32) {
	for i := range x {
		switch {
		case len(e.Nodes) > 0 && r.IntN(4) == 0:
			x[i] = float32(e.Nodes[r.IntN(len(e.Nodes))].Threshold)
		case r.IntN(12) == 0:
			x[i] = kerneltest.Specials[r.IntN(len(kerneltest.Specials))]
		default:
			x[i] = float32(r.NormFloat64())
		}
	}
}

var (
	ordered   = []Compare{LessEqual, Less, GreaterEqual, Greater}
	unordered = []Compare{LessEqual, Less, GreaterEqual, Greater, Equal, NotEqual}
)

var rowCases = []rowCase{
	{trees: 1, leaves: 1, features: 1, targets: 1, weights: 1, compares: ordered},
	{trees: 3, leaves: 2, features: 1, targets: 1, weights: 1, compares: ordered, missing: true},
	{trees: 64, leaves: 8, features: 16, targets: 1, weights: 1, compares: []Compare{Less}},
	{trees: 65, leaves: 9, features: 33, targets: 1, weights: 1, compares: ordered, aggregate: Average},
	{trees: 100, leaves: 31, features: 32, targets: 1, weights: 1, thresholds: 200, compares: []Compare{Less}},
	{trees: 100, leaves: 31, features: 32, targets: 1, weights: 1, thresholds: 600, compares: unordered, missing: true},
	{trees: 70, leaves: 32, features: 30, targets: 1, weights: 1, thresholds: 10, chain: 0.9, compares: unordered, missing: true},
	{trees: 130, leaves: 63, features: 60, targets: 1, weights: 1, thresholds: 255, chain: 0.5, compares: ordered},
	{trees: 40, leaves: 256, features: 20, targets: 1, weights: 1, compares: ordered, missing: true},
	{trees: 40, leaves: 255, features: 200, targets: 1, weights: 1, chain: 1, compares: unordered, missing: true},
	{trees: 40, leaves: 257, features: 20, targets: 1, weights: 1, compares: unordered, missing: true},
	{trees: 9, leaves: 2000, features: 40, targets: 1, weights: 1, chain: 0.3, compares: ordered, missing: true},
	{trees: 30, leaves: 20, features: 300, targets: 1, weights: 1, compares: unordered, missing: true},
	{trees: 50, leaves: 20, features: 3, targets: 5, weights: 1, compares: unordered, missing: true},
	{trees: 50, leaves: 20, features: 3, targets: 5, weights: 3, compares: ordered, aggregate: Average},
	{trees: 50, leaves: 20, features: 3, targets: 5, weights: 2, compares: unordered, aggregate: Min},
	{trees: 50, leaves: 20, features: 3, targets: 2, weights: 0, compares: ordered, aggregate: Max},
	{trees: 20, leaves: 12, features: 6, targets: 1, weights: 1, compares: append(unordered[:6:6], Member), missing: true},
}

func TestRows(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		for _, c := range rowCases {
			t.Run(c.String(), func(t *testing.T) {
				for seed := range uint64(4) {
					c.check(t, kerneltest.Rand(t, seed))
				}
			})
		}
	})
}

// check compares some rows with the reference.
func (c rowCase) check(t *testing.T, r *rand.Rand) {
	t.Helper()
	e := c.ensemble(r)
	f, err := Compile(e)
	if err != nil {
		t.Fatal(err)
	}
	s := f.NewScratch()
	for off := range 3 {
		const rows = 5
		ldx, ldy := c.features+off, c.targets+off
		x, checkX := kerneltest.Slice[float32](t, (rows-1)*ldx+c.features, off)
		y, checkY := kerneltest.Slice[float32](t, (rows-1)*ldy+c.targets, off)
		c.row(e, r, x)
		want := make([]float32, len(y))
		e.PredictGeneric(x, ldx, rows, want, ldy)
		f.predictRows(x, ldx, rows, y, ldy, s)
		kerneltest.Same(t, "row", y, want)
		checkX()
		checkY()
	}
}

func TestRowSplitOf(t *testing.T) {
	inf := math.Inf(1)
	for _, threshold := range []float64{0, math.Copysign(0, -1), 1, -1, inf, -inf, math.MaxFloat32, -math.MaxFloat32, 1e300, -1e300, 0.1, 1e-45, -1e-45} {
		for _, op := range unordered {
			for _, missing := range []bool{false, true} {
				n := &Node{Compare: op, Threshold: threshold, MissingTrue: missing, True: 1, False: 2}
				s, _ := rowSplitOf(n)
				for _, x := range append(kerneltest.Specials, float32(threshold), math.Nextafter32(float32(threshold), 9), math.Nextafter32(float32(threshold), -9)) {
					right := x >= s.bound
					if s.equal {
						right = x != s.bound
					}
					if x != x {
						right = s.missingRight
					}
					got := s.left
					if right {
						got = s.right
					}
					if want := follow(n, []float32{x}); got != want {
						t.Fatalf("%v of %v and %v: branch %d, want %d", op, x, threshold, got, want)
					}
				}
			}
		}
	}
}
