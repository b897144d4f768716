// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"cmp"
	"math"
	"slices"
	"strconv"
)

// Text sums up a text column.
type Text struct {
	Max            int
	Count, Missing int64
	// Known are the categories of the reference, by hash; Seen are others, by hash, at most
	// Max: those with the least hashes.
	Known, Seen []Category
	// Rest counts rows of categories that are neither. All of them have hashes of Beyond or
	// more; it is 0 while there are none.
	Rest   int64
	Beyond uint64
}

// Category is a category and how many rows have it.
type Category struct {
	Name string
	Hash uint64
	Rows int64
}

func byHash(a Category, hash uint64) int { return cmp.Compare(a.Hash, hash) }

// know takes over the categories of a reference.
func (t *Text) know(reference *Text) {
	for _, c := range slices.Concat(reference.Known, reference.Seen) {
		if c.Rows > 0 {
			t.Known = append(t.Known, Category{Name: c.Name, Hash: c.Hash})
		}
	}
	slices.SortFunc(t.Known, func(a, b Category) int { return cmp.Compare(a.Hash, b.Hash) })
}

func (t *Text) add(name string, rows int64) {
	if name == "" {
		t.Missing += rows
		return
	}
	t.Count += rows
	hash := Hash(name)
	if i, ok := slices.BinarySearchFunc(t.Known, hash, byHash); ok {
		t.Known[i].Rows += rows
		return
	}
	t.see(name, hash, rows)
}

// see counts a category that the reference lacks.
func (t *Text) see(name string, hash uint64, rows int64) {
	if t.Beyond != 0 && hash >= t.Beyond {
		t.Rest += rows
		return
	}
	i, ok := slices.BinarySearchFunc(t.Seen, hash, byHash)
	if ok {
		t.Seen[i].Rows += rows
		return
	}
	if len(name) > TextBytesMax {
		name = name[:TextBytesMax-20] + "… " + strconv.FormatUint(hash, 16)
	}
	t.Seen = slices.Insert(t.Seen, i, Category{string([]byte(name)), hash, rows})
	t.trim()
}

// trim moves what is too much to the rest.
func (t *Text) trim() {
	for len(t.Seen) > t.Max {
		last := t.Seen[len(t.Seen)-1]
		t.Seen = t.Seen[:len(t.Seen)-1]
		t.Rest += last.Rows
		t.Beyond = last.Hash
	}
}

func (t *Text) merge(o *Text) {
	t.Count, t.Missing, t.Rest = t.Count+o.Count, t.Missing+o.Missing, t.Rest+o.Rest
	if o.Beyond != 0 && (t.Beyond == 0 || o.Beyond < t.Beyond) {
		t.Beyond = o.Beyond
		for len(t.Seen) > 0 && t.Seen[len(t.Seen)-1].Hash >= t.Beyond {
			t.Rest += t.Seen[len(t.Seen)-1].Rows
			t.Seen = t.Seen[:len(t.Seen)-1]
		}
	}
	for i := range o.Known {
		c := o.Known[i]
		if j, ok := slices.BinarySearchFunc(t.Known, c.Hash, byHash); ok {
			t.Known[j].Rows += c.Rows
		} else if c.Rows > 0 {
			t.see(c.Name, c.Hash, c.Rows)
		}
	}
	for _, c := range o.Seen {
		t.see(c.Name, c.Hash, c.Rows)
	}
}

// Distinct is how many categories there are: exactly while they fit, estimated with a
// standard error of 1/sqrt(Max) otherwise.
func (t *Text) Distinct() float64 {
	known := 0.0
	for _, c := range t.Known {
		if c.Rows > 0 {
			known++
		}
	}
	if t.Beyond == 0 {
		return known + float64(len(t.Seen))
	}
	return known + float64(len(t.Seen))/(float64(t.Beyond)/math.MaxUint64)
}

// Top are the categories with the most rows, then by name, at most k. A category that is
// not in the reference can be in Rest instead.
func (t *Text) Top(k int) []Category {
	all := slices.Concat(t.Known, t.Seen)
	all = slices.DeleteFunc(all, func(c Category) bool { return c.Rows == 0 })
	slices.SortFunc(all, func(a, b Category) int {
		return cmp.Or(cmp.Compare(b.Rows, a.Rows), cmp.Compare(a.Name, b.Name))
	})
	return all[:min(k, len(all))]
}

// Counts are the rows of all categories, for tests; the rest is one of no name.
func (t *Text) Counts() map[string]int {
	counts := map[string]int{}
	for _, list := range [][]Category{t.Known, t.Seen} {
		for _, c := range list {
			if c.Rows > 0 {
				counts[c.Name] += int(c.Rows)
			}
		}
	}
	if t.Rest > 0 {
		counts[""] += int(t.Rest)
	}
	return counts
}
