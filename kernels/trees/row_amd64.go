// SPDX-License-Identifier: Apache-2.0

//go:build !purego

package trees

import "github.com/millrace-ml/millrace/kernels/cpu"

// rowLanesFast tells whether lanes beat walking here.
func rowLanesFast() bool { return cpu.Active() >= cpu.AVX2 }

// rowBinsOf writes the tables of a row.
func rowBinsOf(b *rowBins, x []float32, tables []uint8) {
	if cpu.Active() < cpu.AVX2 {
		binsGeneric(b, x, tables)
		return
	}
	for first := 0; first < len(b.slots); first += b.half {
		n := min(b.half, len(b.slots)-first)
		table := tables[first/b.half*2*b.half:][:2*b.half]
		if cpu.Active() >= cpu.AVX512 {
			rowBinsAVX512(&x[0], &b.slots[first], n, &b.bounds[0], &table[0], b.half)
		} else {
			rowBinsAVX2(&x[0], &b.slots[first], n, &b.bounds[0], &table[0], b.half)
		}
	}
}

// rowLanes finds the leaves or twigs of a group, and adds the values of the leaves of
// the group before, which may be noGroup, to the sum.
func rowLanes(span *rowSpan, g, last *rowGroup, st *rowState) {
	if cpu.Active() < cpu.AVX2 || len(g.steps) == 0 {
		lanesGeneric(span, g, last, st)
		return
	}
	ids, before := &st.ids[st.turn][0], &st.found()[0]
	st.turn ^= 1
	if span.twigs != nil {
		kernel := pick(span, rowTwigs32AVX2, rowTwigs64AVX2, rowTwigs32VNNI, rowTwigs64VNNI)
		st.sum = kernel(&g.steps[0], &g.counts[0], g.planes, 1, &st.tables[0], ids,
			before, &last.first[0], &span.twigs[0], last.quads(), g.perPlane, st.sum)
		return
	}
	kernel := pick(span, rowLanes32AVX2, rowLanes64AVX2, rowLanes32VNNI, rowLanes64VNNI)
	st.sum = kernel(&g.steps[0], &g.counts[0], g.planes, span.bins.banks(), &st.tables[0], ids,
		before, &last.words[0], last.planes*planeSize, last.quads(), g.perPlane, st.sum)
}

// rowSum adds the values of the leaves of the last group to the sum.
func rowSum(span *rowSpan, last *rowGroup, st *rowState) {
	before := &st.found()[0]
	switch {
	case cpu.Active() < cpu.AVX2:
		sumGeneric(span, last, st)
	case span.twigs == nil:
		st.sum = rowSumLanesAVX2(before, &last.words[0], last.planes*planeSize, last.quads(), st.sum)
	default:
		kernel := pick(span, rowSumTwigs32AVX2, rowSumTwigs64AVX2, rowSumTwigs32VNNI, rowSumTwigs64VNNI)
		st.sum = kernel(before, &last.first[0], &span.twigs[0], last.quads(), &st.tables[0], st.sum)
	}
}

// rowTwigs finds what the leaves of the last group give, whose twigs are found.
func rowTwigs(span *rowSpan, last *rowGroup, st *rowState) {
	if cpu.Active() < cpu.AVX2 {
		twigsGeneric(span, last, st)
		return
	}
	kernel := pick(span, rowLeaves32AVX2, rowLeaves64AVX2, rowLeaves32VNNI, rowLeaves64VNNI)
	kernel(&st.found()[0], &last.first[0], &span.twigs[0], &st.tables[0], last.quads(), &st.words[0])
}

// pick is the kernel for a span's tables. What is passed to it has to be on the heap
// anyway: the escape analysis does not see through it.
func pick[K any](span *rowSpan, avx2, avx2Wide, vnni, vnniWide K) K {
	switch {
	case cpu.Active() >= cpu.VNNI && span.bins.half == 32:
		return vnni
	case cpu.Active() >= cpu.VNNI:
		return vnniWide
	case span.bins.half == 32:
		return avx2
	}
	return avx2Wide
}
