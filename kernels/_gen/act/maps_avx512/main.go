// SPDX-License-Identifier: Apache-2.0

// Command maps_avx512 writes the element-wise maps of kernels/act for AVX512.
package main

import (
	. "github.com/mmcloughlin/avo/build"

	"github.com/millrace-ml/millrace/kernels/_gen/internal/actgen"
)

func main() {
	ConstraintExpr("!purego")
	actgen.Maps(actgen.AVX512)
	Generate()
}
