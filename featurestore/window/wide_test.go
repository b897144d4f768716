// SPDX-License-Identifier: Apache-2.0

package window

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
)

// anyValue returns a value of any magnitude that may be added.
func anyValue(r *rand.Rand) float64 {
	switch r.IntN(6) {
	case 0:
		return float64(r.IntN(2000)-1000) / 100
	case 1:
		return 0
	case 2:
		return math.Ldexp(r.NormFloat64(), r.IntN(60)-30)
	case 3:
		return math.Ldexp(r.NormFloat64(), r.IntN(900)-500)
	case 4:
		return []float64{ValueMax, -ValueMax, math.SmallestNonzeroFloat64, -math.SmallestNonzeroFloat64,
			0x1p-1022, 1, -1, math.MaxUint32, 1 << 53}[r.IntN(9)]
	}
	return r.NormFloat64()
}

// checkWide compares a sum with the big one, also after a round trip through bytes.
func checkWide(t *testing.T, what string, w *wide, want *big.Float) {
	t.Helper()
	exact := nearestOf(want)
	if got := w.round(0); got != exact {
		t.Fatalf("%s: %v, want %v", what, got, exact)
	}
	encoded := w.append(nil)
	if n := wideSize(encoded); n != len(encoded) {
		t.Fatalf("%s: size %d of %d bytes", what, n, len(encoded))
	}
	var copied wide
	copied.merge(encoded, 0)
	if again := copied.append(nil); string(again) != string(encoded) {
		t.Fatalf("%s: encoded %x, then %x", what, encoded, again)
	}
}

// TestWideExact adds and takes out random values and compares with 8192-bit arithmetic.
func TestWideExact(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		var w, squares wide
		values := make([]float64, 1+r.IntN(12))
		for i := range values {
			values[i] = anyValue(r)
			w.add(values[i], 1)
			if math.Abs(values[i]) < 0x1p-480 {
				values[i] = 0 // its square would be cut off
			}
			squares.addSquare(values[i], 1)
		}
		w.reset()
		w.addAll(values)
		checkWide(t, "sum", &w, bigSum(values))
		out := r.IntN(len(values))
		for _, x := range values[:out] {
			w.add(x, -1)
			squares.addSquare(x, -1)
		}
		values = values[out:]
		checkWide(t, "sum after removal", &w, bigSum(values))
		sum := new(big.Float).SetPrec(precision)
		for _, x := range values {
			sum.Add(sum, new(big.Float).SetPrec(precision).Mul(big.NewFloat(x), big.NewFloat(x)))
		}
		checkWide(t, "squares", &squares, sum)
		checkProductAndShift(t, r, &w, values)
	}
}

func checkProductAndShift(t *testing.T, r *rand.Rand, w *wide, values []float64) {
	t.Helper()
	var product wide
	x := math.Ldexp(r.NormFloat64(), r.IntN(40)-20)
	for i := range values {
		if math.Abs(values[i]) < 0x1p-900 {
			return // cut off in a product
		}
	}
	product.addProduct(w, x, -1)
	want := new(big.Float).SetPrec(precision).Mul(bigSum(values), big.NewFloat(-x))
	checkWide(t, "product", &product, want)
	by := r.IntN(80)
	w.shift(by)
	want = bigSum(values)
	checkWide(t, "shifted", w, want.SetMantExp(want, -by))
}

// TestWideRound looks at halves, at the smallest numbers and at a scale.
func TestWideRound(t *testing.T) {
	for _, c := range []struct {
		values []float64
		scale  int
		want   float64
	}{
		{nil, 0, 0},
		{[]float64{1 << 53, 1}, 0, 1 << 53},
		{[]float64{1 << 53, 1, 0x1p-1000}, 0, 1<<53 + 2},
		{[]float64{1<<53 + 2, 1}, 0, 1<<53 + 4},
		{[]float64{-1 << 53, -1}, 0, -1 << 53},
		{[]float64{0x1p-1074}, 0, 0x1p-1074},
		{[]float64{0x1p-1073}, -1, 0x1p-1074},
		{[]float64{0x1p-1074}, -1, 0},
		{[]float64{0x3p-1074}, -1, 0x2p-1074},
		{[]float64{0x1p-1074}, -70, 0},
		{[]float64{1e16, 1, -1e16}, 0, 1},
		{[]float64{3}, 7, 384},
	} {
		var w wide
		for _, x := range c.values {
			w.add(x, 1)
		}
		if got := w.round(c.scale); got != c.want {
			t.Errorf("%v scaled by %d: %v, want %v", c.values, c.scale, got, c.want)
		}
	}
}

// TestWideCarry fills chunks to where carries are due.
func TestWideCarry(t *testing.T) {
	for _, x := range []float64{math.MaxUint32, -math.MaxUint32, 0x1.fffffffffffffp400} {
		var w wide
		for range 100 {
			w.add(x, 1)
			w.adds = carryEvery // as if many had come before
			w.add(x/3, 1)
			w.add(x/3, -1)
		}
		if got, want := w.round(0), 100*x; got != want {
			t.Errorf("100 times %v: %v", x, got)
		}
	}
}
