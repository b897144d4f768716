// SPDX-License-Identifier: Apache-2.0

package trees

// How a tile of rows is evaluated, a group of 16 features at a time and then tree by
// tree:
//
//	columns  The features' columns are made contiguous (transpose).
//	planes   Each value is placed among the sorted thresholds of its feature by a binary
//	         search. The outcomes of one step of all 64 rows' searches are a word, and the
//	         words of all steps are the bits of the rows' places (search).
//	truth    For each threshold, a word of the rows whose place is above it: seven or
//	         eight AND and OR operations on planes, most of which neighbours share
//	         (expand). Tests of sets are made of these (derive).
//	slots    For each node of a tree, a word of the rows that reach it, and from those
//	         the number of the leaf that each row ends in, a byte (sum, number).
//
// Rows that a tile has but were not given hold anything; they are evaluated and dropped.

// evaluate fills s.truth for rows of x.
func (t *truth) evaluate(x []float32, ldx, rows int, s *Scratch, words int) {
	for i := range t.groups {
		g := &t.groups[i]
		columns := t.columns[g.columns:g.lastCol]
		planes := s.planes[:len(columns)*planeSet*words]
		clear(planes)
		t.search(g, columns, x, ldx, rows, s, words)
		expand(t.expansions[g.expansions:g.lastEx], planes, s.truth, words)
	}
	clear(s.truth[:words])
	for i := range t.derivations {
		d := &t.derivations[i]
		for w := range words {
			v := s.truth[int(d.missing)*words+w]
			for _, e := range t.terms[d.terms:d.lastTerm] {
				v |= s.truth[int(e.a)*words+w] &^ s.truth[int(e.b)*words+w]
			}
			s.truth[int(d.at)*words+w] = v
		}
	}
}
