// SPDX-License-Identifier: Apache-2.0

// Command norm_avx2 writes the normalisations of kernels/act for AVX2.
package main

import (
	. "github.com/mmcloughlin/avo/build"

	"github.com/millrace-ml/millrace/kernels/_gen/internal/actgen"
)

func main() {
	ConstraintExpr("!purego")
	actgen.Norm(actgen.AVX2)
	Generate()
}
