// SPDX-License-Identifier: Apache-2.0

// Command neon_arm64 generates the NEON kernels of kernels/quant.
//
// The baseline of arm64 has no dot product of bytes. Its product of signed bytes gives
// 16 bits, which hold each product, and another instruction adds pairs of these to sums
// of 32 bits: nothing saturates. So activations are made signed, other than elsewhere
// in the package.
package main

import (
	"fmt"

	"github.com/millrace-ml/millrace/kernels/_gen/internal/neon"
)

func main() {
	neon.Generate(func(f *neon.File) {
		for rows := 1; rows <= 6; rows++ {
			writeTile(f, rows)
		}
		writeFinish(f)
		writeFlip(f)
		writeSum(f)
		writeQuantize(f)
		writeRange(f)
		writeDequantize(f)
		writeScale32(f)
		writeScaleColumns(f)
	})
}

const (
	vectorBytes = 16
	panelBytes  = 128 // of one step: 32 columns of four weights
	panelCols   = 32
)

// blocks repeats body for each whole block of n elements.
func blocks(f *neon.Func, n neon.GP, block int64, body func()) {
	f.GenImm("SUBS", n, n, block)
	f.Branch("LT", "end")
	f.Label("loop")
	body()
	f.GenImm("SUBS", n, n, block)
	f.Branch("GE", "loop")
	f.Label("end")
}

// tileVectors is how many vectors of weights a tile of some rows has of a step: as many
// as leave its sums, of two vectors for each, in registers.
func tileVectors(rows int) int {
	switch rows {
	case 1:
		return 8
	case 2:
		return 4
	}
	return 2
}

// writeTile goes over the parts of a panel and leaves the sums of 32 columns of each row.
func writeTile(f *neon.File, rows int) {
	doc := fmt.Sprintf("stores the sums of the products of %d rows, lda bytes apart, with a\n"+
		"panel of 32 columns, for each row 32 sums.", rows)
	f.Func(fmt.Sprintf("tileNEONx%d", rows), "func(a *uint8, lda int, b *int8, steps int, out *int32)", doc, func(f *neon.Func) {
		lda, b, steps, out, left := f.Arg("lda"), f.Arg("b"), f.Arg("steps"), f.Arg("out"), f.GP()
		a := []neon.GP{f.Arg("a")}
		for len(a) < rows {
			next := f.GP()
			f.Gen("ADD", next, a[len(a)-1], lda)
			a = append(a, next)
		}
		vectors := tileVectors(rows)
		f.Imm(left, int64(panelBytes/vectorBytes/vectors))
		f.Label("part")
		storeSums(f, multiply(f, a, b, steps, vectors), rows, out)
		f.GenImm("ADD", b, b, int64(vectors*vectorBytes))
		f.GenImm("ADD", out, out, int64(vectors*vectorBytes)) // a vector of weights is one of sums
		f.GenImm("SUBS", left, left, 1)
		f.Branch("NE", "part")
		f.Return()
	})
}

// multiply adds up the products of some vectors of each step's weights. A vector holds
// four columns, for each of which there are two sums, side by side.
func multiply(f *neon.Func, a []neon.GP, panel, steps neon.GP, vectors int) []neon.Vec {
	acc := f.Vecs(2 * vectors * len(a))
	for _, sum := range acc {
		f.Zero(sum)
	}
	b, left, at := f.GP(), f.GP(), f.GP()
	f.Move(b, panel)
	f.Move(left, steps)
	f.Imm(at, 0)
	f.Label("step")
	w := f.Vecs(min(vectors, 4))
	for from := 0; from < vectors; from += len(w) {
		for v := 0; v < len(w); v += 2 {
			f.LoadPair(w[v], w[v+1], b, (from+v)*vectorBytes)
		}
		for row, base := range a {
			p, x := f.GP(), f.Vec()
			f.Gen("ADD", p, base, at)
			f.LoadAll(x, p)
			for v, weights := range w {
				low, high := f.Vec(), f.Vec()
				f.Do(neon.SMULL, low, weights, x)
				f.Do(neon.SMULL2, high, weights, x)
				sum := acc[2*(row*vectors+from+v):]
				f.Do(neon.SADALP, sum[0], low)
				f.Do(neon.SADALP, sum[1], high)
			}
		}
	}
	f.GenImm("ADD", at, at, 4)
	f.GenImm("ADD", b, b, panelBytes)
	f.GenImm("SUBS", left, left, 1)
	f.Branch("NE", "step")
	return acc
}

// storeSums adds the two sums of each column and writes them in order.
func storeSums(f *neon.Func, acc []neon.Vec, rows int, out neon.GP) {
	perRow := len(acc) / rows
	for i := 0; i < len(acc); i += 2 {
		f.Do(neon.ADDP, acc[i], acc[i], acc[i+1])
		f.Store(acc[i], out, i/perRow*4*panelCols+i%perRow/2*vectorBytes)
	}
}
