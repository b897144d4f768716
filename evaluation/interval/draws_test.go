// SPDX-License-Identifier: Apache-2.0

package interval

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"gonum.org/v1/gonum/stat/distuv"
)

// drawsOf makes draws of two statistics.
func drawsOf(method Method, point [2]float64, first, second, left []float64) *Draws {
	zero := make([]float64, len(left))
	return &Draws{Level: 0.9, Units: 100, method: method, point: point[:], draws: [][]float64{first, second}, left: [][]float64{left, zero}}
}

func numbers(n int, f func(i int) float64) []float64 {
	out := make([]float64, n)
	for i := range out {
		out[i] = f(i)
	}
	return out
}

// TestPercentiles checks ends on draws where they can be told: 1 to 199 in any order, of
// which the 5 % and 95 % points of 200 parts are the 10th and the 190th.
func TestPercentiles(t *testing.T) {
	values := numbers(199, func(i int) float64 { return float64(i*77%199 + 1) })
	d := drawsOf(Percentile, [2]float64{100, 0}, values, make([]float64, 199), nil)
	if i := d.Interval(0); math.Abs(i.Low-10) > 1e-9 || math.Abs(i.High-190) > 1e-9 || i.Value != 100 || i.Level != 0.9 {
		t.Errorf("%+v, want 10 to 190", i)
	}
	if i := d.Difference(0, 1); math.Abs(i.Low-10) > 1e-9 || math.Abs(i.High-190) > 1e-9 {
		t.Errorf("difference: %+v, want 10 to 190", i)
	}
	if i := d.Difference(1, 0); math.Abs(i.Low+190) > 1e-9 || math.Abs(i.High+10) > 1e-9 {
		t.Errorf("the other way: %+v, want -190 to -10", i)
	}
	if i := d.At(0.99).Interval(0); math.Abs(i.Low-1) > 1e-9 || math.Abs(i.High-199) > 1e-9 {
		t.Errorf("at 99 %%: %+v, want 1 to 199", i)
	}
	for _, level := range []float64{0, 1, -1, 2, math.NaN()} {
		if i := d.At(level).Interval(0); i.Defined() {
			t.Errorf("at level %v: %+v", level, i)
		}
	}
	// 29 draws and half of the one at 30 are below it, and half a draw for one more.
	if p := d.P(0, 1, -30); math.Abs(p-0.15) > 1e-9 {
		t.Errorf("p of at most 30 is %v, want 0.15", p)
	}
}

// TestAdjusted checks bias correction, acceleration and degrees of freedom against the
// formulas worked out by hand: of 999 draws, 300 are below the value.
func TestAdjusted(t *testing.T) {
	draws := numbers(999, func(i int) float64 { return float64(i + 1) })
	left := []float64{0, 1, 1, 1, 1, 1, 1, 1} // influences 7/8 and seven times -1/8
	d := drawsOf(Adjusted, [2]float64{300.5, 0}, draws, make([]float64, 999), left)
	power := func(k float64) float64 { return math.Pow(7.0/8, k) + 7*math.Pow(-1.0/8, k) }
	z0 := normal.Quantile(0.3005)
	a := power(3) / (6 * math.Pow(power(2), 1.5))
	degrees := 2 * 99 / ((8*power(4)/power(2)/power(2)-3)*100/8 + 2)
	reach := distuv.StudentsT{Sigma: 1, Nu: degrees}.Quantile(0.95) * math.Sqrt(1+1/degrees)
	end := func(z float64) float64 { return 1000 * normal.CDF(z0+(z0+z)/(1-a*(z0+z))) }
	i := d.Interval(0)
	if math.Abs(i.Low-end(-reach)) > 1e-6 || math.Abs(i.High-end(reach)) > 1e-6 {
		t.Errorf("%v to %v, want %v to %v", i.Low, i.High, end(-reach), end(reach))
	}
	i = d.Difference(0, 1)
	if low, high := 1000*normal.CDF(-reach), 1000*normal.CDF(reach); math.Abs(i.Low-low) > 1e-6 || math.Abs(i.High-high) > 1e-6 {
		t.Errorf("difference: %v to %v, want %v to %v", i.Low, i.High, low, high)
	}
}

// TestDegrees checks that the variance of n values has n-1 degrees of freedom if they are
// normal, in groups or not, and few if one of them decides.
func TestDegrees(t *testing.T) {
	normals := numbers(100, func(i int) float64 { return normal.Quantile((float64(i) + 0.5) / 100) })
	if got := influenceOf(normals).degrees(100); got != 99 {
		t.Errorf("100 normal influences: %v degrees", got)
	}
	if got := influenceOf(normals).degrees(1e6); got != 999_999 {
		t.Errorf("a million, in groups: %v degrees", got)
	}
	one := numbers(100, func(i int) float64 { return float64(class(i == 3)) })
	for _, units := range []float64{100, 1e6} {
		if got := influenceOf(one).degrees(units); !(got > 1.5 && got < 2.2) {
			t.Errorf("one of %v units decides: %v degrees", units, got)
		}
	}
	if got := influenceOf(make([]float64, 9)).degrees(9); !math.IsInf(got, 1) {
		t.Errorf("nothing moves it: %v degrees", got)
	}
}

// TestInversion checks that a p-value is the level at which the interval ends at the
// margin, whatever the method and the shape.
func TestInversion(t *testing.T) {
	random := rand.New(rand.NewPCG(8, 8))
	first := numbers(2000, func(int) float64 { return random.ExpFloat64() })
	second := numbers(2000, func(int) float64 { return 0.3 * random.NormFloat64() })
	left := numbers(60, func(int) float64 { return -random.ExpFloat64() })
	for _, method := range []Method{Percentile, Adjusted} {
		d := drawsOf(method, [2]float64{0.8, 0.01}, first, second, left)
		for _, p := range []float64{0.01, 0.05, 0.2, 0.4} {
			low := d.At(1-2*p).Difference(0, 1).Low
			if got := d.P(0, 1, -low); math.Abs(got-p) > 1.0/2000 {
				t.Errorf("method %d: the interval ends at %v for p = %v, whose p is %v", method, low, p, got)
			}
			high := d.At(1-2*p).Difference(0, 1).High
			if got := d.P(1, 0, high); math.Abs(got-p) > 1.0/2000 {
				t.Errorf("method %d: the interval ends at %v for p = %v, whose p the other way is %v", method, high, p, got)
			}
		}
	}
}

func TestPEqual(t *testing.T) {
	normals := numbers(999, func(i int) float64 { return normal.Quantile(float64(i+1) / 1000) })
	at := func(mean float64) *Draws {
		moved := numbers(999, func(i int) float64 { return normals[i] + mean })
		return drawsOf(Adjusted, [2]float64{mean, 0}, moved, make([]float64, 999), make([]float64, 3))
	}
	for _, mean := range []float64{-6, -1.5, 0, 0.7, 2, 5} {
		want := 2 * normal.CDF(-math.Abs(mean))
		got, other := at(mean).PEqual(0, 1), at(mean).PEqual(1, 0)
		if math.Abs(got-want) > 2e-3 || math.Abs(got-other) > 1e-12 {
			t.Errorf("mean %v: p = %v and %v, want %v", mean, got, other, want)
		}
		if math.Abs(mean) > 4 && !(got < 1e-5) {
			t.Errorf("mean %v: p = %v is no less than draws can tell", mean, got)
		}
	}
	same := drawsOf(Adjusted, [2]float64{1, 1}, normals, slices.Clone(normals), make([]float64, 3))
	if p := same.PEqual(0, 1); p != 1 {
		t.Errorf("a model and itself: p = %v", p)
	}
	if i := same.Difference(0, 1); i.Low != 0 || i.High != 0 {
		t.Errorf("a model and itself: %+v", i)
	}
	if p := same.P(0, 1, 0.1); !(p <= 1.0/1000) {
		t.Errorf("a model and itself, margin 0.1: p = %v", p)
	}
	if p := same.P(0, 1, 0); p != 0.5 {
		t.Errorf("a model and itself, margin 0: p = %v", p)
	}
	if p := same.P(0, 1, math.NaN()); !math.IsNaN(p) {
		t.Errorf("a margin that is NaN: p = %v", p)
	}
}

// TestWildDraws checks that nothing but an interval or none comes of odd draws.
func TestWildDraws(t *testing.T) {
	nan := math.NaN()
	for _, draws := range [][]float64{{nan}, {1}, {1, nan}, {1e150, -1e150, 0}, {5, 5, 5}} {
		for _, left := range [][]float64{nil, {nan, nan}, {1, 2, nan}, {1e150, -1e150}} {
			for _, point := range []float64{nan, -9, 0, 5, 9} {
				d := drawsOf(Adjusted, [2]float64{point, 0}, draws, make([]float64, len(draws)), left)
				i := d.Interval(0)
				if i.Defined() && !(i.Low <= i.High) {
					t.Errorf("draws %v, left %v, value %v: %+v", draws, left, point, i)
				}
				for _, margin := range []float64{-7, 0, 7} {
					if p := d.P(0, 1, margin); !(p >= 0 && p <= 1) && i.Defined() {
						t.Errorf("draws %v, left %v, value %v, margin %v: p = %v", draws, left, point, margin, p)
					}
				}
			}
		}
	}
}
