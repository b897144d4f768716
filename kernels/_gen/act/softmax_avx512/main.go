// SPDX-License-Identifier: Apache-2.0

// Command softmax_avx512 writes softmax and its logarithm of kernels/act for AVX512.
package main

import (
	. "github.com/mmcloughlin/avo/build"

	"github.com/millrace-ml/millrace/kernels/_gen/internal/actgen"
)

func main() {
	ConstraintExpr("!purego")
	actgen.Softmax(actgen.AVX512)
	Generate()
}
