// SPDX-License-Identifier: Apache-2.0

// Command avx512 generates the AVX-512 kernels of kernels/conv.
package main

import (
	. "github.com/mmcloughlin/avo/build"

	"github.com/millrace-ml/millrace/kernels/_gen/internal/convgen"
)

func main() {
	ConstraintExpr("!purego")
	isa := convgen.ISA{Name: "AVX512", Wide: true}
	for rows := 1; rows <= 8; rows++ {
		isa.Rows(rows)
	}
	for rows := 3; rows <= 8; rows++ {
		for segments := 2; segments <= 3; segments++ {
			isa.Wrap(rows, segments)
		}
	}
	for step := 1; step <= 2; step++ {
		isa.Pool(convgen.Max, step)
		isa.Pool(convgen.Sum, step)
		isa.Pool(convgen.Filter, step)
	}
	isa.Copy()
	Generate()
}
