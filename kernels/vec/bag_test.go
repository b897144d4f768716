// SPDX-License-Identifier: Apache-2.0

package vec

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/millrace-ml/millrace/kernels/kerneltest"
)

// plainBag is what one bag makes of one column.
func plainBag(table []float32, dim, column int, indices []int64, weights []float32, mode BagMode) float32 {
	var result float32
	for i, row := range indices {
		v := table[int(row)*dim+column]
		switch {
		case mode == BagMax && (i == 0 || v > result || v != v):
			result = v
		case mode == BagMax:
		case weights != nil:
			result += float32(weights[i] * v)
		default:
			result += v
		}
		if result != result {
			return result
		}
	}
	if mode == BagMean && len(indices) > 0 {
		result /= float32(len(indices))
	}
	return result
}

// randomOffsets are count bags over n indices, some of them empty.
func randomOffsets(r *rand.Rand, count, n int) []int64 {
	offsets := make([]int64, count)
	for i := range offsets[1:] {
		offsets[i+1] = int64(r.IntN(n + 1))
	}
	slices.Sort(offsets)
	return offsets
}

func TestEmbeddingBag(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		r := kerneltest.Rand(t, 31)
		for _, dim := range []int{1, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 48, 50, 64, 65, 128, 200} {
			const rows, count, n = 11, 6, 25
			table, _ := kerneltest.Slice[float32](t, rows*dim, dim%5)
			kerneltest.Fill(r, table, 1)
			kerneltest.Sprinkle(r, table, 200)
			indices := make([]int64, n)
			for i := range indices {
				indices[i] = int64(r.IntN(rows))
			}
			weights := make([]float32, n)
			kerneltest.Fill(r, weights, 1)
			offsets := randomOffsets(r, count, n)
			for _, c := range []struct {
				mode    BagMode
				weights []float32
			}{{BagSum, nil}, {BagSum, weights}, {BagMean, nil}, {BagMax, nil}} {
				what := fmt.Sprintf("mode %d, weights %t, dim %d", c.mode, c.weights != nil, dim)
				holdBags(t, what, table, dim, indices, offsets, c.weights, c.mode)
			}
		}
	})
}

// holdBags compares bags by offsets, and bags of 5, with plainBag.
func holdBags(t *testing.T, what string, table []float32, dim int, indices, offsets []int64, weights []float32, mode BagMode) {
	t.Helper()
	compare := func(what string, dst []float32, first, end, bag int) {
		t.Helper()
		want := make([]float32, dim)
		for c := range want {
			var w []float32
			if weights != nil {
				w = weights[first:end]
			}
			want[c] = plainBag(table, dim, c, indices[first:end], w, mode)
		}
		kerneltest.Same(t, fmt.Sprintf("%s, bag %d", what, bag), dst[bag*dim:][:dim], want)
	}
	dst, check := kerneltest.Slice[float32](t, len(offsets)*dim, 1)
	if err := EmbeddingBag(dst, table, dim, indices, offsets, weights, mode); err != nil {
		t.Fatal(err)
	}
	check()
	for b, first := range offsets {
		end := len(indices)
		if b+1 < len(offsets) {
			end = int(offsets[b+1])
		}
		compare(what, dst, int(first), end, b)
	}
	const length = 5
	dst, check = kerneltest.Slice[float32](t, len(indices)/length*dim, 1)
	if err := EmbeddingBags(dst, table, dim, indices, length, weights, mode); err != nil {
		t.Fatal(err)
	}
	check()
	for b := range len(indices) / length {
		compare(what+" of one length", dst, b*length, (b+1)*length, b)
	}
}

func TestEmbeddingBagRefuses(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		table, dst := make([]float32, 40), make([]float32, 8)
		ok := []int64{0, 3, 9, 1}
		for name, c := range map[string]struct {
			dim              int
			indices, offsets []int64
			weights          []float32
			mode             BagMode
		}{
			"index too large":    {4, []int64{0, 10}, []int64{0}, nil, BagSum},
			"index far away":     {4, []int64{0, 0, 0, 0, 0, 0, 0, 0, math.MinInt64}, []int64{0}, nil, BagSum},
			"negative index":     {4, []int64{0, 1, 2, -1}, []int64{0}, nil, BagSum},
			"falling offsets":    {4, ok, []int64{0, 3, 2}[1:], nil, BagSum},
			"late first offset":  {4, ok, []int64{1, 3}, nil, BagSum},
			"offset too large":   {4, ok, []int64{0, 5}, nil, BagSum},
			"too many bags":      {4, ok, []int64{0, 1, 2}, nil, BagSum},
			"part of a row":      {7, ok, []int64{0}, nil, BagSum},
			"negative dim":       {-1, ok, []int64{0}, nil, BagSum},
			"too few weights":    {4, ok, []int64{0}, make([]float32, 3), BagSum},
			"weights of a mean":  {4, ok, []int64{0}, make([]float32, 4), BagMean},
			"no such mode":       {4, ok, []int64{0}, nil, 9},
			"index out of none":  {0, ok, []int64{0, 9}, nil, BagSum},
			"negative offset":    {4, ok, []int64{-1, 2}, nil, BagSum},
			"offset out of none": {4, nil, []int64{0, 1}, nil, BagSum},
		} {
			for i := range dst {
				dst[i] = 7
			}
			if err := EmbeddingBag(dst, table, c.dim, c.indices, c.offsets, c.weights, c.mode); err == nil {
				t.Errorf("%s is taken", name)
			}
			if slices.Max(dst) != 7 || slices.Min(dst) != 7 {
				t.Errorf("%s changes the result", name)
			}
		}
		if err := EmbeddingBag(dst, nil, 4, ok, []int64{0}, nil, BagSum); !errors.Is(err, ErrIndex) {
			t.Errorf("an index into no table gives %v", err)
		}
		if err := EmbeddingBags(dst, table, 4, ok[:3], 2, nil, BagSum); err == nil {
			t.Error("half a bag is taken")
		}
		if err := EmbeddingBags(dst, table, 4, ok, 0, nil, BagSum); err == nil {
			t.Error("bags of nothing are taken")
		}
	})
}

func TestEmptyBags(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		dst := []float32{1, 2, 3, 4}
		if err := EmbeddingBag(dst, []float32{5, 6}, 2, nil, []int64{0, 0}, nil, BagMax); err != nil {
			t.Fatal(err)
		}
		kerneltest.Same(t, "empty bags", dst, make([]float32, 4))
	})
}

func FuzzEmbeddingBag(f *testing.F) {
	f.Add([]byte{1, 2, 3}, []byte{0, 1}, uint8(3), uint8(0))
	f.Add([]byte{0, 250}, []byte{0, 2}, uint8(17), uint8(2))
	f.Fuzz(func(t *testing.T, rows, starts []byte, dim, mode uint8) {
		d := int(dim)%70 + 1
		indices, offsets := make([]int64, len(rows)), make([]int64, len(starts))
		for i, v := range rows {
			indices[i] = int64(int8(v))
		}
		for i, v := range starts {
			offsets[i] = int64(int8(v))
		}
		table := make([]float32, 40*d)
		for i := range table {
			table[i] = float32(i*7919%1013) - 500
		}
		got, check := kerneltest.Slice[float32](t, len(offsets)*d, 1)
		if EmbeddingBag(got, table, d, indices, offsets, nil, BagMode(mode)) != nil {
			return
		}
		check()
		want := make([]float32, len(got))
		bagsGeneric(&bagArgs{want, table, d, indices, offsets, nil, BagMode(mode), len(offsets), 0})
		kerneltest.Same(t, "bags", got, want)
	})
}

// BenchmarkEmbeddingBag looks 64 bags of 20 up in 100,000 rows of 32 elements.
func BenchmarkEmbeddingBag(b *testing.B) {
	const rows, dim, bags, length = 100_000, 32, 64, 20
	table := make([]float32, rows*dim)
	for i := range table {
		table[i] = float32(i & 1023)
	}
	r := rand.New(rand.NewPCG(1, 2))
	indices := make([]int64, 64*bags*length)
	for i := range indices {
		indices[i] = int64(r.IntN(rows))
	}
	dst := make([]float32, bags*dim)
	kerneltest.BenchmarkLevels(b, func(b *testing.B) {
		b.Run("rows=64/length=20/dim=32", func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				some := indices[i%64*bags*length:][:bags*length]
				if err := EmbeddingBags(dst, table, dim, some, length, nil, BagSum); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/bags/length, "ns/lookup")
		})
	})
}
