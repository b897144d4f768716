// SPDX-License-Identifier: Apache-2.0

package vec

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/millrace-ml/millrace/kernels/kerneltest"
)

// reductions are all but the mean, which is a sum divided.
var reductions = []Reduction{ReduceSum, ReduceSumSquares, ReduceSumAbs, ReduceMax, ReduceMin, ReduceMaxAbs}

// plainReduction is a reduction in float64, and the sum of all magnitudes, for the
// bound of its error.
func plainReduction(op Reduction, column []float32) (result, magnitude float64) {
	switch op {
	case ReduceMax:
		result = math.Inf(-1)
	case ReduceMin:
		result = math.Inf(1)
	}
	for _, v := range column {
		x := float64(v)
		switch op {
		case ReduceSumSquares:
			x *= x
		case ReduceSumAbs, ReduceMaxAbs:
			x = math.Abs(x)
		}
		magnitude += math.Abs(x)
		switch op {
		case ReduceMax, ReduceMaxAbs:
			result = math.Max(result, x)
		case ReduceMin:
			result = math.Min(result, x)
		default:
			result += x
		}
	}
	return result, magnitude
}

// holdTo compares one result with plain float64 arithmetic.
func holdTo(t *testing.T, what string, op Reduction, got float32, column []float32) {
	t.Helper()
	want, magnitude := plainReduction(op, column)
	if math.IsInf(magnitude, 0) && !math.IsNaN(want) && (op == ReduceSum || op == ReduceSumSquares) {
		return // overflow depends on the order
	}
	roundings := float64(len(column)+2) / (1 << 24)
	kerneltest.Close(t, what, []float32{got}, []float32{float32(want)}, kerneltest.Bound{Abs: roundings * magnitude})
}

func TestReduceRows(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		r := kerneltest.Rand(t, 11)
		for _, cols := range kerneltest.Lengths(4) {
			const rows = 3
			src, _ := kerneltest.Slice[float32](t, rows*cols, cols%7)
			kerneltest.Fill(r, src, 2)
			special := slices.Clone(src)
			kerneltest.Sprinkle(r, special, 9)
			for _, op := range reductions {
				dst, check := kerneltest.Slice[float32](t, rows, 1)
				ReduceRows(op, dst, src, rows, cols)
				for row := range rows {
					holdTo(t, fmt.Sprintf("op %d of %d", op, cols), op, dst[row], src[row*cols:][:cols])
				}
				want := make([]float32, rows)
				for _, x := range [][]float32{src, special} {
					reduceRowsGeneric(op, want, x, rows, cols)
					ReduceRows(op, dst, x, rows, cols)
					kerneltest.Same(t, fmt.Sprintf("op %d of %d", op, cols), dst, want)
				}
				check()
			}
		}
	})
}

func TestReduceCols(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		r := kerneltest.Rand(t, 12)
		for _, cols := range append(kerneltest.Lengths(4), 130, 147) {
			for _, mid := range []int{0, 1, 5} {
				const blocks = 2
				src, _ := kerneltest.Slice[float32](t, blocks*mid*cols, cols%5)
				kerneltest.Fill(r, src, 2)
				kerneltest.Sprinkle(r, src, 30)
				for _, op := range append(reductions, ReduceMean) {
					dst, check := kerneltest.Slice[float32](t, blocks*cols, 2)
					ReduceCols(op, dst, src, blocks, mid, cols)
					want := make([]float32, blocks*cols)
					for i := range want {
						want[i] = columnResult(op, src[i/cols*mid*cols:], i%cols, mid, cols)
					}
					kerneltest.Same(t, fmt.Sprintf("op %d of %d x %d", op, mid, cols), dst, want)
					check()
				}
			}
		}
	})
}

// columnResult reduces one column of mid x cols elements.
func columnResult(op Reduction, src []float32, column, mid, cols int) float32 {
	kind := op
	if op == ReduceMean {
		kind = ReduceSum
	}
	p := []float32{identity(kind)}
	for m := range mid {
		accumulate(kind, p, src[m*cols+column:][:1])
	}
	if op == ReduceMean {
		return p[0] / float32(mid)
	}
	return p[0]
}

func TestReduceAlignmentDoesNotMatter(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		r := kerneltest.Rand(t, 13)
		x := make([]float32, 333)
		kerneltest.Fill(r, x, 1)
		want := Sum(x)
		for off := range 16 {
			moved, _ := kerneltest.Slice[float32](t, len(x), off)
			copy(moved, x)
			if got := Sum(moved); got != want {
				t.Errorf("%d elements off, the sum is %v, not %v", off, got, want)
			}
		}
	})
}

func TestDotAndArgMax(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		r := kerneltest.Rand(t, 14)
		for _, n := range kerneltest.Lengths(4) {
			a, _ := noisy(t, r, n, 1)
			b, _ := noisy(t, r, n, 3)
			kerneltest.Same(t, fmt.Sprint("dot of ", n), []float32{Dot(a, b)}, []float32{dotGeneric(a, b)})
			kerneltest.Same(t, "dot with itself", []float32{Dot(a, a)}, []float32{SumSquares(a)})
			for _, x := range [][]float32{a, finite(a), make([]float32, n)} {
				if got, want := ArgMax(x), plainArg(x, func(a, b float32) bool { return a > b }); got != want {
					t.Fatalf("argmax of %v is %d, not %d", x, got, want)
				}
				if got, want := ArgMin(x), plainArg(x, func(a, b float32) bool { return a < b }); got != want {
					t.Fatalf("argmin of %v is %d, not %d", x, got, want)
				}
			}
		}
	})
}

// finite is x without NaN.
func finite(x []float32) []float32 {
	x = slices.Clone(x)
	for i, v := range x {
		if v != v {
			x[i] = 0.25
		}
	}
	return x
}

func plainArg(x []float32, better func(a, b float32) bool) int {
	at := -1
	for i, v := range x {
		switch {
		case v != v:
			return i
		case at < 0 || better(v, x[at]):
			at = i
		}
	}
	return at
}

func TestMeans(t *testing.T) {
	x := []float32{1, 2, 3, 4, 5, 9}
	got := make([]float32, 2)
	ReduceRows(ReduceMean, got, x, 2, 3)
	kerneltest.Same(t, "means", got, []float32{2, 6})
	if m := Mean(x); m != 4 {
		t.Errorf("the mean is %v", m)
	}
	if s, a := Sum(x), SumAbs([]float32{-1, 2}); s != 24 || a != 3 {
		t.Errorf("the sums are %v and %v", s, a)
	}
	if m := Mean(nil); m == m {
		t.Errorf("the mean of nothing is %v", m)
	}
	if lo, hi := MinValue(nil), MaxValue(nil); !math.IsInf(float64(lo), 1) || !math.IsInf(float64(hi), -1) {
		t.Errorf("the extremes of nothing are %v and %v", lo, hi)
	}
}

func TestNormalizeRows(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		r := kerneltest.Rand(t, 15)
		for _, cols := range []int{0, 1, 3, 16, 65} {
			for _, rows := range []int{0, 1, 70} {
				src, _ := kerneltest.Slice[float32](t, rows*cols, 1)
				kerneltest.Fill(r, src, 2)
				if rows > 1 {
					clear(src[cols:][:cols])
				}
				for norm := NormMax; norm <= NormL2; norm++ {
					dst, check := kerneltest.Slice[float32](t, rows*cols, 2)
					NormalizeRows(dst, src, rows, cols, norm)
					check()
					for row := range rows {
						x := src[row*cols:][:cols]
						kerneltest.Close(t, fmt.Sprintf("norm %d of %d", norm, cols), dst[row*cols:][:cols],
							plainNormalized(x, norm), kerneltest.Bound{Rel: float64(cols+4) / (1 << 24)})
					}
				}
			}
		}
	})
}

func plainNormalized(x []float32, norm Norm) []float32 {
	length := 0.0
	for _, v := range x {
		a := math.Abs(float64(v))
		switch norm {
		case NormMax:
			length = max(length, a)
		case NormL1:
			length += a
		default:
			length += a * a
		}
	}
	if norm == NormL2 {
		length = math.Sqrt(length)
	}
	y := slices.Clone(x)
	for i := range y {
		if length != 0 {
			y[i] = float32(float64(y[i]) / length)
		}
	}
	return y
}

func BenchmarkReduce(b *testing.B) {
	kerneltest.BenchmarkLevels(b, func(b *testing.B) {
		x := make([]float32, 64*256)
		dst := make([]float32, 256)
		for _, op := range []Reduction{ReduceSum, ReduceMax} {
			b.Run(fmt.Sprintf("op=%d/rows=64/cols=256", op), func(b *testing.B) {
				for b.Loop() {
					ReduceRows(op, dst, x, 64, 256)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/64, "ns/row")
			})
		}
		b.Run("op=cols/rows=64/cols=256", func(b *testing.B) {
			for b.Loop() {
				ReduceCols(ReduceSum, dst, x, 1, 64, 256)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/64, "ns/row")
		})
	})
}

func FuzzReduce(f *testing.F) {
	f.Add(uint64(1), uint8(3), uint8(70), uint8(3))
	f.Fuzz(func(t *testing.T, seed uint64, rows, cols, op uint8) {
		r := rand.New(rand.NewPCG(seed, 1))
		m, n, o := int(rows)%5, int(cols)%150, Reduction(op)%ReduceMean
		src, _ := noisy(t, r, m*n, int(cols)%3)
		dst, check := kerneltest.Slice[float32](t, m, 1)
		want := make([]float32, m)
		ReduceRows(o, dst, src, m, n)
		reduceRowsGeneric(o, want, src, m, n)
		kerneltest.Same(t, "rows", dst, want)
		check()
		dst, check = kerneltest.Slice[float32](t, n, 1)
		want = make([]float32, n)
		ReduceCols(o, dst, src, 1, m, n)
		reduceColsGeneric(o, want, src, m, n)
		kerneltest.Same(t, "columns", dst, want)
		check()
	})
}
