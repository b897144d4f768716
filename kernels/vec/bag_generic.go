// SPDX-License-Identifier: Apache-2.0

package vec

func bagsGeneric(a *bagArgs) {
	for b := range a.count {
		first, end := a.bounds(b)
		a.bag(a.dst[b*a.dim:][:a.dim], first, end)
	}
}

// bounds are the first index of a bag and that after its last.
func (a *bagArgs) bounds(b int) (first, end int) {
	switch {
	case a.offsets == nil:
		return b * a.length, (b + 1) * a.length
	case b+1 < len(a.offsets):
		return int(a.offsets[b]), int(a.offsets[b+1])
	}
	return int(a.offsets[b]), len(a.indices)
}

// bag makes one row.
func (a *bagArgs) bag(dst []float32, first, end int) {
	clear(dst)
	for i := first; i < end; i++ {
		row := a.table[int(a.indices[i])*a.dim:][:len(dst)]
		switch {
		case a.mode == BagMax && i == first:
			copy(dst, row)
		case a.mode == BagMax:
			for c := range dst {
				dst[c] = larger(dst[c], row[c])
			}
		case a.weights != nil:
			axpyGeneric(dst, a.weights[i], row)
		default:
			for c := range dst {
				dst[c] += row[c]
			}
		}
	}
	if a.mode == BagMean && end > first {
		count := float32(end - first)
		for c := range dst {
			dst[c] /= count
		}
	}
}

func indicesWithinGeneric(indices []int64, low, high int64) bool {
	// One unsigned comparison for both ends.
	span, ok := uint64(high-low), true
	for _, v := range indices {
		ok = ok && uint64(v-low) < span
	}
	return ok
}
