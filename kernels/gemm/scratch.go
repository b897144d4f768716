// SPDX-License-Identifier: Apache-2.0

package gemm

import "fmt"

// Scratch is the memory that products need beyond their operands. One call at a time
// may use it. The zero value, like nil, serves Gemm of one row; before others, Reserve.
type Scratch struct {
	rows  []float32 // copies of rows of A, in f32 or bf16
	panel []float32 // a panel of B
	block []float32 // rows of results that will be stored as something else
}

// space is how many values of each kind of scratch a product needs, at any CPU level.
type space struct{ rows, panel, block int }

// Reserve makes room for Gemm of up to m rows with w.
func (s *Scratch) Reserve(m int, w *Packed) { s.grow(needs(m, w)) }

// ReserveBF16 makes room for GemmBF16 of up to m rows with w.
func (s *Scratch) ReserveBF16(m int, w *PackedBF16) { s.grow(needsBF16(m, w)) }

// ReserveQuantised makes room for GemmQuantised of up to m rows with w.
func (s *Scratch) ReserveQuantised(m int, w *Packed) { s.grow(needsQuantised(m, w)) }

// ReserveMatMul makes room for MatMul of up to m rows and sums of up to k.
func (s *Scratch) ReserveMatMul(m, k int) { s.grow(needsMatMul(m, k)) }

func (s *Scratch) grow(need space) {
	s.rows = enough(s.rows, need.rows)
	s.panel = enough(s.panel, need.panel)
	s.block = enough(s.block, need.block)
}

func enough(have []float32, need int) []float32 {
	if len(have) >= need {
		return have
	}
	return aligned[float32](need)
}

// check panics when less than need was reserved.
func (s *Scratch) check(need space) {
	if need == (space{}) {
		return
	}
	if s == nil || len(s.rows) < need.rows || len(s.panel) < need.panel || len(s.block) < need.block {
		panic(fmt.Sprintf("gemm: the scratch was not reserved for a product of this size, which needs %+v", need))
	}
}

func needs(m int, w *Packed) space {
	if m <= 1 || w.narrow() {
		return space{}
	}
	return space{rows: rowsScratch(m, w.k)}
}

// needsBF16 is for rows rounded to bf16 or for panels widened to f32.
func needsBF16(m int, w *PackedBF16) space {
	if m <= 0 || w.columns != nil {
		return space{}
	}
	return space{
		rows:  max(rowsScratch(m, pairs(w.k)), rowsScratch(m, w.k)),
		panel: kBlock(w.k) * panelCols,
	}
}

func needsMatMul(m, k int) space {
	if m <= 0 {
		return space{}
	}
	return space{rows: rowsScratch(m, k), panel: kBlock(k) * panelCols}
}

func needsQuantised(m int, w *Packed) space {
	need := needs(m, w)
	need.block = min(m, quantisedRows(w.n)) * w.n
	return need
}
