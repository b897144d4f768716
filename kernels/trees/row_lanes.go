// SPDX-License-Identifier: Apache-2.0

package trees

// The lanes kernels find the leaves of 64 trees at once, a byte lane each, by looking
// at all splits of all of them: that reads more, but in order and without a branch to
// mispredict. It is QuickScorer's idea (Lucchese et al., SIGIR 2015) with trees in the
// lanes of a vector:
//
//	L1  The leaves of a tree are numbered so that of a split's two branches the one with
//	    fewer leaves comes first. If a row takes the other, the split clears the leaves
//	    of the first; the lowest leaf that no split clears is the one that the row
//	    reaches.
//	L2  A step takes from each lane one test that clears leaves of one plane (8 leaves,
//	    a byte): three vectors of 64 bytes: where its bin is in the table, the number
//	    that the bin must be more than, and the mask of leaves to clear. A lane without
//	    a test left has the number 255.
//	L3  Steps are ordered by plane, last first, and within a plane by bank.
//
// Most splits clear leaves of one plane only, since L1 keeps what they clear short.
//
// Of larger trees only the top is done so. What hangs below are twigs of few leaves,
// which stand for leaves in all that is said above, and are looked at one a tree:
//
//	L4  A twig is 128 bytes: where the bins of up to 16 tests are, the number that each
//	    bin must be more than, for each of up to 16 leaves the set of tests that clear
//	    it (16 bits), and for each leaf what it gives. The first leaf that no test
//	    clears is the one that the row reaches.
const (
	laneCount = 64
	stepBytes = 3 * laneCount
	planeSize = 8
	leavesMax = 256 // the number of a leaf is a byte

	twigSize   = 16
	twigBounds = twigSize
	twigClears = 2 * twigSize
	twigWords  = 4 * twigSize
	twigBytes  = 8 * twigSize

	neverFires = 255
)

// rowSpan is trees, consecutive ones, that share a quantised row.
type rowSpan struct {
	bins   rowBins
	groups []rowGroup
	twigs  []uint8 // nil where lanes find leaves
}

// rowGroup is up to 64 trees in lanes. What a leaf gives is the bits of its value,
// where leaves are single, and its index otherwise.
type rowGroup struct {
	trees    int
	planes   int
	perPlane int      // quads of additions of the group before, a plane
	counts   []uint16 // steps of plane, bank
	steps    []uint8
	words    []uint32 // without twigs: 8*planes a lane
	first    []uint32 // with twigs: the first of each lane
}

// quads is how many times four lanes hold all trees of a group.
func (g *rowGroup) quads() int { return (g.trees + 3) / 4 }

// rowsTogether is how many rows take their turns group by group: what is read of a
// group then serves all of them, and the additions of one row wait beside the work of
// the next.
const rowsTogether = 16

// rowState is what is known of one of those rows.
type rowState struct {
	ids    [2][laneCount]uint8
	words  [laneCount]uint32
	tables []uint8 // of its bins, for one span at a time
	turn   int     // which of ids the next group writes
	sum    float32
	_      [28]uint8 // whole cache lines: ids cross none
}

// found is what the last group wrote.
func (st *rowState) found() *[laneCount]uint8 { return &st.ids[st.turn^1] }

// sumLanes evaluates at most rowsTogether rows where leaves are single. A kernel adds
// the values of the group before its own, beside its other work.
func (f *rowForest) sumLanes(x []float32, ldx, rows int, y []float32, ldy int, s *rowScratch) {
	states := s.states[:rows]
	for r := range states {
		states[r].sum = 0
	}
	for _, span := range f.spans {
		f.binRows(span, x, ldx, states)
		last := &noGroup
		for i := range span.groups {
			g := &span.groups[i]
			for r := range states {
				rowLanes(span, g, last, &states[r])
			}
			last = g
		}
		for r := range states {
			rowSum(span, last, &states[r])
		}
	}
	for r := range states {
		y[r*ldy] = states[r].sum
		f.words.finish(y[r*ldy:][:1])
	}
}

// giveLanes evaluates at most rowsTogether rows: the leaves give to y, tree by tree.
func (f *rowForest) giveLanes(x []float32, ldx, rows int, y []float32, ldy int, s *rowScratch) {
	states := s.states[:rows]
	for r := range states {
		begin(f.words.aggregate, y[r*ldy:][:f.targets])
	}
	for _, span := range f.spans {
		f.binRows(span, x, ldx, states)
		for i := range span.groups {
			g := &span.groups[i]
			for r := range states {
				st := &states[r]
				rowLanes(span, g, &noGroup, st)
				findWords(span, g, st)
				f.words.give(st.words[:g.trees], y[r*ldy:][:f.targets])
			}
		}
	}
	for r := range states {
		f.words.finish(y[r*ldy:][:f.targets])
	}
}

// noGroup stands before the first.
var noGroup = rowGroup{words: make([]uint32, 1), first: make([]uint32, 1)}

// binRows quantises rows for a span.
func (f *rowForest) binRows(span *rowSpan, x []float32, ldx int, states []rowState) {
	for r := range states {
		rowBinsOf(&span.bins, x[r*ldx:][:f.features], states[r].tables)
	}
}

// findWords finds what the leaves of the last group give.
func findWords(span *rowSpan, g *rowGroup, st *rowState) {
	if span.twigs != nil {
		rowTwigs(span, g, st)
		return
	}
	stride := g.planes * planeSize
	for lane, id := range st.found()[:g.trees] {
		st.words[lane] = g.words[lane*stride+int(id)]
	}
}
