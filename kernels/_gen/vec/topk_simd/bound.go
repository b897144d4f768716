// SPDX-License-Identifier: Apache-2.0

package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"

	"github.com/millrace-ml/millrace/kernels/_gen/internal/vecgen"
)

// lanes is how many parts a row is dealt out to.
const lanes = 16

func bound(l vecgen.Level) {
	l.Begin("bound", "func(row *float32, n, k int, largest bool) float32",
		"is the k-th best of the best numbers of 16 parts of a row.")
	row, n, k := vecgen.Arg("row"), vecgen.Arg("n"), vecgen.Arg("k")
	largest := Load(Param("largest"), GP8())
	best := AllocLocal(4 * lanes)
	TESTB(largest, largest)
	JZ(LabelRef("smallest"))
	boundOf(l, "largest", row, n, k, best, true)
	Label("smallest")
	boundOf(l, "smallest", row, n, k, best, false)
}

func boundOf(l vecgen.Level, label string, row, n, k Register, best Mem, largest bool) {
	// Which numbers are better, which one is the worse, and the worst of all.
	better, worse, worst, predicate := VMAXPS, VMINPS, uint32(0xff800000), uint64(14)
	if !largest {
		better, worse, worst, predicate = VMINPS, VMAXPS, 0x7f800000, 1
	}
	acc := bests(l, label, row, n, better, l.Broadcast(worst))
	for j, a := range acc {
		VMOVUPS(a, best.Offset(4*l.Width*j))
	}
	beaten := ranks(l, acc, best, Imm(predicate))
	limit := l.Vec()
	VMOVD(k.(GPVirtual).As32(), limit.AsX())
	VPBROADCASTD(limit.AsX(), limit)
	// Of those that fewer than k others beat, the worst.
	rest := l.Broadcast(worst ^ 1<<31)
	for j, a := range acc {
		if l.Wide() {
			few := K()
			VPCMPD(Imm(1), limit, beaten[j], few)
			VBLENDMPS(a, rest, few, a)
			continue
		}
		few := YMM()
		VPCMPGTD(beaten[j], limit, few)
		VBLENDVPS(few, a, rest, a)
	}
	y := acc[0].AsY()
	if l.Wide() {
		upper := YMM()
		VEXTRACTF64X4(Imm(1), acc[0], upper)
		worse(upper, y, y)
	} else {
		worse(acc[1], y, y)
	}
	x, upper := acc[0].AsX(), XMM()
	VEXTRACTF128(Imm(1), y, upper)
	worse(upper, x, x)
	VPSHUFD(Imm(0xee), x, upper)
	worse(upper, x, x)
	VPSHUFD(Imm(0x55), x, upper)
	worse(upper, x, x)
	Store(x, ReturnIndex(0))
	vecgen.Finish()
}

// bests finds the best number of each lane; NaN is passed over, since the instructions
// then give their second operand.
func bests(l vecgen.Level, label string, row, n Register, better func(...Op), worst VecVirtual) []VecVirtual {
	acc := make([]VecVirtual, 64/l.Width)
	for j := range acc {
		acc[j] = l.Vec()
		VMOVAPS(worst, acc[j])
	}
	i, parts := GP64(), lanes/l.Width
	XORQ(i, i)
	take := func(count int) {
		for j := range count {
			v := l.Vec()
			VMOVUPS(Mem{Base: row, Index: i, Scale: 4, Disp: 4 * l.Width * j}, v)
			better(acc[j], v, acc[j])
		}
	}
	vecgen.Groups(label+"_64", i, n, 64, func() { take(len(acc)) })
	vecgen.Groups(label+"_16", i, n, lanes, func() { take(parts) })
	// What is left is not looked at: the bound is one all the same.
	for half := len(acc) / 2; half >= parts; half /= 2 {
		for j := range half {
			better(acc[j+half], acc[j], acc[j])
		}
	}
	return acc[:parts]
}

// ranks counts for each lane how many are better.
func ranks(l vecgen.Level, acc []VecVirtual, best Mem, predicate Op) []VecVirtual {
	beaten := make([]VecVirtual, len(acc))
	for j := range beaten {
		beaten[j] = l.Zero()
	}
	ones := l.Broadcast(0xffffffff)
	for lane := range lanes {
		v := l.Vec()
		VBROADCASTSS(best.Offset(4*lane), v)
		for j, a := range acc {
			if l.Wide() {
				k := K()
				VCMPPS(predicate, a, v, k)
				VPSUBD(ones, beaten[j], k, beaten[j])
				continue
			}
			t := YMM()
			VCMPPS(predicate, a, v, t)
			VPSUBD(t, beaten[j], beaten[j])
		}
	}
	return beaten
}
