// SPDX-License-Identifier: Apache-2.0

package trees

import (
	"math"
	"math/rand/v2"
	"testing"
)

// FuzzCompile reads ensembles from bytes as they come: most are no trees at all. What
// compiles must predict as the reference does.
func FuzzCompile(f *testing.F) {
	f.Add([]byte{3, 1, 0, 2, 4, 6, 0, 10, 129, 128, 1, 3, 20, 130, 131, 1, 2, 3, 4}, uint64(1))
	f.Add([]byte{1, 2, 2, 1, 1, 6, 9, 7, 128, 0, 9}, uint64(2))
	f.Fuzz(func(t *testing.T, data []byte, seed uint64) {
		e := ensembleOf(data)
		forest, err := Compile(e)
		if err != nil {
			return
		}
		comparePredict(t, rand.New(rand.NewPCG(seed, 0)), e, forest, forest.NewScratch(), int(seed%40))
	})
}

// ensembleOf reads sizes, and then nodes of five bytes, leaves of one and roots of one.
func ensembleOf(data []byte) *Ensemble {
	next := func() int {
		if len(data) == 0 {
			return 0
		}
		b := data[0]
		data = data[1:]
		return int(b)
	}
	at := func() int32 {
		b := next()
		if b >= 128 {
			return ^int32(b - 128)
		}
		return int32(b)
	}
	thresholds := []float64{0, math.Copysign(0, -1), 1, -1, 0.5, math.Inf(1), math.Inf(-1), 1e-45, 1e300, math.MaxFloat32}
	e := &Ensemble{Features: next() % 40, Targets: next() % 4, Aggregate: Aggregate(next() % 5)}
	nodes, leaves, roots := next()%64, next()%64, next()%16
	for range nodes {
		n := Node{Feature: int32(next()%41) - 1, True: at(), False: at()}
		how := next()
		n.Compare, n.MissingTrue = Compare(how%8), how >= 128
		n.Threshold = thresholds[next()%len(thresholds)]
		if n.Compare == Member {
			n.Members = thresholds[:next()%len(thresholds)]
		}
		e.Nodes = append(e.Nodes, n)
	}
	for range leaves {
		how := next()
		var l Leaf
		for k := range how % 3 {
			l.Weights = append(l.Weights, Weight{Target: int32(k % 2), Value: float64(how)})
		}
		e.Leaves = append(e.Leaves, l)
	}
	for range roots {
		e.Roots = append(e.Roots, at())
	}
	return e
}

// FuzzPredict grows trees by the numbers it is given.
func FuzzPredict(f *testing.F) {
	f.Add(uint64(1), uint8(5), uint16(40), uint8(3), uint8(1), uint8(0), uint16(70))
	f.Add(uint64(2), uint8(2), uint16(700), uint8(20), uint8(3), uint8(2), uint16(20))
	f.Fuzz(func(t *testing.T, seed uint64, trees uint8, leaves uint16, features, targets, how uint8, rows uint16) {
		r := rand.New(rand.NewPCG(seed, 1))
		s := shape{
			trees: int(trees % 4), leaves: 1 + int(leaves%400), features: 1 + int(features%50), targets: 1 + int(targets%4),
			weights: int(how%4) - 1, aggregate: Aggregate(how / 4 % 4), grid: int(how / 16), chain: how%64 == 0,
			compares: everyCompare[:1+int(how)%len(everyCompare)], missing: how%2 == 0, special: how%5 == 0, base: how%3 == 0,
		}
		e := withoutNaN(grown(r, s))
		forest := compiled(t, e)
		comparePredict(t, r, e, forest, forest.NewScratch(), int(rows%150))
	})
}
