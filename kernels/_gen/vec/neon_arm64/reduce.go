// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	"github.com/millrace-ml/millrace/kernels/_gen/internal/neon"
)

// The reductions, numbered as kernels/vec numbers them.
var reductions = []string{"sum", "squares", "abs", "maximum", "minimum", "maxabs"}

// partials is the count of partial results of a row, which decides the order of a sum.
const partials = 64

// reduction is the code of one operation.
type reduction struct {
	*neon.Func
	op       string
	identity neon.Vec
}

func newReduction(f *neon.Func, op string) *reduction {
	identity := uint32(0)
	switch op {
	case "maximum":
		identity = 0xff800000
	case "minimum":
		identity = 0x7f800000
	}
	return &reduction{f, op, f.Constant(neon.Words(identity))}
}

// start makes accumulators.
func (r *reduction) start(n int) []neon.Vec {
	acc := r.Vecs(n)
	for _, a := range acc {
		r.Copy(a, r.identity)
	}
	return acc
}

// take takes the elements of v into acc; v may change.
func (r *reduction) take(acc, v neon.Vec) {
	switch r.op {
	case "squares":
		r.Do(neon.FMUL, v, v, v)
	case "abs", "maxabs":
		r.Do(neon.FABS, v, v)
	}
	r.merge(acc, v)
}

// merge sets p to the combination of p and q.
func (r *reduction) merge(p, q neon.Vec) {
	switch r.op {
	case "maximum", "maxabs":
		r.Copy(p, greater(r.Func, p, q))
	case "minimum":
		r.Copy(p, lesser(r.Func, p, q))
	default:
		r.Do(neon.FADD, p, p, q)
	}
}

// part is the first words at p, up to three, and the identity in other lanes.
func (r *reduction) part(p, n neon.GP) neon.Vec {
	v, mask := r.Vec(), r.FirstLanes(n)
	r.LoadPart(v, p, n)
	r.Do(neon.BIF, v, r.identity, mask)
	return v
}

// fold combines upper halves with lower ones until the first lane of the first
// register is the result.
func (r *reduction) fold(acc []neon.Vec) neon.Vec {
	for half := len(acc) / 2; half > 0; half /= 2 {
		for j := range half {
			r.merge(acc[j], acc[j+half])
		}
	}
	upper := r.Vec()
	r.Rotate(upper, acc[0], acc[0], 8)
	r.merge(acc[0], upper)
	r.DupLane(upper, acc[0], 1)
	r.merge(acc[0], upper)
	return acc[0]
}

// row goes over n words of several rows, all of which pointers move along: load takes
// what each has at a cursor into accumulator j. In a tail, n is the words that are left.
func row(f *neon.Func, label string, n neon.GP, pointers []neon.GP, take func(j, offset int, tail bool)) {
	advance := func(bytes int64) {
		for _, p := range pointers {
			f.GenImm("ADD", p, p, bytes)
		}
	}
	f.GenImm("SUBS", n, n, partials)
	f.Branch("LT", label+"_rest")
	f.Label(label + "_many")
	for j := range partials / neon.Lanes {
		take(j, j*vectorBytes, false)
	}
	advance(4 * partials)
	f.GenImm("SUBS", n, n, partials)
	f.Branch("GE", label+"_many")
	f.Label(label + "_rest")
	f.GenImm("ADD", n, n, partials)
	for j := range partials / neon.Lanes {
		f.CompareImm(n, neon.Lanes)
		f.Branch("LT", fmt.Sprint(label, "_part", j))
		take(j, 0, false)
		advance(vectorBytes)
		f.GenImm("SUB", n, n, neon.Lanes)
	}
	f.Jump(label + "_end")
	for j := range partials / neon.Lanes {
		f.Label(fmt.Sprint(label, "_part", j))
		f.BranchZero(n, label+"_end")
		take(j, 0, true)
		f.Jump(label + "_end")
	}
	f.Label(label + "_end")
}

func writeReduceRows(f *neon.File) {
	f.Func("reduceRowsNEON", "func(op uint64, dst, src *float32, rows, cols int)",
		"reduces each row of cols elements.", func(f *neon.Func) {
			f.Table()
			dst, src, rows, cols := f.Arg("dst"), f.Arg("src"), f.Arg("rows"), f.Arg("cols")
			cases(f, f.Arg("op"), reductions, func(op string) {
				r := newReduction(f, op)
				perRow(f, op, rows, []neon.GP{src}, []neon.GP{cols}, func() {
					acc, p, n := r.start(partials/neon.Lanes), f.GP(), f.GP()
					f.Move(p, src)
					f.Move(n, cols)
					row(f, op, n, []neon.GP{p}, func(j, offset int, tail bool) {
						if tail {
							r.take(acc[j], r.part(p, n))
							return
						}
						v := f.Vec()
						f.Load(v, p, offset)
						r.take(acc[j], v)
					})
					f.StoreWord(r.fold(acc), dst, 0)
					f.GenImm("ADD", dst, dst, 4)
				})
				f.Return()
			})
		})
}

func writeDot(f *neon.File) {
	f.Func("dotNEON", "func(a, b *float32, n int) float32", "adds up a[i]*b[i].", func(f *neon.Func) {
		f.Table()
		a, b, n, r := f.Arg("a"), f.Arg("b"), f.Arg("n"), newReduction(f, "sum")
		acc := r.start(partials / neon.Lanes)
		row(f, "dot", n, []neon.GP{a, b}, func(j, offset int, tail bool) {
			x, y := f.Vec(), f.Vec()
			if tail {
				f.LoadPart(x, a, n)
				f.LoadPart(y, b, n)
			} else {
				f.Load(x, a, offset)
				f.Load(y, b, offset)
			}
			f.Do(neon.FMUL, x, x, y)
			f.Do(neon.FADD, acc[j], acc[j], x)
		})
		f.ResultFloat("ret", r.fold(acc))
		f.Return()
	})
}

func writeReduceCols(f *neon.File) {
	f.Func("reduceColsNEON", "func(op uint64, dst, src *float32, mid, cols int)",
		"reduces each of cols columns of mid elements, in their order; mid is\nnot 0.", func(f *neon.Func) {
			f.Table()
			dst, src, mid, cols := f.Arg("dst"), f.Arg("src"), f.Arg("mid"), f.Arg("cols")
			cases(f, f.Arg("op"), reductions, func(op string) {
				r := newReduction(f, op)
				f.Sweep(cols, 2*group, func(c *neon.Cursor) {
					acc, p, left, down := r.start(c.Vectors), f.GP(), f.GP(), f.Unique(op)
					f.Move(p, c.At(src, 4))
					f.Move(left, mid)
					f.Label(down)
					for j := range acc {
						v := f.Vec()
						if c.Tail {
							f.LoadPart(v, p, c.Left)
						} else {
							f.Load(v, p, j*vectorBytes)
						}
						r.take(acc[j], v)
					}
					f.AddShifted(p, p, cols, 2)
					f.GenImm("SUBS", left, left, 1)
					f.Branch("NE", down)
					c.Store(acc, dst)
				})
				f.Return()
			})
		})
}

// writeIndexOf looks at a vector at a time; a comparison's lanes become 16 bits each of
// a general register, of which the lowest that is set says which it was.
func writeIndexOf(f *neon.File) {
	f.Func("indexOfNEON", "func(a *float32, n int, v float32, nan bool) int",
		"is the first index of v, or of NaN, or n.", func(f *neon.Func) {
			f.Table()
			a, n, v, nan, at := f.Arg("a"), f.Arg("n"), f.ArgLanes("v"), f.ArgAs("MOVBU", "nan"), f.GP()
			// All bits where NaN is looked for, which turns "equal to itself" around.
			invert := f.Vec()
			f.GenTwo("NEG", nan, nan)
			f.DupWord(invert, nan)
			f.Imm(at, 0)
			f.Sweep(n, 1, func(c *neon.Cursor) {
				x, found := c.Load(a)[0], f.Vec()
				other := f.Vec()
				f.Copy(other, v)
				f.Do(neon.BIT, other, x, invert)
				f.Do(neon.FCMEQ, found, x, other)
				f.Do(neon.EOR, found, found, invert)
				if c.Tail {
					f.Do(neon.AND, found, found, c.Mask())
				}
				lanes, next := f.GP(), f.Unique("next")
				f.Do(neon.XTN4H, found, found)
				f.Extract(lanes, found, "D", 0)
				f.BranchZero(lanes, next)
				f.GenTwo("RBIT", lanes, lanes)
				f.GenTwo("CLZ", lanes, lanes)
				f.GenImm("LSR", lanes, lanes, 4)
				f.Gen("ADD", at, at, lanes)
				f.Result("MOVD", "ret", at)
				f.Return()
				f.Label(next)
				f.GenImm("ADD", at, at, neon.Lanes)
			})
			f.Result("MOVD", "ret", n)
			f.Return()
		})
}
