// SPDX-License-Identifier: Apache-2.0

package gemm

// load is the block's rows of the panel of width columns from j on: where it is, or in
// the buffer.
func (o *block) load(j, width int) []float32 {
	panel := o.buffer
	switch o.operand {
	case panelsBF16:
		widenPanel(panel, o.b16[j/panelCols*o.ldb+o.from*panelCols:], o.k)
	case plain:
		packPlain(panel, o.b[o.from*o.ldb+j:], o.k, width, o.ldb)
	case transposed:
		packTransposed(panel, o.b[j*o.ldb+o.from:], o.k, width, o.ldb)
	default:
		panel = o.b[j/panelCols*o.ldb+o.from*panelCols:]
	}
	return panel
}

// packPlain copies width columns of k rows of b into a panel. Columns beyond them keep
// what they have, or get what follows in b: they are multiplied, but not stored.
func packPlain(panel []float32, b []float32, k, width, ldb int) {
	i := 0
	if hasRowKernels() && len(b) >= panelCols {
		i = min(k, (len(b)-panelCols)/ldb+1)
		_ = panel[i*panelCols-1]
		packRows(&panel[0], &b[0], i, ldb)
	}
	for ; i < k; i++ {
		copy(panel[i*panelCols:][:width], b[i*ldb:])
	}
}

// packTransposed makes columns of a panel of width rows of k values of b.
func packTransposed(panel []float32, b []float32, k, width, ldb int) {
	col := 0
	if fours := k / 4; fours > 0 && hasRowKernels() {
		const group = 8
		_ = panel[4*fours*panelCols-1]
		for ; col+group <= width; col += group {
			rows := b[col*ldb:]
			_ = rows[(group-1)*ldb+4*fours-1]
			packColumns(&panel[col], &rows[0], fours, ldb)
			if k%4 > 0 {
				transposeGeneric(panel[4*fours*panelCols+col:], rows[4*fours:], k%4, group, ldb)
			}
		}
	}
	if col < width {
		transposeGeneric(panel[col:], b[col*ldb:], k, width-col, ldb)
	}
}

func transposeGeneric(panel []float32, b []float32, k, width, ldb int) {
	for i := range k {
		for j := range width {
			panel[i*panelCols+j] = b[j*ldb+i]
		}
	}
}

// widenPanel makes a panel of f32 of k rows of one of bf16.
func widenPanel(panel []float32, b []uint16, k int) {
	whole := pairs(k)
	if hasRowKernels() {
		_, _ = panel[2*whole*panelCols-1], b[2*whole*panelCols-1]
		widenPairs(&panel[0], &b[0], whole)
		return
	}
	for i := range 2 * whole * panelCols {
		pair, col, odd := i/(2*panelCols), i/2%panelCols, i%2
		panel[(2*pair+odd)*panelCols+col] = widen(b[i])
	}
}
