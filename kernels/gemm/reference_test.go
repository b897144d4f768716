// SPDX-License-Identifier: Apache-2.0

package gemm

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/millrace-ml/millrace/kernels/cpu"
	"github.com/millrace-ml/millrace/kernels/kerneltest"
)

// product is a product with all operands, and a reference for its result.
type product struct {
	m, n, k        int
	a, b, c        []float32
	lda, ldb, ldc  int
	transposed     bool
	alpha          float32
	e              *Epilogue
	checks         []func()
	roundA, roundB bool
}

// newProduct makes operands of normal deviates with strides a little beyond what is
// needed and starts that are off a cache line.
func newProduct(t testing.TB, r *rand.Rand, m, n, k int, transposed bool) *product {
	p := &product{m: m, n: n, k: k, transposed: transposed, alpha: 1}
	p.lda, p.ldb, p.ldc = k+r.IntN(4), n+r.IntN(4), n+r.IntN(4)
	rows, cols := k, n
	if transposed {
		p.ldb = k + r.IntN(4)
		rows, cols = n, k
	}
	p.a = p.matrix(t, r, m, k, p.lda)
	p.b = p.matrix(t, r, rows, cols, p.ldb)
	p.c = p.matrix(t, r, m, n, p.ldc)
	return p
}

// matrix is rows of cols values that end where the last one does.
func (p *product) matrix(t testing.TB, r *rand.Rand, rows, cols, stride int) []float32 {
	length := 0
	if rows > 0 {
		length = (rows-1)*stride + cols
	}
	x, check := kerneltest.Slice[float32](t, length, r.IntN(5))
	kerneltest.Fill(r, x, 1)
	p.checks = append(p.checks, check)
	return x
}

// withEpilogue adds one with the activation and, by chance, bias and residual.
func (p *product) withEpilogue(t testing.TB, r *rand.Rand, activation Activation) {
	p.e = &Epilogue{Activation: activation, Alpha: -0.5, Beta: 0.75}
	if activation == LeakyRelu {
		p.e.Alpha = 0.1
	}
	if r.IntN(4) > 0 {
		p.e.Bias = p.matrix(t, r, 1, p.n, p.n)
	}
	if r.IntN(2) > 0 {
		p.e.LdAdd = p.n + r.IntN(3)
		p.e.Add = p.matrix(t, r, p.m, p.n, p.e.LdAdd)
	}
}

// verify holds C to a product in f64 and checks that nothing beside it was written.
func (p *product) verify(t testing.TB, before []float32) {
	t.Helper()
	for i := range p.m {
		for j := range p.n {
			sum, magnitude := p.sum(i, j)
			want := p.finish(sum, i, j)
			// 2 ulp for the epilogue and the store; the activations have slopes up to 1.5.
			bound := 1.5 * (float64(p.k+4)*0x1p-24*magnitude + 4*0x1p-24*(math.Abs(sum)+4) + math.SmallestNonzeroFloat32)
			if p.roundA {
				bound += 1.5 * 0x1p-8 * magnitude
			}
			if got := float64(p.c[i*p.ldc+j]); !near(got, want, bound) {
				t.Fatalf("%v: row %d, column %d is %g, want %g within %g", p, i, j, got, want, bound)
			}
		}
		for j := p.n; j < p.ldc && i < p.m-1; j++ {
			if p.c[i*p.ldc+j] != before[i*p.ldc+j] {
				t.Fatalf("%v: column %d of row %d was written", p, j, i)
			}
		}
	}
	for _, check := range p.checks {
		check()
	}
}

func (p *product) String() string {
	return fmt.Sprintf("%d x %d x %d, strides %d %d %d, transposed %v, alpha %g, epilogue %+v",
		p.m, p.n, p.k, p.lda, p.ldb, p.ldc, p.transposed, p.alpha, p.e.brief())
}

// brief is the epilogue without its values.
func (e *Epilogue) brief() string {
	if e == nil {
		return "none"
	}
	return fmt.Sprintf("%v bias %v add %v", e.Activation, e.Bias != nil, e.Add != nil)
}

func near(got, want, bound float64) bool {
	return got == want || math.IsNaN(got) && math.IsNaN(want) || math.Abs(got-want) <= bound
}

// sum is alpha times the product of row i and column j, and that of magnitudes.
func (p *product) sum(i, j int) (sum, magnitude float64) {
	for l := range p.k {
		x, y := p.a[i*p.lda+l], p.b[index(l, j, p.ldb, p.transposed)]
		if p.roundB {
			y = widen(bf16(y))
		}
		v := float64(p.alpha) * float64(x) * float64(y)
		sum += v
		magnitude += math.Abs(v)
	}
	return sum, magnitude
}

// finish does the epilogue in f64.
func (p *product) finish(x float64, i, j int) float64 {
	if p.e == nil {
		return x
	}
	if p.e.Bias != nil {
		x += float64(p.e.Bias[j])
	}
	if p.e.Add != nil {
		x += float64(p.e.Add[i*p.e.LdAdd+j])
	}
	alpha, beta := float64(p.e.Alpha), float64(p.e.Beta)
	sigmoid := 1 / (1 + math.Exp(-x))
	if math.IsNaN(x) {
		return x
	}
	switch p.e.Activation {
	case Relu:
		return max(0, x)
	case Clip:
		return min(max(alpha, x), beta)
	case LeakyRelu:
		if x < 0 {
			return alpha * x
		}
	case Sigmoid:
		return sigmoid
	case Tanh:
		return math.Tanh(x)
	case Gelu:
		return x / 2 * (1 + math.Erf(x/math.Sqrt2))
	case GeluTanh:
		return x / 2 * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
	case Silu:
		return x * sigmoid
	case Softplus:
		return math.Log1p(math.Exp(x))
	case Elu:
		if x < 0 {
			return alpha * math.Expm1(x)
		}
	case HardSigmoid:
		return max(0, min(1, alpha*x+beta))
	case HardSwish:
		return x * max(0, min(1, x/6+0.5))
	}
	return x
}

// shapes are rows, columns and depths around the sizes of tiles, panels and blocks.
func shapes() (list [][3]int) {
	for m := 1; m <= 16; m++ {
		list = append(list, [3]int{m, 2*m + 27, 3*m + 1})
	}
	for n := 1; n <= 40; n++ {
		list = append(list, [3]int{n%5 + 1, n, 40 - n})
	}
	return append(list, [][3]int{
		{0, 3, 4}, {3, 0, 4}, {3, 5, 0}, {2, 33, 0}, {1, 64, 64}, {1, 256, 31}, {1, 70, 1030}, {29, 96, 17},
		{31, 31, 31}, {7, 65, 1027}, {45, 40, 1100}, {6, 34, 512}, {100, 20, 1024}, {3, 4, 1000}, {2, 40, 2051},
		{130, 66, 1023},
	}...)
}

// everyLevel is kerneltest.Levels; the levels of bf16 tell what A is rounded to.
func everyLevel(t *testing.T, test func(t *testing.T, roundsA bool)) {
	kerneltest.Levels(t, func(t *testing.T) { test(t, cpu.Active() >= cpu.BF16 && dotsBF16()) })
}
