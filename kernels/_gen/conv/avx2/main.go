// SPDX-License-Identifier: Apache-2.0

// Command avx2 generates the AVX2 kernels of kernels/conv.
package main

import (
	. "github.com/mmcloughlin/avo/build"

	"github.com/millrace-ml/millrace/kernels/_gen/internal/convgen"
)

func main() {
	ConstraintExpr("!purego")
	isa := convgen.ISA{Name: "AVX2", Wide: false}
	for rows := 1; rows <= 4; rows++ {
		isa.Rows(rows)
	}
	for step := 1; step <= 2; step++ {
		isa.Pool(convgen.Max, step)
		isa.Pool(convgen.Sum, step)
		isa.Pool(convgen.Filter, step)
	}
	isa.Copy()
	Generate()
}
