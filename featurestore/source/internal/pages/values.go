// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"slices"

	"github.com/parquet-go/parquet-go/format"
)

// Values are the values of a page, one for each row. Which slice has them follows from
// Kind.
type Values struct {
	Kind    Kind
	Rows    int
	Ints    []int64
	Numbers []float64
	Texts   []string
	// Nulls marks nulls; empty is none. The slices have zeros there.
	Nulls []bool
}

// Scratch is the memory that decoding takes besides its result. The zero value is ready.
type Scratch struct {
	stored, body, plain []byte
	levels, bits        []byte
	indexes             []int32
	deltas, prefixes    []int64
	ends                []int
	textEnds            []int
	joined              []byte
}

// grow is a slice of n values, of which those of s may be lost.
func grow[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}

// reset makes room for n values that are there, in front of rows.
func (v *Values) reset(k Kind, rows int) {
	v.Kind, v.Rows, v.Nulls = k, rows, v.Nulls[:0]
	clear(v.Texts)
	v.Ints, v.Numbers, v.Texts = v.Ints[:0], v.Numbers[:0], v.Texts[:0]
	switch k {
	case Bools, Floats:
		v.Numbers = grow(v.Numbers, rows)
	case Texts:
		v.Texts = grow(v.Texts, rows)
	default:
		v.Ints = grow(v.Ints, rows)
	}
}

// spread moves the values, which are in front, to the rows whose level is 1 and marks
// the others.
func (v *Values) spread(levels []byte, present int) {
	v.Nulls = slices.Grow(v.Nulls[:0], v.Rows)[:v.Rows]
	switch v.Kind {
	case Bools, Floats:
		spread(v.Numbers, v.Nulls, levels, present)
	case Texts:
		spread(v.Texts, v.Nulls, levels, present)
	default:
		spread(v.Ints, v.Nulls, levels, present)
	}
}

// spread works from the end: a value moves up or stays.
func spread[T any](values []T, nulls []bool, levels []byte, present int) {
	var zero T
	for i := len(levels) - 1; i >= 0; i-- {
		null := levels[i] == 0
		nulls[i] = null
		if null {
			values[i] = zero
			continue
		}
		present--
		values[i] = values[present]
	}
}

// look fills v with dictionary values; false if an index is beyond the dictionary.
func (v *Values) look(d *Values, indexes []int32) bool {
	switch v.Kind {
	case Bools, Floats:
		return look(v.Numbers, d.Numbers, indexes)
	case Texts:
		return look(v.Texts, d.Texts, indexes)
	}
	return look(v.Ints, d.Ints, indexes)
}

func look[T any](dst, dictionary []T, indexes []int32) bool {
	dst = dst[:len(indexes)]
	for i, x := range indexes {
		if uint(uint32(x)) >= uint(len(dictionary)) {
			return false
		}
		dst[i] = dictionary[x]
	}
	return true
}

// size is the bytes of a value of fixed length, 0 for others.
func (l *Leaf) size() int {
	switch l.physical {
	case format.Int32, format.Float:
		return 4
	case format.Int64, format.Double:
		return 8
	case format.Int96:
		return 12
	case format.FixedLenByteArray:
		return l.length
	}
	return 0
}

// TakeNulls appends the marks of nulls from one row to another behind rows values; marks
// are empty where nothing is null.
func (v *Values) TakeNulls(marks []bool, rows, from, to int) {
	if len(marks) == 0 && len(v.Nulls) == 0 {
		return
	}
	if n := rows - len(v.Nulls); n > 0 {
		v.Nulls = append(v.Nulls, make([]bool, n)...)
	}
	if len(marks) == 0 {
		v.Nulls = append(v.Nulls, make([]bool, to-from)...)
		return
	}
	v.Nulls = append(v.Nulls, marks[from:to]...)
}
