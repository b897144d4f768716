// SPDX-License-Identifier: Apache-2.0

package act

import (
	"fmt"
	"math"
	"testing"

	"github.com/millrace-ml/millrace/kernels/kerneltest"
)

// element is one element-wise map under test.
type element struct {
	name  string
	apply func(dst, src []float32)
	truth func(x float64) float64
	bound kerneltest.Bound
}

// denormal is the distance of denormal numbers, half of which rounding may cost.
const denormal = math.SmallestNonzeroFloat32

var elements = []element{
	{"Exp", Exp, math.Exp, kerneltest.Bound{Rel: 1.2e-7, Abs: denormal}},
	{"Log", Log, math.Log, kerneltest.Bound{Rel: 1.2e-7}},
	{"Sigmoid", Sigmoid, logistic, kerneltest.Bound{Rel: 2e-7, Abs: denormal}},
	{"Tanh", Tanh, math.Tanh, kerneltest.Bound{Rel: 2e-7, Abs: denormal}},
	{"Silu", Silu, func(x float64) float64 { return x * logistic(x) }, kerneltest.Bound{Rel: 3e-7, Abs: 1.3e-43}},
	{"Softplus", Softplus, logOnePlusExp, kerneltest.Bound{Rel: 2e-7, Abs: denormal}},
	{"Mish", Mish, func(x float64) float64 { return x * math.Tanh(logOnePlusExp(x)) }, kerneltest.Bound{Rel: 4e-7, Abs: 1.3e-43}},
	{"Erf", Erf, math.Erf, kerneltest.Bound{Rel: 2.5e-7, Abs: denormal}},
	{"Gelu", Gelu, func(x float64) float64 { return x * 0.5 * math.Erfc(-x/math.Sqrt2) }, kerneltest.Bound{Rel: 3e-7, Abs: 2 * denormal}},
	{"Relu", Relu, func(x float64) float64 { return max(x, 0) }, kerneltest.Bound{}},
	{"LeakyRelu", func(d, s []float32) { LeakyRelu(d, s, 0.25) }, func(x float64) float64 { return max(x, x/4) }, kerneltest.Bound{Abs: denormal}},
	{"ThresholdedRelu", func(d, s []float32) { ThresholdedRelu(d, s, 0.75) }, thresholded, kerneltest.Bound{}},
	{"Elu", func(d, s []float32) { Elu(d, s, 2) }, func(x float64) float64 { return selu(x, 2, 1) }, kerneltest.Bound{Rel: 3e-7, Abs: denormal}},
	{"Selu", func(d, s []float32) { Selu(d, s, 1.5, 1.25) }, func(x float64) float64 { return selu(x, 1.5, 1.25) }, kerneltest.Bound{Rel: 3e-7, Abs: denormal}},
	{"Celu", func(d, s []float32) { Celu(d, s, 0.5) }, func(x float64) float64 { return max(x, 0) + min(0, math.Expm1(x*2)/2) }, kerneltest.Bound{Rel: 3e-7, Abs: denormal}},
	{"Celu of -2", func(d, s []float32) { Celu(d, s, -2) }, func(x float64) float64 { return max(x, 0) + min(0, -2*math.Expm1(x/-2)) }, kerneltest.Bound{Rel: 3e-7, Abs: denormal}},
	{"HardSigmoid", func(d, s []float32) { HardSigmoid(d, s, 0.25, 0.5) }, func(x float64) float64 { return min(max(x/4+0.5, 0), 1) }, kerneltest.Bound{Rel: 2e-7}},
	{"HardSwish", HardSwish, func(x float64) float64 { return x * min(max(x/6+0.5, 0), 1) }, kerneltest.Bound{Rel: 3e-7, Abs: denormal}},
	{"Clip", func(d, s []float32) { Clip(d, s, -1.5, 2.25) }, func(x float64) float64 { return min(max(x, -1.5), 2.25) }, kerneltest.Bound{}},
	{"Softsign", Softsign, func(x float64) float64 { return x / (1 + math.Abs(x)) }, kerneltest.Bound{Rel: 2e-7, Abs: denormal}},
	{"Sqrt", Sqrt, math.Sqrt, kerneltest.Bound{Rel: 6e-8}},
	{"Rsqrt", Rsqrt, func(x float64) float64 { return 1 / math.Sqrt(x) }, kerneltest.Bound{Rel: 1.2e-7}},
	{"Reciprocal", Reciprocal, func(x float64) float64 { return 1 / x }, kerneltest.Bound{Rel: 6e-8, Abs: denormal}},
	{"Square", Square, func(x float64) float64 { return x * x }, kerneltest.Bound{Rel: 6e-8, Abs: denormal}},
	{"Abs", Abs, math.Abs, kerneltest.Bound{}},
	{"Neg", Neg, func(x float64) float64 { return -x }, kerneltest.Bound{}},
	{"Sign", Sign, unit, kerneltest.Bound{}},
	{"Floor", Floor, math.Floor, kerneltest.Bound{}},
	{"Ceil", Ceil, math.Ceil, kerneltest.Bound{}},
	{"Round", Round, math.RoundToEven, kerneltest.Bound{}},
	{"Pow3", func(d, s []float32) { Pow(d, s, 3) }, func(x float64) float64 { return x * x * x }, kerneltest.Bound{Rel: 2e-7, Abs: denormal}},
	{"Pow1", func(d, s []float32) { Pow(d, s, 1) }, func(x float64) float64 { return x }, kerneltest.Bound{}},
	{"Pow2.5", func(d, s []float32) { Pow(d, s, 2.5) }, func(x float64) float64 { return math.Pow(x, 2.5) }, kerneltest.Bound{Rel: 6e-8, Abs: denormal}},
	{"Pow-1", func(d, s []float32) { Pow(d, s, -1) }, func(x float64) float64 { return 1 / x }, kerneltest.Bound{Rel: 6e-8, Abs: denormal}},
	{"Pow2", func(d, s []float32) { Pow(d, s, 2) }, func(x float64) float64 { return x * x }, kerneltest.Bound{Rel: 6e-8, Abs: denormal}},
}

func thresholded(x float64) float64 {
	if x <= 0.75 {
		return 0
	}
	return x
}

func selu(x, alpha, gamma float64) float64 {
	if x > 0 {
		return gamma * x
	}
	return gamma * alpha * math.Expm1(x)
}

func unit(x float64) float64 {
	if x == 0 || x != x {
		return x
	}
	return math.Copysign(1, x)
}

// sweep is numbers of every exponent and sign, denser where functions bend.
func sweep(t testing.TB) []float32 {
	x := append([]float32{}, kerneltest.Specials...)
	for bits := uint64(0); bits < 1<<32; bits += 1<<17 - 77 {
		x = append(x, math.Float32frombits(uint32(bits)))
	}
	r := kerneltest.Rand(t, 1)
	for _, scale := range []float64{0.01, 1, 4, 20, 100} {
		some := make([]float32, 3000)
		kerneltest.Fill(r, some, scale)
		x = append(x, some...)
	}
	return x
}

func TestMapsAreWithinTheirBounds(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		src := sweep(t)
		dst, want := make([]float32, len(src)), make([]float32, len(src))
		for _, e := range elements {
			e.apply(dst, src)
			worst, at := 0.0, float32(0)
			for i, x := range src {
				truth := e.truth(float64(x))
				want[i] = float32(truth)
				off := math.Abs(float64(dst[i])-truth) - e.bound.Abs
				if off > worst*math.Abs(truth) && !math.IsInf(float64(want[i]), 0) {
					worst, at = off/math.Abs(truth), x
				}
			}
			if worst > e.bound.Rel {
				t.Errorf("%s of %g is off by %.3g, more than %.3g", e.name, at, worst, e.bound.Rel)
			}
			// Infinities, NaN and zeros are where float64 has them.
			kerneltest.Close(t, e.name, dst, want, kerneltest.Bound{Rel: e.bound.Rel + 1.2e-7, Abs: e.bound.Abs})
		}
	})
}

// TestGeluTanh has its own bound, which grows with the argument of exp.
func TestGeluTanh(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		src := sweep(t)
		dst := make([]float32, len(src))
		GeluTanh(dst, src)
		for i, x := range src {
			v := float64(x)
			truth := v * logistic(2*math.Sqrt(2/math.Pi)*v*(1+0.044715*v*v))
			bound := kerneltest.Bound{Rel: 3e-7 * (1 + min(math.Abs(v*v*v), 1e9)), Abs: 2e-44}
			kerneltest.Close(t, fmt.Sprintf("%g", x), dst[i:i+1], []float32{float32(truth)}, bound)
		}
	})
}

// TestMapsEverywhere holds every element to the same element computed alone, at all
// lengths and offsets, in place and not.
func TestMapsEverywhere(t *testing.T) {
	all := append([]element{{name: "GeluTanh", apply: GeluTanh}}, elements...)
	kerneltest.Levels(t, func(t *testing.T) {
		r := kerneltest.Rand(t, 2)
		for _, e := range all {
			for i, n := range kerneltest.Lengths(4) {
				src, _ := kerneltest.Slice[float32](t, n, i%5)
				dst, check := kerneltest.Slice[float32](t, n, i%7)
				kerneltest.Fill(r, src, 3)
				kerneltest.Sprinkle(r, src, 4)
				e.apply(dst, src)
				check()
				want := make([]float32, n)
				for j := range src {
					e.apply(want[j:j+1], src[j:j+1])
				}
				kerneltest.Same(t, fmt.Sprintf("%s of %d", e.name, n), dst, want)
				e.apply(src, src)
				kerneltest.Same(t, fmt.Sprintf("%s of %d in place", e.name, n), src, want)
			}
		}
	})
}
