// SPDX-License-Identifier: Apache-2.0

package trees

import "slices"

// categoriesLeftMax bounds the categories that one side of a split names.
const categoriesLeftMax = 64

// unordered finds a split of a categorical feature: categories put in order of g/h have
// the best of all subsets among the cuts of that order (Fisher 1958, "On grouping for
// maximum homogeneity"). Smoothing keeps rare categories, whose g/h is mostly chance, in
// the middle, and makes splits of categories gain a little more. Missing, unseen and rare
// categories go right, with the ones that are not named.
func (r *rules) unordered(h *[binsMax]uint64, counts *[binsMax]uint32, f *bins, b *branch) split {
	type category struct {
		bin   int
		ratio float64
	}
	var space [binsMax]category
	in := space[:0]
	for bin := range f.count {
		if sum := h[bin]; sum != 0 {
			in = append(in, category{bin, float64(gOf(sum)) / (float64(hOf(sum)) + r.smoothing)})
		}
	}
	slices.SortFunc(in, func(x, y category) int {
		switch {
		case x.ratio < y.ratio:
			return -1
		case x.ratio > y.ratio:
			return 1
		}
		return x.bin - y.bin
	})
	whole, _ := r.score(b.sum, r.lambda, b.lower, b.upper)
	var best split
	first, last := 0, -1
	try := func(at func(i int) int) {
		sum, rows := uint64(0), 0
		for i := range min(len(in), categoriesLeftMax) {
			bin := in[at(i)].bin
			sum += h[bin]
			rows += countOf(counts, bin)
			if gain := r.judge(sum, b.sum, rows, b.rows(), 0, whole, r.smoothing, b.lower, b.upper); gain > best.gain {
				best = split{gain: gain, left: sum}
				first, last = min(at(0), at(i)), max(at(0), at(i))
			}
		}
	}
	try(func(i int) int { return i })
	try(func(i int) int { return len(in) - 1 - i })
	if best.gain > 0 {
		best.categories = &sides{}
		for _, c := range in[first : last+1] {
			best.categories[c.bin] = 1
		}
	}
	return best
}
