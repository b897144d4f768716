// SPDX-License-Identifier: Apache-2.0

package trees

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"unsafe"
)

var negativeZero = float32(math.Copysign(0, -1))

// Forest is a compiled Ensemble. It does not change: goroutines share it.
type Forest struct {
	features, targets int
	aggregate         Aggregate
	base              []float64
	trees             int
	double            bool

	blocks []block
	walks  []walkTree
	walk   walkForest[float32]
	walk64 walkForest[float64]
	leaves leafTables
	runs   []run
	silent []int // targets that no tree gives to, when leaves are single

	rows rowForest
	few  int // rows that are evaluated one after another, at the most
}

// Compile checks an ensemble and lays it out. Errors wrap ErrInvalid.
func Compile(e *Ensemble) (*Forest, error) {
	if err := e.Validate(); err != nil {
		return nil, err
	}
	f := &Forest{
		features: e.Features, targets: e.Targets, aggregate: e.Aggregate, base: slices.Clone(e.Base),
		trees: len(e.Roots), double: e.Double,
	}
	b := builder{e: e, f: f}
	f.leaves, b.target = newLeafTables(e)
	for tree := range e.Roots {
		b.order = append(b.order, int32(tree))
	}
	if b.target == nil {
		b.target = make([]int32, len(e.Roots))
	} else {
		slices.SortStableFunc(b.order, func(i, j int32) int { return cmp.Compare(b.target[i], b.target[j]) })
		f.silent = silentTargets(b.target, e.Targets)
	}
	b.build()
	f.leaves.e = nil
	if !e.Double {
		f.rows = compileRows(e)
		f.few = f.fewRows()
	}
	return f, nil
}

func silentTargets(byTree []int32, targets int) (silent []int) {
	heard := make([]bool, targets)
	for _, t := range byTree {
		heard[t] = true
	}
	for t, h := range heard {
		if !h {
			silent = append(silent, t)
		}
	}
	return silent
}

// Features is the number of columns that Predict reads.
func (f *Forest) Features() int { return f.features }

// Targets is the number of columns that Predict writes.
func (f *Forest) Targets() int { return f.targets }

// Double tells whether rows are float64, which Predict64 takes.
func (f *Forest) Double() bool { return f.double }

// Bytes is about how much memory the forest holds.
func (f *Forest) Bytes() int {
	n := bytesOf(f.walks) + bytesOf(f.walk.nodes) + bytesOf(f.walk64.nodes) + bytesOf(f.runs)
	n += bytesOf(f.leaves.values) + bytesOf(f.leaves.refs) + bytesOf(f.leaves.rows) + bytesOf(f.leaves.lists)
	for i := range f.blocks {
		b := &f.blocks[i]
		n += bytesOf(b.trees) + bytesOf(b.nodes) + bytesOf(b.flips) + bytesOf(b.exports)
		n += bytesOf(b.truth.tables) + bytesOf(b.truth.columns) + bytesOf(b.truth.expansions) + bytesOf(b.truth.terms)
	}
	return n + f.rows.bytes()
}

func bytesOf[T any](s []T) int {
	var one T
	return len(s) * int(unsafe.Sizeof(one))
}

// Describe says in a line how the forest is evaluated.
func (f *Forest) Describe() string {
	pieces, tests := 0, 0
	for i := range f.blocks {
		pieces += len(f.blocks[i].trees)
		tests += f.blocks[i].truth.words
	}
	leaves := [...]string{singleLeaves: "single", rowLeaves: "row", listLeaves: "list"}[f.leaves.mode]
	return fmt.Sprintf("%d trees, %s leaves; up to %d rows: %s; more: bit-sliced in %d pieces (%s, %d comparisons), %d trees walked",
		f.trees, leaves, f.few, f.rows.String(), pieces, tileKernel(), tests, len(f.walks))
}

// Scratch is the memory of Predict, for any number of rows. One goroutine at a time
// uses it, and only with the Forest that made it.
type Scratch struct {
	columns []float32 // groupFeatures columns of a tile
	planes  []uint64  // bit planes of a group
	truth   []uint64  // one word, or four, for each test
	slots   []uint64  // the rows that reach each node of a tree
	sum     []float32 // of a target, by row
	sums    []float32 // of all targets, by row
	ids     []uint8   // leaf numbers, by tree and row
	walked  []uint32  // leaf numbers of a tree that is walked
	rows    rowScratch
}

// idTrees is how many trees' leaf numbers are kept at a time.
const idTrees = 8

// NewScratch makes the memory for one goroutine.
func (f *Forest) NewScratch() *Scratch {
	words, sets := 0, 0
	for i := range f.blocks {
		words, sets = max(words, f.blocks[i].truth.words), max(sets, f.blocks[i].truth.planeSets)
	}
	s := &Scratch{walked: make([]uint32, tileRows)}
	if len(f.blocks) > 0 {
		s.columns = aligned[float32](groupFeatures * tileRows)
		s.planes = aligned[uint64](sets * planeSet * wideWords)
		s.truth = aligned[uint64](align(words, wordAlign) * wideWords)
		s.slots = aligned[uint64](pathSlots * wideWords)
		s.ids = aligned[uint8]((idTrees + 1) * tileRows)
	}
	s.sum = aligned[float32](tileRows)
	if f.leaves.padded() {
		s.sums = aligned[float32](tileRows * f.leaves.sumStride())
	}
	if !f.double {
		s.rows = f.newRowScratch()
	}
	return s
}

// aligned is n elements from a boundary of 64 bytes on.
func aligned[T any](n int) []T {
	var one T
	size := int(unsafe.Sizeof(one))
	memory := make([]T, n+64/size)
	off := int(-uintptr(unsafe.Pointer(unsafe.SliceData(memory)))%64) / size
	return memory[off : off+n : off+n]
}
