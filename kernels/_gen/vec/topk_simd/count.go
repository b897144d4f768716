// SPDX-License-Identifier: Apache-2.0

package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"

	"github.com/millrace-ml/millrace/kernels/_gen/internal/vecgen"
)

// greater is the predicate of a threshold that is above an element, both numbers.
const greater = 30

func countBeyond(l vecgen.Level, table Mem) {
	l.Begin("countBeyond", "func(row *float32, n int, threshold float32, largest bool) int",
		"counts the elements above the threshold, NaN too, or those below it.")
	row, n, threshold := vecgen.Arg("row"), vecgen.Arg("n"), vecgen.Scalar(l, "threshold")
	acc := make([]VecVirtual, 64/l.Width)
	for j := range acc {
		acc[j] = l.Zero()
	}
	ones := l.Broadcast(0xffffffff)
	largest := Load(Param("largest"), GP8())
	TESTB(largest, largest)
	JZ(LabelRef("smallest"))
	countOf(l, "above", Imm(notGreaterEq), row, n, threshold, ones, acc, table)
	JMP(LabelRef("sum"))
	Label("smallest")
	countOf(l, "below", Imm(greater), row, n, threshold, ones, acc, table)
	Label("sum")
	total := addUp(l, acc)
	Store(total, ReturnIndex(0))
	vecgen.Finish()
}

func countOf(l vecgen.Level, label string, predicate Op, row, n Register, threshold, ones VecVirtual, acc []VecVirtual, table Mem) {
	l.Row(label, n, table, []Register{row}, func(j int, at []Mem, mask Op) {
		if l.Wide() {
			k := K()
			if mask == nil {
				VCMPPS(predicate, at[0], threshold, k)
			} else {
				VCMPPS(predicate, at[0], threshold, mask, k)
			}
			VPSUBD(ones, acc[j], k, acc[j])
			return
		}
		v := YMM()
		if mask == nil {
			VCMPPS(predicate, at[0], threshold, v)
		} else {
			bits := YMM()
			VMOVUPS(mask, bits)
			VMASKMOVPS(at[0], bits, v)
			VCMPPS(predicate, v, threshold, v)
			VPAND(bits, v, v)
		}
		VPSUBD(v, acc[j], acc[j])
	})
}

// addUp is the sum of all elements of all counts.
func addUp(l vecgen.Level, acc []VecVirtual) Register {
	for half := len(acc) / 2; half > 0; half /= 2 {
		for j := range half {
			VPADDD(acc[j+half], acc[j], acc[j])
		}
	}
	y := acc[0].AsY()
	if l.Wide() {
		upper := YMM()
		VEXTRACTI64X4(Imm(1), acc[0], upper)
		VPADDD(upper, y, y)
	}
	x, upper := acc[0].AsX(), XMM()
	VEXTRACTI128(Imm(1), y, upper)
	VPADDD(upper, x, x)
	VPSHUFD(Imm(0xee), x, upper)
	VPADDD(upper, x, x)
	VPSHUFD(Imm(0x55), x, upper)
	VPADDD(upper, x, x)
	total := GP64()
	VMOVD(x, total.As32())
	return total
}
