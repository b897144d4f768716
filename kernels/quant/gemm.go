// SPDX-License-Identifier: Apache-2.0

package quant

import "unsafe"

// Gemm32 is ONNX MatMulInteger: c = (a - aZero) * (w - zero points of w), exactly, modulo
// 2^32. a is m rows of w.K() activations, row i beginning at a[i*lda]; c is m rows of
// w.N(), row i beginning at c[i*ldc]. Nothing outside those rows is read or written.
// s grows when it has not been reserved for this product.
func Gemm32[T Byte](m int, a []T, lda int, aZero T, w *Packed, c []int32, ldc int, s *Scratch) {
	checkMatrix("outputs", m, w.n, len(c), ldc)
	if j, some := newJob(m, a, lda, aZero, w); some {
		j.kind, j.out, j.outStride = sums, unsafe.Pointer(unsafe.SliceData(c)), 4*ldc
		run(&j, s)
	}
}

// Gemm is Gemm32 with scale, bias and activation applied to the sums: see Epilogue.
func Gemm[T Byte](m int, a []T, lda int, aZero T, w *Packed, c []float32, ldc int, e *Epilogue, s *Scratch) {
	checkMatrix("outputs", m, w.n, len(c), ldc)
	if j, some := newJob(m, a, lda, aZero, w); some {
		j.kind, j.out, j.outStride = floats, unsafe.Pointer(unsafe.SliceData(c)), 4*ldc
		j.setEpilogue(e)
		run(&j, s)
	}
}

// GemmU8 is Gemm with outputs quantised: round(y/outScale) + outZero, saturated, where
// the sums are multiplied once by AScale*WScale[j]/outScale as ONNX Runtime's
// QLinearMatMul does it, and Bias, if any, by 1/outScale. NaN gives the lowest value that
// the activation allows. outScale must be positive and finite.
func GemmU8[T Byte](m int, a []T, lda int, aZero T, w *Packed, out []uint8, ldo int, outScale float32, outZero uint8, e *Epilogue, s *Scratch) {
	checkMatrix("outputs", m, w.n, len(out), ldo)
	if j, some := newJob(m, a, lda, aZero, w); some {
		j.out, j.outStride = unsafe.Pointer(unsafe.SliceData(out)), ldo
		j.setEpilogue(e)
		j.quantizeOutput(outScale, outZero, 0)
		run(&j, s)
	}
}

// GemmS8 is GemmU8 for signed outputs.
func GemmS8[T Byte](m int, a []T, lda int, aZero T, w *Packed, out []int8, ldo int, outScale float32, outZero int8, e *Epilogue, s *Scratch) {
	checkMatrix("outputs", m, w.n, len(out), ldo)
	if j, some := newJob(m, a, lda, aZero, w); some {
		j.out, j.outStride = unsafe.Pointer(unsafe.SliceData(out)), ldo
		j.setEpilogue(e)
		j.quantizeOutput(outScale, uint8(outZero)^0x80, 0x80)
		run(&j, s)
	}
}
