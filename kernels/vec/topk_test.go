// SPDX-License-Identifier: Apache-2.0

package vec

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/millrace-ml/millrace/kernels/kerneltest"
)

// plainTopK sorts the whole row.
func plainTopK(row []float32, k int, largest bool) (values []float32, indices []int64) {
	order := make([]int64, len(row))
	for i := range order {
		order[i] = int64(i)
	}
	slices.SortStableFunc(order, func(i, j int64) int {
		a, b := row[i], row[j]
		result := cmp.Compare(b, a) // NaN is below all numbers here, but above in TopK
		if a != a || b != b {
			result = -result
		}
		if !largest {
			return -result
		}
		return result
	})
	for _, i := range order[:k] {
		values, indices = append(values, row[i]), append(indices, i)
	}
	return values, indices
}

// topKRow is a row of one of several kinds.
func topKRow(r *rand.Rand, kind int, row []float32) {
	kerneltest.Fill(r, row, 1)
	for i := range row {
		switch kind {
		case 1: // many equals
			row[i] = float32(r.IntN(4))
		case 2: // rising
			row[i] = float32(i)
		case 3: // falling
			row[i] = float32(-i)
		case 4:
			row[i] = float32(math.NaN())
		case 5: // infinities and NaN
			row[i] = []float32{float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN())}[r.IntN(3)]
		case 6: // all the worst, or the best
			row[i] = float32(math.Inf(-1))
		}
	}
	if kind == 7 {
		kerneltest.Sprinkle(r, row, 3)
	}
}

func TestTopK(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		r := kerneltest.Rand(t, 61)
		for _, cols := range []int{1, 2, 15, 16, 17, 63, 64, 65, 80, 127, 256, 257, 1000} {
			for _, k := range []int{0, 1, 2, 5, 10, 12, 13, 40, 65, 150, 256, 257, 500, 1000} {
				if k > cols {
					continue
				}
				const rows = 8
				src, _ := kerneltest.Slice[float32](t, rows*cols, cols%3)
				for row := range rows {
					topKRow(r, row, src[row*cols:][:cols])
				}
				for _, largest := range []bool{true, false} {
					holdTopK(t, src, rows, cols, k, largest)
				}
			}
		}
	})
}

func holdTopK(t *testing.T, src []float32, rows, cols, k int, largest bool) {
	t.Helper()
	for _, sorted := range []bool{true, false} {
		values, check := kerneltest.Slice[float32](t, rows*k, 1)
		indices, checkIndices := kerneltest.Slice[int64](t, rows*k, 1)
		TopK(values, indices, src, rows, cols, k, largest, sorted)
		check()
		checkIndices()
		for row := range rows {
			what := fmt.Sprintf("row %d: top %d of %d, largest %t, sorted %t", row, k, cols, largest, sorted)
			wantValues, wantIndices := plainTopK(src[row*cols:][:cols], k, largest)
			got := indices[row*k:][:k]
			for j, i := range got {
				if v := src[row*cols+int(i)]; v != values[row*k+j] && v == v {
					t.Fatalf("%s: value %d is %v, element %d is %v", what, j, values[row*k+j], i, v)
				}
			}
			if sorted {
				kerneltest.Same(t, what, values[row*k:][:k], wantValues)
			} else {
				slices.Sort(got)
				slices.Sort(wantIndices)
			}
			kerneltest.Same(t, what, got, wantIndices)
		}
	}
}

// TestBoundIsReached checks what the bound promises.
func TestBoundIsReached(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		r := kerneltest.Rand(t, 62)
		for _, cols := range []int{64, 65, 100, 300} {
			row := make([]float32, cols)
			for kind := range 8 {
				topKRow(r, kind, row)
				for k := 1; k <= listMax; k++ {
					for _, largest := range []bool{true, false} {
						b, reached := bound(row, k, largest), 0
						for _, v := range row {
							if largest && v >= b || !largest && v <= b {
								reached++
							}
						}
						if worst := math.IsInf(float64(b), 0); reached < k && !worst {
							t.Fatalf("%d of %d elements reach %v, the bound of %d, largest %t", reached, cols, b, k, largest)
						}
					}
				}
			}
		}
	})
}

func FuzzTopK(f *testing.F) {
	f.Add(uint64(1), uint8(100), uint8(10), uint8(7), true)
	f.Fuzz(func(t *testing.T, seed uint64, cols, k, kind uint8, largest bool) {
		if cols == 0 {
			return
		}
		row := make([]float32, cols)
		topKRow(rand.New(rand.NewPCG(seed, 1)), int(kind)%8, row)
		holdTopK(t, row, 1, int(cols), int(k)%(int(cols)+1), largest)
	})
}

func BenchmarkTopK(b *testing.B) {
	kerneltest.BenchmarkLevels(b, func(b *testing.B) {
		const rows = 64
		r := rand.New(rand.NewPCG(1, 1))
		for _, c := range [][2]int{{10, 1000}, {1, 1000}, {50, 1000}, {100, 1000}, {10, 100}} {
			k, cols := c[0], c[1]
			src := make([]float32, rows*cols)
			kerneltest.Fill(r, src, 1)
			values, indices := make([]float32, rows*k), make([]int64, rows*k)
			b.Run(fmt.Sprintf("rows=%d/cols=%d/k=%d", rows, cols, k), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					TopK(values, indices, src, rows, cols, k, true, true)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/rows, "ns/row")
			})
		}
	})
}

func TestCountBeyond(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		r := kerneltest.Rand(t, 63)
		for _, n := range kerneltest.Lengths(4)[1:] {
			row, _ := noisy(t, r, n, n%4)
			for _, threshold := range []float32{0, -1, float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN())} {
				for _, largest := range []bool{true, false} {
					got, want := countBeyond(row, threshold, largest), countBeyondGeneric(row, threshold, largest)
					if got != want {
						t.Fatalf("%d of %d elements are beyond %v, largest %t, not %d", got, n, threshold, largest, want)
					}
				}
			}
		}
	})
}
