// SPDX-License-Identifier: Apache-2.0

package gemmgen

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// epilogue does with the sums what the flags say and stores them.
func (k *kernel) epilogue() {
	x := k.rest[0]
	flags := GP32()
	MOVL(k.field(offFlags), flags)
	when(flags, flagScale, "scale", func() {
		VBROADCASTSS(k.field(offAlpha), x)
		k.each(func(sum reg.VecPhysical) { VMULPS(x, sum, sum) })
	})
	c, ldc := k.cursor(offC, stepC), GP64()
	MOVQ(k.field(offLdC), ldc)
	when(flags, flagAccumulate, "accumulate", func() { k.addMatrix(c, ldc) })
	when(flags, flagBias, "bias", k.addBias)
	when(flags, flagAdd, "add", func() {
		stride := GP64()
		MOVQ(k.field(offLdAdd), stride)
		k.addMatrix(k.cursor(offAdd, stepAdd), stride)
	})
	k.activate(flags)
	TESTL(U32(flagPart), flags)
	JNE(LabelRef("part"))
	k.overRows(c, ldc, func(i int, row Mem) {
		for v := range k.vectors {
			VMOVUPS(k.sum(i, v), row.Offset(v*k.bytes()))
		}
	})
	JMP(LabelRef("stored"))
	Label("part")
	k.storePart(c, ldc)
	Label("stored")
}

// when does something if the flag is set.
func when(flags reg.Register, flag uint32, name string, do func()) {
	TESTL(U32(flag), flags)
	JEQ(LabelRef("no_" + name))
	do()
	Label("no_" + name)
}

func (k *kernel) sum(row, v int) reg.VecPhysical { return k.sums[row*k.vectors+v] }

// each goes through the sums.
func (k *kernel) each(do func(sum reg.VecPhysical)) {
	for _, sum := range k.sums {
		do(sum)
	}
}

// overRows goes through the rows of a matrix.
func (k *kernel) overRows(p, stride reg.Register, do func(i int, row Mem)) {
	row := GP64()
	MOVQ(p, row)
	for i := range k.Rows {
		do(i, Mem{Base: row})
		if i < k.Rows-1 {
			ADDQ(stride, row)
		}
	}
}

// mask is the AVX-512 mask of the columns of vector v. Those of a second panel are all
// there, like those of the first.
func mask(v int) Op { return []Op{reg.K1, reg.K2}[v%2] }

// lanes loads the AVX2 mask of the columns of vector v.
func (k *kernel) lanes(v int, to reg.VecPhysical) {
	p := GP64()
	MOVQ(k.field(offLanes), p)
	VMOVUPS(Mem{Base: p}.Offset(v*k.bytes()), to)
}

// addMatrix adds the values at p to the sums. It reads the columns there are.
func (k *kernel) addMatrix(p, stride reg.Register) {
	if k.Wide {
		k.overRows(p, stride, func(i int, row Mem) {
			for v := range k.vectors {
				VADDPS(row.Offset(v*k.bytes()), k.sum(i, v), mask(v), k.sum(i, v))
			}
		})
		return
	}
	x, lanes := k.rest[0], k.rest[1]
	for v := range k.vectors {
		k.lanes(v, lanes)
		k.overRows(p, stride, func(i int, row Mem) {
			VMASKMOVPS(row.Offset(v*k.bytes()), lanes, x)
			VADDPS(x, k.sum(i, v), k.sum(i, v))
		})
	}
}

func (k *kernel) addBias() {
	bias := k.cursor(offBias, stepBias)
	for v := range k.vectors {
		x, lanes := k.rest[v%2*2], k.rest[v%2*2+1]
		from := Mem{Base: bias}.Offset(v * k.bytes())
		if k.Wide {
			VMOVUPS_Z(from, mask(v), x)
		} else {
			k.lanes(v, lanes)
			VMASKMOVPS(from, lanes, x)
		}
		for i := range k.Rows {
			VADDPS(x, k.sum(i, v), k.sum(i, v))
		}
	}
}

// activate limits the sums. Of MAXPS and MINPS a NaN in the operand that is named
// first here is the result.
func (k *kernel) activate(flags reg.Register) {
	x, y := k.rest[0], k.rest[1]
	when(flags, flagLo, "lo", func() {
		VBROADCASTSS(k.field(offLo), x)
		k.each(func(sum reg.VecPhysical) { VMAXPS(sum, x, sum) })
	})
	when(flags, flagHi, "hi", func() {
		VBROADCASTSS(k.field(offHi), x)
		k.each(func(sum reg.VecPhysical) { VMINPS(sum, x, sum) })
	})
	when(flags, flagLeaky, "leaky", func() {
		VBROADCASTSS(k.field(offSlope), x)
		if k.Wide {
			VPXORD(y, y, y)
		}
		k.each(func(sum reg.VecPhysical) {
			if k.Wide {
				const less = 1
				VCMPPS(U8(less), y, sum, reg.K3)
				VMULPS(x, sum, reg.K3, sum)
			} else {
				VMULPS(x, sum, y)
				VBLENDVPS(sum, y, sum, sum)
			}
		})
	})
}

// storePart stores the columns there are.
func (k *kernel) storePart(c, stride reg.Register) {
	if k.Wide {
		k.overRows(c, stride, func(i int, row Mem) {
			for v := range k.vectors {
				VMOVUPS(k.sum(i, v), mask(v), row.Offset(v*k.bytes()))
			}
		})
		return
	}
	lanes := k.rest[0]
	for v := range k.vectors {
		k.lanes(v, lanes)
		k.overRows(c, stride, func(i int, row Mem) {
			VMASKMOVPS(k.sum(i, v), lanes, row.Offset(v*k.bytes()))
		})
	}
}
