// SPDX-License-Identifier: Apache-2.0

package act

import (
	"fmt"
	"math"
	"testing"

	"github.com/millrace-ml/millrace/kernels/kerneltest"
)

func TestNorm(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		for _, shape := range shapes() {
			for _, mean := range []float32{0, 1, -1000, 1e6} {
				dst, src, check := slices(t, shape, 2)
				for i := range src {
					src[i] += mean
				}
				what := fmt.Sprintf("%v, mean %g", shape, mean)
				holdNorm(t, what, dst, src, shape[0], shape[1], float64(shape[1])/256)
				check()
			}
		}
	})
}

// holdNorm runs both norms with and without gamma and beta. length is the part of the
// bound that grows with the columns.
func holdNorm(t *testing.T, what string, dst, src []float32, rows, cols int, length float64) {
	t.Helper()
	r := kerneltest.Rand(t, uint64(cols))
	gamma, beta := make([]float32, cols), make([]float32, cols)
	kerneltest.Fill(r, gamma, 1)
	kerneltest.Fill(r, beta, 1)
	want := make([]float32, len(src))
	const epsilon = 1e-5
	for _, w := range [][2][]float32{{nil, nil}, {gamma, nil}, {nil, beta}, {gamma, beta}} {
		LayerNorm(dst, src, rows, cols, w[0], w[1], epsilon)
		if len(src) > 0 {
			layerNormGeneric(want, src, cols, w[0], w[1], epsilon)
		}
		nearNorm(t, "LayerNorm "+what, dst, want, w[0], w[1], cols, 4+length)
		if w[1] != nil {
			continue
		}
		RMSNorm(dst, src, rows, cols, w[0], epsilon)
		if len(src) > 0 {
			rmsNormGeneric(want, src, cols, w[0], epsilon)
		}
		nearNorm(t, "RMSNorm "+what, dst, want, w[0], nil, cols, 3+length)
	}
}

// nearNorm bounds the normalised value, before gamma and beta, by its size or 1.
func nearNorm(t *testing.T, what string, got, want, gamma, beta []float32, cols int, ulps float64) {
	t.Helper()
	for i := range want {
		g, b := 1.0, 0.0
		if gamma != nil {
			g = float64(gamma[i%cols])
		}
		if beta != nil {
			b = float64(beta[i%cols])
		}
		// One ulp of the larger term for each of the last operations.
		y := math.Abs(float64(want[i]) - b)
		bound := 1.2e-7 * (ulps*max(y, math.Abs(g)) + math.Abs(b))
		if off := math.Abs(float64(got[i]) - float64(want[i])); !(off <= bound) {
			t.Fatalf("%s: element %d of %d columns is %g, want %g, off by %.3g", what, i, cols, got[i], want[i], off)
		}
	}
}

// TestLayerNormOfTheWorstRow has all that differs where the kernel looks for the mean.
func TestLayerNormOfTheWorstRow(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		for _, cols := range []int{65, 768, 5000} {
			for _, outliers := range []int{1, 10, 64} {
				dst, src, _ := slices(t, [2]int{3, cols}, 1)
				for i := range src {
					if i%cols < outliers {
						src[i] += 1e5
					}
				}
				holdNorm(t, fmt.Sprintf("%d outliers", outliers), dst, src, 3, cols, float64(cols)/16)
			}
		}
	})
}

func TestNormOfSpecialRows(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	kerneltest.Levels(t, func(t *testing.T) {
		for _, c := range []struct{ row, layer, rms []float32 }{
			{[]float32{7, 7, 7}, []float32{0, 0, 0}, []float32{1, 1, 1}},
			{[]float32{1e6, 1e6, 1e6, 1e6, 1e6}, []float32{0, 0, 0, 0, 0}, []float32{1, 1, 1, 1, 1}},
			{[]float32{0, 0}, []float32{0, 0}, []float32{0, 0}},
			{[]float32{1, nan, 2}, []float32{nan, nan, nan}, []float32{nan, nan, nan}},
			{[]float32{inf, 1}, []float32{nan, nan}, []float32{nan, 0}},
		} {
			dst := make([]float32, len(c.row))
			LayerNorm(dst, c.row, 1, len(c.row), nil, nil, 1e-9)
			kerneltest.Close(t, fmt.Sprint("LayerNorm ", c.row), dst, c.layer, kerneltest.Bound{Rel: 1e-6, Abs: 1e-6})
			RMSNorm(dst, c.row, 1, len(c.row), nil, 1e-9)
			kerneltest.Close(t, fmt.Sprint("RMSNorm ", c.row), dst, c.rms, kerneltest.Bound{Rel: 1e-6, Abs: 1e-6})
		}
	})
}

func TestShortSlicesPanicBeforeAnythingIsWritten(t *testing.T) {
	src := make([]float32, 8)
	for name, call := range map[string]func(dst []float32){
		"Exp":             func(dst []float32) { Exp(dst, src) },
		"Softmax":         func(dst []float32) { Softmax(dst, src, 2, 4) },
		"Softmax's src":   func(dst []float32) { Softmax(make([]float32, 99), src, 3, 3) },
		"negative rows":   func(dst []float32) { Softmax(make([]float32, 99), src, -1, 3) },
		"rows*cols wraps": func(dst []float32) { LogSoftmax(make([]float32, 99), src, math.MaxInt/2, 4) },
		"gamma":           func(dst []float32) { LayerNorm(make([]float32, 8), src, 2, 4, src[:3], nil, 1) },
		"beta":            func(dst []float32) { LayerNorm(make([]float32, 8), src, 2, 4, nil, src[:3], 1) },
		"RMSNorm's gamma": func(dst []float32) { RMSNorm(make([]float32, 8), src, 2, 4, src[:0], 1) },
	} {
		dst := []float32{5, 5, 5}
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			call(dst)
		}()
		kerneltest.Same(t, name, dst, []float32{5, 5, 5})
	}
}

func TestNothingIsAllocated(t *testing.T) {
	gamma, beta := make([]float32, 33), make([]float32, 33)
	kerneltest.Levels(t, func(t *testing.T) {
		src, dst := make([]float32, 99), make([]float32, 99)
		for _, e := range elements {
			if n := testing.AllocsPerRun(10, func() { e.apply(dst, src) }); n != 0 {
				t.Errorf("%s allocates %v times", e.name, n)
			}
		}
		for name, apply := range rowwise(gamma, beta) {
			if n := testing.AllocsPerRun(10, func() { apply(dst, src, 3, 33) }); n != 0 {
				t.Errorf("%s allocates %v times", name, n)
			}
		}
	})
}
