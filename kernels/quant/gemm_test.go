// SPDX-License-Identifier: Apache-2.0

package quant

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/millrace-ml/millrace/kernels/kerneltest"
)

// shape is a product to test.
type shape struct {
	m, k, n    int
	transposed bool
	gap        int // between rows
}

func shapes() []shape {
	list := []shape{{1, 0, 5, false, 0}, {0, 4, 4, false, 0}, {3, 4, 0, false, 0}, {33, 8, 33, true, 9}, {70, 68, 65, false, 0}, {2, 1024, 31, false, 0}}
	for m := 1; m <= 15; m++ {
		list = append(list, shape{m, 7 + 4*m, 2*m + 27, m%2 == 0, m % 3})
	}
	for n := 1; n <= 34; n++ {
		list = append(list, shape{3 + n%5, n, n, n%2 == 0, n % 4})
	}
	return append(list, shape{5, 36, 200, false, 0}, shape{29, 64, 130, false, 1}, shape{3, 4096, 17, false, 0})
}

func (s shape) String() string {
	return fmt.Sprintf("m=%d/k=%d/n=%d/transposed=%t/gap=%d", s.m, s.k, s.n, s.transposed, s.gap)
}

// problem is a product with its operands.
type problem[A, W Byte] struct {
	shape
	a        []A
	lda      int
	aZero    A
	b        []W
	zero     []W
	w        *Packed
	unharmed func()
}

func bytesOf[T Byte](r *rand.Rand, x []T) {
	b := unsigned(x)
	for i := range b {
		b[i] = uint8(r.Uint32())
		// The extremes are where narrow sums would saturate.
		if r.IntN(4) == 0 {
			b[i] = []uint8{0, 127, 128, 255}[r.IntN(4)]
		}
	}
}

// newProblem makes one whose activations end where memory may end too.
func newProblem[A, W Byte](t testing.TB, r *rand.Rand, s shape, zeros int) *problem[A, W] {
	p := &problem[A, W]{shape: s, lda: s.k + s.gap}
	length := 0
	if s.m > 0 {
		length = (s.m-1)*p.lda + s.k
	}
	p.a, p.unharmed = kerneltest.Slice[A](t, length, r.IntN(64))
	bytesOf(r, p.a)
	rows, width := s.k, s.n
	if s.transposed {
		rows, width = s.n, s.k
	}
	p.b = make([]W, rows*(width+s.gap))
	bytesOf(r, p.b)
	p.aZero = A(r.Uint32())
	p.zero = make([]W, zeros)
	bytesOf(r, p.zero)
	p.w = Pack(s.k, s.n, p.b, width+s.gap, s.transposed, p.zero)
	return p
}

// sum is one output, computed from the operands as they were before packing.
func (p *problem[A, W]) sum(i, j int) int32 {
	zero := W(0)
	if len(p.zero) > 0 {
		zero = p.zero[min(j, len(p.zero)-1)]
	}
	sum := int32(0)
	for x := range p.k {
		at := x*(p.n+p.gap) + j
		if p.transposed {
			at = j*(p.k+p.gap) + x
		}
		sum += (int32(p.a[i*p.lda+x]) - int32(p.aZero)) * (int32(p.b[at]) - int32(zero))
	}
	return sum
}

// outputs calls product with a slice between canaries for m rows that are ld apart, and
// compares each row with want(i, j); what lies between rows must stay.
func outputs[T kerneltest.Number](t *testing.T, r *rand.Rand, s shape, product func(c []T, ld int), want func(i, j int) T) {
	t.Helper()
	ld := s.n + s.gap
	length := 0
	if s.m > 0 {
		length = (s.m-1)*ld + s.n
	}
	c, unharmed := kerneltest.Slice[T](t, length, r.IntN(16))
	expected := make([]T, length)
	for i := range c {
		c[i] = T(i % 100)
		expected[i] = c[i]
	}
	for i := range s.m {
		for j := range s.n {
			expected[i*ld+j] = want(i, j)
		}
	}
	product(c, ld)
	unharmed()
	kerneltest.Same(t, s.String(), c, expected)
}

func TestGemm32(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		r := kerneltest.Rand(t, 1)
		var s Scratch
		for _, sh := range shapes() {
			testSums(t, newProblem[uint8, int8](t, r, sh, 0), r, &s)
			testSums(t, newProblem[uint8, int8](t, r, sh, sh.n), r, &s)
			testSums(t, newProblem[uint8, uint8](t, r, sh, 1), r, &s)
			testSums(t, newProblem[int8, int8](t, r, sh, 1), r, &s)
			testSums(t, newProblem[int8, uint8](t, r, sh, 0), r, &s)
		}
	})
}

func testSums[A, W Byte](t *testing.T, p *problem[A, W], r *rand.Rand, s *Scratch) {
	t.Helper()
	outputs(t, r, p.shape, func(c []int32, ld int) {
		Gemm32(p.m, p.a, p.lda, p.aZero, p.w, c, ld, s)
	}, p.sum)
	p.unharmed()
}

// epilogueOf is one of every sort, by number.
func epilogueOf(r *rand.Rand, n, sort int) *Epilogue {
	e := &Epilogue{AScale: 0.013, WScale: []float32{0.0037}, Activation: Activation(sort % 3), Alpha: -3.5, Beta: 4.25}
	if sort%2 == 1 {
		e.WScale = make([]float32, n)
		kerneltest.Fill(r, e.WScale, 0.005)
	}
	if sort%4 >= 2 {
		e.Bias = make([]float32, n)
		kerneltest.Fill(r, e.Bias, 2)
		kerneltest.Sprinkle(r, e.Bias, 5)
	}
	if sort%8 >= 4 {
		e.Bias32 = make([]int32, n)
		for i := range e.Bias32 {
			e.Bias32[i] = int32(r.Uint32()) >> (r.IntN(20) + 8)
		}
	}
	return e
}

// real is what the epilogue makes of a sum, with the rules spelt out.
func (e *Epilogue) real(sum int32, j int, outScale float32) float32 {
	bias := float32(0)
	if e.Bias32 != nil {
		sum += e.Bias32[j]
	}
	if e.Bias != nil {
		bias = e.Bias[j]
	}
	scale := e.AScale * e.WScale[min(j, len(e.WScale)-1)]
	if outScale != 0 {
		scale /= outScale
		bias *= 1 / outScale
	}
	return float32(float32(sum)*scale) + bias
}

func (e *Epilogue) activate(y float32) float32 {
	lo, hi := e.bounds()
	switch {
	case y < lo:
		return lo
	case y > hi:
		return hi
	}
	return y
}

func TestGemm(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		r := kerneltest.Rand(t, 2)
		var s Scratch
		for i, sh := range shapes() {
			p, q := newProblem[uint8, int8](t, r, sh, 0), newProblem[int8, uint8](t, r, sh, sh.n)
			e, f := epilogueOf(r, sh.n, i), epilogueOf(r, sh.n, i+5)
			outputs(t, r, sh, func(c []float32, ld int) {
				Gemm(p.m, p.a, p.lda, p.aZero, p.w, c, ld, e, &s)
			}, func(i, j int) float32 { return e.activate(e.real(p.sum(i, j), j, 0)) })
			outputs(t, r, sh, func(c []float32, ld int) {
				Gemm(q.m, q.a, q.lda, q.aZero, q.w, c, ld, f, &s)
			}, func(i, j int) float32 { return f.activate(f.real(q.sum(i, j), j, 0)) })
		}
	})
}

// quantised is ONNX QuantizeLinear of y, already divided by the scale, between two
// bounds of the type.
func quantised(y float64, zero, lowest, highest float64) float64 {
	if math.IsNaN(y) {
		return lowest
	}
	return max(lowest, min(highest, math.RoundToEven(y)+zero))
}

func TestGemmQuantised(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		r := kerneltest.Rand(t, 3)
		var s Scratch
		for i, sh := range shapes() {
			p, e, outScale := newProblem[uint8, int8](t, r, sh, i%2), epilogueOf(r, sh.n, i), float32(0.37)
			limited := func(i, j int) float64 {
				lo, hi := e.bounds()
				y := e.real(p.sum(i, j), j, outScale)
				switch {
				case y < lo/outScale:
					y = lo / outScale
				case y > hi/outScale:
					y = hi / outScale
				case y != y:
					y = lo / outScale
				}
				return float64(y)
			}
			outputs(t, r, sh, func(c []uint8, ld int) {
				GemmU8(p.m, p.a, p.lda, p.aZero, p.w, c, ld, outScale, 77, e, &s)
			}, func(i, j int) uint8 { return uint8(quantised(limited(i, j), 77, 0, 255)) })
			outputs(t, r, sh, func(c []int8, ld int) {
				GemmS8(p.m, p.a, p.lda, p.aZero, p.w, c, ld, outScale, -9, e, &s)
			}, func(i, j int) int8 { return int8(quantised(limited(i, j), -9, -128, 127)) })
		}
	})
}
