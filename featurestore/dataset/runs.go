// SPDX-License-Identifier: Apache-2.0

package dataset

import (
	"math/bits"
	"slices"
)

// moment stands for a record of a part.
type moment struct {
	time   int64
	at     int32 // where the record begins among the words of the part
	number int32 // of its key
}

// runs are the records of a part by key, and by time for each key. Its memory is used
// again.
type runs struct {
	marks  []moment
	other  []moment // what a pass of sorting writes to
	starts []int32  // of the marks of each key; one more for the end
}

// arrange sorts the marks by time, then by key. Marks of equal time and key keep the order
// they had. Time-sorted marks, as those of a log are, cost one pass.
func (r *runs) arrange(keys int) {
	r.sortByTime()
	r.starts = resize(r.starts, keys+2)
	clear(r.starts)
	for i := range r.marks {
		r.starts[r.marks[i].number+2]++
	}
	for k := 2; k < len(r.starts); k++ {
		r.starts[k] += r.starts[k-1]
	}
	r.other = resize(r.other, len(r.marks))
	next := r.starts[1:]
	for i := range r.marks {
		m := &r.marks[i]
		r.other[next[m.number]] = *m
		next[m.number]++
	}
	r.marks, r.other = r.other, r.marks
	r.starts = r.starts[:keys+1]
}

// of returns the marks of a key.
func (r *runs) of(key int) []moment { return r.marks[r.starts[key]:r.starts[key+1]] }

const (
	radixBits = 11 // 2048 counters of a pass fit into the first-level cache
	radixSize = 1 << radixBits
)

// sortByTime sorts by radix, lowest digits first, over as many digits as times differ in.
func (r *runs) sortByTime() {
	low, high, sorted := span(r.marks)
	if sorted {
		return
	}
	if len(r.marks) < radixSize/4 {
		slices.SortStableFunc(r.marks, func(a, b moment) int {
			if a.time < b.time {
				return -1
			}
			if a.time > b.time {
				return 1
			}
			return 0
		})
		return
	}
	r.other = resize(r.other, len(r.marks))
	width := uint(bits.Len64(uint64(high - low)))
	for shift := uint(0); shift < width; shift += radixBits {
		radixPass(r.other, r.marks, low, shift)
		r.marks, r.other = r.other, r.marks
	}
}

// span returns the lowest and highest time, and whether times never go back.
func span(marks []moment) (low, high int64, sorted bool) {
	if len(marks) == 0 {
		return 0, 0, true
	}
	low, high, sorted = marks[0].time, marks[0].time, true
	before := low
	for i := range marks {
		t := marks[i].time
		sorted = sorted && t >= before
		before = t
		low, high = min(low, t), max(high, t)
	}
	return low, high, sorted
}

// radixPass spreads marks by one digit of their time.
func radixPass(to, from []moment, low int64, shift uint) {
	var count [radixSize]int32
	for i := range from {
		count[uint64(from[i].time-low)>>shift&(radixSize-1)]++
	}
	sum := int32(0)
	for i, n := range count {
		count[i], sum = sum, sum+n
	}
	for i := range from {
		d := uint64(from[i].time-low) >> shift & (radixSize - 1)
		to[count[d]] = from[i]
		count[d]++
	}
}

// sortTies orders marks of equal time by what else tells their records apart.
func sortTies(marks []moment, compare func(a, b int32) int) {
	for i := 0; i < len(marks); {
		j := i + 1
		for j < len(marks) && marks[j].time == marks[i].time {
			j++
		}
		if j > i+1 {
			slices.SortStableFunc(marks[i:j], func(a, b moment) int { return compare(a.at, b.at) })
		}
		i = j
	}
}

func resize[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n, n+n/4)
	}
	return s[:n]
}
