// SPDX-License-Identifier: Apache-2.0

package trees

import (
	"math"
	"slices"
	"sort"

	"github.com/millrace-ml/millrace/training/learn"
)

const (
	// binsMax is how many bins a byte tells apart.
	binsMax = 256
	// missingBin holds missing values, of all features, and categories too rare for a bin.
	missingBin = binsMax - 1
	// groupMax is how many features share a word.
	groupMax = 8
)

// bins say in which bin a value of a feature is.
type bins struct {
	// count is how many bins have values, numbered from 0; missingBin is not among them.
	count int
	// cuts are the upper ends of bins, themselves included: x is in the first bin whose cut
	// is at least x. The last is infinite. Nil for a categorical feature.
	cuts []float32
	// codes are the categories that have bins, by bin; of are the bins of all codes.
	codes []int32
	of    []uint8
	// missing says whether training rows are in missingBin.
	missing bool
}

// layout says where the bins of features are in a binned table.
type layout struct {
	features []bins
	// width is how many features a group has; the last one may have fewer.
	width, groups int
}

func newLayout(features int) layout {
	l := layout{features: make([]bins, features)}
	l.groups = (features + groupMax - 1) / groupMax
	// An even number of groups of equal width keeps two cores equally busy.
	if l.groups > 1 && l.groups%2 == 1 {
		l.groups++
	}
	l.width = (features + l.groups - 1) / l.groups
	l.groups = (features + l.width - 1) / l.width
	return l
}

// binned is a table in bins: groups[g] has eight bytes for each row, of which byte i is
// the bin of feature g*width+i.
type binned struct {
	layout
	rows   int
	groups [][]byte
}

// column returns where the bin of a feature is: in row r it is at[r*groupMax].
func (b *binned) column(feature int32) []byte {
	return b.groups[int(feature)/b.width][int(feature)%b.width:]
}

func (b *binned) allocate(rows int) {
	b.rows, b.groups = rows, make([][]byte, b.layout.groups)
	for g := range b.groups {
		b.groups[g] = make([]byte, rows*groupMax)
	}
}

// newBinned finds bins for the table's values and puts them in.
func newBinned(t *learn.Table, binsWanted, workers int) *binned {
	b := &binned{layout: newLayout(len(t.Features))}
	b.allocate(t.Rows())
	sorters := make(chan *sorter, workers)
	for range workers {
		sorters <- &sorter{}
	}
	parallel(workers, len(t.Features), func(f int) {
		if t.Features[f].Categorical {
			b.features[f] = categoryBins(t.Values[f], len(t.Features[f].Categories), binsWanted-1)
			b.put(f, t.Values[f])
			return
		}
		s := <-sorters
		b.features[f] = b.sorted(f, s.sort(t.Values[f]), binsWanted-1)
		sorters <- s
	})
	return b
}

// sorted finds the bins of a feature from its values in order, and puts them in.
func (b *binned) sorted(feature int, pairs []uint64, binsWanted int) bins {
	cuts := cutsOf(pairs, binsWanted)
	to := b.column(int32(feature))
	if len(pairs) < b.rows {
		for row := range b.rows {
			to[row*groupMax] = missingBin
		}
	}
	bin, limit := uint8(0), keyOf(cuts[0])
	for _, pair := range pairs {
		for uint32(pair>>32) > limit {
			bin++
			limit = keyOf(cuts[bin])
		}
		to[int(uint32(pair))*groupMax] = bin
	}
	return bins{count: len(cuts), cuts: cuts, missing: len(pairs) < b.rows}
}

// cutsOf makes up to wanted bins of about as many rows each; a value is never in two, and
// a frequent one does not starve the rest.
func cutsOf(pairs []uint64, wanted int) []float32 {
	distinct := 0
	for i := range pairs {
		if i == 0 || pairs[i]>>32 != pairs[i-1]>>32 {
			distinct++
		}
	}
	var cuts []float32
	in, left := 0, len(pairs)
	for i := 1; i < len(pairs); i++ {
		in++
		if pairs[i]>>32 == pairs[i-1]>>32 {
			continue
		}
		if distinct <= wanted || in*(wanted-len(cuts)) >= left {
			cuts = append(cuts, between(valueOf(uint32(pairs[i-1]>>32)), valueOf(uint32(pairs[i]>>32))))
			left -= in
			in = 0
			if len(cuts) == wanted-1 {
				break
			}
		}
	}
	return append(cuts, float32(math.Inf(1)))
}

// between returns a threshold: lo <= t < hi.
func between(lo, hi float32) float32 {
	mid := float32((float64(lo) + float64(hi)) / 2)
	if mid >= lo && mid < hi && finite(mid) {
		return mid
	}
	return lo
}

// categoryBins gives the most frequent categories a bin each.
func categoryBins(values []float32, categories, wanted int) bins {
	counts := make([]int, categories)
	for _, x := range values {
		if code, ok := codeOf(x, categories); ok {
			counts[code]++
		}
	}
	var codes []int32
	for code, n := range counts {
		if n > 0 {
			codes = append(codes, int32(code))
		}
	}
	sort.SliceStable(codes, func(i, j int) bool { return counts[codes[i]] > counts[codes[j]] })
	codes = codes[:min(len(codes), wanted)]
	slices.Sort(codes)
	b := bins{count: len(codes), codes: codes, of: slices.Repeat([]uint8{missingBin}, categories)}
	in := 0
	for bin, code := range codes {
		b.of[code] = uint8(bin)
		in += counts[code]
	}
	b.missing = in < len(values)
	return b
}

// codeOf reads a category's number, which must be whole and in range.
func codeOf(x float32, categories int) (code int, ok bool) {
	if !(x >= 0 && x < float32(categories)) || x != float32(int(x)) {
		return 0, false
	}
	return int(x), true
}

// put puts the values of a feature into the bins found before.
func (b *binned) put(feature int, values []float32) {
	to, f := b.column(int32(feature)), &b.features[feature]
	for row, x := range values {
		to[row*groupMax] = f.bin(x)
	}
}

func (b *bins) bin(x float32) uint8 {
	if b.cuts == nil {
		if code, ok := codeOf(x, len(b.of)); ok {
			return b.of[code]
		}
		return missingBin
	}
	if x != x {
		return missingBin
	}
	// Values and cuts are compared as floats: both zeros are in one bin.
	lo, hi := 0, b.count-1
	for lo < hi {
		if mid := (lo + hi) / 2; x <= b.cuts[mid] {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return uint8(lo)
}

// like puts another table into the same bins.
func (b *binned) like(t *learn.Table, workers int) *binned {
	other := &binned{layout: b.layout}
	other.allocate(t.Rows())
	parallel(workers, len(t.Features), func(f int) { other.put(f, t.Values[f]) })
	return other
}
