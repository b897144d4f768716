// SPDX-License-Identifier: Apache-2.0

// Command softmax_avx2 writes softmax and its logarithm of kernels/act for AVX2.
package main

import (
	. "github.com/mmcloughlin/avo/build"

	"github.com/millrace-ml/millrace/kernels/_gen/internal/actgen"
)

func main() {
	ConstraintExpr("!purego")
	actgen.Softmax(actgen.AVX2)
	Generate()
}
