// SPDX-License-Identifier: Apache-2.0

// Package conv has the inner loops of convolution and pooling in f32 on one core.
//
// There is no copy of the input for each place of the filter (im2col). Both operations
// read windows: element i of a row of outputs is made of the input's elements at i plus
// a list of offsets, the taps, which is the same for all i. That serves any number of
// dimensions, dilations and channels; the caller lays the input out so that it holds:
//
//   - padding is copied in, and rows that are padded to a pitch are taken as one long
//     row, whose outputs at row ends are of no use;
//   - a stride of s is a split into the s phases of the input, so that windows are one
//     element apart. Pools can read windows that are two apart as well.
//
// Sums of Rows are in f32 in the order of the taps, after the bias, with fused
// multiply-add where the CPU has it: a column has the same bits wherever it stands, and
// the same with AVX2 as with AVX-512. |error| <= (taps+1) * 2^-24 * (|bias| +
// sum |w*x|). Sums of pools are in the order of the taps too. A maximum ignores NaN but
// for the last elements of a window: one that is followed by another is forgotten.
//
// Outputs must not overlap inputs. Slices that are too short are errors of the
// programmer and panic before any memory is touched. Weights and Taps do not change
// once made, and may be shared; nothing here allocates but their constructors.
package conv

import "fmt"

// Taps are the elements of a window, as offsets from its first.
type Taps struct {
	offsets []int // in bytes, as the kernels take them
	reach   int   // the largest, in elements
}

// NewTaps lists the offsets of a window's elements, which are not negative. There is at
// least one.
func NewTaps(offsets []int) *Taps {
	if len(offsets) == 0 {
		panic("conv: a window of no elements")
	}
	t := &Taps{offsets: make([]int, len(offsets))}
	for i, o := range offsets {
		if o < 0 || o > 1<<40 {
			panic(fmt.Sprintf("conv: offset %d", o))
		}
		t.offsets[i], t.reach = 4*o, max(t.reach, o)
	}
	return t
}

// Len is the number of elements of a window.
func (t *Taps) Len() int { return len(t.offsets) }

// Reach is the largest offset.
func (t *Taps) Reach() int { return t.reach }

// BlockRows is the most rows of a block of Weights.
const BlockRows = 8

// Weights are the filters of a convolution, one row for each output channel, in blocks
// of rows that are summed together: the values of one tap lie side by side.
type Weights struct {
	rows, taps int
	blocks     int
	data       []float32
}

// NewWeights makes room for rows of so many taps each.
func NewWeights(rows, taps int) *Weights {
	if rows < 0 || taps < 0 {
		panic(fmt.Sprintf("conv: weights of %d x %d", rows, taps))
	}
	return &Weights{
		rows: rows, taps: taps, blocks: (rows + BlockRows - 1) / BlockRows,
		data: make([]float32, rows*taps),
	}
}

// Set copies filters in: row r begins at w[r*ldw].
func (w *Weights) Set(from []float32, ldw int) {
	for b := range w.blocks {
		first, rows := w.Block(b)
		to := w.data[first*w.taps:]
		for r := range rows {
			for k, v := range from[(first+r)*ldw:][:w.taps] {
				to[k*rows+r] = v
			}
		}
	}
}

// Bytes is the memory that the weights take.
func (w *Weights) Bytes() int { return 4 * len(w.data) }

// Blocks is the number of blocks, which differ in size by at most one row.
func (w *Weights) Blocks() int { return w.blocks }

// Block is the first row of a block and how many there are, up to BlockRows.
func (w *Weights) Block(b int) (first, rows int) {
	rows, longer := w.rows/w.blocks, w.rows%w.blocks
	first = b*rows + min(b, longer)
	if b < longer {
		rows++
	}
	return first, rows
}

// Epilogue is what happens to sums: they start from Bias, which has one value for each
// row of the weights or is nil, and end between Low and High. NaN stays NaN.
type Epilogue struct {
	Bias      []float32
	Low, High float32
}

// Rows computes the rows of a block of weights: dst[r*ldd+i] is the sum over all taps k
// of w[first+r, k] * src[i+offset(k)] for i up to cols.
func Rows(dst []float32, ldd int, src []float32, cols int, t *Taps, w *Weights, block int, e *Epilogue) {
	_, rows := w.Block(block)
	if len(t.offsets) != w.taps {
		panic(fmt.Sprintf("conv: weights for %d taps, want %d", w.taps, len(t.offsets)))
	}
	if cols < 0 || len(src)-t.reach < cols || ldd < cols || len(dst)-(rows-1)*ldd < cols {
		panic(fmt.Sprintf("conv: %d rows of %d columns, %d apart, in a slice of %d from one of %d with a reach of %d",
			rows, cols, ldd, len(dst), len(src), t.reach))
	}
	if e.Bias != nil && len(e.Bias) < w.rows {
		panic(fmt.Sprintf("conv: bias of %d values for %d rows", len(e.Bias), w.rows))
	}
	if cols == 0 {
		return
	}
	weights, bias := w.block(block, e)
	if !hasKernels() {
		rowsGeneric(dst, ldd, src, cols, t, weights, bias, e)
		return
	}
	j := job{
		src: &src[0], offsets: &t.offsets[0], taps: w.taps, weights: &weights[0], ldw: 4 * rows,
		bias: &bias[0], dst: &dst[0], ldd: 4 * ldd, cols: cols, low: e.Low, high: e.High,
	}
	j.runRows(rows)
}

var zeros [BlockRows]float32

// block is the values of a block, and what its sums start from.
func (w *Weights) block(b int, e *Epilogue) (weights, bias []float32) {
	first, rows := w.Block(b)
	bias = zeros[:rows]
	if e.Bias != nil {
		bias = e.Bias[first : first+rows]
	}
	return w.data[first*w.taps : (first+rows)*w.taps], bias
}

// Wraps reports whether Wrapped has a kernel, at the active level, for a block of so
// many rows and columns of such a width.
func Wraps(rows, width int) bool { return wraps(rows, width) }

// Wrapped is Rows with a gap in the input after each width columns, which leaves out
// those sums of Rows that are at the ends of a picture's rows: column i is made of the
// windows at i + i/width*gap. There must be a kernel: see Wraps.
func Wrapped(dst []float32, ldd int, src []float32, cols, width, gap int, t *Taps, w *Weights, block int, e *Epilogue) {
	first, rows := w.Block(block)
	if len(t.offsets) != w.taps || e.Bias != nil && len(e.Bias) < w.rows {
		panic(fmt.Sprintf("conv: weights of %d x %d for %d taps and a bias of %d", w.rows, w.taps, len(t.offsets), len(e.Bias)))
	}
	if !wraps(rows, width) || cols < 0 || gap < 0 || ldd < cols || len(dst)-(rows-1)*ldd < cols ||
		len(src)-t.reach-max(0, cols-1)/width*gap < cols {
		panic(fmt.Sprintf("conv: rows %d to %d of %d columns, %d apart, %d wide with a gap of %d, in a slice of %d from one of %d with a reach of %d",
			first, first+rows, cols, ldd, width, gap, len(dst), len(src), t.reach))
	}
	if cols == 0 {
		return
	}
	weights, bias := w.block(block, e)
	j := job{
		src: &src[0], offsets: &t.offsets[0], taps: w.taps, weights: &weights[0], ldw: 4 * rows,
		bias: &bias[0], dst: &dst[0], ldd: 4 * ldd, cols: cols, low: e.Low, high: e.High,
		width: width, gap: 4 * gap,
	}
	j.runWrap(rows)
}

// job tells a kernel what to compute. Strides are in bytes. The kernels know the offsets
// of the fields: see kernels/_gen/internal/convgen.
type job struct {
	src     *float32
	offsets *int
	taps    int
	weights *float32
	ldw     int // from one tap to the next
	bias    *float32
	dst     *float32
	ldd     int
	cols    int
	rows    int // of a pool
	lds     int
	low     float32
	high    float32
	table   *int32 // the even numbers, for AVX-512; where masks' unset lanes begin, for AVX2
	width   int    // columns between gaps
	gap     int
}
