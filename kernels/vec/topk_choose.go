// SPDX-License-Identifier: Apache-2.0

package vec

import (
	"math"
	"slices"
)

// The keys of the infinities, where large numbers are better.
const (
	lowestKey  = -0x7f800001
	highestKey = 0x7f800000
)

// choose finds many elements: a bisection of keys finds a key that few enough elements
// are above, which are then collected and sorted. Collected elements are packed into
// integers, the better ones smaller, so that equals are in the order of their indices.
func (t *topK) choose(values []float32, indices []int64, row []float32, largest, sorted bool) {
	k := len(values)
	low, count, best := cut(row, k, largest)
	if count <= packedMax && count != k {
		n := t.collect(t.packed[:], row, low, 0, largest)
		slices.Sort(t.packed[:n])
		copy(indices, t.packed[:k])
	} else {
		// What the best ones leave room for are equals of the next lower key.
		t.collect(indices, row, low, k-best, largest)
		if sorted {
			slices.Sort(indices)
		}
	}
	for j, p := range indices {
		i := int64(uint32(p))
		indices[j], values[j] = i, row[i]
	}
}

// cut finds a key that count elements, at least k, are above. If these are too many to
// sort and not k, all but best are equal, of the key above it.
func cut(row []float32, k int, largest bool) (low int64, count, best int) {
	nan := countBeyond(row, float32(math.Inf(1)), true)
	low, count = lowestKey-1, len(row)
	high := int64(highestKey)
	switch {
	case largest && nan >= k:
		return math.MaxInt32 - 1, nan, 0
	case largest:
		best = nan
	case len(row)-nan < k: // some of the NaN are needed, which are the worst
		return math.MinInt32 - 1, len(row), len(row) - nan
	default:
		low, high, count = ^int64(highestKey+1), ^int64(lowestKey), len(row)-nan
	}
	// More than k are above low, and fewer above high.
	for count != k && count > min(packedMax, k+k/8+8) && high-low > 1 {
		middle := (low + high) >> 1
		if n := countBeyond(row, keyThreshold(middle, largest), largest); n >= k {
			low, count = middle, n
		} else {
			high, best = middle, n
		}
	}
	return low, count, best
}

// keyThreshold is the number that exactly the elements above a key are beyond; NaN for
// all elements.
func keyThreshold(key int64, largest bool) float32 {
	if !largest {
		key = ^key
	}
	switch {
	case key < lowestKey:
		return float32(math.NaN())
	case key > highestKey && !largest:
		return float32(math.NaN())
	case key > highestKey:
		return float32(math.Inf(1))
	case key == -1 && largest:
		key = -2 // -1 would be -0, which zeros are not beyond
	}
	bits := int32(key)
	return math.Float32frombits(uint32(bits ^ int32(uint32(bits>>31)>>1)))
}

// collect packs the elements above a key, but of the next higher one no more than
// equals, or any number if that is 0.
func (t *topK) collect(packed []int64, row []float32, low int64, equals int, largest bool) int {
	n, limited := 0, equals > 0
	threshold := keyThreshold(low, largest)
	for at := 0; at < len(row); {
		var have int
		have, at = scan(row, at, threshold, largest, &t.candidates)
		for _, c := range t.candidates[:have] {
			key := int64(keyOf(row[c], largest))
			if key <= low {
				continue
			}
			if limited && key == low+1 {
				if equals == 0 {
					continue
				}
				equals--
			}
			packed[n] = ^key<<32 | int64(c)
			n++
		}
	}
	return n
}
