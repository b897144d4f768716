// SPDX-License-Identifier: Apache-2.0

//go:build !purego

package vec

import "github.com/millrace-ml/millrace/kernels/cpu"

// The kinds of bags that the kernel tells apart.
const (
	bagSum = iota
	bagWeighted
	bagLargest
)

// bags makes the rows of checked bags; there are some, and dim is not 0.
func bags(a *bagArgs) {
	if cpu.Active() < cpu.NEON {
		bagsGeneric(a)
		return
	}
	kind := uint64(bagSum)
	switch {
	case a.mode == BagMax:
		kind = bagLargest
	case a.weights != nil:
		kind = bagWeighted
	}
	for b := range a.count {
		dst := a.dst[b*a.dim:][:a.dim]
		first, end := a.bounds(b)
		if first == end {
			clear(dst)
			continue
		}
		var weights *float32
		if kind == bagWeighted {
			weights = &a.weights[first]
		}
		bagNEON(kind, &dst[0], &a.table[0], a.dim, &a.indices[first], end-first, weights)
		if a.mode == BagMean {
			DivScalar(dst, dst, float32(end-first))
		}
	}
}

// indicesWithin is whether all indices are from low up to high, which is above low.
// There are some.
func indicesWithin(indices []int64, low, high int64) bool {
	if cpu.Active() < cpu.NEON {
		return indicesWithinGeneric(indices, low, high)
	}
	done := len(indices) &^ 3
	return indicesWithinNEON(&indices[0], done, low, high-low) && indicesWithinGeneric(indices[done:], low, high)
}
