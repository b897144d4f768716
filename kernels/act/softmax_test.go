// SPDX-License-Identifier: Apache-2.0

package act

import (
	"fmt"
	"math"
	"testing"

	"github.com/millrace-ml/millrace/kernels/kerneltest"
)

// shapes are rows and columns around the widths of vectors and groups.
func shapes() [][2]int {
	list := [][2]int{{0, 5}, {3, 0}, {1, 1}, {4, 768}, {2, 1000}}
	for cols := 1; cols < 70; cols++ {
		list = append(list, [2]int{1 + cols%3, cols})
	}
	for _, cols := range []int{127, 128, 129, 257} {
		list = append(list, [2]int{2, cols})
	}
	return list
}

// slices are a source of normal deviates and a destination with canaries, both off
// their alignment.
func slices(t testing.TB, shape [2]int, scale float64) (dst, src []float32, check func()) {
	n := shape[0] * shape[1]
	src, _ = kerneltest.Slice[float32](t, n, n%5)
	dst, check = kerneltest.Slice[float32](t, n, n%3)
	kerneltest.Fill(kerneltest.Rand(t, uint64(n)), src, scale)
	return dst, src, check
}

func TestSoftmax(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		for _, shape := range shapes() {
			for _, scale := range []float64{0.1, 4, 30} {
				rows, cols := shape[0], shape[1]
				dst, src, check := slices(t, shape, scale)
				Softmax(dst, src, rows, cols)
				check()
				holdSoftmax(t, dst, src, rows, cols)
				LogSoftmax(dst, src, rows, cols)
				check()
				holdLogSoftmax(t, dst, src, rows, cols)
			}
		}
	})
}

func holdSoftmax(t testing.TB, got, src []float32, rows, cols int) {
	t.Helper()
	for i := range rows {
		row := src[i*cols : (i+1)*cols]
		top, sum := expSum(row)
		for j, x := range row {
			want := math.Exp(float64(x)-top) / sum
			// The shift is rounded once, and what it is off by is how far exp is.
			rel := 1.2e-7 * (4 + float64(cols)/128 + math.Abs(float64(x)-top)/2)
			if off := math.Abs(float64(got[i*cols+j]) - want); !(off <= rel*want+2*denormal) {
				t.Fatalf("row %d of %d, %g: %g, want %g", i, cols, x, got[i*cols+j], want)
			}
		}
	}
}

func holdLogSoftmax(t testing.TB, got, src []float32, rows, cols int) {
	t.Helper()
	for i := range rows {
		row := src[i*cols : (i+1)*cols]
		top, sum := expSum(row)
		for j, x := range row {
			want := float64(x) - top - math.Log(sum)
			bound := 1.2e-7 * (4 + float64(cols)/128) * (1 + math.Abs(want))
			if off := math.Abs(float64(got[i*cols+j]) - want); !(off <= bound) {
				t.Fatalf("row %d of %d, %g: %g, want %g", i, cols, x, got[i*cols+j], want)
			}
		}
	}
}

func TestSoftmaxOfSpecialValues(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	kerneltest.Levels(t, func(t *testing.T) {
		for _, c := range []struct{ row, want, log []float32 }{
			{[]float32{-inf, 0, -inf}, []float32{0, 1, 0}, []float32{-inf, 0, -inf}},
			{[]float32{-inf, -inf}, []float32{nan, nan}, []float32{nan, nan}},
			{[]float32{inf, 0}, []float32{nan, nan}, []float32{nan, nan}},
			{[]float32{0, nan, 1}, []float32{nan, nan, nan}, []float32{nan, nan, nan}},
			{[]float32{3e38, -3e38}, []float32{1, 0}, []float32{0, -inf}},
			{[]float32{-1e30, -1e30}, []float32{0.5, 0.5}, []float32{-math.Ln2, -math.Ln2}},
		} {
			// The same among many elements that count for nothing.
			for _, cols := range []int{len(c.row), 100} {
				src, dst := make([]float32, cols), make([]float32, cols)
				for i := range src {
					src[i] = -inf
				}
				copy(src, c.row)
				Softmax(dst, src, 1, cols)
				kerneltest.Close(t, fmt.Sprint(c.row), dst[:len(c.row)], c.want, kerneltest.Bound{Rel: 2e-7})
				LogSoftmax(dst, src, 1, cols)
				kerneltest.Close(t, fmt.Sprint("log of ", c.row), dst[:len(c.row)], c.log, kerneltest.Bound{Rel: 2e-7})
			}
		}
	})
}

// rowwise are the functions of rows, for what holds for all of them.
func rowwise(gamma, beta []float32) map[string]func(dst, src []float32, rows, cols int) {
	return map[string]func(dst, src []float32, rows, cols int){
		"Softmax":    Softmax,
		"LogSoftmax": LogSoftmax,
		"LayerNorm": func(dst, src []float32, rows, cols int) {
			LayerNorm(dst, src, rows, cols, gamma[:cols], beta[:cols], 1e-5)
		},
		"RMSNorm": func(dst, src []float32, rows, cols int) { RMSNorm(dst, src, rows, cols, gamma[:cols], 1e-5) },
	}
}

func TestRowsStandAlone(t *testing.T) {
	gamma, beta := make([]float32, 1000), make([]float32, 1000)
	kerneltest.Fill(kerneltest.Rand(t, 3), gamma, 1)
	kerneltest.Fill(kerneltest.Rand(t, 4), beta, 1)
	kerneltest.Levels(t, func(t *testing.T) {
		for name, apply := range rowwise(gamma, beta) {
			for _, shape := range shapes() {
				rows, cols := shape[0], shape[1]
				batch, src, _ := slices(t, shape, 3)
				apply(batch, src, rows, cols)
				for i := range rows {
					alone, row, _ := slices(t, [2]int{1, cols}, 0)
					copy(row, src[i*cols:])
					apply(alone, row, 1, cols)
					kerneltest.Same(t, fmt.Sprintf("%s: row %d of %d columns alone", name, i, cols), alone, batch[i*cols:(i+1)*cols])
				}
				apply(src, src, rows, cols)
				kerneltest.Same(t, fmt.Sprintf("%s of %d columns in place", name, cols), src, batch)
			}
		}
	})
}
