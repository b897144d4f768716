// SPDX-License-Identifier: Apache-2.0

package trees

import "slices"

// A row is quantised for a span of trees: the bin of a value is how many of the span's
// bounds of its feature it has reached, so that value >= bounds[i] exactly when bin > i.
// What a missing value does is part of the bin. A bin is one byte, the work of a slot:
//
//	slot   a feature, up to boundsMax of its bounds in order, and whether missing
//	       values reach all bounds (bin 255) or none (bin 0)
//	bank   up to half slots; half is 32 when that holds all slots of the span, else 64
//	table  per bank, the bins of its slots and, half bytes further, their complements:
//	       "value < bounds[i]" is "255-bin > 254-i"
//
// A feature has several slots when it has more than boundsMax bounds or is missing in
// both ways.
const (
	// boundsMax leaves bin 255 to missing values.
	boundsMax = 254
	// slotsMax bounds what a span takes: to quantise more costs more than it saves.
	slotsMax = 1024
	// neverBound stands for the index of a bound that only a missing value reaches.
	neverBound = boundsMax
)

// binKey names the bounds that are quantised together.
type binKey struct {
	feature      int32
	missingRight bool
}

// rowBins quantises rows for one span of trees.
type rowBins struct {
	half int
	// slots are the feature, what is or-ed into the bin of a missing value, and where
	// in bounds the slot's are.
	slots [][3]uint32
	// bounds are, for each slot, 16 pivots, which are the last bound of each block, and
	// the blocks of 16 bounds; NaN where there is none.
	bounds []float32
}

// banks is how many tables there are, at least one.
func (b *rowBins) banks() int { return max((len(b.slots)+b.half-1)/b.half, 1) }

// binIndex finds the slot of a bound.
type binIndex struct {
	keys  map[binKey][]float32
	first map[binKey]int
}

func newBinIndex() binIndex {
	return binIndex{keys: map[binKey][]float32{}, first: map[binKey]int{}}
}

// add notes a bound that trees compare with.
func (x *binIndex) add(s rowSplit) {
	key := binKey{s.feature, s.missingRight}
	list := x.keys[key]
	if s.bound == s.bound {
		list = append(list, s.bound)
	}
	x.keys[key] = list
}

// find is the slot and the index in it of a bound that was added.
func (x *binIndex) find(key binKey, bound float32) (slot, index int) {
	if bound != bound {
		return x.first[key], neverBound
	}
	at, _ := slices.BinarySearch(x.keys[key], bound)
	return x.first[key] + at/boundsMax, at % boundsMax
}

// build sorts the bounds that were added into slots. ok is false where there are more
// than slotsMax.
func (x *binIndex) build() (b rowBins, ok bool) {
	keys := make([]binKey, 0, len(x.keys))
	count := 0
	for key, list := range x.keys {
		keys = append(keys, key)
		slices.Sort(list)
		x.keys[key] = slices.Compact(list)
		count += 1 + len(x.keys[key])/boundsMax
	}
	if count > slotsMax {
		return b, false
	}
	slices.SortFunc(keys, func(a, b binKey) int {
		if a.feature != b.feature {
			return int(a.feature - b.feature)
		}
		return int(missingBits(a.missingRight)) - int(missingBits(b.missingRight))
	})
	for _, key := range keys {
		x.first[key] = len(b.slots)
		list := x.keys[key]
		for more := true; more; more = len(list) > 0 {
			n := min(len(list), boundsMax)
			b.slot(key, list[:n])
			list = list[n:]
		}
	}
	b.half = 64
	if len(b.slots) <= 32 {
		b.half = 32
	}
	b.bounds = alignedCopy(b.bounds)
	return b, true
}

func missingBits(right bool) uint32 {
	if right {
		return 255
	}
	return 0
}

func (b *rowBins) slot(key binKey, list []float32) {
	b.slots = append(b.slots, [3]uint32{uint32(key.feature), missingBits(key.missingRight), uint32(len(b.bounds))})
	for i := range 16 {
		pivot := nan32
		if last := 16*i + 15; last < len(list) {
			pivot = list[last]
		}
		b.bounds = append(b.bounds, pivot)
	}
	b.bounds = append(b.bounds, list...)
	for range 16 - len(list)%16 {
		b.bounds = append(b.bounds, nan32)
	}
}

// alignedCopy is a copy that starts on a boundary of 64 bytes: a cache line and a vector.
func alignedCopy[T any](list []T) []T {
	to := aligned[T](len(list))
	copy(to, list)
	return to
}
