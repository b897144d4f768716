// SPDX-License-Identifier: Apache-2.0

package main

import "github.com/millrace-ml/millrace/kernels/_gen/internal/neon"

// The kernels below work on whole blocks of 16 elements; callers do the rest.
const block = 16

func writeFlip(f *neon.File) {
	f.Func("flipNEON", "func(dst, src *uint8, n int, flip uint32)", "is src^flip, of four equal bytes, for a multiple of 16.", func(f *neon.Func) {
		dst, src, flip, x := f.Arg("dst"), f.Arg("src"), f.ArgLanes("flip"), f.Vec()
		blocks(f, f.Arg("n"), block, func() {
			f.Load(x, src, 0)
			f.Do(neon.EOR, x, x, flip)
			f.Store(x, dst, 0)
			f.GenImm("ADD", src, src, vectorBytes)
			f.GenImm("ADD", dst, dst, vectorBytes)
		})
		f.Return()
	})
}

func writeSum(f *neon.File) {
	f.Func("sumNEON", "func(src *uint8, n int) int32", "adds up signed bytes, a multiple of 16.", func(f *neon.Func) {
		src, x, sum, total := f.Arg("src"), f.Vec(), f.Vec(), f.GP()
		f.Zero(sum)
		blocks(f, f.Arg("n"), block, func() {
			f.Load(x, src, 0)
			f.Do(neon.SADDLPB, x, x)
			f.Do(neon.SADALP, sum, x)
			f.GenImm("ADD", src, src, vectorBytes)
		})
		f.Do(neon.ADDV, sum, sum)
		f.Extract(total, sum, "S", 0)
		f.Result("MOVW", "ret", total)
		f.Return()
	})
}

// writeQuantize limits values before it multiplies, so that nothing overflows. FMIN
// makes every NaN a quiet one, in whose place FMAXNM then puts the lower limit.
func writeQuantize(f *neon.File) {
	f.Func("quantizeNEON", "func(dst *uint8, src *float32, n int, bound, inverse, rest float32, zero, flip uint32)",
		"writes src times (inverse + rest), rounded and moved by zero, as bytes flipped\n"+
			"by flip; zero is twice the 16 bits to add, and flip four times the byte. Values\n"+
			"beyond bound count as bound, and NaN as -bound. n is a multiple of 16.", func(f *neon.Func) {
			dst, src := f.Arg("dst"), f.Arg("src")
			bound, inverse, rest := f.ArgLanes("bound"), f.ArgLanes("inverse"), f.ArgLanes("rest")
			zero, flip, low := f.ArgLanes("zero"), f.ArgLanes("flip"), f.Vec()
			f.Do(neon.FNEG, low, bound)
			blocks(f, f.Arg("n"), block, func() {
				q := f.Vecs(4)
				for i := range q {
					x := f.Vec()
					f.Load(x, src, i*vectorBytes)
					f.Do(neon.FMIN, x, x, bound)
					f.Do(neon.FMAXNM, x, x, low)
					f.Do(neon.FMUL, q[i], x, rest)
					f.Do(neon.FMLA, q[i], x, inverse)
					f.Do(neon.FCVTNS, q[i], q[i])
				}
				half := f.Vecs(2)
				for i, h := range half {
					f.Do(neon.XTN4H, h, q[2*i])
					f.Do(neon.XTN8H, h, q[2*i+1])
					f.Do(neon.ADD8H, h, h, zero)
				}
				out := f.Vec()
				f.Do(neon.SQXTUN8B, out, half[0])
				f.Do(neon.SQXTUN16B, out, half[1])
				f.Do(neon.EOR, out, out, flip)
				f.Store(out, dst, 0)
				f.GenImm("ADD", src, src, 4*block)
				f.GenImm("ADD", dst, dst, block)
			})
			f.Return()
		})
}

// writeRange compares, as the instructions for minimum and maximum do not pass over
// all NaN.
func writeRange(f *neon.File) {
	f.Func("rangeNEON", "func(src *float32, n int, result *float32)",
		"stores the lowest and then the highest of each of 4 lanes; NaN is skipped. n is\na multiple of 16.", func(f *neon.Func) {
			src, result := f.Arg("src"), f.Arg("result")
			lo, hi := f.Vecs(4), f.Vecs(4)
			for i := range lo {
				f.LoadConstant(lo[i], neon.Words(0x7f800000))
				f.LoadConstant(hi[i], neon.Words(0xff800000))
			}
			widen := func(i int, low, high neon.Vec) {
				less, more := f.Vec(), f.Vec()
				f.Do(neon.FCMGT, less, lo[i], low)
				f.Do(neon.BIT, lo[i], low, less)
				f.Do(neon.FCMGT, more, high, hi[i])
				f.Do(neon.BIT, hi[i], high, more)
			}
			blocks(f, f.Arg("n"), block, func() {
				for i := range lo {
					x := f.Vec()
					f.Load(x, src, i*vectorBytes)
					widen(i, x, x)
				}
				f.GenImm("ADD", src, src, 4*block)
			})
			for i := 1; i < len(lo); i++ {
				widen(0, lo[i], hi[i])
			}
			f.Store(lo[0], result, 0)
			f.Store(hi[0], result, vectorBytes)
			f.Return()
		})
}

func writeDequantize(f *neon.File) {
	f.Func("dequantizeNEON", "func(dst *float32, src *uint8, n int, scale float32, zero, flip uint32)",
		"is (src^flip - zero) * scale; zero is twice 16 bits, and flip four times a byte.\nn is a multiple of 16.", func(f *neon.Func) {
			dst, src := f.Arg("dst"), f.Arg("src")
			scale, zero, flip := f.ArgLanes("scale"), f.ArgLanes("zero"), f.ArgLanes("flip")
			blocks(f, f.Arg("n"), block, func() {
				x, half, out := f.Vec(), f.Vecs(2), f.Vecs(4)
				f.Load(x, src, 0)
				f.Do(neon.EOR, x, x, flip)
				f.Do(neon.UXTL8H, half[0], x)
				f.Do(neon.UXTL8HUpper, half[1], x)
				for i, h := range half {
					f.Do(neon.SUB8H, h, h, zero)
					f.Do(neon.SXTL4S, out[2*i], h)
					f.Do(neon.SXTL4SUpper, out[2*i+1], h)
				}
				for i, y := range out {
					f.Do(neon.SCVTF, y, y)
					f.Do(neon.FMUL, y, y, scale)
					f.Store(y, dst, i*vectorBytes)
				}
				f.GenImm("ADD", src, src, block)
				f.GenImm("ADD", dst, dst, 4*block)
			})
			f.Return()
		})
}

func writeScale32(f *neon.File) {
	f.Func("scale32NEON", "func(dst *float32, src *int32, n int, scale float32)", "is src * scale.", func(f *neon.Func) {
		dst, src, scale := f.Arg("dst"), f.Arg("src"), f.ArgLanes("scale")
		f.Sweep(f.Arg("n"), 4, func(c *neon.Cursor) {
			x := c.Load(src)
			for _, v := range x {
				f.Do(neon.SCVTF, v, v)
				f.Do(neon.FMUL, v, v, scale)
			}
			c.Store(x, dst)
		})
		f.Return()
	})
}

func writeScaleColumns(f *neon.File) {
	f.Func("scaleColumnsNEON", "func(dst *float32, src *int32, scale *float32, n int)", "is src * scale, one by one.", func(f *neon.Func) {
		dst, src, scale := f.Arg("dst"), f.Arg("src"), f.Arg("scale")
		f.Sweep(f.Arg("n"), 4, func(c *neon.Cursor) {
			x, y := c.Load(src), c.Load(scale)
			for i, v := range x {
				f.Do(neon.SCVTF, v, v)
				f.Do(neon.FMUL, v, v, y[i])
			}
			c.Store(x, dst)
		})
		f.Return()
	})
}
