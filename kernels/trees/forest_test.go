// SPDX-License-Identifier: Apache-2.0

package trees

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/kernels/kerneltest"
)

var shapes = []shape{
	{trees: 0, leaves: 1, features: 3, targets: 2, base: true},
	{trees: 5, leaves: 1, features: 0, targets: 1},
	{trees: 9, leaves: 2, features: 1, targets: 1, exact: true, compares: []Compare{LessEqual}},
	{trees: 37, leaves: 31, features: 32, targets: 1, exact: true, base: true, missing: true, compares: []Compare{Less}},
	{trees: 20, leaves: 32, features: 5, targets: 3, chain: true, exact: true, compares: everyCompare, missing: true, special: true, grid: 9},
	{trees: 11, leaves: 33, features: 17, targets: 1, exact: true, compares: everyCompare, missing: true, special: true, aggregate: Average, base: true},
	{trees: 12, leaves: 64, features: 40, targets: 2, compares: []Compare{GreaterEqual, Greater}, missing: true},
	{trees: 30, leaves: 255, features: 4, targets: 1, exact: true, compares: []Compare{LessEqual}, missing: true},
	{trees: 7, leaves: 256, features: 300, targets: 1, exact: true, compares: everyCompare, grid: 40, missing: true, special: true},
	{trees: 4, leaves: 256, features: 2, targets: 1, exact: true, chain: true, compares: []Compare{Less}, missing: true},
	{trees: 5, leaves: 2000, features: 30, targets: 2, compares: everyCompare, missing: true, special: true},
	{trees: 3, leaves: 2049, features: 9, targets: 1, exact: true, missing: true, compares: everyCompare, grid: 99},
	{trees: 6, leaves: 400, features: 7, targets: 5, weights: 5, missing: true},
	{trees: 23, leaves: 40, features: 20, targets: 17, weights: 17, aggregate: Average, missing: true, base: true},
	{trees: 23, leaves: 20, features: 20, targets: 3, weights: 2, special: true},
	{trees: 23, leaves: 20, features: 20, targets: 4, weights: -1, base: true, special: true},
	{trees: 13, leaves: 50, features: 9, targets: 3, weights: -1, aggregate: Min, base: true, special: true},
	{trees: 13, leaves: 50, features: 9, targets: 3, weights: -1, aggregate: Max},
	{trees: 13, leaves: 50, features: 9, targets: 1, aggregate: Min, special: true},
	{trees: 80, leaves: 256, features: 3, targets: 1, exact: true}, // more tests than a block holds
	{trees: 20, leaves: 600, features: 25, targets: 4},             // trees in pieces between others
	{trees: 61, leaves: 7, features: 6, targets: 1},                // some neighbours are of one size
}

// withoutNaN is a copy of the leaves in which NaN, which Min and Max refuse, is 0.
func withoutNaN(e *Ensemble) *Ensemble {
	for i := range e.Leaves {
		for k, w := range e.Leaves[i].Weights {
			if w.Value != w.Value {
				e.Leaves[i].Weights[k].Value = 0
			}
		}
	}
	return e
}

func compiled(t testing.TB, e *Ensemble) *Forest {
	t.Helper()
	f, err := Compile(e)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestPredict holds every shape at every level to the reference, bit for bit.
func TestPredict(t *testing.T) {
	for i, s := range shapes {
		t.Run(s.String(), func(t *testing.T) {
			r := kerneltest.Rand(t, uint64(i))
			e := withoutNaN(grown(r, s))
			best := compiled(t, e)
			kerneltest.Levels(t, func(t *testing.T) {
				f := compiled(t, e) // for this level
				for _, rows := range []int{100, 256} {
					comparePredict(t, r, e, best, best.NewScratch(), rows)
				}
				scratch := f.NewScratch()
				for _, rows := range []int{0, 1, f.few, f.few + 1, 31, 64, 65, 130, 200, 256, 345} {
					comparePredict(t, r, e, f, scratch, rows)
				}
			})
		})
	}
}

// comparePredict evaluates random rows in padded, misaligned memory with canaries.
func comparePredict(t testing.TB, r *rand.Rand, e *Ensemble, f *Forest, s *Scratch, rows int) {
	t.Helper()
	ldx, ldy := e.Features+r.IntN(3), e.Targets+r.IntN(2)
	sizeX, sizeY := max(0, (rows-1)*ldx+e.Features), max(0, (rows-1)*ldy+e.Targets)
	x, checkX := kerneltest.Slice[float32](t, sizeX, r.IntN(16))
	dense := inputs(r, e, rows)
	for i := range rows {
		copy(x[i*ldx:], dense[i*e.Features:][:e.Features])
	}
	got, checkY := kerneltest.Slice[float32](t, sizeY, r.IntN(16))
	want := make([]float32, sizeY)
	kerneltest.Fill(r, want, 1)
	copy(got, want) // what is between rows must stay
	e.PredictGeneric(x, ldx, rows, want, ldy)
	f.Predict(x, ldx, rows, got, ldy, s)
	kerneltest.Same(t, "prediction", got, want)
	checkX()
	checkY()
}

// TestPredictAlone checks T2: a row gets the same beside any other rows.
func TestPredictAlone(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		r := kerneltest.Rand(t, 1)
		e := grown(r, shape{trees: 40, leaves: 300, features: 20, targets: 2, missing: true, compares: everyCompare, grid: 30})
		f := compiled(t, e)
		s := f.NewScratch()
		const rows = 300
		x := inputs(r, e, rows)
		together := make([]float32, rows*e.Targets)
		f.Predict(x, e.Features, rows, together, e.Targets, s)
		alone := make([]float32, rows*e.Targets)
		for at, n := 0, 1; at < rows; at, n = at+n, n%37+1 {
			n = min(n, rows-at)
			f.Predict(x[at*e.Features:], e.Features, n, alone[at*e.Targets:], e.Targets, s)
		}
		kerneltest.Same(t, "rows in other batches", alone, together)
	})
}

// TestScratchBounds puts canaries around all that kernels write to.
func TestScratchBounds(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		for i, s := range shapes {
			r := kerneltest.Rand(t, uint64(i))
			s.trees = min(s.trees, 9)
			e := withoutNaN(grown(r, s))
			f := compiled(t, e)
			scratch := f.NewScratch()
			checks := []func(){
				surround(t, &scratch.columns), surround(t, &scratch.planes), surround(t, &scratch.truth),
				surround(t, &scratch.slots), surround(t, &scratch.sum), surround(t, &scratch.sums),
				surround(t, &scratch.ids), surround(t, &scratch.walked),
			}
			for _, rows := range []int{50, 256} {
				comparePredict(t, r, e, f, scratch, rows)
			}
			for _, check := range checks {
				check()
			}
		}
	})
}

func surround[T kerneltest.Number](t *testing.T, s *[]T) (check func()) {
	moved, check := kerneltest.Slice[T](t, len(*s), 0)
	*s = moved
	return check
}

func TestPredict64(t *testing.T) {
	for i, s := range shapes {
		s.double = true
		r := kerneltest.Rand(t, uint64(i))
		e := withoutNaN(grown(r, s))
		f := compiled(t, e)
		for _, rows := range []int{0, 1, 7, 300} {
			x, ld := make([]float64, rows*e.Features), e.Targets+1
			for i, v := range inputs(r, e, rows) {
				x[i] = float64(v)
				if n := len(e.Nodes); n > 0 && r.IntN(2) == 0 {
					x[i] = math.Nextafter(e.Nodes[r.IntN(n)].Threshold, r.NormFloat64())
				}
			}
			got, want := make([]float64, rows*ld), make([]float64, rows*ld)
			e.PredictGeneric64(x, e.Features, rows, want, ld)
			f.Predict64(x, e.Features, rows, got, ld, f.NewScratch())
			kerneltest.Same(t, s.String(), got, want)
		}
	}
}

func TestPredictDoesNotAllocate(t *testing.T) {
	r := kerneltest.Rand(t, 1)
	for _, s := range []shape{
		{trees: 30, leaves: 31, features: 10, targets: 1},
		{trees: 10, leaves: 300, features: 10, targets: 3, weights: 3},
		{trees: 10, leaves: 30, features: 10, targets: 3, weights: -1, aggregate: Max},
	} {
		e := grown(r, s)
		f := compiled(t, e)
		scratch, x, y := f.NewScratch(), inputs(r, e, 400), make([]float32, 400*e.Targets)
		for _, rows := range []int{1, 20, 400} {
			if n := testing.AllocsPerRun(5, func() { f.Predict(x, e.Features, rows, y, e.Targets, scratch) }); n != 0 {
				t.Errorf("%v: %v allocations for %d rows", s, n, rows)
			}
		}
	}
}

func TestPredictChecksSlices(t *testing.T) {
	f := compiled(t, grown(kerneltest.Rand(t, 1), shape{trees: 3, leaves: 4, features: 5, targets: 2}))
	x, y, s := make([]float32, 50), make([]float32, 20), f.NewScratch()
	for name, call := range map[string]func(){
		"short input":  func() { f.Predict(x[:49], 5, 10, y, 2, s) },
		"short output": func() { f.Predict(x, 5, 10, y[:19], 2, s) },
		"ldx":          func() { f.Predict(x, 4, 1, y, 2, s) },
		"ldy":          func() { f.Predict(x, 5, 1, y, 1, s) },
		"rows":         func() { f.Predict(x, 5, -1, y, 2, s) },
		"precision":    func() { f.Predict64(make([]float64, 50), 5, 10, make([]float64, 20), 2, s) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			call()
		}()
	}
}

func TestDescribe(t *testing.T) {
	f := compiled(t, grown(kerneltest.Rand(t, 1), shape{trees: 3, leaves: 4, features: 5, targets: 2}))
	if d := f.Describe(); !strings.Contains(d, "3 trees") || !strings.Contains(d, tileKernel()) {
		t.Errorf("description %q", d)
	}
	if f.Features() != 5 || f.Targets() != 2 || f.Double() || f.Bytes() <= 0 {
		t.Errorf("%d features, %d targets, double %v, %d bytes", f.Features(), f.Targets(), f.Double(), f.Bytes())
	}
}
