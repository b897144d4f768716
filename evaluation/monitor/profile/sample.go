// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"cmp"
	"slices"
)

// Sample keeps the Max rows with the least keys, of rows with the same key those with the
// least time. Kept are rows in no order until Sorted; at most twice Max at a time.
type Sample struct {
	Max  int
	Kept []Row
	// Bound is above the keys that can still be among the least, once Full.
	Bound uint64
	Full  bool
}

func compare(a, b Row) int {
	return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(a.Time, b.Time), slices.Compare(a.Numbers, b.Numbers), slices.Compare(a.Texts, b.Texts))
}

func (s *Sample) add(r *Row) {
	if s.Full && r.Key > s.Bound {
		return
	}
	own := *r
	own.Numbers, own.Texts = slices.Clone(r.Numbers), make([]string, len(r.Texts))
	for i, t := range r.Texts {
		if len(t) > TextBytesMax {
			t = t[:TextBytesMax]
		}
		own.Texts[i] = string([]byte(t)) // a substring would keep what it is part of
	}
	s.Kept = append(s.Kept, own)
	if len(s.Kept) >= 2*s.Max {
		s.cut()
	}
}

func (s *Sample) cut() {
	slices.SortFunc(s.Kept, compare)
	if len(s.Kept) >= s.Max {
		clear(s.Kept[s.Max:])
		s.Kept, s.Full = s.Kept[:s.Max], true
		s.Bound = s.Kept[s.Max-1].Key
	}
}

func (s *Sample) merge(o *Sample) {
	for i := range o.Kept {
		if r := &o.Kept[i]; !s.Full || r.Key <= s.Bound {
			s.Kept = append(s.Kept, *r) // rows do not change: they are shared
		}
		if len(s.Kept) >= 2*s.Max {
			s.cut()
		}
	}
}

// Sorted are the rows kept, by key. They are not to be changed.
func (s *Sample) Sorted() []Row {
	s.cut()
	return s.Kept
}

// Numbers are the values of a numeric column in the sample, by its place among those.
func (s *Sample) Numbers(column int) []float64 {
	rows := s.Sorted()
	values := make([]float64, len(rows))
	for i := range rows {
		values[i] = rows[i].Numbers[column]
	}
	return values
}
