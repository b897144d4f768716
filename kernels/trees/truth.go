// SPDX-License-Identifier: Apache-2.0

package trees

import (
	"cmp"
	"math"
	"slices"
)

// inventory collects the distinct tests of the trees of a block.
type inventory struct {
	features map[int32]*featureTests
	derived  map[test]int // tests other than atLeast, in order of arrival
	order    []test
	reached  int // pieces of trees
	words    int // upper bound of the words that truth takes
}

// featureTests are the thresholds that one feature is compared with.
type featureTests struct {
	thresholds map[float64]bool
	low, high  bool // where NaN goes: which of the two ranges of words are needed
	missing    bool // a word is needed that says where the feature is NaN
}

func newInventory() *inventory {
	return &inventory{features: map[int32]*featureTests{}, derived: map[test]int{}, words: wordAlign}
}

func (v *inventory) feature(i int32) *featureTests {
	ft := v.features[i]
	if ft == nil {
		ft = &featureTests{thresholds: map[float64]bool{}}
		v.features[i] = ft
		v.words += ft.words()
	}
	return ft
}

// words is how many words the ranges of a feature take.
func (ft *featureTests) words() int {
	n, most, ranges := len(ft.thresholds), ft.most(), 0
	if ft.low {
		ranges++
	}
	if ft.high {
		ranges++
	}
	full := n / most
	return ranges * (full*(columnThresholds+1) + align(n%most+1, wordAlign))
}

// most is how many thresholds a column of the feature may have: the word that says
// where values are missing follows the last threshold's.
func (ft *featureTests) most() int {
	if ft.missing {
		return columnThresholds - 1
	}
	return columnThresholds
}

// add notes a test.
func (v *inventory) add(t test) {
	ft := v.feature(t.feature)
	v.words -= ft.words()
	defer func() { v.words += ft.words() }()
	if t.kind == atLeast {
		ft.thresholds[t.threshold] = true
		ft.low, ft.high = ft.low || !t.nanHigh, ft.high || t.nanHigh
		return
	}
	if _, seen := v.derived[t]; seen {
		return
	}
	v.derived[t] = len(v.order)
	v.order = append(v.order, t)
	v.words++
	ft.low = true
	ft.high, ft.missing = ft.high || t.nanHigh, ft.missing || t.nanHigh
	for i := range memberCount(t.members) {
		m := member(t.members, i)
		ft.thresholds[m] = true
		if kind, next := above(m, false); kind == atLeast {
			ft.thresholds[next] = true
		}
	}
}

// column is some of the thresholds of a feature, at most 255 so that a value's place
// among them is a byte. Assembly reads it.
type column struct {
	feature uint32 // less the first feature of the group
	table   uint32 // where its search table begins
	levels  uint32 // of the table: 2^levels-1 thresholds
	planes  uint32 // where its bit planes go, counted in sets of planes
}

// expansion makes words of truth from bit planes. Assembly reads it.
type expansion struct {
	planes, words, at uint32
	high              uint32 // 1 where NaN counts as above all thresholds
}

// group is the features of a block that are transposed together.
type group struct {
	feature            int // the first of groupFeatures
	columns, lastCol   int // range in block.columns
	expansions, lastEx int // range in block.expansions
}

// derivation is a word of truth that is made of others:
// OR over terms of (a AND NOT b), OR missing.
type derivation struct {
	at, missing     uint32
	terms, lastTerm int // range in block.terms
}

type term struct{ a, b uint32 }

// truth is the part of a block that turns rows into one word per distinct test.
type truth struct {
	groups      []group
	columns     []column
	expansions  []expansion
	derivations []derivation
	terms       []term
	tables      []float32
	words       int // including the word 0, which is never set
	reached     int // the first word that trees in pieces fill themselves
	planeSets   int // most that a group needs
	at          map[test]uint32
}

// layout gives every test of the inventory its word.
func (v *inventory) layout() *truth {
	t := &truth{words: wordAlign, at: map[test]uint32{}}
	features := make([]int32, 0, len(v.features))
	for f := range v.features {
		features = append(features, f)
	}
	slices.Sort(features)
	missing := map[int32]uint32{}
	for _, f := range features {
		t.open(int(f))
		missing[f] = t.feature(f, v.features[f])
	}
	for i := range t.groups {
		g := &t.groups[i]
		t.planeSets = max(t.planeSets, g.lastCol-g.columns)
	}
	for _, d := range v.order {
		t.derive(d, missing[d.feature])
	}
	t.reached = t.words
	t.words += v.reached
	return t
}

// open begins the group of a feature unless it is the last one.
func (t *truth) open(feature int) {
	first := feature &^ (groupFeatures - 1)
	if n := len(t.groups); n > 0 && t.groups[n-1].feature == first {
		return
	}
	t.groups = append(t.groups, group{
		feature: first,
		columns: len(t.columns), lastCol: len(t.columns),
		expansions: len(t.expansions), lastEx: len(t.expansions),
	})
}

// feature lays out the columns of one feature and returns the word that says where it
// is missing, which is good only where featureTests.missing asks for it.
func (t *truth) feature(f int32, ft *featureTests) (missing uint32) {
	thresholds := make([]float64, 0, len(ft.thresholds))
	for x := range ft.thresholds {
		thresholds = append(thresholds, x)
	}
	slices.SortFunc(thresholds, cmp.Compare[float64])
	g := &t.groups[len(t.groups)-1]
	for {
		n := min(len(thresholds), ft.most())
		part := thresholds[:n]
		thresholds = thresholds[n:]
		set := uint32(g.lastCol - g.columns)
		levels := max(bitsFor(n), minLevels)
		t.columns = append(t.columns, column{
			feature: uint32(int(f) - g.feature), table: uint32(len(t.tables)), levels: uint32(levels), planes: set,
		})
		g.lastCol++
		t.tables = appendTable(t.tables, part, levels)
		if ft.low {
			t.expand(g, f, part, set, false)
		}
		if ft.high {
			missing = t.expand(g, f, part, set, true) + uint32(n)
		}
		if len(thresholds) == 0 {
			return missing
		}
	}
}

// expand lays out the words of a column's thresholds and, after them, at least one for
// what is above all of them.
func (t *truth) expand(g *group, f int32, thresholds []float64, set uint32, high bool) (at uint32) {
	at = uint32(t.words)
	for i, x := range thresholds {
		t.at[test{feature: f, threshold: x, nanHigh: high}] = at + uint32(i)
	}
	n := min(align(len(thresholds)+1, wordAlign), columnThresholds+1)
	ex := expansion{planes: set, words: uint32(n), at: at}
	if high {
		ex.high = 1
	}
	t.expansions = append(t.expansions, ex)
	g.lastEx++
	t.words += n
	return at
}

func (t *truth) derive(d test, missing uint32) {
	v := derivation{at: uint32(t.words), terms: len(t.terms)}
	if d.nanHigh {
		v.missing = missing
	}
	for i := range memberCount(d.members) {
		m := member(d.members, i)
		e := term{a: t.at[test{feature: d.feature, threshold: m}]}
		if kind, next := above(m, false); kind == atLeast {
			e.b = t.at[test{feature: d.feature, threshold: next}]
		}
		t.terms = append(t.terms, e)
	}
	v.lastTerm = len(t.terms)
	t.derivations = append(t.derivations, v)
	t.at[d] = v.at
	t.words++
}

// bitsFor is the least b for which 2^b-1 >= n.
func bitsFor(n int) int {
	b := 0
	for 1<<b-1 < n {
		b++
	}
	return b
}

func align(n, to int) int { return (n + to - 1) / to * to }

// levelStart is where the entries of a level of a search table begin. The first five
// levels have a vector of 16 each.
func levelStart(level int) int {
	if level <= 5 {
		return 16 * level
	}
	return 80 + 1<<level - 32
}

// appendTable appends the search table of sorted thresholds: level l has 2^l entries,
// of which entry i is compared with values whose earlier comparisons, the first one's
// outcome in bit 0, were i. Places past the last threshold hold NaN, which no value is
// at least.
func appendTable(table []float32, thresholds []float64, levels int) []float32 {
	base := len(table)
	for range levelStart(levels) {
		table = append(table, float32(math.NaN()))
	}
	for l := range levels {
		for i := range 1 << l {
			first := 0 // the least place that is left after the outcomes i
			for k := range l {
				if i>>k&1 != 0 {
					first += 1 << (levels - 1 - k)
				}
			}
			if place := first + 1<<(levels-1-l) - 1; place < len(thresholds) {
				table[base+levelStart(l)+i] = float32(thresholds[place])
			}
		}
	}
	return table
}

// addTree notes the tests of a tree.
func (v *inventory) addTree(s *treeShape) {
	v.reached += len(s.cuts)
	v.words += len(s.cuts)
	for i := range s.splits {
		v.add(s.splits[i].test)
	}
}
