// SPDX-License-Identifier: Apache-2.0

package main

import "github.com/millrace-ml/millrace/kernels/_gen/internal/neon"

// epilogue does with the sums what the flags say and stores them.
func (k *tile) epilogue() {
	flags, columns := k.GP(), k.GP()
	k.Get("MOVWU", flags, k.t, offFlags)
	k.Get("MOVWU", columns, k.t, offMask) // ones, as many as there are columns
	k.GenTwo("CLZW", columns, columns)
	k.GenImm("SUB", columns, columns, 32)
	k.GenTwo("NEG", columns, columns)

	k.when(flags, bitScale, func() {
		x := k.number(offAlpha)
		for _, sum := range k.sums {
			k.Do(neon.FMUL, sum, sum, x)
		}
	})
	c, ldc := k.cursor(offC, stepC), k.field(offLdC)
	k.when(flags, bitAccumulate, func() { k.addMatrix(columns, c, ldc) })
	k.when(flags, bitBias, func() { k.addBias(columns) })
	k.when(flags, bitAdd, func() { k.addMatrix(columns, k.cursor(offAdd, stepAdd), k.field(offLdAdd)) })
	k.activate(flags)
	k.overColumns(columns, func(v, words int) {
		k.overRows(c, ldc, func(row int, p, temporary neon.GP) {
			k.StoreWords(k.sum(row, v), p, temporary, words, v*vectorBytes)
		})
	})
}

// when does something if the flag is set.
func (k *tile) when(flags neon.GP, bit int, do func()) {
	no := k.Unique("no")
	k.BranchNoBit(flags, bit, no)
	do()
	k.Label(no)
}

// overColumns goes through the vectors of columns that there are; of the last one
// there may be only some words. Tiles of two panels are always whole.
func (k *tile) overColumns(columns neon.GP, do func(v, words int)) {
	if k.vectors > panelVectors {
		for v := range k.vectors {
			do(v, neon.Lanes)
		}
		return
	}
	end := k.Unique("end")
	part := make([]string, k.vectors)
	for v := range part {
		part[v] = k.Unique("part")
		k.CompareImm(columns, int64(4*v+4))
		k.Branch("LT", part[v])
		do(v, neon.Lanes)
	}
	k.Jump(end)
	for v, label := range part {
		k.Label(label)
		k.CompareImm(columns, int64(4*v))
		k.Branch("EQ", end)
		k.Part(columns, func(words int) { do(v, words) })
		k.Jump(end)
	}
	k.Label(end)
}

// overRows goes through the rows of a matrix; do may change temporary.
func (k *tile) overRows(p, stride neon.GP, do func(row int, p, temporary neon.GP)) {
	at, temporary := k.GP(), k.GP()
	k.Move(at, p)
	for row := range k.rows {
		do(row, at, temporary)
		if row < k.rows-1 {
			k.Gen("ADD", at, at, stride)
		}
	}
}

// addMatrix adds the values at p to the sums. It reads the columns there are.
func (k *tile) addMatrix(columns, p, stride neon.GP) {
	k.overColumns(columns, func(v, words int) {
		k.overRows(p, stride, func(row int, p, temporary neon.GP) {
			x := k.Vec()
			k.LoadWords(x, p, temporary, words, v*vectorBytes)
			k.Do(neon.FADD, k.sum(row, v), k.sum(row, v), x)
		})
	})
}

func (k *tile) addBias(columns neon.GP) {
	bias, temporary := k.cursor(offBias, stepBias), k.GP()
	k.overColumns(columns, func(v, words int) {
		x := k.Vec()
		k.LoadWords(x, bias, temporary, words, v*vectorBytes)
		for row := range k.rows {
			k.Do(neon.FADD, k.sum(row, v), k.sum(row, v), x)
		}
	})
}

// activate limits the sums. A NaN compares with nothing, so that it stays.
func (k *tile) activate(flags neon.GP) {
	k.when(flags, bitLo, func() { k.limit(k.number(offLo), false) })
	k.when(flags, bitHi, func() { k.limit(k.number(offHi), true) })
	k.when(flags, bitLeaky, func() {
		slope, zero := k.number(offSlope), k.Vec()
		k.Zero(zero)
		for _, sum := range k.sums {
			below, y := k.Vec(), k.Vec()
			k.Do(neon.FCMGT, below, zero, sum)
			k.Do(neon.FMUL, y, sum, slope)
			k.Do(neon.BIT, sum, y, below)
		}
	})
}

// limit puts x in the place of the sums that are below it, or above it.
func (k *tile) limit(x neon.Vec, above bool) {
	for _, sum := range k.sums {
		where := k.Vec()
		if above {
			k.Do(neon.FCMGT, where, sum, x)
		} else {
			k.Do(neon.FCMGT, where, x, sum)
		}
		k.Do(neon.BIT, sum, x, where)
	}
}
