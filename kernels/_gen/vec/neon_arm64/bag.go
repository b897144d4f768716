// SPDX-License-Identifier: Apache-2.0

package main

import "github.com/millrace-ml/millrace/kernels/_gen/internal/neon"

// bagKinds are what a bag makes of its rows, by number.
var bagKinds = []string{"sum", "weighted", "largest"}

// writeBag makes one row, up to 8 vectors of its columns at a time, which stay in
// registers while the rows of the bag pass.
func writeBag(f *neon.File) {
	f.Func("bagNEON", "func(kind uint64, dst, table *float32, dim int, indices *int64, count int, weights *float32)",
		"combines the rows of a table that count indices name, at least one.\nKinds:"+numbered(bagKinds), func(f *neon.Func) {
			f.Table()
			dst, table, dim := f.Arg("dst"), f.Arg("table"), f.Arg("dim")
			indices, count, weights := f.Arg("indices"), f.Arg("count"), f.Arg("weights")
			cases(f, f.Arg("kind"), bagKinds, func(kind string) {
				f.Sweep(dim, 2*group, func(c *neon.Cursor) {
					b := &bag{f, kind, c, c.At(table, 4), dim, f.Vecs(c.Vectors)}
					b.combine(indices, count, weights)
					c.Store(b.acc, dst)
				})
				f.Return()
			})
		})
}

// bag is some columns of a bag.
type bag struct {
	*neon.Func
	kind    string
	c       *neon.Cursor
	columns neon.GP // of the table
	dim     neon.GP
	acc     []neon.Vec
}

func (b *bag) combine(indices, count, weights neon.GP) {
	index, weight, left, next, end := b.GP(), b.GP(), b.GP(), b.Unique("next"), b.Unique("end")
	b.Move(index, indices)
	b.Move(left, count)
	if b.kind == "weighted" {
		b.Move(weight, weights)
	}
	if b.kind == "largest" {
		for i, v := range b.row(index) {
			b.Copy(b.acc[i], v)
		}
		b.GenImm("SUBS", left, left, 1)
		b.Branch("EQ", end)
	} else {
		for _, a := range b.acc {
			b.Zero(a)
		}
	}
	b.Label(next)
	v := b.row(index)
	if b.kind == "weighted" {
		w := b.Vec()
		b.LoadAll(w, weight)
		b.GenImm("ADD", weight, weight, 4)
		for _, x := range v {
			b.Do(neon.FMUL, x, x, w)
		}
	}
	for i, a := range b.acc {
		if b.kind == "largest" {
			b.Copy(a, greater(b.Func, a, v[i]))
		} else {
			b.Do(neon.FADD, a, a, v[i])
		}
	}
	b.GenImm("SUBS", left, left, 1)
	b.Branch("NE", next)
	b.Label(end)
}

// row loads the columns of the row that the next index names.
func (b *bag) row(index neon.GP) []neon.Vec {
	v, p := b.Vecs(len(b.acc)), b.GP()
	b.Get("MOVD", p, index, 0)
	b.GenImm("ADD", index, index, 8)
	b.Gen("MUL", p, p, b.dim)
	b.AddShifted(p, b.columns, p, 2)
	for i := range v {
		if b.c.Tail {
			b.LoadPart(v[i], p, b.c.Left)
		} else {
			b.Load(v[i], p, i*vectorBytes)
		}
	}
	return v
}

// writeWithin compares both ends at once, as unsigned numbers.
func writeWithin(f *neon.File) {
	f.Func("indicesWithinNEON", "func(indices *int64, n int, low, span int64) bool",
		"is whether each of n indices, a multiple of 4, less low is below span.", func(f *neon.Func) {
			indices, n, low, span, all := f.Arg("indices"), f.Arg("n"), f.Vec(), f.Vec(), f.Vec()
			f.DupDouble(low, f.Arg("low"))
			f.DupDouble(span, f.Arg("span"))
			f.Do(neon.CMEQ, all, low, low)
			f.GenImm("SUBS", n, n, 4)
			f.Branch("LT", "done")
			f.Label("loop")
			v := f.Vecs(2)
			f.LoadPair(v[0], v[1], indices, 0)
			f.GenImm("ADD", indices, indices, 2*vectorBytes)
			for _, x := range v {
				f.Do(neon.SUB2D, x, x, low)
				f.Do(neon.CMHI2D, x, span, x)
				f.Do(neon.AND, all, all, x)
			}
			f.GenImm("SUBS", n, n, 4)
			f.Branch("GE", "loop")
			f.Label("done")
			first, second := f.GP(), f.GP()
			f.Extract(first, all, "D", 0)
			f.Extract(second, all, "D", 1)
			f.Gen("AND", first, first, second)
			f.GenImm("AND", first, first, 1)
			f.Result("MOVB", "ret", first)
			f.Return()
		})
}
