// SPDX-License-Identifier: Apache-2.0

package main

import "github.com/millrace-ml/millrace/kernels/_gen/internal/neon"

const panelBytes = 128 // of a row of a panel

// countDown repeats body n times.
func countDown(f *neon.Func, n neon.GP, body func()) {
	f.CompareImm(n, 0)
	f.Branch("LE", "end")
	f.Label("loop")
	body()
	f.GenImm("SUBS", n, n, 1)
	f.Branch("GT", "loop")
	f.Label("end")
	f.Return()
}

// writePackRows copies rows of 32 columns into a panel.
func writePackRows(f *neon.File) {
	f.Func("packRowsNEON", "func(panel, b *float32, k, ldb int)", "copies k rows of 32 values, ldb bytes apart.", func(f *neon.Func) {
		to, from, ldb := f.Arg("panel"), f.Arg("b"), f.Arg("ldb")
		countDown(f, f.Arg("k"), func() {
			v := f.Vecs(panelVectors)
			for i := 0; i < len(v); i += 2 {
				f.LoadPair(v[i], v[i+1], from, i*vectorBytes)
			}
			for i, x := range v {
				f.Store(x, to, i*vectorBytes)
			}
			f.Gen("ADD", from, from, ldb)
			f.GenImm("ADD", to, to, panelBytes)
		})
	})
}

// writePackColumns transposes two blocks of 4 x 4 at a time.
func writePackColumns(f *neon.File) {
	f.Func("packColumnsNEON", "func(panel, b *float32, fours, ldb int)",
		"writes 4*fours values of each of 8 rows, ldb bytes apart, into\n8 columns of a panel.", func(f *neon.Func) {
			to, ldb := f.Arg("panel"), f.Arg("ldb")
			rows := []neon.GP{f.Arg("b")}
			for len(rows) < 8 {
				next := f.GP()
				f.Gen("ADD", next, rows[len(rows)-1], ldb)
				rows = append(rows, next)
			}
			countDown(f, f.Arg("fours"), func() {
				for half := range 2 {
					r := f.Vecs(4)
					for i := range r {
						f.Load(r[i], rows[4*half+i], 0)
						f.GenImm("ADD", rows[4*half+i], rows[4*half+i], vectorBytes)
					}
					for i, x := range transpose(f, r) {
						f.Store(x, to, i*panelBytes+half*vectorBytes)
					}
				}
				f.GenImm("ADD", to, to, 4*panelBytes)
			})
		})
}

// transpose is the columns of four rows.
func transpose(f *neon.Func, r []neon.Vec) []neon.Vec {
	even, odd, out := f.Vecs(2), f.Vecs(2), f.Vecs(4)
	for i := range 2 {
		f.Do(neon.TRN1, even[i], r[2*i], r[2*i+1])
		f.Do(neon.TRN2, odd[i], r[2*i], r[2*i+1])
	}
	f.Do(neon.ZIP1D, out[0], even[0], even[1])
	f.Do(neon.ZIP1D, out[1], odd[0], odd[1])
	f.Do(neon.ZIP2D, out[2], even[0], even[1])
	f.Do(neon.ZIP2D, out[3], odd[0], odd[1])
	return out
}

// writeWidenPairs splits pairs of bf16, of which the first is the lower half of a word.
func writeWidenPairs(f *neon.File) {
	f.Func("widenPairsNEON", "func(panel *float32, b *uint16, pairs int)",
		"writes rows 2i and 2i+1 of a panel of f32 for row i of a panel of bf16.", func(f *neon.Func) {
			to, from := f.Arg("panel"), f.Arg("b")
			upper := f.Constant(neon.Words(0xffff0000))
			countDown(f, f.Arg("pairs"), func() {
				for i := range panelVectors {
					x, first, second := f.Vec(), f.Vec(), f.Vec()
					f.Load(x, from, i*vectorBytes)
					f.ShiftLeft(first, x, 32, 16)
					f.Do(neon.AND, second, x, upper)
					f.Store(first, to, i*vectorBytes)
					f.Store(second, to, panelBytes+i*vectorBytes)
				}
				f.GenImm("ADD", from, from, panelBytes)
				f.GenImm("ADD", to, to, 2*panelBytes)
			})
		})
}

// writeQuantise limits before it rounds. A quotient that is NaN is a quiet one, of
// which FMAXNM takes the other operand.
func writeQuantise(f *neon.File) {
	f.Func("quantiseNEON", "func(dst *uint8, src *float32, eights int, scale, least, most float32)",
		"stores 8*eights values: round(min(max(x/scale, least), most)) - least.", func(f *neon.Func) {
			to, from := f.Arg("dst"), f.Arg("src")
			scale, least, most, zero := f.ArgLanes("scale"), f.ArgLanes("least"), f.ArgLanes("most"), f.Vec()
			f.Do(neon.FCVTNS, zero, least)
			countDown(f, f.Arg("eights"), func() {
				x := f.Vecs(2)
				f.LoadPair(x[0], x[1], from, 0)
				for _, v := range x {
					f.Do(neon.FDIV, v, v, scale)
					f.Do(neon.FMAXNM, v, v, least)
					f.Do(neon.FMIN, v, v, most)
					f.Do(neon.FCVTNS, v, v)
					f.Do(neon.SUB, v, v, zero)
				}
				narrow := f.Vec()
				f.Do(neon.XTN4H, narrow, x[0])
				f.Do(neon.XTN8H, narrow, x[1])
				f.Do(neon.XTN8B, narrow, narrow)
				f.StoreDouble(narrow, to, 0)
				f.GenImm("ADD", from, from, 2*vectorBytes)
				f.GenImm("ADD", to, to, 8)
			})
		})
}
