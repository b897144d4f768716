// SPDX-License-Identifier: Apache-2.0

package trees

import "math"

var nan32 = float32(math.NaN())

// rowForest is an ensemble laid out for one row after another: in lanes where the
// machine has kernels for them and the trees are small enough, and as nodes to walk
// otherwise.
type rowForest struct {
	features int
	targets  int
	gifts    rowGifts
	spans    []*rowSpan
	walk     *rowWalk
	plain    *Ensemble // a copy, where neither can express it
}

// rowScratch is what predictRows needs beyond registers.
type rowScratch struct {
	states []rowState
	walk   []float32 // a row and its negative
	slots  []uint32  // leaf of each tree
}

// compileRows lays out a valid ensemble. One that is Double gets nothing: its rows are
// not float32.
func compileRows(e *Ensemble) rowForest {
	f := rowForest{features: e.Features, targets: e.Targets}
	if e.Double {
		return f
	}
	f.gifts = rowGiftsOf(e)
	if rowLanesFast() {
		f.spans = lanesOf(e, &f.gifts)
	}
	if f.spans == nil {
		f.walk = rowWalkOf(e, countLeaves(e), &f.gifts)
	}
	if f.spans == nil && f.walk == nil {
		f.plain = clone(e)
	}
	return f
}

// clone is a deep copy.
func clone(e *Ensemble) *Ensemble {
	c := *e
	c.Nodes = append([]Node(nil), e.Nodes...)
	for i := range c.Nodes {
		c.Nodes[i].Members = append([]float64(nil), c.Nodes[i].Members...)
	}
	c.Leaves = append([]Leaf(nil), e.Leaves...)
	for i := range c.Leaves {
		c.Leaves[i].Weights = append([]Weight(nil), c.Leaves[i].Weights...)
	}
	c.Roots = append([]int32(nil), e.Roots...)
	c.Base = append([]float64(nil), e.Base...)
	if e.Base == nil {
		c.Base = nil
	}
	return &c
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
		s.walk = make([]float32, 2*f.rows.features+1)
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
		if f.gifts.single {
			f.sumLanes(in, ldx, n, out, ldy, s)
		} else {
			f.giveLanes(in, ldx, n, out, ldy, s)
		}
	}
}

// rowGifts is what leaves give.
type rowGifts struct {
	// single: one target, a value from each leaf, Sum or Average.
	single    bool
	aggregate Aggregate
	trees     int
	base      []float64
	starts    []uint32 // per leaf the first of its weights, and the end of the last's
	targets   []int32
	values    []float32
}

func rowGiftsOf(e *Ensemble) rowGifts {
	t := rowGifts{
		single:    e.Targets == 1 && (e.Aggregate == Sum || e.Aggregate == Average),
		aggregate: e.Aggregate, trees: len(e.Roots), base: append([]float64(nil), e.Base...),
		starts: make([]uint32, 1, len(e.Leaves)+1),
	}
	for i := range e.Leaves {
		weights := e.Leaves[i].Weights
		t.single = t.single && len(weights) == 1
		for _, w := range weights {
			t.targets = append(t.targets, w.Target)
			t.values = append(t.values, float32(w.Value))
		}
		t.starts = append(t.starts, uint32(len(t.values)))
	}
	return t
}

// of is what a leaf is known by: the bits of its value where leaves are single, and its
// index otherwise.
func (t *rowGifts) of(leaf int32) uint32 {
	if t.single {
		return math.Float32bits(t.values[t.starts[leaf]])
	}
	return uint32(leaf)
}

// give adds what a leaf gives to out.
func (t *rowGifts) give(leaf uint32, out []float32) {
	first, end := t.starts[leaf], t.starts[leaf+1]
	targets, values := t.targets[first:end], t.values[first:end]
	if t.aggregate == Min || t.aggregate == Max {
		for i, target := range targets {
			give(t.aggregate, &out[target], values[i])
		}
		return
	}
	for i, target := range targets {
		out[target] += values[i]
	}
}

// finish completes a row of the output.
func (t *rowGifts) finish(out []float32) {
	base := t.base
	if len(base) == 0 {
		base = nil
	}
	finish(t.aggregate, out, base, t.trees)
}
