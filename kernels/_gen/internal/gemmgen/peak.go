// SPDX-License-Identifier: Apache-2.0

package gemmgen

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/millrace-ml/millrace/kernels/_gen/internal/bf16"
)

// peakSums is how many multiply-adds an iteration of a peak kernel does.
const peakSums = 12

// Peak writes a kernel that does nothing but multiply-add in registers. Tile gives its
// name and the kind of instruction; it has no rows.
func (d Tile) Peak() {
	TEXT(d.Name, NOSPLIT, "func(iterations int)")
	Doc(fmt.Sprintf("%s does %d multiply-adds of vectors in each iteration.", d.Name, peakSums))
	left := Load(Param("iterations"), GP64())
	registers := vectorRegisters(d.Wide)
	x, sums := registers[peakSums], registers[:peakSums]
	for _, v := range append([]reg.VecPhysical{x}, sums...) {
		VXORPS(v.AsX(), v.AsX(), v.AsX())
	}
	Label("loop")
	for _, sum := range sums {
		if d.BF16 {
			bf16.Dot(sum, x, x)
		} else {
			VFMADD231PS(x, x, sum)
		}
	}
	SUBQ(Imm(1), left)
	JGT(LabelRef("loop"))
	VZEROUPPER()
	RET()
}
