// SPDX-License-Identifier: Apache-2.0

package stats

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestBucketOf compares with a search over the bounds.
func TestBucketOf(t *testing.T) {
	naive := func(nanos int64) int {
		for i := range bucketBounds {
			if nanos <= int64(bucketBoundMicros(i))*1000 {
				return i
			}
		}
		return bucketBounds
	}
	nanos := []int64{math.MinInt64, -1, 0, 1, 999, 1000, 1001, math.MaxInt64}
	for i := range bucketBounds {
		bound := int64(bucketBoundMicros(i)) * 1000
		nanos = append(nanos, bound-1000, bound-1, bound, bound+1, bound+1000)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 10_000 {
		nanos = append(nanos, random.Int64()>>random.IntN(63))
	}
	for _, n := range nanos {
		if got, want := bucketOf(n), naive(n); got != want {
			t.Errorf("bucket of %d ns is %d, want %d", n, got, want)
		}
	}
}

// TestBucketBounds pins the bounds that the comment promises.
func TestBucketBounds(t *testing.T) {
	var got []uint64
	for i := range bucketBounds {
		got = append(got, bucketBoundMicros(i))
	}
	if first := []uint64{4, 6, 8, 12, 16, 24}; !slices.Equal(got[:6], first) {
		t.Errorf("first bounds are %v, want %v", got[:6], first)
	}
	if last := got[bucketBounds-1]; last != 3<<20 {
		t.Errorf("last bound is %d, want %d", last, 3<<20)
	}
	for i := range got[1:] {
		if ratio := float64(got[i+1]) / float64(got[i]); ratio < 1.3 || ratio > 1.5 {
			t.Errorf("bounds %d and %d are a factor of %.2f apart", got[i], got[i+1], ratio)
		}
	}
}
