// SPDX-License-Identifier: Apache-2.0

package main

import "github.com/millrace-ml/millrace/kernels/_gen/internal/neon"

// binaryOps are the operations on two numbers, numbered as kernels/vec numbers them.
// The last two are for columns only.
var binaryOps = []string{"add", "sub", "mul", "div", "min", "max", "revsub", "revdiv"}

// group is how many vectors are worked on at a time.
const group = 4

// binary is a new register of a op b.
func binary(f *neon.Func, op string, a, b neon.Vec) neon.Vec {
	out := f.Vec()
	switch op {
	case "min":
		return lesser(f, a, b)
	case "max":
		return greater(f, a, b)
	case "add":
		f.Do(neon.FADD, out, a, b)
	case "sub":
		f.Do(neon.FSUB, out, a, b)
	case "mul":
		f.Do(neon.FMUL, out, a, b)
	case "div":
		f.Do(neon.FDIV, out, a, b)
	case "revsub":
		f.Do(neon.FSUB, out, b, a)
	case "revdiv":
		f.Do(neon.FDIV, out, b, a)
	}
	return out
}

func writeBinaryRows(f *neon.File) {
	f.Func("binaryRowsNEON", "func(op uint64, dst, a, b *float32, rows, cols, stepA, stepB int)",
		"sets dst[r*cols+c] = a[r*stepA+c] op b[r*stepB+c].", func(f *neon.Func) {
			f.Table()
			dst, a, b, rows, cols := f.Arg("dst"), f.Arg("a"), f.Arg("b"), f.Arg("rows"), f.Arg("cols")
			pointers, steps := []neon.GP{dst, a, b}, []neon.GP{cols, f.Arg("stepA"), f.Arg("stepB")}
			cases(f, f.Arg("op"), binaryOps[:6], func(op string) {
				perRow(f, op, rows, pointers, steps, func() {
					f.Sweep(cols, group, func(c *neon.Cursor) {
						x, y := c.Load(a), c.Load(b)
						for i := range x {
							x[i] = binary(f, op, x[i], y[i])
						}
						c.Store(x, dst)
					})
				})
				f.Return()
			})
		})
}

func writeBinaryColumn(f *neon.File) {
	f.Func("binaryColumnNEON", "func(op uint64, dst, a, column *float32, rows, cols int)",
		"sets dst[r*cols+c] = a[r*cols+c] op column[r].", func(f *neon.Func) {
			f.Table()
			dst, a, column, rows, cols := f.Arg("dst"), f.Arg("a"), f.Arg("column"), f.Arg("rows"), f.Arg("cols")
			cases(f, f.Arg("op"), binaryOps, func(op string) {
				perRow(f, op, rows, []neon.GP{dst, a}, []neon.GP{cols, cols}, func() {
					v := f.Vec()
					f.LoadAll(v, column)
					f.GenImm("ADD", column, column, 4)
					f.Sweep(cols, group, func(c *neon.Cursor) {
						x := c.Load(a)
						for i := range x {
							x[i] = binary(f, op, x[i], v)
						}
						c.Store(x, dst)
					})
				})
				f.Return()
			})
		})
}

// ternaryOps are the operations on three numbers, numbered as kernels/vec numbers them.
var ternaryOps = []string{"scale", "mulAdd"}

// ternary is a new register of (a - b) * c or a*b + c, rounded twice.
func ternary(f *neon.Func, op string, a, b, c neon.Vec) neon.Vec {
	first, second := neon.FMUL, neon.FADD
	if op == "scale" {
		first, second = neon.FSUB, neon.FMUL
	}
	out := f.Vec()
	f.Do(first, out, a, b)
	f.Do(second, out, out, c)
	return out
}

func writeTernary(f *neon.File) {
	f.Func("ternaryNEON", "func(op uint64, dst, a, b, c *float32, rows, cols int)",
		"meets every row of a with the rows b and c.", func(f *neon.Func) {
			dst, a, b, c, rows, cols := f.Arg("dst"), f.Arg("a"), f.Arg("b"), f.Arg("c"), f.Arg("rows"), f.Arg("cols")
			cases(f, f.Arg("op"), ternaryOps, func(op string) {
				perRow(f, op, rows, []neon.GP{dst, a}, []neon.GP{cols, cols}, func() {
					f.Sweep(cols, group, func(at *neon.Cursor) {
						x, y, z := at.Load(a), at.Load(b), at.Load(c)
						for i := range x {
							x[i] = ternary(f, op, x[i], y[i], z[i])
						}
						at.Store(x, dst)
					})
				})
				f.Return()
			})
		})
}

func writeTernaryScalar(f *neon.File) {
	f.Func("ternaryScalarNEON", "func(op uint64, dst, a *float32, n int, b, c float32)",
		"meets every element of a with b and c.", func(f *neon.Func) {
			dst, a, n, b, c := f.Arg("dst"), f.Arg("a"), f.Arg("n"), f.ArgLanes("b"), f.ArgLanes("c")
			cases(f, f.Arg("op"), ternaryOps, func(op string) {
				f.Sweep(n, group, func(at *neon.Cursor) {
					x := at.Load(a)
					for i := range x {
						x[i] = ternary(f, op, x[i], b, c)
					}
					at.Store(x, dst)
				})
				f.Return()
			})
		})
}

func writeAxpy(f *neon.File) {
	f.Func("axpyNEON", "func(dst *float32, a float32, x *float32, n int)", "adds a*x[i] to dst[i].", func(f *neon.Func) {
		dst, a, x := f.Arg("dst"), f.ArgLanes("a"), f.Arg("x")
		f.Sweep(f.Arg("n"), group, func(c *neon.Cursor) {
			y, sum := c.Load(x), c.Load(dst)
			for i := range y {
				f.Do(neon.FMUL, y[i], y[i], a)
				f.Do(neon.FADD, sum[i], sum[i], y[i])
			}
			c.Store(sum, dst)
		})
		f.Return()
	})
}
