// SPDX-License-Identifier: Apache-2.0

package trees

import (
	"encoding/binary"
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

// rowCases are ensembles, and how one row is to be evaluated where there are kernels;
// empty where several ways cost about the same.
var rowCases = []struct {
	rowCase
	want string
}{
	{rowCase{trees: 1, leaves: 1, features: 1, targets: 1, weights: 1, compares: ordered}, "lanes"},
	{rowCase{trees: 3, leaves: 2, features: 1, targets: 1, weights: 1, compares: ordered, missing: true}, "lanes"},
	{rowCase{trees: 64, leaves: 8, features: 16, targets: 1, weights: 1, compares: []Compare{Less}}, "lanes"},
	{rowCase{trees: 65, leaves: 9, features: 33, targets: 1, weights: 1, compares: ordered, aggregate: Average}, "lanes"},
	{rowCase{trees: 100, leaves: 31, features: 32, targets: 1, weights: 1, thresholds: 200, compares: []Compare{Less}}, "lanes"},
	{rowCase{trees: 100, leaves: 31, features: 32, targets: 1, weights: 1, thresholds: 600, compares: unordered, missing: true}, ""},
	{rowCase{trees: 70, leaves: 32, features: 30, targets: 1, weights: 1, thresholds: 10, chain: 0.9, compares: unordered, missing: true}, ""},
	{rowCase{trees: 130, leaves: 63, features: 60, targets: 1, weights: 1, thresholds: 255, chain: 0.5, compares: ordered}, ""},
	{rowCase{trees: 40, leaves: 256, features: 20, targets: 1, weights: 1, compares: ordered, missing: true}, "lanes and twigs"},
	{rowCase{trees: 40, leaves: 255, features: 200, targets: 1, weights: 1, chain: 1, compares: unordered, missing: true}, "interleaved walks"},
	{rowCase{trees: 40, leaves: 257, features: 20, targets: 1, weights: 1, compares: unordered, missing: true}, "lanes and twigs"},
	{rowCase{trees: 9, leaves: 1000, features: 40, targets: 1, weights: 1, chain: 0.3, compares: ordered, missing: true}, "interleaved walks"},
	{rowCase{trees: 80, leaves: 20, features: 300, targets: 1, weights: 1, compares: unordered, missing: true}, ""},
	{rowCase{trees: 50, leaves: 20, features: 3, targets: 5, weights: 1, compares: unordered, missing: true}, "lanes"},
	{rowCase{trees: 50, leaves: 60, features: 3, targets: 5, weights: 3, compares: ordered, aggregate: Average}, "lanes and twigs"},
	{rowCase{trees: 50, leaves: 20, features: 3, targets: 5, weights: 2, compares: unordered, aggregate: Min}, ""},
	{rowCase{trees: 50, leaves: 20, features: 3, targets: 2, weights: 0, compares: ordered, aggregate: Max}, "lanes"},
	{rowCase{trees: 20, leaves: 12, features: 6, targets: 1, weights: 1, compares: append(unordered[:6:6], Member), missing: true}, "walks"},
}

// TestRows compares every layout, chosen or not, with the reference at every level.
func TestRows(t *testing.T) {
	for _, c := range rowCases {
		t.Run(c.String(), func(t *testing.T) {
			r := kerneltest.Rand(t, 1)
			e := c.ensemble(r)
			forests := rowLayouts(t, e)
			if got := forests[0].rows.String(); rowLanesFast() && c.want != "" && got != c.want {
				t.Errorf("evaluated by %s, want %s", got, c.want)
			}
			kerneltest.Levels(t, func(t *testing.T) {
				for i, f := range forests {
					c.check(t, r, e, f, i)
				}
			})
		})
	}
}

// rowLayouts is the layout that is chosen, and all others that can be made.
func rowLayouts(t *testing.T, e *Ensemble) []*Forest {
	forests := []*Forest{compiled(t, e)}
	add := func(set func(f *rowForest) bool) {
		f := *forests[0]
		f.rows = rowForest{features: e.Features, targets: e.Targets, words: rowWordsOf(e)}
		if set(&f.rows) {
			forests = append(forests, &f)
		}
	}
	for i, ends := range []childCounts{countLeaves(e), countTwigs(e)} {
		for _, size := range []int{len(e.Roots), laneCount / 4} {
			add(func(f *rowForest) bool {
				b := laneBuilder{e: e, words: &f.words, leaves: countLeaves(e), ends: ends, twigged: i == 1}
				for _, root := range e.Roots {
					if ends.of(root) > leavesMax {
						return false
					}
				}
				f.spans, _ = b.build(size)
				return f.spans != nil
			})
		}
	}
	add(func(f *rowForest) bool {
		f.walk = rowWalkOf(e, countLeaves(e), &f.words)
		return f.walk != nil
	})
	add(func(f *rowForest) bool {
		f.plain = clone(e)
		return true
	})
	return forests
}

// check compares some rows with the reference.
func (c rowCase) check(t *testing.T, r *rand.Rand, e *Ensemble, f *Forest, off int) {
	t.Helper()
	rows := 1 + r.IntN(rowsTogether+2)
	ldx, ldy := c.features+off, c.targets+off
	x, checkX := kerneltest.Slice[float32](t, (rows-1)*ldx+c.features, off)
	y, checkY := kerneltest.Slice[float32](t, (rows-1)*ldy+c.targets, off)
	c.row(e, r, x)
	want := make([]float32, len(y))
	e.PredictGeneric(x, ldx, rows, want, ldy)
	s := f.NewScratch()
	f.predictRows(x, ldx, rows, y, ldy, s)
	kerneltest.Same(t, fmt.Sprintf("%d rows by %s", rows, f.rows.String()), y, want)
	if n := testing.AllocsPerRun(2, func() { f.predictRows(x, ldx, rows, y, ldy, s) }); n > 0 {
		t.Errorf("%s: %v allocations", f.rows.String(), n)
	}
	checkX()
	checkY()
}

// TestRowsLimits has ensembles that a layout must not be made for.
func TestRowsLimits(t *testing.T) {
	r := kerneltest.Rand(t, 2)
	c := rowCase{trees: 600, leaves: 4, features: 1500, targets: 1, weights: 1, compares: ordered}
	e := c.ensemble(r)
	b := laneBuilder{e: e, words: &rowWords{}, leaves: countLeaves(e), ends: countLeaves(e)}
	if spans, _ := b.build(len(e.Roots)); spans != nil {
		t.Errorf("a span of %d slots, more than %d", len(spans[0].bins.slots), slotsMax)
	}
	c.check(t, r, e, compiled(t, e), 0)

	// A chain of a leaf each is as deep as it has splits.
	c = rowCase{trees: 1, leaves: 30000, features: 2, targets: 1, weights: 1, chain: 1, compares: ordered, missing: true}
	e = c.ensemble(r)
	f := compiled(t, e)
	if f.rows.spans != nil {
		t.Error("30000 leaves in lanes")
	}
	c.check(t, r, e, f, 0)
	if f.rows.bytes() < len(e.Nodes)*8 {
		t.Errorf("%d bytes for %d nodes", f.rows.bytes(), len(e.Nodes))
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

func FuzzRows(f *testing.F) {
	f.Add(uint64(1), uint8(3), uint8(20), uint8(5), uint8(3), []byte{0, 0, 128, 63})
	f.Add(uint64(2), uint8(7), uint8(60), uint8(40), uint8(0), []byte{0, 0, 192, 127, 1, 0, 0, 0})
	f.Fuzz(func(t *testing.T, seed uint64, trees, leaves, features, kind uint8, row []byte) {
		c := rowCase{
			trees: 1 + int(trees)%8, leaves: 1 + int(leaves)%70, features: 1 + int(features)%70,
			targets: 1 + int(kind)%2, weights: 1, chain: float64(kind%4) / 3, compares: unordered,
			missing: kind&4 != 0, aggregate: Aggregate(kind>>3) % aggregates,
		}
		e := c.ensemble(rand.New(rand.NewPCG(seed, 0)))
		x := make([]float32, c.features)
		for i := range min(len(row)/4, len(x)) {
			x[i] = math.Float32frombits(binary.LittleEndian.Uint32(row[4*i:]))
		}
		got, want := make([]float32, c.targets), make([]float32, c.targets)
		e.PredictGeneric(x, len(x), 1, want, c.targets)
		for _, forest := range rowLayouts(t, e) {
			forest.predictRows(x, len(x), 1, got, c.targets, forest.NewScratch())
			kerneltest.Same(t, forest.rows.String(), got, want)
		}
	})
}

// BenchmarkRows takes another row each time, so that branches are not learned.
//
//	go test -run '^$' -bench Rows ./kernels/trees
func BenchmarkRows(b *testing.B) {
	cases := []rowCase{
		{trees: 100, leaves: 31, features: 32, targets: 1, weights: 1, thresholds: 100, compares: []Compare{Less}},
		{trees: 1000, leaves: 31, features: 32, targets: 1, weights: 1, thresholds: 200, compares: []Compare{Less}},
		{trees: 100, leaves: 255, features: 32, targets: 1, weights: 1, thresholds: 250, compares: []Compare{Less}},
		{trees: 300, leaves: 31, features: 32, targets: 3, weights: 1, thresholds: 200, compares: []Compare{Less}},
	}
	kerneltest.BenchmarkLevels(b, func(b *testing.B) {
		for _, c := range cases {
			for _, rows := range []int{1, 8} {
				b.Run(fmt.Sprintf("trees=%d/leaves=%d/targets=%d/rows=%d", c.trees, c.leaves, c.targets, rows), func(b *testing.B) {
					c.bench(b, rows)
				})
			}
		}
	})
}

func (c rowCase) bench(b *testing.B, rows int) {
	r := kerneltest.Rand(b, 1)
	f, err := Compile(c.ensemble(r))
	if err != nil {
		b.Fatal(err)
	}
	x := make([]float32, 4096*c.features)
	kerneltest.Fill(r, x, 1)
	y, s, at := make([]float32, rows*c.targets), f.NewScratch(), 0
	b.ReportAllocs()
	for b.Loop() {
		f.predictRows(x[at*c.features:], c.features, rows, y, c.targets, s)
		if at += rows; at >= 4096 {
			at = 0
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*rows), "ns/row")
}
