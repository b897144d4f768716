// SPDX-License-Identifier: Apache-2.0

package quant

import (
	"fmt"
	"os"
	"syscall"
	"testing"
	"unsafe"

	"github.com/millrace-ml/millrace/kernels/kerneltest"
)

// atEnd is n elements after which memory may not be touched.
func atEnd[T kerneltest.Number](t *testing.T, n int) []T {
	t.Helper()
	var zero T
	page, size := os.Getpagesize(), n*int(unsafe.Sizeof(zero))
	whole := roundUp(size, page)
	memory, err := syscall.Mmap(-1, 0, whole+page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Munmap(memory) })
	if err := syscall.Mprotect(memory[whole:], syscall.PROT_NONE); err != nil {
		t.Fatal(err)
	}
	return unsafe.Slice((*T)(unsafe.Add(unsafe.Pointer(&memory[0]), whole-size)), n)
}

// TestNothingBeyondTheEnd runs every kernel on operands at the end of their memory: a
// read beyond it, which canaries do not show, ends the test program.
func TestNothingBeyondTheEnd(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		r := kerneltest.Rand(t, 9)
		for i, sh := range []shape{{1, 5, 7, false, 0}, {3, 64, 33, false, 0}, {14, 127, 40, true, 0}, {15, 36, 31, false, 0}, {7, 96, 64, true, 0}} {
			a, b, c := atEnd[uint8](t, sh.m*sh.k), atEnd[uint8](t, sh.k*sh.n), atEnd[float32](t, sh.m*sh.n)
			bytesOf(r, a)
			bytesOf(r, b)
			ldb := sh.n
			if sh.transposed {
				ldb = sh.k
			}
			w := Pack(sh.k, sh.n, b, ldb, sh.transposed, nil)
			e := epilogueOf(r, sh.n, 7)
			e.Bias, e.Bias32, e.WScale = atEnd[float32](t, sh.n), atEnd[int32](t, sh.n), atEnd[float32](t, sh.n)
			kerneltest.Fill(r, e.WScale, 0.01)
			var s Scratch
			Gemm(sh.m, a, sh.k, 3, w, c, sh.n, e, &s)
			GemmU8(sh.m, a, sh.k, 3, w, atEnd[uint8](t, sh.m*sh.n), sh.n, 0.5, 9, e, &s)
			Gemm32(sh.m, a, sh.k, 3, w, integers(c), sh.n, &s)
			want := make([]float32, len(c))
			Dequantize32(want, integers(c), e.WScale)
			Dequantize32(c, integers(append([]float32(nil), c...)), e.WScale)
			kerneltest.Same(t, fmt.Sprint(i), c, want)
			q := atEnd[uint8](t, len(c))
			QuantizeU8(q, c, 0.1, 100)
			DequantizeU8(c, q, 0.1, 100)
			Range(c)
		}
	})
}

// integers is x seen as integers.
func integers(x []float32) []int32 {
	return unsafe.Slice((*int32)(unsafe.Pointer(unsafe.SliceData(x))), len(x))
}
