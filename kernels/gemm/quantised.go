// SPDX-License-Identifier: Apache-2.0

package gemm

import (
	"fmt"
	"math"
)

// GemmQuantised is Gemm whose output is stored as 8 bits, a block of rows at a time
// while the block is in cache: out = saturate(round(y/scale) + zero), where y is what
// Gemm would store, ties round to even and NaN becomes 0. ldout is the stride of out.
func GemmQuantised(m int, a []float32, lda int, w *Packed, out []uint8, ldout int, e *Epilogue, scale float32, zero uint8, s *Scratch) {
	checkGemm(m, len(a), lda, w.k, len(out), ldout, w.n)
	e.check(m, w.n)
	if !(scale > 0) {
		panic(fmt.Sprintf("gemm: quantised output of scale %g", scale))
	}
	s.check(needsQuantised(m, w))
	if m == 0 || w.n == 0 {
		return
	}
	rows := quantisedRows(w.n)
	for i := 0; i < m; i += rows {
		count := min(rows, m-i)
		rest := e.from(i)
		gemm(count, a[min(len(a), i*lda):], lda, w, s.block, w.n, &rest, s)
		if ldout == w.n {
			quantise(out[i*w.n:][:count*w.n], s.block, scale, zero)
			continue
		}
		for r := range count {
			quantise(out[(i+r)*ldout:][:w.n], s.block[r*w.n:], scale, zero)
		}
	}
}

// quantisedRows is how many rows are computed before they are quantised.
func quantisedRows(n int) int {
	const blockMax = 64 << 10 // values
	return max(1, blockMax/max(1, n)/blockRows) * blockRows
}

// from is the epilogue of the rows from i on.
func (e *Epilogue) from(i int) Epilogue {
	if e == nil {
		return Epilogue{}
	}
	rest := *e
	if rest.Add != nil {
		rest.Add = rest.Add[i*rest.LdAdd:]
	}
	return rest
}

// quantise stores as many values of src as dst has room for as 8 bits.
func quantise(dst []uint8, src []float32, scale float32, zero uint8) {
	src = src[:len(dst)]
	if eights := len(src) / 8; eights > 0 && hasRowKernels() {
		quantiseEights(&dst[0], &src[0], eights, scale, -float32(zero), 255-float32(zero))
		dst, src = dst[8*eights:], src[8*eights:]
	}
	quantiseGeneric(dst, src, scale, zero)
}

// quantiseGeneric is quantise in plain Go.
func quantiseGeneric(dst []uint8, src []float32, scale float32, zero uint8) {
	for i, x := range src[:len(dst)] {
		q := float64(x / scale)
		switch least, most := -float64(zero), 255-float64(zero); {
		case !(q > least): // NaN too
			q = least
		case q > most:
			q = most
		}
		dst[i] = uint8(int(math.RoundToEven(q)) + int(zero))
	}
}
