// SPDX-License-Identifier: Apache-2.0

package trees

import (
	"encoding/binary"
	"math"
	"slices"
)

// split is a node of any comparison in the one form that the kernels know: rows for
// which the test holds go to high, all others to low.
type split struct {
	test      test
	low, high int32
}

// test is what a split asks of one feature. Tests are compared and used as map keys, so
// that each distinct one is evaluated once.
type test struct {
	feature int32
	kind    testKind
	// threshold is of atLeast. It has the precision of the values it is compared with.
	threshold float64
	// members is of oneOf: the sorted distinct members, as the bytes of their bits.
	members string
	// nanHigh sends missing values to high.
	nanHigh bool
}

type testKind uint8

const (
	atLeast testKind = iota // value >= threshold
	oneOf                   // value is among members
	never                   // holds for no number
	reached                 // the row reaches the piece of a tree whose place feature is
)

// splitOf brings a node into the one form.
func splitOf(n *Node, double bool) split {
	s := split{test: test{feature: n.Feature}}
	t := rounded(n.Threshold, double)
	switch n.Compare {
	case Less, GreaterEqual:
		s.test.threshold = t
	case LessEqual, Greater:
		s.test.kind, s.test.threshold = above(t, double)
	case Equal, NotEqual:
		s.test.kind, s.test.members = oneOf, membersOf([]float64{n.Threshold}, double)
	case Member:
		s.test.kind, s.test.members = oneOf, membersOf(n.Members, double)
	}
	s.low, s.high = n.False, n.True
	s.test.nanHigh = n.MissingTrue
	if n.Compare == Less || n.Compare == LessEqual || n.Compare == NotEqual {
		s.low, s.high = n.True, n.False
		s.test.nanHigh = !n.MissingTrue
	}
	return s
}

// rounded is a threshold in the precision of the values, with 0 for -0: the two compare
// alike.
func rounded(t float64, double bool) float64 {
	if double {
		return t + 0
	}
	return float64(float32(t)) + 0
}

// above is the test "value > t" said as "value >= the next number".
func above(t float64, double bool) (testKind, float64) {
	switch {
	case math.IsInf(t, 1):
		return never, 0
	case double:
		return atLeast, math.Nextafter(t, math.Inf(1)) + 0
	}
	return atLeast, float64(math.Nextafter32(float32(t), float32(math.Inf(1)))) + 0
}

// membersOf is the key of a set.
func membersOf(list []float64, double bool) string {
	values := make([]float64, len(list))
	for i, m := range list {
		values[i] = rounded(m, double)
	}
	slices.Sort(values)
	values = slices.Compact(values)
	key := make([]byte, 0, 8*len(values))
	for _, v := range values {
		key = binary.LittleEndian.AppendUint64(key, math.Float64bits(v))
	}
	return string(key)
}

// memberCount and member read the key of a set.
func memberCount(key string) int { return len(key) / 8 }

func member(key string, i int) float64 {
	var b uint64
	for k := range 8 {
		b |= uint64(key[8*i+k]) << (8 * k)
	}
	return math.Float64frombits(b)
}

// holds is the test of one value, for walks.
func (t *test) holds(v float64) bool {
	switch {
	case v != v:
		return t.nanHigh
	case t.kind == atLeast:
		return v >= t.threshold
	case t.kind == never:
		return false
	}
	lo, hi := 0, memberCount(t.members)
	for lo < hi {
		mid := (lo + hi) / 2
		if m := member(t.members, mid); m == v {
			return true
		} else if m < v {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return false
}
