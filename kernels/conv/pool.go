// SPDX-License-Identifier: Apache-2.0

package conv

import (
	"fmt"
	"math"
)

// Grid is rows of windows. Element i of row r of the output is made of the window that
// begins at element r*SrcRow + i*Step of the input, and is stored at r*DstRow + i.
type Grid struct {
	Rows, Cols     int
	DstRow, SrcRow int
	Step           int // at least 1; the kernels do 1 and 2
}

// check panics unless the windows fit.
func (g *Grid) check(dst, src, reach int) (empty bool) {
	if g.Rows <= 0 || g.Cols <= 0 {
		return true
	}
	last := g.Rows - 1
	if g.Step < 1 || g.DstRow < 0 || g.SrcRow < 0 ||
		dst-last*g.DstRow < g.Cols || src-last*g.SrcRow-reach <= (g.Cols-1)*g.Step {
		panic(fmt.Sprintf("conv: windows %+v with a reach of %d in a slice of %d from one of %d", *g, reach, dst, src))
	}
	return false
}

// Max takes the largest element of each window.
func Max(dst, src []float32, g *Grid, t *Taps) {
	if g.check(len(dst), len(src), t.reach) {
		return
	}
	least := float32(math.Inf(-1))
	if g.Step > 2 || !hasKernels() {
		for r := range g.Rows {
			maxGeneric(dst[r*g.DstRow:][:g.Cols], src[r*g.SrcRow:], g.Step, t, least)
		}
		return
	}
	j := g.job(dst, src, t)
	j.low = least
	j.runMax(g.Step)
}

// Sum adds the elements of each window up.
func Sum(dst, src []float32, g *Grid, t *Taps) {
	if g.check(len(dst), len(src), t.reach) {
		return
	}
	if g.Step > 2 || !hasKernels() {
		for r := range g.Rows {
			sumGeneric(dst[r*g.DstRow:][:g.Cols], src[r*g.SrcRow:], g.Step, t)
		}
		return
	}
	j := g.job(dst, src, t)
	j.runSum(g.Step)
}

// Filter sums the elements of each window times the weights, which has one for each tap,
// as Rows does with weights of a single row; e.Bias, where given, has one value.
func Filter(dst, src []float32, g *Grid, t *Taps, w []float32, e *Epilogue) {
	if len(w) < len(t.offsets) || e.Bias != nil && len(e.Bias) == 0 {
		panic(fmt.Sprintf("conv: %d weights for %d taps and a bias of %d", len(w), len(t.offsets), len(e.Bias)))
	}
	if g.check(len(dst), len(src), t.reach) {
		return
	}
	bias := zeros[:1]
	if e.Bias != nil {
		bias = e.Bias
	}
	if g.Step > 2 || !hasKernels() {
		for r := range g.Rows {
			filterGeneric(dst[r*g.DstRow:][:g.Cols], src[r*g.SrcRow:], g.Step, t, w, bias[0], e)
		}
		return
	}
	j := g.job(dst, src, t)
	j.weights, j.bias, j.low, j.high = &w[0], &bias[0], e.Low, e.High
	j.runFilter(g.Step)
}

// one is the window of a single element.
var one = NewTaps([]int{0})

// Copy copies the elements that windows begin at, to the bit.
func Copy(dst, src []float32, g *Grid) {
	if g.check(len(dst), len(src), 0) {
		return
	}
	if g.Step > 2 || !hasKernels() {
		for r := range g.Rows {
			to, from := dst[r*g.DstRow:][:g.Cols], src[r*g.SrcRow:]
			if g.Step == 1 {
				copy(to, from)
				continue
			}
			for i := range to {
				to[i] = from[i*g.Step]
			}
		}
		return
	}
	j := g.job(dst, src, one)
	if g.Step == 1 {
		j.runCopy()
		return
	}
	j.low = float32(math.Inf(-1))
	j.runMax(g.Step)
}

func (g *Grid) job(dst, src []float32, t *Taps) job {
	return job{
		src: &src[0], offsets: &t.offsets[0], taps: len(t.offsets), dst: &dst[0],
		ldd: 4 * g.DstRow, cols: g.Cols, rows: g.Rows, lds: 4 * g.SrcRow,
	}
}
