// SPDX-License-Identifier: Apache-2.0

package main

import "github.com/millrace-ml/millrace/kernels/_gen/internal/neon"

// Edges come in blocks of 16, which are found among the last edges of all blocks.
const edgeBlock = 16

// writeBucketize writes the kernel for results of 8 or of 32 bits.
func writeBucketize(f *neon.File, name, result, store string, bytes int64) {
	f.Func(name, "func(dst *"+result+", src *float32, n int, lasts, blocks *float32, most int, right bool)",
		"counts the edges below or up to each of n numbers, at least one, but no more\nthan most.", func(f *neon.Func) {
			dst, src, n := f.Arg("dst"), f.Arg("src"), f.Arg("n")
			blocks, most, right := f.Arg("blocks"), f.Arg("most"), f.ArgAs("MOVBU", "right")
			lasts := edges(f, f.Arg("lasts"))
			f.BranchNonzero(right, "right")
			for _, side := range []struct {
				label   string
				compare neon.Op // of an edge that a number does not pass with the number
			}{{"left", neon.FCMGT}, {"right", neon.FCMGE}} {
				f.Label(side.label)
				v, at, count := f.Vec(), f.GP(), f.GP()
				f.LoadAll(v, src)
				f.GenImm("ADD", src, src, 4)
				// Of 17 blocks, as many are left out at the end as last edges are not passed.
				above := notPassed(f, side.compare, v, lasts)
				f.GenImm("LSL", at, above, 6)
				f.Gen("SUB", at, blocks, at)
				f.GenImm("ADD", at, at, 4*edgeBlock*edgeBlock)
				f.GenImm("LSL", count, above, 4)
				f.Gen("ADD", count, count, notPassed(f, side.compare, v, edges(f, at)))
				f.GenTwo("NEG", count, count)
				f.GenImm("ADD", count, count, edgeBlock*edgeBlock+edgeBlock)
				f.Compare(count, most)
				f.Select("LT", count, count, most)
				f.Put(store, count, dst, 0)
				f.GenImm("ADD", dst, dst, bytes)
				f.GenImm("SUBS", n, n, 1)
				f.Branch("NE", side.label)
				f.Return()
			}
		})
}

// edges are a block in registers.
func edges(f *neon.Func, p neon.GP) []neon.Vec {
	e := f.Vecs(edgeBlock / neon.Lanes)
	for i := 0; i < len(e); i += 2 {
		f.LoadPair(e[i], e[i+1], p, i*vectorBytes)
	}
	return e
}

// notPassed is how many edges of a block v does not pass; NaN passes all.
func notPassed(f *neon.Func, compare neon.Op, v neon.Vec, edges []neon.Vec) neon.GP {
	sum, n := f.Vec(), f.GP()
	f.Zero(sum)
	for _, e := range edges {
		more := f.Vec()
		f.Do(compare, more, e, v)
		f.Do(neon.SUB, sum, sum, more)
	}
	f.Do(neon.ADDV, sum, sum)
	f.Extract(n, sum, "S", 0)
	return n
}
