// SPDX-License-Identifier: Apache-2.0

package gemm

import (
	"slices"
	"testing"

	"github.com/millrace-ml/millrace/kernels/cpu"
	"github.com/millrace-ml/millrace/kernels/kerneltest"
)

func TestGemm(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		r := kerneltest.Rand(t, 1)
		var s Scratch
		for i, shape := range shapes() {
			p := newProduct(t, r, shape[0], shape[1], shape[2], i%2 == 1)
			if i%3 > 0 {
				p.withEpilogue(t, r, Activation(i)%activations)
			}
			w := Pack(p.k, p.n, p.b, p.ldb, p.transposed)
			s.Reserve(p.m, w)
			before := slices.Clone(p.c)
			Gemm(p.m, p.a, p.lda, w, p.c, p.ldc, p.e, &s)
			p.verify(t, before)
			got := slices.Clone(p.c)
			copy(p.c, before)
			Prepare(p.m, p.a, p.lda, w, p.c, p.ldc, p.e, &s).Run()
			kerneltest.Same(t, "prepared product", p.c, got)
		}
	})
}

func TestActivations(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		r := kerneltest.Rand(t, 2)
		for activation := range activations {
			for _, n := range []int{3, 37, 64} {
				p := newProduct(t, r, 5, n, 20, false)
				p.withEpilogue(t, r, activation)
				w := Pack(p.k, p.n, p.b, p.ldb, false)
				var s Scratch
				s.Reserve(p.m, w)
				before := slices.Clone(p.c)
				Gemm(p.m, p.a, p.lda, w, p.c, p.ldc, p.e, &s)
				p.verify(t, before)
			}
		}
	})
}

// Values that no sum of a few can make overflow, so that the order does not matter.
var specials = slices.DeleteFunc(slices.Clone(kerneltest.Specials), func(x float32) bool {
	return x-x == 0 && (x > 1e6 || x < -1e6)
})

func TestSpecialValues(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		r := kerneltest.Rand(t, 3)
		var s Scratch
		for i := range 60 {
			p := newProduct(t, r, 1+r.IntN(20), 1+r.IntN(70), 1+r.IntN(9), i%2 == 0)
			p.withEpilogue(t, r, Activation(i)%(LeakyRelu+1))
			for range 3 {
				p.a[r.IntN(len(p.a))] = specials[r.IntN(len(specials))]
				p.b[r.IntN(len(p.b))] = specials[r.IntN(len(specials))]
			}
			w := Pack(p.k, p.n, p.b, p.ldb, p.transposed)
			s.Reserve(p.m, w)
			before := slices.Clone(p.c)
			Gemm(p.m, p.a, p.lda, w, p.c, p.ldc, p.e, &s)
			p.verify(t, before)
		}
	})
}

// TestRowsAlone holds the package's promise that a row's results are the same bits
// alone and among others, and with the fused multiply-adds of AVX2 and of AVX-512.
func TestRowsAlone(t *testing.T) {
	const m = 47
	for _, shape := range [][2]int{{3, 100}, {40, 33}, {70, 1025}, {64, 2100}} {
		n, k := shape[0], shape[1]
		r := kerneltest.Rand(t, 4)
		p := newProduct(t, r, m, n, k, false)
		p.withEpilogue(t, r, Tanh)
		w, w16 := Pack(k, n, p.b, p.ldb, false), PackBF16(k, n, p.b, p.ldb, false)
		var s Scratch
		s.Reserve(m, w)
		s.ReserveBF16(m, w16)
		var fused []float32
		kerneltest.Levels(t, func(t *testing.T) {
			whole, alone := make([]float32, m*n), make([]float32, m*n)
			for i, multiply := range []func(rows int, a, c []float32, e *Epilogue){
				func(rows int, a, c []float32, e *Epilogue) { Gemm(rows, a, p.lda, w, c, n, e, &s) },
				func(rows int, a, c []float32, e *Epilogue) { GemmBF16(rows, a, p.lda, w16, c, n, e, &s) },
			} {
				multiply(m, p.a, whole, p.e)
				for step, row := 0, 0; row < m; row += step {
					step = min(1+row%9, m-row)
					rest := p.e.from(row)
					multiply(step, p.a[row*p.lda:], alone[row*n:], &rest)
				}
				kerneltest.Same(t, p.String(), alone, whole)
				if i == 0 && cpu.Active() >= cpu.AVX2 {
					if fused != nil && p.e.Activation.simple() {
						kerneltest.Same(t, p.String()+" at the level before", whole, fused)
					}
					fused = slices.Clone(whole)
				}
			}
		})
	}
}

func TestLevelAfterPack(t *testing.T) {
	r := kerneltest.Rand(t, 5)
	p := newProduct(t, r, 9, 50, 60, false)
	undo := cpu.Limit(cpu.Generic)
	w := Pack(p.k, p.n, p.b, p.ldb, false)
	var s Scratch
	s.Reserve(p.m, w)
	undo()
	kerneltest.Levels(t, func(t *testing.T) {
		before := slices.Clone(p.c)
		Gemm(p.m, p.a, p.lda, w, p.c, p.ldc, nil, &s)
		p.verify(t, before)
	})
}

// TestCall runs a prepared product at other levels, and on other values, than it was
// prepared for.
func TestCall(t *testing.T) {
	r := kerneltest.Rand(t, 7)
	for _, activation := range []Activation{Relu, Gelu} {
		p := newProduct(t, r, 4, 50, 60, false)
		p.withEpilogue(t, r, activation)
		w := Pack(p.k, p.n, p.b, p.ldb, false)
		var s Scratch
		s.Reserve(p.m, w)
		call := Prepare(p.m, p.a, p.lda, w, p.c, p.ldc, p.e, &s)
		kerneltest.Levels(t, func(t *testing.T) {
			kerneltest.Fill(r, p.a, 1)
			before := slices.Clone(p.c)
			call.Run()
			p.verify(t, before)
		})
	}
}

func TestPacked(t *testing.T) {
	b := make([]float32, 40*70)
	w, w16, narrow := Pack(40, 70, b, 70, false), PackBF16(40, 70, b, 40, true), Pack(40, 2, b, 2, false)
	if w.K() != 40 || w.N() != 70 || w.Bytes() != 4*96*40 {
		t.Errorf("packed %d x %d in %d bytes", w.K(), w.N(), w.Bytes())
	}
	if w16.K() != 40 || w16.N() != 70 || w16.Bytes() != 2*96*40 {
		t.Errorf("packed bf16 %d x %d in %d bytes", w16.K(), w16.N(), w16.Bytes())
	}
	if narrow.Bytes() != 4*2*48 {
		t.Errorf("two columns take %d bytes", narrow.Bytes())
	}
}

func TestNoAllocations(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		r := kerneltest.Rand(t, 6)
		p := newProduct(t, r, 20, 50, 60, false)
		p.withEpilogue(t, r, Gelu)
		w, w16 := Pack(p.k, p.n, p.b, p.ldb, false), PackBF16(p.k, p.n, p.b, p.ldb, false)
		var s Scratch
		s.ReserveQuantised(p.m, w)
		s.ReserveBF16(p.m, w16)
		s.ReserveMatMul(p.m, p.k)
		out := make([]uint8, p.m*p.n)
		call := Prepare(p.m, p.a, p.lda, w, p.c, p.ldc, p.e, &s)
		if n := testing.AllocsPerRun(5, func() {
			Gemm(p.m, p.a, p.lda, w, p.c, p.ldc, p.e, &s)
			call.Run()
			GemmBF16(p.m, p.a, p.lda, w16, p.c, p.ldc, p.e, &s)
			GemmQuantised(p.m, p.a, p.lda, w, out, p.n, p.e, 0.1, 128, &s)
			MatMul(p.m, p.n, p.k, 2, p.a, p.lda, p.b, p.ldb, false, p.c, p.ldc, &s)
		}); n != 0 {
			t.Errorf("%v allocations", n)
		}
	})
}

func TestMisuse(t *testing.T) {
	b := make([]float32, 100)
	w, w16 := Pack(10, 10, b, 10, false), PackBF16(10, 10, b, 10, false)
	var s Scratch
	s.ReserveQuantised(8, w)
	s.ReserveBF16(8, w16)
	for name, misuse := range map[string]func(){
		"rows below zero":      func() { Gemm(-1, b, 10, w, b, 10, nil, &s) },
		"short A":              func() { Gemm(2, b[:19], 10, w, b, 10, nil, &s) },
		"short C":              func() { Gemm(2, b, 10, w, b[:19], 10, nil, &s) },
		"stride of A":          func() { Gemm(2, b, 9, w, b, 10, nil, &s) },
		"stride of C":          func() { Gemm(2, b, 10, w, b, 9, nil, &s) },
		"stride that wraps":    func() { Gemm(3, b, 1<<62, w, b, 10, nil, &s) },
		"short prepared A":     func() { Prepare(2, b[:19], 10, w, b, 10, nil, &s) },
		"prepared no scratch":  func() { Prepare(2, b, 10, w, b, 10, nil, nil) },
		"short bias":           func() { Gemm(1, b, 10, w, b, 10, &Epilogue{Bias: b[:9]}, &s) },
		"short residual":       func() { Gemm(2, b, 10, w, b, 10, &Epilogue{Add: b[:19], LdAdd: 10}, &s) },
		"activation":           func() { Gemm(1, b, 10, w, b, 10, &Epilogue{Activation: 200}, &s) },
		"no scratch":           func() { Gemm(2, b, 10, w, b, 10, nil, nil) },
		"scratch of one row":   func() { Gemm(2, b, 10, w, b, 10, nil, &Scratch{}) },
		"scratch for bf16":     func() { GemmBF16(1, b, 10, w16, b, 10, nil, &Scratch{}) },
		"short weights":        func() { Pack(11, 10, b, 10, false) },
		"negative weights":     func() { Pack(-1, 10, b, 10, false) },
		"transposed weights":   func() { PackBF16(11, 10, b, 10, true) },
		"scale":                func() { GemmQuantised(1, b, 10, w, make([]uint8, 10), 10, nil, 0, 0, &s) },
		"short 8-bit output":   func() { GemmQuantised(2, b, 10, w, make([]uint8, 19), 10, nil, 1, 0, &s) },
		"short B":              func() { MatMul(1, 10, 11, 1, b, 11, b, 10, false, b, 10, &s) },
		"columns below zero":   func() { MatMul(1, -1, 1, 1, b, 1, b, 1, false, b, 1, &s) },
		"scratch for products": func() { MatMul(2, 2, 2, 1, b, 2, b, 2, false, b, 2, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			misuse()
		})
	}
}

func FuzzGemm(f *testing.F) {
	f.Add(uint64(1), uint8(3), uint8(33), uint8(17), uint8(1), uint8(0))
	f.Add(uint64(2), uint8(15), uint8(64), uint8(5), uint8(4), uint8(3))
	f.Fuzz(func(t *testing.T, seed uint64, m, n, k, activation, kind uint8) {
		r := kerneltest.Rand(t, seed)
		p := newProduct(t, r, int(m)%20, int(n)%80, int(k)%80, kind&1 > 0)
		before := slices.Clone(p.c)
		levels := cpu.Available()
		defer cpu.Limit(levels[int(seed%uint64(len(levels)))])()
		var s Scratch
		switch kind / 2 % 3 {
		case 0:
			p.withEpilogue(t, r, Activation(activation)%activations)
			w := Pack(p.k, p.n, p.b, p.ldb, p.transposed)
			s.Reserve(p.m, w)
			Gemm(p.m, p.a, p.lda, w, p.c, p.ldc, p.e, &s)
		case 1:
			p.withEpilogue(t, r, Activation(activation)%activations)
			w := PackBF16(p.k, p.n, p.b, p.ldb, p.transposed)
			p.roundA, p.roundB = dotsBF16(), true
			s.ReserveBF16(p.m, w)
			GemmBF16(p.m, p.a, p.lda, w, p.c, p.ldc, p.e, &s)
		default:
			p.alpha = float32(r.NormFloat64())
			s.ReserveMatMul(p.m, p.k)
			MatMul(p.m, p.n, p.k, p.alpha, p.a, p.lda, p.b, p.ldb, p.transposed, p.c, p.ldc, &s)
		}
		p.verify(t, before)
	})
}
