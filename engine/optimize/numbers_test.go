// SPDX-License-Identifier: Apache-2.0

package optimize

import (
	"math"
	"math/rand/v2"
	"testing"
)

// observe makes calibration see values in two passes, as it does.
func observe(values []float32) *observed {
	o := new(observed)
	for _, take := range []func([]float32){o.widen, o.tally} {
		for from := 0; from < len(values); from += 1000 {
			take(values[from:min(from+1000, len(values))])
		}
	}
	return o
}

func uniform(n int, low, high float64) []float32 {
	random := rand.New(rand.NewPCG(1, 1))
	values := make([]float32, n)
	for i := range values {
		values[i] = float32(low + (high-low)*random.Float64())
	}
	return values
}

func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if math.IsNaN(got) || math.Abs(got-want) > tolerance {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}

func TestRangesOfKnownDistributions(t *testing.T) {
	plain := observe(uniform(100_000, -2, 6))
	low, high := plain.bounds(CalibrateMinMax, 0)
	near(t, "least of all", low, -2, 1e-3)
	near(t, "most of all", high, 6, 1e-3)

	low, high = plain.bounds(CalibratePercentile, 90) // 5 of 100 at each end
	near(t, "5th percentile", low, -2+0.05*8, 0.05)
	near(t, "95th percentile", high, 6-0.05*8, 0.05)

	low, high = plain.bounds(CalibrateMSE, 0) // all values matter alike: next to nothing is cut
	near(t, "least by loss", low, -2, 0.15)
	near(t, "most by loss", high, 6, 0.15)

	// Ten values far out: minmax takes them in, the others do not.
	far := append(uniform(100_000, 0, 1), 50, 50, 50, 50, 50, 50, 50, 50, 50, 50)
	outliers := observe(far)
	_, high = outliers.bounds(CalibrateMinMax, 0)
	near(t, "most with outliers", high, 50, 1e-6)
	_, high = outliers.bounds(CalibratePercentile, 99.9)
	near(t, "99.95th percentile with outliers", high, 1, 0.02)

	// One value at 3 among a million about 1: cutting it costs 4, keeping it widens the
	// steps of all the others. The search must find a range that loses less than all.
	one := observe(append(uniform(1_000_000, 0, 1), 1.5))
	if low, high := one.bounds(CalibrateMSE, 0); one.loss(low, high) >= one.loss(one.low, one.high) || high > 1.2 {
		t.Errorf("range %v to %v with loss %v, all has %v", low, high, one.loss(low, high), one.loss(one.low, one.high))
	}
}

func TestRangesOfAwkwardValues(t *testing.T) {
	zeros := observe(make([]float32, 100))
	for _, method := range []Method{CalibrateMinMax, CalibratePercentile, CalibrateMSE} {
		if low, high := zeros.bounds(method, 99.99); low != 0 || high != 0 {
			t.Errorf("%s of zeros is %v to %v", method, low, high)
		}
		if a := affineOf(0, 0, false); a.scale != 1 || a.zero != 0 {
			t.Errorf("zeros are quantised by %+v", a)
		}
	}
	// Half the values are exactly 0, as after Relu: they count as values, at 0.
	relu := observe(append(make([]float32, 50_000), uniform(50_000, 0, 1)...))
	if low, high := relu.bounds(CalibratePercentile, 80); low != 0 {
		t.Errorf("80 of 100 lie in %v to %v", low, high)
	} else {
		near(t, "90th percentile of all", high, 0.8, 0.02)
	}
	broken := observe([]float32{1, float32(math.NaN()), 2})
	if !broken.broken || broken.low != 1 || broken.high != 2 {
		t.Errorf("NaN leaves %+v", broken.low)
	}
}

// TestAffine checks that ranges hold 0 exactly and all values within a step.
func TestAffine(t *testing.T) {
	random := rand.New(rand.NewPCG(2, 2))
	for range 10_000 {
		low, high := random.NormFloat64(), random.NormFloat64()
		if low > high {
			low, high = high, low
		}
		for _, signed := range []bool{false, true} {
			a := affineOf(low, high, signed)
			first := 0
			if signed {
				first = -128
			}
			if a.zero < first || a.zero > first+255 {
				t.Fatalf("%v to %v: %+v", low, high, a)
			}
			step := float64(a.scale)
			if down, up := float64(first-a.zero)*step, float64(first+255-a.zero)*step; down > min(low, 0)+step || up < max(high, 0)-step {
				t.Fatalf("%v to %v: steps reach from %v to %v", low, high, down, up)
			}
			b, ok := a.within(float32(min(low, 0)), float32(max(high, 0)))
			if down, up := float32(first-b.zero)*b.scale, float32(first+255-b.zero)*b.scale; !ok || down < float32(min(low, 0)) || up > float32(max(high, 0)) {
				t.Fatalf("%v to %v: steps kept within reach from %v to %v", low, high, down, up)
			}
		}
	}
	if _, ok := affineOf(0, 1, false).within(0.5, 1); ok {
		t.Error("bounds without 0 were kept")
	}
}

func TestQuantizeWeights(t *testing.T) {
	const rows, columns = 50, 7
	w := uniform(rows*columns, -1, 1)
	for i := range rows {
		w[i*columns+3] *= 1000
		w[i*columns+4] = 0
	}
	for _, perTensor := range []bool{false, true} {
		q, scales := quantizeWeights(w, columns, perTensor, 127)
		if len(scales) != map[bool]int{false: columns, true: 1}[perTensor] {
			t.Fatalf("%d scales", len(scales))
		}
		for i := range w {
			s := float64(scales[i%columns%len(scales)])
			if d := math.Abs(float64(q[i])*s - float64(w[i])); d > s*0.5001 {
				t.Fatalf("weight %d: %v is off by %v, a step is %v", i, w[i], d, s)
			}
		}
	}
	if q, _ := quantizeWeights(w, columns, false, 63); q[3] > 63 || q[3] < -63 {
		t.Errorf("%d has more than 7 bits", q[3])
	}
}

func TestRoundBF16(t *testing.T) {
	tests := map[float32]float32{0: 0, 1: 1, -2.5: -2.5, 1 + 1.0/256: 1, 1 + 3.0/256: 1 + 4.0/256, 3.1415927: 3.140625}
	for x, want := range tests {
		if got := widenBF16(roundBF16(x)); got != want {
			t.Errorf("%v is rounded to %v, want %v", x, got, want)
		}
	}
}

func TestRelativeError(t *testing.T) {
	near(t, "error", relativeError([]float32{3, 4}, []float32{3, 4.5}), 0.1, 1e-12)
	near(t, "error of zeros", relativeError([]float32{0}, []float32{0}), 0, 0)
	near(t, "error at zeros", relativeError([]float32{0}, []float32{9}), 1, 0)
}
