// SPDX-License-Identifier: Apache-2.0

package trees

import (
	"math"
	"slices"
)

var nan32 = float32(math.NaN())

// rowForest is an ensemble laid out for one row after another: in lanes where the
// machine has kernels for them and the trees are small enough, and as nodes to walk
// otherwise.
type rowForest struct {
	features int
	targets  int
	words    rowWords
	spans    []*rowSpan
	walk     *rowWalk
	plain    *Ensemble // a copy, where neither can express it
}

// rowScratch is what predictRows needs beyond registers.
type rowScratch struct {
	states []rowState
	walk   []float32 // see rowWalk.columns
	slots  []uint32  // leaf of each tree
}

// compileRows lays out a valid ensemble. One that is Double gets nothing: its rows are
// not float32.
func compileRows(e *Ensemble) rowForest {
	f := rowForest{features: e.Features, targets: e.Targets}
	if e.Double {
		return f
	}
	f.words = rowWordsOf(e)
	if rowLanesFast() {
		f.spans = lanesOf(e, &f.words)
	}
	if f.spans == nil {
		f.walk = rowWalkOf(e, countLeaves(e), &f.words)
	}
	if f.spans == nil && f.walk == nil {
		f.plain = clone(e)
	}
	f.words.drop(f.plain != nil)
	return f
}

// clone is a deep copy.
func clone(e *Ensemble) *Ensemble {
	c := *e
	c.Nodes, c.Leaves = slices.Clone(e.Nodes), slices.Clone(e.Leaves)
	c.Roots, c.Base = slices.Clone(e.Roots), slices.Clone(e.Base)
	for i := range c.Nodes {
		c.Nodes[i].Members = slices.Clone(c.Nodes[i].Members)
	}
	for i := range c.Leaves {
		c.Leaves[i].Weights = slices.Clone(c.Leaves[i].Weights)
	}
	return &c
}

// bytes is about how much memory the layout holds.
func (f *rowForest) bytes() int {
	n := bytesOf(f.words.starts) + bytesOf(f.words.weights)
	for _, span := range f.spans {
		n += bytesOf(span.bins.slots) + bytesOf(span.bins.bounds) + bytesOf(span.twigs)
		for i := range span.groups {
			g := &span.groups[i]
			n += bytesOf(g.counts) + bytesOf(g.steps) + bytesOf(g.words) + bytesOf(g.first)
		}
	}
	if f.walk != nil {
		n += bytesOf(f.walk.nodes) + bytesOf(f.walk.roots) + bytesOf(f.walk.first) + bytesOf(f.walk.columns) + bytesOf(f.walk.words)
	}
	if f.plain != nil {
		n += bytesOf(f.plain.Nodes) + bytesOf(f.plain.Leaves) + bytesOf(f.plain.Roots)
	}
	return n
}

// String says how rows are evaluated.
func (f *rowForest) String() string {
	switch {
	case len(f.spans) > 0 && f.spans[0].twigs != nil:
		return "lanes and twigs"
	case len(f.spans) > 0:
		return "lanes"
	case f.walk != nil:
		return "interleaved walks"
	}
	return "walks"
}

func (f *Forest) newRowScratch() rowScratch {
	var s rowScratch
	if f.rows.spans != nil {
		size := 0
		for _, span := range f.rows.spans {
			size = max(size, span.bins.banks()*2*span.bins.half)
		}
		memory := aligned[uint8](rowsTogether * size)
		s.states = make([]rowState, rowsTogether)
		for r := range s.states {
			s.states[r].tables = memory[r*size:][:size:size]
		}
	}
	if w := f.rows.walk; w != nil {
		s.walk = make([]float32, len(w.columns))
		s.slots = make([]uint32, len(w.roots))
	}
	return s
}

// predictRows is Predict, row after row.
func (f *Forest) predictRows(x []float32, ldx, rows int, y []float32, ldy int, s *Scratch) {
	if f.rows.spans != nil {
		f.rows.predictLanes(x, ldx, rows, y, ldy, &s.rows)
		return
	}
	for r := range rows {
		in, out := x[r*ldx:][:f.features], y[r*ldy:][:f.targets]
		if f.rows.walk != nil {
			f.rows.predictWalk(in, out, &s.rows)
		} else {
			f.rows.plain.PredictGeneric(in, f.features, 1, out, f.targets)
		}
	}
}

// predictLanes evaluates rows, some at a time.
func (f *rowForest) predictLanes(x []float32, ldx, rows int, y []float32, ldy int, s *rowScratch) {
	for first := 0; first < rows; first += rowsTogether {
		n, in, out := min(rows-first, rowsTogether), x[first*ldx:], y[first*ldy:]
		if f.words.single {
			f.sumLanes(in, ldx, n, out, ldy, s)
		} else {
			f.giveLanes(in, ldx, n, out, ldy, s)
		}
	}
}

// rowWords is what leaves give. A leaf's word stands for that in the layouts.
type rowWords struct {
	single    bool // one target, a value from each leaf, Sum or Average
	one       bool // a value from each leaf, Sum or Average
	aggregate Aggregate
	trees     int
	base      []float64 // nil, or of each target
	starts    []uint32  // per leaf the first of its weights, and the end of the last's
	weights   []rowWeight
}

// rowWeight is a Weight in eight bytes.
type rowWeight struct {
	target int32
	value  float32
}

func rowWordsOf(e *Ensemble) rowWords {
	t := rowWords{
		one:       e.Aggregate == Sum || e.Aggregate == Average,
		aggregate: e.Aggregate, trees: len(e.Roots), base: slices.Clone(e.Base),
		starts: make([]uint32, 1, len(e.Leaves)+1),
	}
	for i := range e.Leaves {
		weights := e.Leaves[i].Weights
		t.one = t.one && len(weights) == 1
		for _, w := range weights {
			t.weights = append(t.weights, rowWeight{w.Target, float32(w.Value)})
		}
		t.starts = append(t.starts, uint32(len(t.weights)))
	}
	t.single = t.one && e.Targets == 1
	return t
}

// of is the word of a leaf: the bits of its value where leaves are single, and its
// index otherwise.
func (t *rowWords) of(leaf int32) uint32 {
	if t.single {
		return math.Float32bits(t.weights[leaf].value)
	}
	return uint32(leaf)
}

// drop lets go of what is not needed once the layout is made.
func (t *rowWords) drop(all bool) {
	if t.one || all {
		t.starts = nil
	}
	if t.single || all {
		t.weights = nil
	}
}

// give adds what leaves give to out, leaf by leaf.
func (t *rowWords) give(leaves []uint32, out []float32) {
	switch {
	case t.one:
		weights := t.weights
		for _, leaf := range leaves {
			w := weights[leaf]
			out[w.target] += w.value
		}
	case t.aggregate == Min || t.aggregate == Max:
		for _, leaf := range leaves {
			for _, w := range t.weights[t.starts[leaf]:t.starts[leaf+1]] {
				give(t.aggregate, &out[w.target], w.value)
			}
		}
	default:
		for _, leaf := range leaves {
			for _, w := range t.weights[t.starts[leaf]:t.starts[leaf+1]] {
				out[w.target] += w.value
			}
		}
	}
}

// finish completes a row of the output.
func (t *rowWords) finish(out []float32) { finish(t.aggregate, out, t.base, t.trees) }
