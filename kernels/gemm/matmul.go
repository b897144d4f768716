// SPDX-License-Identifier: Apache-2.0

package gemm

import "fmt"

// MatMul computes C = alpha * A*B of operands that both change from call to call, as
// in attention: A is m x k, B is k x n, or n x k when transB, and C is m x n. alpha is
// applied to the sums.
func MatMul(m, n, k int, alpha float32, a []float32, lda int, b []float32, ldb int, transB bool, c []float32, ldc int, s *Scratch) {
	if n < 0 || k < 0 {
		panic(fmt.Sprintf("gemm: product of %d x %d x %d", m, n, k))
	}
	checkGemm(m, len(a), lda, k, len(c), ldc, n)
	checkWeights(k, n, len(b), ldb, transB)
	s.check(needsMatMul(m, k))
	switch {
	case m == 0 || n == 0:
	case k == 0:
		gemmEmpty(m, n, c, ldc, nil)
	case !hasRowKernels():
		matMulGeneric(m, n, k, alpha, a, lda, b, ldb, transB, c, ldc)
	case m <= 3 && transB:
		// B is read once for each row: cheaper than to transpose it for so few.
		for i := range m {
			dots(n, &b[0], ldb, &a[i*lda], k, &c[i*ldc], 1, alpha)
		}
	default:
		o := &block{m: m, n: n, k: k, a: a, lda: lda, b: b, ldb: ldb, c: c, ldc: ldc, operand: plain}
		if transB {
			o.operand = transposed
		}
		o.multiply(nil, alpha, s)
	}
}

// matMulGeneric is MatMul in plain Go.
func matMulGeneric(m, n, k int, alpha float32, a []float32, lda int, b []float32, ldb int, transB bool, c []float32, ldc int) {
	for i := range m {
		row, out := a[i*lda:][:k], c[i*ldc:][:n]
		if transB {
			dotRowsGeneric(n, b, ldb, row, out, 1, alpha)
			continue
		}
		clear(out)
		for p, x := range row {
			for j, v := range b[p*ldb:][:n] {
				out[j] += x * v
			}
		}
		for j := range out {
			out[j] *= alpha
		}
	}
}
