// SPDX-License-Identifier: Apache-2.0

// Package gemmgen writes the tile kernels of kernels/gemm, which differ in the size of
// their vectors, in the number of rows and in the type of their operands.
//
// A kernel keeps the sums of a tile in registers and adds the products of one k after
// the other to them, for few rows as for many: so a row's results do not depend on the
// rows beside it. What hides the latency of the multiply-add with one or two rows is a
// second panel, not a second set of sums.
//
// Vector registers are assigned here, not by avo: sums first, the rest for anything.
package gemmgen

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/millrace-ml/millrace/kernels/_gen/internal/bf16"
)

// The offsets of the fields of gemm.tile.
const (
	offA     = 0
	offLdA   = 8
	offB     = 16
	offLdB   = 24
	offC     = 32
	offLdC   = 40
	offBias  = 48
	offAdd   = 56
	offLdAdd = 64
	offK     = 72
	offCount = 80
	stepA    = 88
	stepB    = 96
	stepC    = 104
	stepBias = 112
	stepAdd  = 120
	offDone  = 128
	offFlags = 136
	offMask  = 140
	offAlpha = 144
	offSlope = 148
	offLo    = 152
	offHi    = 156
	offLanes = 160
	offPanel = 168
)

// The flags of gemm.tile.
const (
	flagScale = 1 << iota
	flagAccumulate
	flagBias
	flagAdd
	flagLo
	flagHi
	flagLeaky
	flagPart
)

// Tile describes a kernel.
type Tile struct {
	Name string // the kernel's name begins with it and ends in its size
	Rows int
	Cols int  // one vector or more of a panel, or two panels
	Wide bool // AVX-512, else AVX2
	BF16 bool // pairs of bf16, else f32
}

// kernel is a Tile being written.
type kernel struct {
	Tile
	vectors int
	t       reg.Register      // the tile struct
	sums    []reg.VecPhysical // row by row
	rest    []reg.VecPhysical // the registers that are not sums: at least four
}

// Write writes the kernel.
func (d Tile) Write() {
	k := &kernel{Tile: d}
	k.assign()
	name := fmt.Sprintf("%sx%dx%d", d.Name, d.Rows, d.Cols)
	TEXT(name, NOSPLIT, "func(t *byte)")
	Doc(fmt.Sprintf("%s computes tiles of %d rows and %d columns.", name, d.Rows, d.Cols))
	Pragma("noescape")
	k.t = Load(Param("t"), GP64())
	MOVQ(U32(0), k.field(offDone))
	if d.Wide {
		KMOVW(k.field(offMask), reg.K1)
		KMOVW(k.field(offMask+2), reg.K2)
	}
	Label("tile")
	k.multiply()
	k.epilogue()
	done := GP64()
	MOVQ(k.field(offDone), done)
	INCQ(done)
	MOVQ(done, k.field(offDone))
	CMPQ(done, k.field(offCount))
	JLT(LabelRef("tile"))
	VZEROUPPER()
	RET()
}

// assign gives out the vector registers.
func (k *kernel) assign() {
	k.vectors = 4 * k.Cols / k.bytes()
	registers := vectorRegisters(k.Wide)
	sums := k.Rows * k.vectors
	k.sums, k.rest = registers[:sums], registers[sums:]
}

func (k *kernel) bytes() int {
	if k.Wide {
		return 64
	}
	return 32
}

func (k *kernel) field(offset int) Mem { return Mem{Base: k.t, Disp: offset} }

// cursor is the address in field ptr moved by done times field step.
func (k *kernel) cursor(ptr, step int) reg.GPVirtual {
	p := GP64()
	MOVQ(k.field(offDone), p)
	IMULQ(k.field(step), p)
	ADDQ(k.field(ptr), p)
	return p
}

// rows addresses the rows of a matrix that begins at base: three rows to a register.
type rows struct {
	bases  []reg.Register
	stride reg.Register
}

func newRows(n int, base, stride reg.Register) rows {
	r := rows{bases: []reg.Register{base}, stride: stride}
	if n <= 3 {
		return r
	}
	triple := GP64()
	LEAQ(Mem{Base: stride, Index: stride, Scale: 2}, triple)
	for i := 3; i < n; i += 3 {
		p := GP64()
		LEAQ(Mem{Base: r.bases[len(r.bases)-1], Index: triple, Scale: 1}, p)
		r.bases = append(r.bases, p)
	}
	return r
}

func (r rows) at(i, offset int) Mem {
	m := Mem{Base: r.bases[i/3], Disp: offset}
	if i%3 != 0 {
		m.Index, m.Scale = r.stride, uint8(i%3)
	}
	return m
}

func (r rows) advance(bytes int) {
	for _, p := range r.bases {
		ADDQ(I32(int32(bytes)), p)
	}
}

// ahead is how far before its use B is prefetched. Tiles of few rows read B as fast as
// the L3 cache gives it; prefetching more than the next lines keeps the CPU's own
// prefetcher from doing so. At the pace of many rows that does not matter, and looking
// far ahead covers the step to the next panel.
func (k *kernel) ahead() int {
	if k.Rows <= 4 {
		return 256
	}
	return 4096
}

// multiply sums the products of all k.
func (k *kernel) multiply() {
	lda := GP64()
	MOVQ(k.field(offLdA), lda)
	a := newRows(k.Rows, k.cursor(offA, stepA), lda)
	b := newPanels(k)
	left := GP64()
	MOVQ(k.field(offK), left)
	k.zero()

	const unroll = 4
	SUBQ(U8(unroll), left)
	JLT(LabelRef("tail"))
	Label("loop")
	for i := range unroll {
		k.step(a, b, i)
	}
	a.advance(4 * unroll)
	b.advance(unroll)
	SUBQ(U8(unroll), left)
	JGE(LabelRef("loop"))
	Label("tail")
	ADDQ(U8(unroll), left)
	JEQ(LabelRef("sum"))
	Label("one")
	k.step(a, b, 0)
	a.advance(4)
	b.advance(1)
	DECQ(left)
	JNE(LabelRef("one"))
	Label("sum")
}

// panels addresses one panel or two.
type panels struct {
	bases        []reg.Register
	ldb, triple  reg.Register
	panelVectors int
	vectorBytes  int
}

const panelBytes = 128 // of a row of a panel

func newPanels(k *kernel) panels {
	p := panels{
		bases: []reg.Register{k.cursor(offB, stepB)}, ldb: GP64(), triple: GP64(),
		panelVectors: panelBytes / k.bytes(), vectorBytes: k.bytes(),
	}
	MOVQ(k.field(offLdB), p.ldb)
	LEAQ(Mem{Base: p.ldb, Index: p.ldb, Scale: 2}, p.triple)
	if k.vectors > p.panelVectors {
		second := GP64()
		MOVQ(k.field(offPanel), second)
		ADDQ(p.bases[0], second)
		p.bases = append(p.bases, second)
	}
	return p
}

// at addresses vector v of row i of those that come next, of up to four.
func (p panels) at(i, v int) Mem {
	m := Mem{Base: p.bases[v/p.panelVectors], Disp: v % p.panelVectors * p.vectorBytes}
	switch i {
	case 1, 2:
		m.Index, m.Scale = p.ldb, uint8(i)
	case 3:
		m.Index, m.Scale = p.triple, 1
	}
	return m
}

// advance moves by one row or four.
func (p panels) advance(rows int) {
	for _, base := range p.bases {
		LEAQ(Mem{Base: base, Index: p.ldb, Scale: uint8(rows)}, base)
	}
}

func (k *kernel) zero() {
	for _, sum := range k.sums {
		if k.Wide {
			VPXORD(sum, sum, sum)
		} else {
			VXORPS(sum, sum, sum)
		}
	}
}

// step adds the products of the i-th of the next k, or pairs of them. What there is
// less of, vectors of B or rows, is held in registers.
func (k *kernel) step(a rows, b panels, i int) {
	for v := 0; v < k.vectors; v += 64 / k.bytes() {
		PREFETCHT0(b.at(i, v).Offset(k.ahead()))
	}
	loadB := func(v int, to reg.VecPhysical) { VMOVUPS(b.at(i, v), to) }
	loadA := func(row int, to reg.VecPhysical) { VBROADCASTSS(a.at(row, 4*i), to) }
	if k.vectors <= k.Rows {
		k.outer(k.vectors, k.Rows, loadB, loadA, func(v, i int, y, x reg.VecPhysical) { k.multiplyAdd(k.sum(i, v), x, y) })
	} else {
		k.outer(k.Rows, k.vectors, loadA, loadB, func(i, v int, x, y reg.VecPhysical) { k.multiplyAdd(k.sum(i, v), x, y) })
	}
}

// outer loads the held vectors, and goes through the others with the registers left.
func (k *kernel) outer(held, others int, loadHeld, loadOther func(i int, to reg.VecPhysical), do func(h, o int, x, y reg.VecPhysical)) {
	for h := range held {
		loadHeld(h, k.rest[h])
	}
	free := k.rest[held:min(len(k.rest), held+2)]
	for o := range others {
		y := free[o%len(free)]
		loadOther(o, y)
		for h := range held {
			do(h, o, k.rest[h], y)
		}
	}
}

func (k *kernel) multiplyAdd(sum, x, y reg.VecPhysical) {
	if k.BF16 {
		bf16.Dot(sum, x, y)
	} else {
		VFMADD231PS(y, x, sum)
	}
}
