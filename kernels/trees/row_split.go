// SPDX-License-Identifier: Apache-2.0

package trees

import "math"

// rowSplit is a split as the row kernels know it: a value goes right when it has
// reached bound, or, where equal is set, when it is not bound. A bound that is NaN is
// never reached. NaN goes right when missingRight is set.
type rowSplit struct {
	feature      int32
	bound        float32 // never -0
	equal        bool
	missingRight bool
	left, right  int32 // as Node.True
}

// rowSplitOf rewrites a node of float32 comparisons. ok is false for sets of several
// members.
func rowSplitOf(n *Node) (s rowSplit, ok bool) {
	from := splitOf(n, false)
	s = rowSplit{feature: from.test.feature, missingRight: from.test.nanHigh, left: from.low, right: from.high}
	switch {
	case from.test.kind == atLeast:
		s.bound = float32(from.test.threshold)
	case from.test.kind == never || memberCount(from.test.members) == 0:
		s.bound = nan32
	default:
		s.equal, s.bound = true, float32(member(from.test.members, 0))
		s.left, s.right, s.missingRight = from.high, from.low, !from.test.nanHigh
	}
	return s, memberCount(from.test.members) <= 1
}

// tests calls f with each test of the split: it holds when the value has reached the
// bound, or when it has not where complement is set; any that holds sends it right.
func (s *rowSplit) tests(f func(test rowSplit, complement bool)) {
	if !s.equal {
		f(*s, false)
		return
	}
	less, more := s.lessOrMore()
	f(less, true)
	f(more, false)
}

// lessOrMore divides an equal split: a value goes right when it has not reached the
// bound of the one, which also sends missing values where they go, or has reached that
// of the other.
func (s *rowSplit) lessOrMore() (less, more rowSplit) {
	less, more = *s, *s
	less.equal, more.equal = false, false
	less.missingRight = !s.missingRight
	more.missingRight, more.bound = false, above32(s.bound)
	return less, more
}

// above32 is the least number that is more than v, and NaN when there is none.
func above32(v float32) float32 {
	if math.IsInf(float64(v), 1) {
		return nan32
	}
	return math.Nextafter32(v, float32(math.Inf(1))) + 0
}
