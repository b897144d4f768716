// SPDX-License-Identifier: Apache-2.0

// Command neon_arm64 generates the NEON kernels of kernels/gemm.
//
// Tiles are those of AVX2, of up to 6 rows of 16 columns or 3 of 32, whose 24 vectors
// of sums leave room for what is multiplied; a tile of one row of 64 columns hides the
// latency of the multiply-add. A is read four k at a time, one of which each
// multiply-add takes by its number, so that nothing is broadcast: four k of 6 x 16 are
// 96 multiply-adds and 14 loads. Products are added in the order of k, fused, as by
// AVX2: the sums have the same bits.
package main

import (
	"fmt"

	"github.com/millrace-ml/millrace/kernels/_gen/internal/neon"
)

func main() {
	neon.Generate(func(f *neon.File) {
		writeTile(f, 1, 64)
		for rows := 1; rows <= 3; rows++ {
			writeTile(f, rows, 32)
		}
		for rows := 1; rows <= 6; rows++ {
			writeTile(f, rows, 16)
		}
		writePeak(f)
		writeDotRows(f)
		writePackRows(f)
		writePackColumns(f)
		writeWidenPairs(f)
		writeQuantise(f)
	})
}

// peakSums is how many multiply-adds an iteration of the peak kernel does.
const peakSums = 12

// writePeak writes a kernel that does nothing but multiply-add in registers.
func writePeak(f *neon.File) {
	doc := fmt.Sprintf("does %d multiply-adds of vectors in each iteration.", peakSums)
	f.Func("peakNEON", "func(iterations int)", doc, func(f *neon.Func) {
		left, x, sums := f.Arg("iterations"), f.Vec(), f.Vecs(peakSums)
		for _, v := range append(sums, x) {
			f.Zero(v)
		}
		f.Label("loop")
		for _, sum := range sums {
			f.Do(neon.FMLA, sum, x, x)
		}
		f.GenImm("SUBS", left, left, 1)
		f.Branch("GT", "loop")
		f.Return()
	})
}
