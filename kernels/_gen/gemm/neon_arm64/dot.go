// SPDX-License-Identifier: Apache-2.0

package main

import "github.com/millrace-ml/millrace/kernels/_gen/internal/neon"

// dot is the kernel of dot products being written.
type dot struct {
	*neon.Func
	x, k, c, ldc neon.GP
	alpha        neon.Vec
}

// writeDotRows multiplies rows by a vector, four at a time so that each load of the
// vector serves four. Sums are added up in the same order for four as for one.
func writeDotRows(f *neon.File) {
	f.Func("dotRowsNEON", "func(m int, a *float32, lda int, x *float32, k int, c *float32, ldc int, alpha float32)",
		"stores alpha times the product of each of m rows with x. Strides are in\nbytes.", func(f *neon.Func) {
			m, a, lda := f.Arg("m"), f.Arg("a"), f.Arg("lda")
			d := dot{f, f.Arg("x"), f.Arg("k"), f.Arg("c"), f.Arg("ldc"), f.ArgLanes("alpha")}
			f.GenImm("SUBS", m, m, 4)
			f.Branch("LT", "ones")
			f.Label("four")
			d.rows("four", 4, a, lda)
			f.GenImm("SUBS", m, m, 4)
			f.Branch("GE", "four")
			f.Label("ones")
			f.GenImm("ADDS", m, m, 4)
			f.Branch("LE", "done")
			f.Label("one")
			d.rows("one", 1, a, lda)
			f.GenImm("SUBS", m, m, 1)
			f.Branch("GT", "one")
			f.Label("done")
			f.Return()
		})
}

// rows writes the products of n rows and moves a and c past them.
func (d dot) rows(name string, n int, a, lda neon.GP) {
	const width = 4 // vectors of sums for a row
	pointers, sums := make([]neon.GP, n), make([][]neon.Vec, n)
	for i := range pointers {
		pointers[i], sums[i] = d.GP(), d.Vecs(width)
		d.Move(pointers[i], a)
		d.Gen("ADD", a, a, lda)
		for _, s := range sums[i] {
			d.Zero(s)
		}
	}
	x, left := d.GP(), d.GP()
	d.Move(x, d.x)
	d.Move(left, d.k)
	d.GenImm("SUBS", left, left, 4*width)
	d.Branch("LT", name+"_tail")
	d.Label(name + "_loop")
	for v := range width {
		d.add(x, pointers, sums, v, v*vectorBytes)
	}
	d.advance(append(pointers[:n:n], x), width*vectorBytes)
	d.GenImm("SUBS", left, left, 4*width)
	d.Branch("GE", name+"_loop")
	d.Label(name + "_tail")
	d.GenImm("ADD", left, left, 4*width)
	for v := range width - 1 {
		d.CompareImm(left, 4)
		d.Branch("LT", name+"_part")
		d.add(x, pointers, sums, v, 0)
		d.advance(append(pointers[:n:n], x), vectorBytes)
		d.GenImm("SUB", left, left, 4)
	}
	d.Label(name + "_part")
	d.BranchZero(left, name+"_sum")
	value := d.Vec()
	d.LoadPart(value, x, left)
	for i, p := range pointers {
		other := d.Vec()
		d.LoadPart(other, p, left)
		d.Do(neon.FMLA, sums[i][width-1], value, other)
	}
	d.Label(name + "_sum")
	for _, s := range sums {
		d.store(s)
	}
}

// add adds the products of a vector of x with one of each row.
func (d dot) add(x neon.GP, pointers []neon.GP, sums [][]neon.Vec, v, offset int) {
	value := d.Vec()
	d.Load(value, x, offset)
	for i, p := range pointers {
		other := d.Vec()
		d.Load(other, p, offset)
		d.Do(neon.FMLA, sums[i][v], value, other)
	}
}

func (d dot) advance(pointers []neon.GP, bytes int) {
	for _, p := range pointers {
		d.GenImm("ADD", p, p, int64(bytes))
	}
}

// store adds up the vectors of a row, stores the sum and moves c on.
func (d dot) store(s []neon.Vec) {
	d.Do(neon.FADD, s[0], s[0], s[1])
	d.Do(neon.FADD, s[2], s[2], s[3])
	d.Do(neon.FADD, s[0], s[0], s[2])
	d.Do(neon.FADDP, s[0], s[0], s[0])
	d.Do(neon.FADDP, s[0], s[0], s[0])
	d.Do(neon.FMUL, s[0], s[0], d.alpha)
	d.StoreWord(s[0], d.c, 0)
	d.Gen("ADD", d.c, d.c, d.ldc)
}
