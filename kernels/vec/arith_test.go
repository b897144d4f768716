// SPDX-License-Identifier: Apache-2.0

package vec

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/millrace-ml/millrace/kernels/kerneltest"
)

// noisy is n floats, some of them special, off elements past an alignment boundary.
func noisy(t testing.TB, r *rand.Rand, n, off int) ([]float32, func()) {
	x, check := kerneltest.Slice[float32](t, n, off)
	kerneltest.Fill(r, x, 3)
	kerneltest.Sprinkle(r, x, 7)
	return x, check
}

// shapes are matrices of every kind of row length.
func shapes() [][2]int {
	list := [][2]int{{0, 5}, {5, 0}, {64, 3}}
	for _, n := range kerneltest.Lengths(4) {
		list = append(list, [2]int{1, n}, [2]int{3, n})
	}
	return list
}

// scalarOp is what an operation means, written once more.
func scalarOp(op Op, a, b float32) float32 {
	switch {
	case op == OpAdd:
		return a + b
	case op == OpSub:
		return a - b
	case op == OpMul:
		return a * b
	case op == OpDiv:
		return a / b
	case op == OpRevSub:
		return b - a
	case op == OpRevDiv:
		return b / a
	case a != a || op == OpMin && a < b || op == OpMax && a > b:
		return a
	}
	return b
}

func TestElementwise(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		r := kerneltest.Rand(t, 1)
		for _, n := range kerneltest.Lengths(4) {
			a, _ := noisy(t, r, n, 1)
			b, _ := noisy(t, r, n, 2)
			for op := range ops {
				dst, check := kerneltest.Slice[float32](t, n, n%5)
				want := make([]float32, n)
				for i := range want {
					want[i] = scalarOp(op, a[i], b[i])
				}
				Elementwise(op, dst, a, b)
				kerneltest.Same(t, fmt.Sprint("op ", op), dst, want)
				copy(dst, a)
				Elementwise(op, dst, dst, b)
				kerneltest.Same(t, fmt.Sprint("op onto a ", op), dst, want)
				copy(dst, b)
				Elementwise(op, dst, a, dst)
				kerneltest.Same(t, fmt.Sprint("op onto b ", op), dst, want)
				check()
			}
		}
	})
}

func TestBroadcasts(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		r := kerneltest.Rand(t, 2)
		for _, s := range shapes() {
			rows, cols := s[0], s[1]
			a, _ := noisy(t, r, rows*cols, 3)
			row, _ := noisy(t, r, cols, 1)
			column, _ := noisy(t, r, rows, 0)
			for op := range ops {
				dst, check := kerneltest.Slice[float32](t, rows*cols, 1)
				want := make([]float32, rows*cols)
				compare := func(what string, b func(r, c int) float32) {
					t.Helper()
					for i := range want {
						want[i] = scalarOp(op, a[i], b(i/cols, i%cols))
					}
					kerneltest.Same(t, fmt.Sprintf("op %d with %s, %d x %d", op, what, rows, cols), dst, want)
					check()
				}
				WithRow(op, dst, a, rows, cols, row)
				compare("row", func(_, c int) float32 { return row[c] })
				WithColumn(op, dst, a, rows, cols, column)
				compare("column", func(r, _ int) float32 { return column[r] })
				WithScalar(op, dst, a, 0.75)
				compare("scalar", func(_, _ int) float32 { return 0.75 })
			}
		}
	})
}

func TestNamedOperations(t *testing.T) {
	a, b := []float32{6, -3, 9}, []float32{2, 4, -1}
	got := make([]float32, 3)
	for _, c := range []struct {
		name string
		do   func()
		want []float32
	}{
		{"Add", func() { Add(got, a, b) }, []float32{8, 1, 8}},
		{"Sub", func() { Sub(got, a, b) }, []float32{4, -7, 10}},
		{"Mul", func() { Mul(got, a, b) }, []float32{12, -12, -9}},
		{"Div", func() { Div(got, a, b) }, []float32{3, -0.75, -9}},
		{"Min", func() { Min(got, a, b) }, []float32{2, -3, -1}},
		{"Max", func() { Max(got, a, b) }, []float32{6, 4, 9}},
		{"AddScalar", func() { AddScalar(got, a, 2) }, []float32{8, -1, 11}},
		{"SubScalar", func() { SubScalar(got, a, 2) }, []float32{4, -5, 7}},
		{"MulScalar", func() { MulScalar(got, a, 2) }, []float32{12, -6, 18}},
		{"DivScalar", func() { DivScalar(got, a, 2) }, []float32{3, -1.5, 4.5}},
	} {
		c.do()
		kerneltest.Same(t, c.name, got, c.want)
	}
}

func TestScaleAndMulAdd(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		r := kerneltest.Rand(t, 3)
		for _, s := range shapes() {
			rows, cols := s[0], s[1]
			a, _ := noisy(t, r, rows*cols, 2)
			for _, sizes := range [][2]int{{1, 1}, {1, cols}, {cols, 1}, {cols, cols}} {
				if sizes[0] == 0 || sizes[1] == 0 {
					continue
				}
				b, _ := noisy(t, r, sizes[0], 1)
				c, _ := noisy(t, r, sizes[1], 3)
				dst, check := kerneltest.Slice[float32](t, rows*cols, 1)
				want := make([]float32, rows*cols)
				what := fmt.Sprintf("%d x %d with %v", rows, cols, sizes)
				for i := range want {
					want[i] = (a[i] - b[i%cols%sizes[0]]) * c[i%cols%sizes[1]]
				}
				Scale(dst, a, rows, cols, b, c)
				kerneltest.Same(t, "scale "+what, dst, want)
				for i := range want {
					want[i] = float32(a[i]*b[i%cols%sizes[0]]) + c[i%cols%sizes[1]]
				}
				copy(dst, a)
				MulAddRow(dst, dst, rows, cols, b, c)
				kerneltest.Same(t, "muladd in place "+what, dst, want)
				check()
			}
		}
	})
}

func TestMulAddAndAxpy(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		r := kerneltest.Rand(t, 4)
		for _, n := range kerneltest.Lengths(4) {
			a, _ := noisy(t, r, n, 1)
			b, _ := noisy(t, r, n, 0)
			c, _ := noisy(t, r, n, 2)
			dst, check := kerneltest.Slice[float32](t, n, 1)
			want := make([]float32, n)
			for i := range want {
				want[i] = float32(a[i]*b[i]) + c[i]
			}
			MulAdd(dst, a, b, c)
			kerneltest.Same(t, "muladd", dst, want)
			copy(dst, c)
			for i := range want {
				want[i] = c[i] + float32(1.7*a[i])
			}
			Axpy(dst, 1.7, a)
			kerneltest.Same(t, "axpy", dst, want)
			check()
		}
	})
}

func TestShortSlicesPanic(t *testing.T) {
	x, y := make([]float32, 6), make([]float32, 5)
	for name, do := range map[string]func(){
		"Add":           func() { Add(x, x, y) },
		"WithScalar":    func() { AddScalar(x, y, 1) },
		"WithRow":       func() { WithRow(OpAdd, x, x, 2, 3, y[:2]) },
		"WithRow rows":  func() { WithRow(OpAdd, x, y, 2, 3, y) },
		"negative rows": func() { WithRow(OpAdd, x, x, -1, 3, y) },
		"WithColumn":    func() { WithColumn(OpAdd, x, x, 6, 1, y) },
		"Scale":         func() { Scale(x, x, 1, 6, y, y) },
		"MulAdd":        func() { MulAdd(x, x, x, y) },
		"Axpy":          func() { Axpy(x, 1, y) },
		"Dot":           func() { Dot(x, y) },
		"ReduceRows":    func() { ReduceRows(ReduceSum, x[:1], x, 2, 3) },
		"ReduceCols":    func() { ReduceCols(ReduceSum, x, x, 2, 2, 2) },
		"F32ToF16":      func() { F32ToF16(make([]uint16, 6), y) },
		"CopyStrided":   func() { CopyStrided(make([]byte, 8), 2, make([]byte, 8), 4, 3, 2) },
		"TopK":          func() { TopK(x, make([]int64, 9), x, 1, 2, 3, true, true) },
		"OneHot":        func() { OneHot(x, []int32{1}, 2, 3, 1, 0) },
		"Bucketize":     func() { Bucketize(make([]int32, 6), y, y, true) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s takes slices that are too short", name)
				}
			}()
			do()
		}()
	}
}

func FuzzArith(f *testing.F) {
	f.Add(uint64(1), uint8(3), uint8(70), uint8(5))
	f.Fuzz(func(t *testing.T, seed uint64, rows, cols, op uint8) {
		r := rand.New(rand.NewPCG(seed, 1))
		m, n, o := int(rows)%5, int(cols)%90, Op(op)%ops
		a, _ := noisy(t, r, m*n, int(cols)%3)
		b, _ := noisy(t, r, max(m, n), 1)
		dst, check := kerneltest.Slice[float32](t, m*n, 1)
		want := make([]float32, m*n)
		WithRow(o, dst, a, m, n, b)
		for i := range want {
			want[i] = scalarOp(o, a[i], b[i%n])
		}
		kerneltest.Same(t, "with a row", dst, want)
		WithColumn(o, dst, a, m, n, b)
		for i := range want {
			want[i] = scalarOp(o, a[i], b[i/n])
		}
		kerneltest.Same(t, "with a column", dst, want)
		check()
	})
}

func BenchmarkArith(b *testing.B) {
	kerneltest.BenchmarkLevels(b, func(b *testing.B) {
		const rows, cols = 64, 64
		a, row, dst := make([]float32, rows*cols), make([]float32, cols), make([]float32, rows*cols)
		for name, do := range map[string]func(){
			"add":    func() { Add(dst, a, a) },
			"max":    func() { Max(dst, a, a) },
			"addrow": func() { WithRow(OpAdd, dst, a, rows, cols, row) },
			"scale":  func() { Scale(dst, a, rows, cols, row, row) },
		} {
			b.Run(fmt.Sprintf("op=%s/rows=%d/cols=%d", name, rows, cols), func(b *testing.B) {
				for b.Loop() {
					do()
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(rows*cols), "ns/element")
			})
		}
	})
}
