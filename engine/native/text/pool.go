// SPDX-License-Identifier: Apache-2.0

package text

import (
	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// pool is the n-grams that are counted, as a tree whose edges are items.
type pool struct {
	// texts and numbers give items their numbers; one of the two is nil.
	texts   map[string]int32
	numbers map[int64]int32
	next    map[edge]int32
	// column is where the n-gram that ends in a node is counted, -1 where none does.
	column []int32
}

// edge leads from a node of the tree on, by an item.
type edge struct{ node, item int32 }

// unknown is the number of items that no n-gram has.
const unknown = -1

// poolOf reads the pool, in which the n-grams of one item stand first, then those of
// two, and so on; ngram_counts says where each length begins.
func poolOf(n *op.Node, longest int) (pool, error) {
	texts, numbers := n.Texts("pool_strings"), n.Ints("pool_int64s")
	if (len(texts) > 0) == (len(numbers) > 0) {
		return pool{}, op.Invalid("exactly one of pool_strings and pool_int64s must be set")
	}
	p := pool{next: make(map[edge]int32), column: []int32{-1}}
	if len(texts) > 0 {
		p.texts = make(map[string]int32)
	} else {
		p.numbers = make(map[int64]int32)
	}
	items := make([]int32, max(len(texts), len(numbers)))
	for i := range items {
		if p.texts != nil {
			items[i] = numbered(p.texts, string(texts[i]))
		} else {
			items[i] = numbered(p.numbers, numbers[i])
		}
	}
	starts, columns := n.Ints("ngram_counts"), n.Ints("ngram_indexes")
	if len(starts) < longest {
		return pool{}, op.Invalid("ngram_counts has %d values for n-grams of up to %d items", len(starts), longest)
	}
	count := 0
	for i, start := range starts {
		end := int64(len(items))
		if i+1 < len(starts) {
			end = starts[i+1]
		}
		size := int64(i + 1)
		if start < 0 || end < start || end > int64(len(items)) || (end-start)%size != 0 {
			return pool{}, op.Invalid("n-grams of %d items at %d to %d of %d", size, start, end, len(items))
		}
		for at := start; at < end; at, count = at+size, count+1 {
			if count >= len(columns) {
				return pool{}, op.Invalid("%d columns for more n-grams", len(columns))
			}
			if !p.add(items[at:at+size], int32(columns[count])) {
				return pool{}, op.Invalid("n-gram %d is there twice", count)
			}
		}
	}
	return p, nil
}

// numbered is the number of an item, a new one where it has none.
func numbered[T comparable](m map[T]int32, item T) int32 {
	number, ok := m[item]
	if !ok {
		number = int32(len(m))
		m[item] = number
	}
	return number
}

// add puts an n-gram into the tree.
func (p *pool) add(items []int32, column int32) bool {
	node := int32(0)
	for _, item := range items {
		to, ok := p.next[edge{node, item}]
		if !ok {
			to = int32(len(p.column))
			p.next[edge{node, item}] = to
			p.column = append(p.column, -1)
		}
		node = to
	}
	if p.column[node] >= 0 {
		return false
	}
	p.column[node] = column
	return true
}

// reader gives a function that finds the numbers of the elements of v.
func (p *pool) reader(v *op.Value, items []int32) func() {
	switch v.Type {
	case tensor.Bytes:
		return func() {
			for i, text := range v.Strings {
				number, ok := p.texts[string(text)]
				items[i] = known(number, ok)
			}
		}
	case tensor.Int32:
		x := op.As[int32](v)
		return func() {
			for i, n := range x {
				number, ok := p.numbers[int64(n)]
				items[i] = known(number, ok)
			}
		}
	}
	x := op.As[int64](v)
	return func() {
		for i, n := range x {
			number, ok := p.numbers[n]
			items[i] = known(number, ok)
		}
	}
}

func known(number int32, ok bool) int32 {
	if !ok {
		return unknown
	}
	return number
}
