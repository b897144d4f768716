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

// sortedEdges are n edges, some of them equal, some infinite.
func sortedEdges(r *rand.Rand, n int) []float32 {
	edges := make([]float32, n)
	for i := range edges {
		edges[i] = float32(math.Round(r.NormFloat64()*40)) / 8
		if r.IntN(100) == 0 {
			edges[i] = float32(math.Inf(r.IntN(2)*2 - 1))
		}
	}
	slices.Sort(edges)
	return edges
}

// plainBucket counts edges one by one.
func plainBucket(edges []float32, v float32, right bool) int {
	if v != v {
		return len(edges)
	}
	count := 0
	for _, e := range edges {
		if e < v || (e == v && !right) {
			count++
		}
	}
	return count
}

// bucketValues are numbers around edges, on them, and special ones.
func bucketValues(t testing.TB, r *rand.Rand, edges []float32, n int) []float32 {
	src, _ := kerneltest.Slice[float32](t, n, n%3)
	kerneltest.Fill(r, src, 5)
	kerneltest.Sprinkle(r, src, 8)
	for i := range src {
		if len(edges) > 0 && r.IntN(2) == 0 {
			src[i] = edges[r.IntN(len(edges))]
		}
	}
	return src
}

func TestBucketize(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		r := kerneltest.Rand(t, 51)
		for _, edgeCount := range []int{0, 1, 2, 15, 16, 17, 31, 32, 100, 239, 240, 254, 255, 256, 300, 1000} {
			edges := sortedEdges(r, edgeCount)
			for _, n := range []int{0, 1, 7, 8, 9, 64, 131} {
				src := bucketValues(t, r, edges, n)
				for _, right := range []bool{false, true} {
					what := fmt.Sprintf("%d edges, right %t", edgeCount, right)
					dst, check := kerneltest.Slice[int32](t, n, 1)
					want := make([]int32, n)
					for i := range want {
						want[i] = int32(plainBucket(edges, src[i], right))
					}
					Bucketize(dst, src, edges, right)
					check()
					kerneltest.Same(t, what, dst, want)
					if edgeCount > twoLevelMax {
						continue
					}
					small, check := kerneltest.Slice[uint8](t, n, 3)
					BucketizeBytes(small, src, edges, right)
					check()
					for i := range want {
						if int32(small[i]) != want[i] {
							t.Fatalf("%s: byte %d is %d, want %d", what, i, small[i], want[i])
						}
					}
				}
			}
		}
	})
}

func TestBucketizeAsNumpy(t *testing.T) {
	// numpy.digitize(x, [0, 1, 2.5], right)
	x := []float32{-1, 0, 0.5, 1, 2.5, 3, float32(math.NaN())}
	edges, got := []float32{0, 1, 2.5}, make([]int32, len(x))
	Bucketize(got, x, edges, false)
	kerneltest.Same(t, "left", got, []int32{0, 1, 1, 2, 3, 3, 3})
	Bucketize(got, x, edges, true)
	kerneltest.Same(t, "right", got, []int32{0, 0, 1, 1, 2, 3, 3})
}

func FuzzBucketize(f *testing.F) {
	f.Add(uint64(1), uint16(255), uint8(20))
	f.Fuzz(func(t *testing.T, seed uint64, edgeCount uint16, n uint8) {
		r := rand.New(rand.NewPCG(seed, 1))
		edges := sortedEdges(r, int(edgeCount)%300)
		src := bucketValues(t, r, edges, int(n)%80)
		got, check := kerneltest.Slice[int32](t, len(src), 1)
		want := make([]int32, len(src))
		for _, right := range []bool{false, true} {
			Bucketize(got, src, edges, right)
			check()
			for i := range want {
				want[i] = int32(plainBucket(edges, src[i], right))
			}
			kerneltest.Same(t, "buckets", got, want)
		}
	})
}

func BenchmarkBucketize(b *testing.B) {
	kerneltest.BenchmarkLevels(b, func(b *testing.B) {
		r := rand.New(rand.NewPCG(1, 1))
		for _, edgeCount := range []int{15, 255, 1000} {
			edges := sortedEdges(r, edgeCount)
			src, dst := make([]float32, 1024), make([]int32, 1024)
			kerneltest.Fill(r, src, 5)
			b.Run(fmt.Sprintf("edges=%d/n=1024", edgeCount), func(b *testing.B) {
				for b.Loop() {
					Bucketize(dst, src, edges, true)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1024, "ns/value")
			})
		}
	})
}
