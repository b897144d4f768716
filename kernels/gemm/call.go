// SPDX-License-Identifier: Apache-2.0

package gemm

import "github.com/millrace-ml/millrace/kernels/cpu"

// Call is a Gemm that is made time and again with the same operands. Its checks, and the
// division into tiles where that is short, are made once: with few rows of few columns
// they take as long as the product. One goroutine at a time runs it.
type Call struct {
	m        int
	a, c     []float32
	lda, ldc int
	w        *Packed
	e        *Epilogue
	s        *Scratch
	tiles    []tileCall // nil where it is not kept which they are
	level    cpu.Level  // that tiles are for
}

// tileCall is a call of a kernel.
type tileCall struct {
	tile       tile
	rows, cols int
}

// tileCalls is how many calls of kernels are kept at most.
const tileCalls = 16

// Prepare checks the operands like Gemm and keeps them, by reference: what they hold may
// change between runs. The scratch is reserved for the product.
func Prepare(m int, a []float32, lda int, w *Packed, c []float32, ldc int, e *Epilogue, s *Scratch) *Call {
	checkGemm(m, len(a), lda, w.k, len(c), ldc, w.n)
	e.check(m, w.n)
	s.check(needs(m, w))
	p := &Call{m: m, a: a, lda: lda, w: w, c: c, ldc: ldc, e: e, s: s, level: cpu.Active()}
	p.plan()
	return p
}

// plan lists the calls of kernels where they are few and nothing else is to be done.
func (p *Call) plan() {
	if p.m == 0 || p.w.n == 0 || p.w.k == 0 || p.w.narrow() || !hasRowKernels() {
		return
	}
	o := newBlock(p.m, p.a, p.lda, p.w, p.c, p.ldc)
	if panels(p.w.n) > tileCalls || o.copies() || o.k > kBlock(o.k) {
		return
	}
	o.calls = &p.tiles
	o.multiply(p.e.inTiles(), 1, p.s)
	if len(p.tiles) > tileCalls {
		p.tiles = nil
	}
}

// Run makes the call.
func (p *Call) Run() {
	if p.tiles == nil || p.level != cpu.Active() {
		Gemm(p.m, p.a, p.lda, p.w, p.c, p.ldc, p.e, p.s)
		return
	}
	for i := range p.tiles {
		t := &p.tiles[i]
		t.tile.run(t.rows, t.cols)
	}
	if p.e.slow() {
		p.e.activateBlock(p.m, p.w.n, p.c, p.ldc)
	}
}

// inTiles is the part of the epilogue that tiles do.
func (e *Epilogue) inTiles() *Epilogue {
	if !e.slow() {
		return e
	}
	part := *e
	part.Activation = None
	return &part
}
