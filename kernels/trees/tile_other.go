// SPDX-License-Identifier: Apache-2.0

//go:build purego || !amd64

package trees

func tileKernel() string { return "generic" }

func minTileCost() tileCost { return tileCost{column: 800, node: 7.5, leaves: 512} }

// tileWords is how many words of 64 rows the next tile has, for that many rows.
func tileWords(rows int) int { return 1 }

func (t *truth) search(g *group, columns []column, x []float32, ldx, rows int, s *Scratch, words int) {
	searchGeneric(columns, t.tables, x[g.feature:], ldx, rows, s.planes)
}

func expand(expansions []expansion, planes, truth []uint64, words int) {
	expandGeneric(expansions, planes, truth)
}

// sum adds the values of single leaves of trees to s.sum.
func (b *block) sum(first, last int, values []float32, s *Scratch, words int) {
	b.sumGeneric(first, last, values, s)
}

// number puts the leaf numbers of trees into s.ids.
func (b *block) number(first, last int, s *Scratch, words int) {
	b.numberTreesGeneric(first, last, s)
}

func addPathLeaves(f *Forest, begin uint32, ids []uint8, to []float32, ld int) {
	addLeaves(f, begin, ids, to, ld)
}
