// SPDX-License-Identifier: Apache-2.0

package quant

import "unsafe"

// outputKind is the form in which a product is stored.
type outputKind int

const (
	sums   outputKind = iota // int32
	floats                   // float32
	bytes                    // uint8, or int8 by flip
)

// job is one product with its types taken away: activations are bytes that aFlip makes
// unsigned, and aZero is that of the unsigned ones.
type job struct {
	m     int
	a     []uint8
	lda   int
	aFlip uint8
	aZero uint8
	w     *Packed

	kind      outputKind
	out       unsafe.Pointer
	outStride int // bytes
	bias32    []int32
	wScale    []float32
	bias      []float32
	aScale    float32
	outScale  float32 // of bytes
	// lo and hi bound the output; for bytes they are in its steps, before the zero
	// point is added, and within what a byte holds.
	lo, hi  float32
	outZero uint8
	flip    uint8
}

// newJob is a product without its output; some is false when it has no outputs.
func newJob[T Byte](m int, a []T, lda int, aZero T, w *Packed) (j job, some bool) {
	checkMatrix("activations", m, w.k, len(a), lda)
	if w.k == 0 {
		a, lda = nil, 0 // no product has a factor to read
	}
	flip := signFlip[T]()
	return job{m: m, a: unsigned(a), lda: lda, aFlip: flip, aZero: uint8(aZero) ^ flip, w: w}, m > 0 && w.n > 0
}

func (j *job) setEpilogue(e *Epilogue) {
	e.check(j.w.n)
	j.kind = floats
	j.bias32, j.wScale, j.bias, j.aScale = e.Bias32, e.WScale, e.Bias, e.AScale
	j.lo, j.hi = e.bounds()
}

// quantizeOutput makes the output bytes with the given zero point, each flipped by flip.
func (j *job) quantizeOutput(scale float32, zero, flip uint8) {
	j.kind = bytes
	lowest, highest := -float32(zero), 255-float32(zero)
	j.lo = clampOrLow(j.lo/scale, lowest, highest)
	j.hi = clampOrLow(j.hi/scale, lowest, highest)
	j.outScale, j.outZero, j.flip = scale, zero, flip
}
