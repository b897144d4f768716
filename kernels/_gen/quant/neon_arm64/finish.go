// SPDX-License-Identifier: Apache-2.0

package main

import "github.com/millrace-ml/millrace/kernels/_gen/internal/neon"

// The offsets of the fields of quant.rowOutputs.
const (
	offSums      = 0
	offOut       = 8
	offColumns   = 16
	offKind      = 24
	offCorrect   = 32
	offBias32    = 40
	offZeros     = 48
	offWScale    = 56
	offWStep     = 64
	offBias      = 72
	offMinusZero = 80
	offRowSum    = 84
	offAScale    = 88
	offOutScale  = 92
	offOutInvert = 96
	offLo        = 100
	offHi        = 104
	offOutZero   = 108
	offFlip      = 112
)

// The values of quant.outputKind but the first, which is of sums.
const (
	kindFloats = 1
	kindBytes  = 2
)

// finish is the kernel of outputs being written.
type finish struct {
	*neon.Func
	t, column neon.GP // the struct, and the column in bytes of words
}

func writeFinish(f *neon.File) {
	f.Func("finishNEON", "func(t *byte)", "computes the outputs of one row from sums. Columns is a multiple of 4, and not\n0.", func(f *neon.Func) {
		k := &finish{f, f.Arg("t"), f.GP()}
		left, out, kind := k.field(offColumns), k.field(offOut), k.field(offKind)
		f.Imm(k.column, 0)
		f.Label("loop")
		x := k.sum()
		f.CompareImm(kind, kindFloats)
		f.Branch("EQ", "floats")
		f.Branch("GT", "bytes")
		k.store(x, out)
		f.Jump("next")
		f.Label("floats")
		y := k.scaled(x, false)
		lo, hi, where := k.number(offLo), k.number(offHi), f.Vec()
		// NaN and the signs of zeros stay.
		f.Do(neon.FCMGT, where, lo, y)
		f.Do(neon.BIT, y, lo, where)
		f.Do(neon.FCMGT, where, y, hi)
		f.Do(neon.BIT, y, hi, where)
		k.store(y, out)
		f.Jump("next")
		f.Label("bytes")
		k.storeBytes(k.scaled(x, true), out)
		f.Label("next")
		f.GenImm("ADD", k.column, k.column, vectorBytes)
		f.GenImm("SUBS", left, left, 4)
		f.Branch("GT", "loop")
		f.Return()
	})
}

func (k *finish) field(offset int) neon.GP {
	r := k.GP()
	k.Get("MOVD", r, k.t, offset)
	return r
}

// number is a field of 32 bits in all lanes.
func (k *finish) number(offset int) neon.Vec {
	r, v := k.GP(), k.Vec()
	k.Get("MOVWU", r, k.t, offset)
	k.DupWord(v, r)
	return v
}

// load is four words of what begins at p, store writes them.
func (k *finish) load(p neon.GP) neon.Vec {
	at, v := k.GP(), k.Vec()
	k.Gen("ADD", at, p, k.column)
	k.Load(v, at, 0)
	return v
}

func (k *finish) store(v neon.Vec, p neon.GP) {
	at := k.GP()
	k.Gen("ADD", at, p, k.column)
	k.Store(v, at, 0)
}

// optional runs body with the pointer in a field, unless it is nil.
func (k *finish) optional(offset int, body func(p neon.GP)) {
	p, without := k.field(offset), k.Unique("without")
	k.BranchZero(p, without)
	body(p)
	k.Label(without)
}

// sum is the sums without the parts of the zero points, and with the integer bias.
func (k *finish) sum() neon.Vec {
	x := k.load(k.field(offSums))
	k.Do(neon.MLA, x, k.load(k.field(offCorrect)), k.number(offMinusZero))
	k.optional(offZeros, func(p neon.GP) { k.Do(neon.MLS, x, k.load(p), k.number(offRowSum)) })
	k.optional(offBias32, func(p neon.GP) { k.Do(neon.ADD, x, x, k.load(p)) })
	return x
}

// scaled turns sums into floats, with the roundings of separate operations.
func (k *finish) scaled(x neon.Vec, steps bool) neon.Vec {
	scale, bias, wScale := k.Vec(), k.Vec(), k.field(offWScale)
	k.LoadAll(scale, wScale)
	k.optional(offWStep, func(neon.GP) { k.Copy(scale, k.load(wScale)) })
	k.Do(neon.FMUL, scale, scale, k.number(offAScale))
	k.Zero(bias)
	k.optional(offBias, func(p neon.GP) { k.Copy(bias, k.load(p)) })
	if steps {
		k.Do(neon.FDIV, scale, scale, k.number(offOutScale))
		k.Do(neon.FMUL, bias, bias, k.number(offOutInvert))
	}
	k.Do(neon.SCVTF, x, x)
	k.Do(neon.FMUL, x, x, scale)
	k.Do(neon.FADD, x, x, bias)
	return x
}

// storeBytes limits, rounds and narrows. What is not above the lower limit becomes it,
// NaN too.
func (k *finish) storeBytes(y neon.Vec, out neon.GP) {
	lo, hi, where, at := k.number(offLo), k.number(offHi), k.Vec(), k.GP()
	k.Do(neon.FCMGT, where, y, lo)
	k.Do(neon.BIF, y, lo, where)
	k.Do(neon.FCMGT, where, y, hi)
	k.Do(neon.BIT, y, hi, where)
	k.Do(neon.FCVTNS, y, y)
	k.Do(neon.ADD, y, y, k.number(offOutZero))
	k.Do(neon.XTN4H, y, y)
	k.Do(neon.XTN8B, y, y)
	k.Do(neon.EOR, y, y, k.number(offFlip))
	k.GenImm("LSR", at, k.column, 2)
	k.Gen("ADD", at, at, out)
	k.StoreWord(y, at, 0)
}
