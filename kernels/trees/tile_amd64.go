// SPDX-License-Identifier: Apache-2.0

//go:build !purego

package trees

import (
	"unsafe"

	"github.com/millrace-ml/millrace/kernels/cpu"
)

func tileKernel() string {
	switch {
	case cpu.Active() >= cpu.AVX512:
		return "avx512"
	case cpu.Active() >= cpu.AVX2:
		return "avx2"
	}
	return "generic"
}

func minTileCost() tileCost {
	switch {
	case cpu.Active() >= cpu.AVX512:
		return tileCost{column: 40, node: 1.15, leaves: 2048}
	case cpu.Active() >= cpu.AVX2:
		return tileCost{column: 80, node: 3.3, leaves: 1024}
	}
	return tileCost{column: 800, node: 7.5, leaves: 512}
}

// wideFrom is how many rows at the least are better evaluated as a tile of 256 than as
// several of 64. AVX2 has kernels for the former only.
const wideFrom = 129

// tileWords is how many words of 64 rows the next tile has, for that many rows.
func tileWords(rows int) int {
	switch level := cpu.Active(); {
	case level >= cpu.AVX512 && rows < wideFrom, level < cpu.AVX2:
		return 1
	}
	return wideWords
}

// search fills the planes of the columns of a group.
func (t *truth) search(g *group, columns []column, x []float32, ldx, rows int, s *Scratch, words int) {
	used := int(columns[len(columns)-1].feature) + 1
	x = x[g.feature:][:(rows-1)*ldx+used]
	list := (*uint32)(unsafe.Pointer(&columns[0]))
	switch level := cpu.Active(); {
	case level >= cpu.AVX512:
		transposeAVX512(&x[0], ldx*4, rows, 1<<used-1, &s.columns[0], words*wordRows*4)
		if words == 1 {
			search64AVX512(list, len(columns), &t.tables[0], &s.columns[0], (rows+15)/16, &s.planes[0])
			return
		}
		search256AVX512(list, len(columns), &t.tables[0], &s.columns[0], (rows+15)/16, &s.planes[0])
	case level >= cpu.AVX2:
		transposeGeneric(columns, x, ldx, rows, s.columns)
		search256AVX2(list, len(columns), &t.tables[0], &s.columns[0], (rows+7)/8, &s.planes[0])
	default:
		searchGeneric(columns, t.tables, x, ldx, rows, s.planes)
	}
}

// transposeGeneric copies columns of x to to, 256 rows a feature.
func transposeGeneric(columns []column, x []float32, ldx, rows int, to []float32) {
	for i := range columns {
		feature := int(columns[i].feature)
		if i > 0 && columns[i-1].feature == columns[i].feature {
			continue
		}
		column := to[feature*tileRows:][:rows]
		for r := range column {
			column[r] = x[r*ldx+feature]
		}
	}
}

func expand(expansions []expansion, planes, truth []uint64, words int) {
	list := (*uint32)(unsafe.Pointer(unsafe.SliceData(expansions)))
	switch level := cpu.Active(); {
	case level >= cpu.AVX512 && words == 1:
		expand64AVX512(list, len(expansions), &planes[0], &truth[0])
	case level >= cpu.AVX512:
		expand256AVX512(list, len(expansions), &planes[0], &truth[0])
	case level >= cpu.AVX2:
		expand256AVX2(list, len(expansions), &planes[0], &truth[0])
	default:
		expandGeneric(expansions, planes, truth)
	}
}

// sum adds the values of single leaves of trees to s.sum.
func (b *block) sum(first, last int, values []float32, s *Scratch, words int) {
	trees, nodes, exports := b.pointers(first)
	switch level := cpu.Active(); {
	case level >= cpu.AVX512 && words == 1:
		sum64AVX512(trees, last-first, nodes, exports, &s.truth[0], &s.slots[0], &values[0], &s.sum[0])
	case level >= cpu.AVX512:
		sum256AVX512(trees, last-first, nodes, exports, b.flipList(), &s.truth[0], &s.slots[0], &values[0], &s.sum[0])
	case level >= cpu.AVX2:
		sum256AVX2(trees, last-first, nodes, exports, b.flipList(), &s.truth[0], &s.slots[0], &s.ids[0], &values[0], &s.sum[0])
	default:
		b.sumGeneric(first, last, values, s)
	}
}

// number puts the leaf numbers of trees into s.ids.
func (b *block) number(first, last int, s *Scratch, words int) {
	trees, nodes, exports := b.pointers(first)
	switch level := cpu.Active(); {
	case level >= cpu.AVX512 && words == 1:
		number64AVX512(trees, last-first, nodes, exports, &s.truth[0], &s.slots[0], &s.ids[0])
	case level >= cpu.AVX512:
		number256AVX512(trees, last-first, nodes, exports, b.flipList(), &s.truth[0], &s.slots[0], &s.ids[0])
	case level >= cpu.AVX2:
		number256AVX2(trees, last-first, nodes, exports, b.flipList(), &s.truth[0], &s.slots[0], &s.ids[0])
	default:
		b.numberTreesGeneric(first, last, s)
	}
}

// pointers are the trees from first on, and what they refer to, as assembly takes them.
func (b *block) pointers(first int) (trees *uint32, nodes *uint64, exports *uint32) {
	return (*uint32)(unsafe.Pointer(&b.trees[first])), (*uint64)(unsafe.Pointer(unsafe.SliceData(b.nodes))),
		(*uint32)(unsafe.Pointer(unsafe.SliceData(b.exports)))
}

// flipList is what trees' flips refer to.
func (b *block) flipList() *uint16 { return (*uint16)(unsafe.Pointer(unsafe.SliceData(b.flips))) }

// addPathLeaves is addLeaves of the numbers of at most a tile's rows.
func addPathLeaves(f *Forest, begin uint32, ids []uint8, to []float32, ld int) {
	if cpu.Active() < cpu.AVX2 || !f.leaves.padded() {
		addLeaves(f, begin, ids, to, ld)
		return
	}
	addRowsAVX2(&ids[0], len(ids), &f.leaves.refs[begin], &f.leaves.rows[0], f.targets, &to[:len(ids)*ld][0])
}
