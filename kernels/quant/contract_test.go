// SPDX-License-Identifier: Apache-2.0

package quant

import (
	"math"
	"testing"

	"github.com/millrace-ml/millrace/kernels/kerneltest"
)

// TestNoAllocation holds every kernel to allocating nothing once its scratch is there.
func TestNoAllocation(t *testing.T) {
	const m, k, n = 21, 70, 75
	w := Pack(k, n, make([]uint8, k*n), n, false, nil)
	u, s := make([]uint8, m*n), make([]int8, m*n)
	c, f := make([]int32, m*n), make([]float32, m*n)
	e := &Epilogue{AScale: 1, WScale: []float32{1}, Bias: make([]float32, n), Activation: Relu}
	kerneltest.Levels(t, func(t *testing.T) {
		var scratch Scratch
		scratch.Reserve(m, w)
		for name, kernel := range map[string]func(){
			"Gemm32":     func() { Gemm32(m, s[:m*k], k, 1, w, c, n, &scratch) },
			"Gemm":       func() { Gemm(m, u[:m*k], k, 1, w, f, n, e, &scratch) },
			"GemmU8":     func() { GemmU8(m, s[:m*k], k, 1, w, u, n, 0.1, 3, e, &scratch) },
			"GemmS8":     func() { GemmS8(1, u[:k], k, 1, w, s, n, 0.1, 3, e, &scratch) },
			"quantise":   func() { DynamicQuantize(u, f); QuantizeS8(s[:20], f[:20], 0.1, 3) },
			"dequantise": func() { DequantizeU8(f, u, 0.1, 3); Dequantize32(f, c, f[:n]) },
		} {
			if allocs := testing.AllocsPerRun(5, kernel); allocs != 0 {
				t.Errorf("%s allocates %g times", name, allocs)
			}
		}
	})
}

// TestWrongLengths holds every function to panicking when a slice does not hold what
// the dimensions say, also where their product is beyond an int.
func TestWrongLengths(t *testing.T) {
	b := make([]int8, 100)
	u, c, f := make([]uint8, 100), make([]int32, 100), make([]float32, 100)
	w := Pack(10, 10, b, 10, false, nil)
	fits := func() *Epilogue { return &Epilogue{AScale: 1, WScale: []float32{1}} }
	var s Scratch
	for name, call := range map[string]func(){
		"weights too few":        func() { Pack(11, 10, b, 10, false, nil) },
		"weights transposed":     func() { Pack(10, 11, b, 10, true, nil) },
		"weights overlap":        func() { Pack(10, 10, b, 9, false, nil) },
		"weights overflow":       func() { Pack(math.MaxInt/2, math.MaxInt/2, b, math.MaxInt, false, nil) },
		"weights negative":       func() { Pack(-1, 10, b, 10, false, nil) },
		"zero points":            func() { Pack(10, 10, b, 10, false, b[:9]) },
		"activations":            func() { Gemm32(10, u[:99], 10, 0, w, c, 10, &s) },
		"activations apart":      func() { Gemm32(10, u, 11, 0, w, c, 10, &s) },
		"rows overflow":          func() { Gemm32(math.MaxInt, u, math.MaxInt, 0, w, c, 10, &s) },
		"rows negative":          func() { Gemm32(-1, u, 10, 0, w, c, 10, &s) },
		"outputs":                func() { Gemm32(10, u, 10, 0, w, c[:99], 10, &s) },
		"float outputs":          func() { Gemm(10, u, 10, 0, w, f[:99], 10, fits(), &s) },
		"byte outputs":           func() { GemmU8(10, u, 10, 0, w, make([]uint8, 99), 10, 1, 0, fits(), &s) },
		"signed outputs":         func() { GemmS8(10, u, 10, 0, w, b, 9, 1, 0, fits(), &s) },
		"no scale":               func() { Gemm(10, u, 10, 0, w, f, 10, &Epilogue{}, &s) },
		"bias":                   func() { e := fits(); e.Bias = f[:9]; Gemm(10, u, 10, 0, w, f, 10, e, &s) },
		"integer bias":           func() { e := fits(); e.Bias32 = c[:9]; Gemm(10, u, 10, 0, w, f, 10, e, &s) },
		"activation":             func() { e := fits(); e.Activation = 9; Gemm(10, u, 10, 0, w, f, 10, e, &s) },
		"quantised":              func() { QuantizeU8(u[:5:5], f[:6], 1, 0) },
		"dequantised":            func() { DequantizeS8(f[:5:5], b[:6], 1, 0) },
		"scales of columns":      func() { Dequantize32(f, c, f[:3]) },
		"no scales of columns":   func() { Dequantize32(f, c, nil) },
		"dequantised 32-bit too": func() { Dequantize32(f[:5:5], c[:6], f[:1]) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			call()
		})
	}
}

// TestPackedSize holds the size of weights to what their padding makes of it.
func TestPackedSize(t *testing.T) {
	w := Pack(5, 33, make([]int8, 5*33), 33, false, []int8{1})
	if w.K() != 5 || w.N() != 33 || w.Bytes() != 8*64+4*64+4*64 {
		t.Errorf("K %d, N %d, %d bytes", w.K(), w.N(), w.Bytes())
	}
}
