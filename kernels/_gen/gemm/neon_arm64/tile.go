// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	"github.com/millrace-ml/millrace/kernels/_gen/internal/neon"
)

// The offsets of the fields of gemm.tile.
const (
	offA     = 0
	offLdA   = 8
	offB     = 16
	offLdB   = 24
	offC     = 32
	offLdC   = 40
	offBias  = 48
	offAdd   = 56
	offLdAdd = 64
	offK     = 72
	offCount = 80
	stepA    = 88
	stepB    = 96
	stepC    = 104
	stepBias = 112
	stepAdd  = 120
	offFlags = 136
	offMask  = 140
	offAlpha = 144
	offSlope = 148
	offLo    = 152
	offHi    = 156
	offPanel = 168
)

// The bits of the flags of gemm.tile.
const (
	bitScale = iota
	bitAccumulate
	bitBias
	bitAdd
	bitLo
	bitHi
	bitLeaky
	bitPart
)

const (
	vectorBytes  = 16
	panelVectors = 8 // of a row of a panel
	unroll       = 4 // k, which are a vector of A
)

// tile is a kernel being written.
type tile struct {
	*neon.Func
	rows, vectors int
	t, done       neon.GP    // the struct, and how many tiles are done
	sums          []neon.Vec // row by row
}

func writeTile(f *neon.File, rows, columns int) {
	name := fmt.Sprintf("tileNEONx%dx%d", rows, columns)
	doc := fmt.Sprintf("computes tiles of %d rows and %d columns.", rows, columns)
	f.Func(name, "func(t *byte)", doc, func(f *neon.Func) {
		k := &tile{Func: f, rows: rows, vectors: columns / 4, t: f.Arg("t"), done: f.GP()}
		k.sums = f.Vecs(rows * k.vectors)
		f.Imm(k.done, 0)
		f.Label("tile")
		k.multiply()
		k.epilogue()
		f.GenImm("ADD", k.done, k.done, 1)
		f.Compare(k.done, k.field(offCount))
		f.Branch("LT", "tile")
		f.Return()
	})
}

// field is a field of the struct in a register.
func (k *tile) field(offset int) neon.GP {
	r := k.GP()
	k.Get("MOVD", r, k.t, offset)
	return r
}

// number is a field of 32 bits in all lanes.
func (k *tile) number(offset int) neon.Vec {
	r, v := k.GP(), k.Vec()
	k.Get("MOVWU", r, k.t, offset)
	k.DupWord(v, r)
	return v
}

// cursor is the address in field p moved by done times field step.
func (k *tile) cursor(p, step int) neon.GP {
	at := k.GP()
	k.Gen("MUL", at, k.done, k.field(step))
	k.Gen("ADD", at, at, k.field(p))
	return at
}

func (k *tile) sum(row, v int) neon.Vec { return k.sums[row*k.vectors+v] }

// operands is where the next rows of B and columns of A are.
type operands struct {
	a      []neon.GP // of each row
	b      []neon.GP // of one panel or two
	stride neon.GP   // of B
}

func (k *tile) operands() operands {
	o := operands{a: []neon.GP{k.cursor(offA, stepA)}, b: []neon.GP{k.cursor(offB, stepB)}, stride: k.field(offLdB)}
	lda := k.field(offLdA)
	for len(o.a) < k.rows {
		next := k.GP()
		k.Gen("ADD", next, o.a[len(o.a)-1], lda)
		o.a = append(o.a, next)
	}
	if k.vectors > panelVectors {
		second := k.GP()
		k.Gen("ADD", second, o.b[0], k.field(offPanel))
		o.b = append(o.b, second)
	}
	return o
}

// multiply sums the products of all k.
func (k *tile) multiply() {
	o, left := k.operands(), k.field(offK)
	for _, sum := range k.sums {
		k.Zero(sum)
	}
	k.GenImm("SUBS", left, left, unroll)
	k.Branch("LT", "tail")
	k.Label("loop")
	a := k.Vecs(k.rows)
	for i, p := range o.a {
		k.Load(a[i], p, 0)
		k.GenImm("ADD", p, p, 4*unroll)
	}
	for lane := range unroll {
		k.step(o, a, lane)
	}
	k.GenImm("SUBS", left, left, unroll)
	k.Branch("GE", "loop")
	k.Label("tail")
	k.GenImm("ADDS", left, left, unroll)
	k.Branch("EQ", "sum")
	k.Label("one")
	a = k.Vecs(k.rows)
	for i, p := range o.a {
		k.LoadWord(a[i], p, 0)
		k.GenImm("ADD", p, p, 4)
	}
	k.step(o, a, 0)
	k.GenImm("SUBS", left, left, 1)
	k.Branch("GT", "one")
	k.Label("sum")
}

// step adds the products of the next row of B with one lane of A's values.
func (k *tile) step(o operands, a []neon.Vec, lane int) {
	for v := 0; v < k.vectors; v += 2 {
		b := k.Vecs(2)
		k.LoadPair(b[0], b[1], o.b[v/panelVectors], v%panelVectors*vectorBytes)
		for row := range k.rows {
			k.AddLane(k.sum(row, v), b[0], a[row], lane)
			k.AddLane(k.sum(row, v+1), b[1], a[row], lane)
		}
	}
	for _, p := range o.b {
		k.Gen("ADD", p, p, o.stride)
	}
}
