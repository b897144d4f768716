// SPDX-License-Identifier: Apache-2.0

package quant

import (
	"fmt"
	"unsafe"
)

const (
	// panelColumns is how many columns of the weights lie together: two vectors of 16
	// sums, which with 14 rows fill the registers.
	panelColumns = 32
	// depthStep is how many products one instruction adds up.
	depthStep = 4
)

// Packed is a matrix of 8-bit weights, K x N, laid out for Gemm: panels of 32 columns,
// in each of which four consecutive weights of a column lie side by side, the columns
// after each other, and so on down the panel. Depth and columns are padded with zeros.
// The layout is the same at every CPU level. A Packed is immutable.
type Packed struct {
	k, n   int
	depth  int // k, rounded up to whole steps
	panels int
	data   []int8 // panels x depth/4 x 32 x 4, on a 64-byte boundary
	// correction is, for each column, what each unit of the activations' zero point
	// takes off the sums: the column's sum less K times its zero point.
	correction []int32 // panels x 32
	// zeros are the columns' zero points; nil when all are 0, which saves the sums of
	// the rows.
	zeros []int32 // panels x 32
}

// K is the depth: the number of rows of the weights.
func (p *Packed) K() int { return p.k }

// N is the number of columns.
func (p *Packed) N() int { return p.n }

// Bytes is the memory that the weights take as packed.
func (p *Packed) Bytes() int {
	return len(p.data) + 4*(len(p.correction)+len(p.zeros))
}

// Pack lays out the weights b, of which row i begins at b[i*ldb]: K rows of N, or N
// rows of K when transposed. zero holds their zero points: none (all 0), one, or N.
// It copies; b may be reused. It panics when the lengths do not fit.
func Pack[T Byte](k, n int, b []T, ldb int, transposed bool, zero []T) *Packed {
	rows, width := k, n
	if transposed {
		rows, width = n, k
	}
	checkMatrix("weights", rows, width, len(b), ldb)
	if len(zero) > 1 && len(zero) != n {
		panic(fmt.Sprintf("quant: %d zero points for weights of %d columns", len(zero), n))
	}
	p := &Packed{k: k, n: n, depth: roundUp(k, depthStep), panels: (n + panelColumns - 1) / panelColumns}
	p.data = aligned[int8](p.panels * p.depth * panelColumns)
	p.correction = make([]int32, p.panels*panelColumns)
	flip := signFlip[T]() ^ 0x80
	down, across := ldb, 1
	if transposed {
		down, across = 1, ldb
	}
	for j := range n {
		p.packColumn(j, unsigned(b), j*across, down, flip)
	}
	p.setZeros(unsigned(zero), flip)
	return p
}

// packColumn copies column j, whose weights are at b[at], b[at+down] and so on, each
// made signed by flip, and sums it.
func (p *Packed) packColumn(j int, b []uint8, at, down int, flip uint8) {
	sum := int32(0)
	first := j/panelColumns*p.depth*panelColumns + j%panelColumns*depthStep
	for i := range p.k {
		w := int8(b[at+i*down] ^ flip)
		p.data[first+i/depthStep*panelColumns*depthStep+i%depthStep] = w
		sum += int32(w)
	}
	p.correction[j] = sum
}

// setZeros takes the zero points, each made signed by flip.
func (p *Packed) setZeros(zero []uint8, flip uint8) {
	list := make([]int32, p.panels*panelColumns)
	any := false
	for j := range p.n {
		z := int32(int8(flip))
		switch {
		case len(zero) == 1:
			z = int32(int8(zero[0] ^ flip))
		case len(zero) > 1:
			z = int32(int8(zero[j] ^ flip))
		}
		list[j] = z
		any = any || z != 0
		p.correction[j] -= int32(p.k) * z
	}
	if any {
		p.zeros = list
	}
}

// checkMatrix panics unless a slice of the given length holds a matrix of which row i
// begins at i*stride.
func checkMatrix(what string, rows, width, length, stride int) {
	switch {
	case rows < 0 || width < 0:
		panic(fmt.Sprintf("quant: %s of %d rows of %d", what, rows, width))
	case rows == 0 || width == 0:
	case stride < width && rows > 1:
		panic(fmt.Sprintf("quant: %s have rows of %d that are %d apart", what, width, stride))
	case length < width || rows > 1 && rows-1 > (length-width)/stride:
		panic(fmt.Sprintf("quant: %s are %d elements, too few for %d rows of %d that are %d apart", what, length, rows, width, stride))
	}
}

func roundUp(n, multiple int) int { return (n + multiple - 1) / multiple * multiple }

// aligned is n zeros that begin at a boundary of a cache line.
func aligned[T int8 | uint8 | uint16 | int32](n int) []T {
	if n == 0 {
		return nil
	}
	const line = 64
	size := int(unsafe.Sizeof(T(0)))
	memory := make([]T, n+line/size)
	skip := (line - int(uintptr(unsafe.Pointer(&memory[0]))%line)) % line / size
	return memory[skip : skip+n : skip+n]
}
