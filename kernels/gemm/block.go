// SPDX-License-Identifier: Apache-2.0

package gemm

// Sizes of blocks, found by measurement. A block of A (mc rows of kc values) stays in
// the L2 cache while all panels pass by it.
const (
	kcMax      = 1024
	blockMax   = 96 << 10 // values of A in a block
	blockRows  = 42       // a multiple of the rows of every level's tiles
	setStride  = 2048     // rows this many bytes apart share too few cache sets
	fewColumns = 64       // up to these, copying A costs more than it saves
)

// operand says how a block's B is stored.
type operand uint8

const (
	panelsF32  operand = iota // panels, as they are
	panelsDots                // panels of bf16, multiplied by bf16; k counts pairs
	panelsBF16                // panels of bf16, to be widened
	plain                     // k x n
	transposed                // n x k
)

// block is a product that tiles are run over.
type block struct {
	m, n, k int
	from    int // the first k of this part
	a       []float32
	lda     int
	b       []float32
	b16     []uint16 // B of panelsBF16
	ldb     int      // from one row of b to the next; of panels, from one panel to the next
	c       []float32
	ldc     int
	bias    []float32
	add     []float32
	ldadd   int
	operand operand
	depth   int         // values of k, where o.k counts pairs
	buffer  []float32   // a panel that is made as it is needed
	calls   *[]tileCall // where tiles are noted instead of run
}

// kBlock is how many of k values are multiplied at once: all, or equal parts. It does
// not depend on m, so that neither do the sums.
func kBlock(k int) int {
	if k <= kcMax {
		return max(4, (k+3)&^3)
	}
	parts := max(1, (k+kcMax-1)/kcMax)
	return max(4, ((k+parts-1)/parts+3)&^3)
}

// mBlock is how many rows of k values make a block.
func mBlock(k int) int { return max(1, blockMax/k/blockRows) * blockRows }

// paddedStride is a stride for rows of k values that spreads them over all cache sets.
func paddedStride(k int) int {
	const line = lineBytes / 4
	return ((k+line-1)/line | 1) * line
}

// rowsScratch is how many values copies of rows of A take.
func rowsScratch(m, k int) int {
	kc := kBlock(k)
	return min(m, mBlock(kc)) * paddedStride(kc)
}

// copies reports whether rows of A are better copied than read where they are.
func (o *block) copies() bool {
	return o.operand == panelsDots || o.m > 4 && 4*o.lda%setStride == 0 ||
		o.m > 1 && o.m*o.k > blockMax && o.n > fewColumns
}

// multiply runs the tiles of a product with its epilogue. The scratch has room for
// rowsScratch, and for a panel unless B is one already.
func (o *block) multiply(e *Epilogue, alpha float32, s *Scratch) {
	var t tile
	last := t.epilogue(e, alpha)
	if e != nil {
		o.bias, o.add, o.ldadd = e.Bias, e.Add, e.LdAdd
	}
	if o.operand > panelsDots {
		o.buffer = s.panel
	}
	kc, mc, copies := kBlock(o.k), o.m, o.copies()
	switch {
	case copies:
		mc = mBlock(kc)
	case o.k <= kc: // one part, which is all
		t.flags = last
		o.sweep(&t)
		if e.slow() {
			e.activateBlock(o.m, o.n, o.c, o.ldc)
		}
		return
	}
	for i := 0; i < o.m; i += mc {
		part := o.rows(i, min(mc, o.m-i))
		for p := 0; p < o.k; p += kc {
			part.from, part.k = p, min(kc, o.k-p)
			switch {
			case o.operand == panelsDots:
				part.roundRows(o, i, s.rows)
			case copies:
				part.copyRows(o, i, s.rows)
			default:
				part.a = o.a[i*o.lda+p:]
			}
			t.flags = last & flagScale
			if p+kc >= o.k {
				t.flags = last
			}
			if p > 0 {
				t.flags |= flagAccumulate
			}
			part.sweep(&t)
		}
		if e.slow() {
			e.activateBlock(part.m, o.n, part.c, o.ldc)
		}
	}
}

// rows is the product of m rows, from row i on, whose A is yet to be set.
func (o *block) rows(i, m int) block {
	part := *o
	part.m, part.c = m, o.c[i*o.ldc:]
	if o.add != nil {
		part.add = o.add[i*o.ldadd:]
	}
	return part
}

// copyRows makes the block's A a copy of whole's rows from i on, with a padded stride.
func (o *block) copyRows(whole *block, i int, rows []float32) {
	stride := paddedStride(o.k)
	for r := range o.m {
		copy(rows[r*stride:][:o.k], whole.a[(i+r)*whole.lda+o.from:])
	}
	o.a, o.lda = rows, stride
}

// sweep runs the tiles of all panels. Where the rows need more than one tile, a panel
// is kept while tiles go down the rows.
func (o *block) sweep(t *tile) {
	t.k, t.lda, t.ldb, t.ldc, t.ldadd = o.k, 4*o.lda, 4*panelCols, 4*o.ldc, 4*o.ldadd
	for j := o.along(t); j < o.n; j += panelCols {
		width := min(panelCols, o.n-j)
		panel := o.load(j, width)
		tileRows, tileCols := o.tileShape(width)
		for col := 0; col < width; col += tileCols {
			t.columns(width-col, tileCols)
			o.down(t, panel[col:], j+col, tileRows, tileCols)
		}
	}
}

func (o *block) tileShape(width int) (rows, cols int) {
	if o.operand == panelsDots {
		return bf16Rows, panelCols
	}
	return tileShape(o.m, width)
}

// along runs tiles of all rows over the full panels, if there are such tiles and B can
// be read as it is, and returns how many columns it did.
func (o *block) along(t *tile) (columns int) {
	tileRows, tileCols := o.tileShape(panelCols)
	if o.m > tileRows || tileCols < panelCols {
		return 0
	}
	b := o.b
	switch {
	case o.operand <= panelsDots:
		b, t.panel = b[o.from*panelCols:], 4*o.ldb
	case o.operand == plain:
		b, t.panel, t.ldb = b[o.from*o.ldb:], 4*panelCols, 4*o.ldb
	default:
		return 0
	}
	if o.m <= pairRows() {
		columns = o.alongPanels(t, b, 0, pairCols)
	}
	columns = o.alongPanels(t, b, columns, panelCols)
	t.ldb = 4 * panelCols
	return columns
}

// alongPanels runs one call of tiles of the given width from column j on, as many as
// there are full ones, and returns where they end.
func (o *block) alongPanels(t *tile, b []float32, j, width int) (end int) {
	count := (o.n - j) / panelCols
	if width == pairCols {
		count /= 2
	}
	if count == 0 {
		return j
	}
	t.columns(width, width)
	t.stepA, t.stepB = 0, width/panelCols*t.panel
	t.stepC, t.stepBias, t.stepAdd = 4*width, 4*width, 4*width
	o.run(t, b[j/panelCols*t.panel/4:], 0, j, o.m, width, count)
	return j + count*width
}

// down runs tiles through the rows of the columns from j on. They differ by at most
// one row, as a short tile would leave the multipliers waiting.
func (o *block) down(t *tile, panel []float32, j, tileRows, tileCols int) {
	tiles := (o.m + tileRows - 1) / tileRows
	rows, longer := o.m/tiles, o.m%tiles
	t.stepB, t.stepBias = 0, 0
	if longer > 0 {
		t.stepA, t.stepC, t.stepAdd = (rows+1)*t.lda, (rows+1)*t.ldc, (rows+1)*t.ldadd
		o.run(t, panel, 0, j, rows+1, tileCols, longer)
	}
	t.stepA, t.stepC, t.stepAdd = rows*t.lda, rows*t.ldc, rows*t.ldadd
	o.run(t, panel, longer*(rows+1), j, rows, tileCols, tiles-longer)
}

// run runs count tiles of some rows and columns, the first at row i and column j.
func (o *block) run(t *tile, b []float32, i, j, rows, cols, count int) {
	t.a, t.b, t.c = &o.a[i*o.lda], &b[0], &o.c[i*o.ldc+j]
	if o.bias != nil {
		t.bias = &o.bias[j]
	}
	if o.add != nil {
		t.add = &o.add[i*o.ldadd+j]
	}
	t.count = count
	if o.calls != nil {
		*o.calls = append(*o.calls, tileCall{*t, rows, cols})
		return
	}
	if o.operand == panelsDots {
		t.runBF16(rows, cols)
		return
	}
	t.run(rows, cols)
}
