// SPDX-License-Identifier: Apache-2.0

package main

import "github.com/millrace-ml/millrace/kernels/_gen/internal/neon"

// step is how many elements are looked at together.
const step = 16

// blocks loads step elements at p at a time, while there are as many of n.
func blocks(f *neon.Func, label string, p, n neon.GP, body func(x []neon.Vec)) {
	f.GenImm("SUBS", n, n, step)
	f.Branch("LT", label+"_end")
	f.Label(label)
	x := f.Vecs(step / neon.Lanes)
	for i := 0; i < len(x); i += 2 {
		f.LoadPair(x[i], x[i+1], p, i*vectorBytes)
	}
	body(x)
	f.GenImm("ADD", p, p, 4*step)
	f.GenImm("SUBS", n, n, step)
	f.Branch("GE", label)
	f.Label(label + "_end")
}

// either emits body for both directions, of which the argument largest chooses.
func either(f *neon.Func, body func(label string, largest bool)) {
	f.BranchZero(f.ArgAs("MOVBU", "largest"), "smallest")
	body("high", true)
	f.Label("smallest")
	body("low", false)
}

// within is all bits where an element is not beyond the threshold, and compares with it.
func within(f *neon.Func, out, x, threshold neon.Vec, largest bool) {
	if largest {
		f.Do(neon.FCMGE, out, threshold, x)
	} else {
		f.Do(neon.FCMGE, out, x, threshold)
	}
}

func writeSkip(f *neon.File) {
	f.Func("skipNEON", "func(row *float32, n int, threshold float32, largest bool) int",
		"is how many elements, a multiple of 16, come before one that is beyond the\nthreshold or does not compare with it.", func(f *neon.Func) {
			p, n, threshold, done := f.Arg("row"), f.Arg("n"), f.ArgLanes("threshold"), f.GP()
			f.Imm(done, 0)
			either(f, func(label string, largest bool) {
				blocks(f, label, p, n, func(x []neon.Vec) {
					all := f.Vec()
					for i, v := range x {
						within(f, v, v, threshold, largest)
						if i > 0 {
							f.Do(neon.AND, x[0], x[0], v)
						}
					}
					lanes := f.GP()
					f.Do(neon.XTN4H, all, x[0])
					f.Extract(lanes, all, "D", 0)
					f.CompareImm(lanes, -1)
					f.Branch("NE", label+"_end")
					f.GenImm("ADD", done, done, step)
				})
				f.Result("MOVD", "ret", done)
				f.Return()
			})
		})
}

func writeBound(f *neon.File) {
	f.Func("boundNEON", "func(row *float32, n int, largest bool, best *float32)",
		"makes each of 16 numbers at best the best of those and the elements of its\nlane; what n has beyond a multiple of 16 is left out.", func(f *neon.Func) {
			p, n, best := f.Arg("row"), f.Arg("n"), f.Arg("best")
			acc := f.Vecs(step / neon.Lanes)
			for i, a := range acc {
				f.Load(a, best, i*vectorBytes)
			}
			either(f, func(label string, largest bool) {
				blocks(f, label, p, n, func(x []neon.Vec) {
					for i, v := range x {
						better := f.Vec()
						if largest {
							f.Do(neon.FCMGT, better, v, acc[i])
						} else {
							f.Do(neon.FCMGT, better, acc[i], v)
						}
						f.Do(neon.BIT, acc[i], v, better)
					}
				})
				for i, a := range acc {
					f.Store(a, best, i*vectorBytes)
				}
				f.Return()
			})
		})
}

// writeCountBeyond adds up in 32 bits, which bounds n.
func writeCountBeyond(f *neon.File) {
	f.Func("countBeyondNEON", "func(row *float32, n int, threshold float32, largest bool) int",
		"counts the elements above the threshold, NaN too, or those below it. What n\nhas beyond a multiple of 16 is left out; it is less than 2^32.", func(f *neon.Func) {
			p, n, threshold, count, sum := f.Arg("row"), f.Arg("n"), f.ArgLanes("threshold"), f.Vec(), f.GP()
			f.Zero(count)
			either(f, func(label string, largest bool) {
				blocks(f, label, p, n, func(x []neon.Vec) {
					for _, v := range x {
						if largest {
							within(f, v, v, threshold, true)
							f.Do(neon.MVN, v, v)
						} else {
							f.Do(neon.FCMGT, v, threshold, v)
						}
						f.Do(neon.SUB, count, count, v)
					}
				})
				f.Do(neon.ADDV, count, count)
				f.Extract(sum, count, "S", 0)
				f.Result("MOVD", "ret", sum)
				f.Return()
			})
		})
}
