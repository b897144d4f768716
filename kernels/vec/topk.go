// SPDX-License-Identifier: Apache-2.0

package vec

import "math"

const (
	// listMax is the most elements that are kept in a sorted list, and whose worst one is
	// bounded beforehand.
	listMax = 12
	// boundLanes is how many partial results that bound is found from.
	boundLanes = 16
	// found is how many candidates a scan can report, and scanBlock how many of them
	// one step of it may add.
	found, scanBlock = 128, 64
	// packedMax is how many candidates are sorted to have the best of them.
	packedMax = 256
)

// TopK finds the k largest elements, or smallest, of each row of src, which is rows x
// cols; row r of values and indices has k elements for them. They are in order, best
// first; where sorted is false they are in any order. Among equals the lower index is
// first. NaN counts as larger than all numbers, and zeros as equal. k is from 0 to
// cols; anything else panics.
func TopK(values []float32, indices []int64, src []float32, rows, cols, k int, largest, sorted bool) {
	area("TopK", rows, cols, len(src))
	area("TopK", rows, k, min(len(values), len(indices)))
	if k < 0 || k > cols {
		panic("vec.TopK: k is not from 0 to cols")
	}
	if k == 0 {
		return
	}
	var t topK
	for r := range rows {
		row, v, at := src[r*cols:][:cols], values[r*k:][:k], indices[r*k:][:k]
		if k <= listMax {
			t.list(v, at, row, largest)
		} else {
			t.choose(v, at, row, largest, sorted)
		}
	}
}

// topK is the scratch of the selection.
type topK struct {
	candidates [found]int32
	keys       [listMax]int32
	packed     [packedMax]int64
}

// list keeps the best elements so far in a sorted list. Those that do not beat its
// last one are passed over many at a time.
func (t *topK) list(values []float32, indices []int64, row []float32, largest bool) {
	k, at := len(values), 0
	// No element compares with NaN, so that all pass.
	threshold := float32(math.NaN())
	if len(row) >= 4*boundLanes {
		threshold = below(bound(row, k, largest), largest)
	}
	for have := 0; at < len(row); {
		var n int
		n, at = scan(row, at, threshold, largest, &t.candidates)
		for _, c := range t.candidates[:n] {
			have = t.insert(indices, have, int64(c), keyOf(row[c], largest))
		}
		if have == k {
			threshold = row[indices[k-1]]
			if largest && threshold != threshold {
				break // nothing is larger than NaN
			}
		}
	}
	for j, i := range indices {
		values[j] = row[i]
	}
}

// insert puts one more element into the list where it belongs, behind its equals.
func (t *topK) insert(indices []int64, have int, index int64, key int32) int {
	p := have
	if have == len(indices) {
		if p--; key <= t.keys[p] {
			return have
		}
	} else {
		have++
	}
	for ; p > 0 && t.keys[p-1] < key; p-- {
		t.keys[p], indices[p] = t.keys[p-1], indices[p-1]
	}
	t.keys[p], indices[p] = key, index
	return have
}

// below is the next number on the worse side of v, which v and its equals beat; NaN if
// there is none.
func below(v float32, largest bool) float32 {
	worst := math.Inf(1)
	if largest {
		worst = math.Inf(-1)
	}
	if float64(v) == worst {
		return float32(math.NaN())
	}
	return math.Nextafter32(v, float32(worst))
}

// keyOf orders elements: the better one has the larger key.
func keyOf(v float32, largest bool) int32 {
	key := int32(math.MaxInt32)
	if v == v {
		key = int32(math.Float32bits(v + 0)) // -0 becomes 0
		key ^= int32(uint32(key>>31) >> 1)
	}
	if !largest {
		return ^key
	}
	return key
}
