// SPDX-License-Identifier: Apache-2.0

package trees

import "fmt"

// Predict evaluates rows of x, ldx elements apart, into y, ldy elements apart. It
// panics when the slices are too short or the forest is Double. It does not allocate.
func (f *Forest) Predict(x []float32, ldx, rows int, y []float32, ldy int, s *Scratch) {
	if f.double {
		panic("trees: Predict of a forest of float64")
	}
	f.check(len(x), ldx, rows, len(y), ldy)
	for rows > f.few {
		words := tileWords(rows)
		n := min(rows, words*wordRows)
		f.predictTile(x, ldx, n, y, ldy, s, words)
		x, y, rows = x[min(n*ldx, len(x)):], y[min(n*ldy, len(y)):], rows-n
	}
	if rows > 0 {
		f.predictRows(x, ldx, rows, y, ldy, s)
	}
}

// check panics unless the slices hold the rows.
func (f *Forest) check(x, ldx, rows, y, ldy int) {
	if rows < 0 || ldx < f.features || ldy < f.targets ||
		(rows > 0 && (x < (rows-1)*ldx+f.features || y < (rows-1)*ldy+f.targets)) {
		panic(fmt.Sprintf("trees: %d rows of %d features in %d elements, %d apart, to %d targets in %d, %d apart",
			rows, f.features, x, ldx, f.targets, y, ldy))
	}
}

// Predict64 is Predict for forests that are Double. Their trees are walked.
func (f *Forest) Predict64(x []float64, ldx, rows int, y []float64, ldy int, s *Scratch) {
	if !f.double {
		panic("trees: Predict64 of a forest of float32")
	}
	f.check(len(x), ldx, rows, len(y), ldy)
	for at := 0; at < rows; at += tileRows {
		n := min(rows-at, tileRows)
		in, out := x[at*ldx:], y[at*ldy:]
		for r := range n {
			begin(f.aggregate, out[r*ldy:][:f.targets])
		}
		for _, t := range f.walks {
			f.walk64.walk(t, in, ldx, s.walked[:n])
			addLeaves(f, t.leaf, s.walked[:n], out, ldy)
		}
		for r := range n {
			finish(f.aggregate, out[r*ldy:][:f.targets], f.base, f.trees)
		}
	}
}

// predictTile is Predict of at most 64 times words rows.
func (f *Forest) predictTile(x []float32, ldx, rows int, y []float32, ldy int, s *Scratch, words int) {
	if f.leaves.mode == singleLeaves {
		f.sumTile(x, ldx, rows, y, ldy, s, words)
		return
	}
	to, ld := y, ldy
	if f.leaves.padded() {
		to, ld = s.sums, f.leaves.sumStride()
	}
	for r := range rows {
		begin(f.aggregate, to[r*ld:][:f.targets])
	}
	known := -1 // the block whose truth is in s
	for _, run := range f.runs {
		if run.block < 0 {
			for _, t := range f.walks[run.first:run.last] {
				f.walk.walk(t, x, ldx, s.walked[:rows])
				addLeaves(f, t.leaf, s.walked[:rows], to, ld)
			}
			continue
		}
		b := &f.blocks[run.block]
		if known != run.block {
			known = run.block
			b.truth.evaluate(x, ldx, rows, s, words)
		}
		f.addPaths(b, run, rows, to, ld, s, words)
	}
	for r := range rows {
		out := y[r*ldy:][:f.targets]
		copy(out, to[r*ld:])
		finish(f.aggregate, out, f.base, f.trees)
	}
}

// addPaths finds the leaf numbers of a few trees at a time, and adds their leaves.
func (f *Forest) addPaths(b *block, run run, rows int, to []float32, ld int, s *Scratch, words int) {
	width := words * wordRows
	for first := run.first; first < run.last; first += idTrees {
		trees := b.trees[first:min(first+idTrees, run.last)]
		b.number(first, first+len(trees), s, words)
		for i := range trees {
			addPathLeaves(f, trees[i].leaf, s.ids[i*width:][:rows], to, ld)
		}
	}
}

// sumTile is predictTile where leaves are single: trees come target by target.
func (f *Forest) sumTile(x []float32, ldx, rows int, y []float32, ldy int, s *Scratch, words int) {
	known := -1
	for i, run := range f.runs {
		if i == 0 || f.runs[i-1].target != run.target {
			clear(s.sum[:words*wordRows])
		}
		if run.block < 0 {
			f.sumWalks(run, x, ldx, rows, s)
		} else {
			b := &f.blocks[run.block]
			if known != run.block {
				known = run.block
				b.truth.evaluate(x, ldx, rows, s, words)
			}
			b.sum(run.first, run.last, f.leaves.values, s, words)
		}
		if i+1 == len(f.runs) || f.runs[i+1].target != run.target {
			f.finishTarget(run.target, s.sum[:rows], y, ldy)
		}
	}
	for _, target := range f.silent {
		clear(s.sum[:rows])
		f.finishTarget(target, s.sum[:rows], y, ldy)
	}
}

func (f *Forest) sumWalks(run run, x []float32, ldx, rows int, s *Scratch) {
	for _, t := range f.walks[run.first:run.last] {
		ids := s.walked[:rows]
		f.walk.walk(t, x, ldx, ids)
		values := f.leaves.values[t.leaf:]
		for r, id := range ids {
			s.sum[r] += values[id]
		}
	}
}

// finishTarget writes a target's column of y.
func (f *Forest) finishTarget(target int, sums []float32, y []float32, ldy int) {
	base := negativeZero // which changes nothing
	if f.base != nil {
		base = float32(f.base[target])
	}
	if f.aggregate == Average {
		for r, v := range sums {
			y[r*ldy+target] = v/float32(max(f.trees, 1)) + base
		}
		return
	}
	for r, v := range sums {
		y[r*ldy+target] = v + base
	}
}
