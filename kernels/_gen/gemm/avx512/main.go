// SPDX-License-Identifier: Apache-2.0

// Command avx512 generates the AVX-512 kernels of kernels/gemm.
package main

import (
	. "github.com/mmcloughlin/avo/build"

	"github.com/millrace-ml/millrace/kernels/_gen/internal/gemmgen"
)

func main() {
	ConstraintExpr("!purego")
	for rows := 1; rows <= 2; rows++ {
		gemmgen.Tile{Name: "tileAVX512", Rows: rows, Cols: 64, Wide: true}.Write()
	}
	for rows := 1; rows <= 14; rows++ {
		gemmgen.Tile{Name: "tileAVX512", Rows: rows, Cols: 32, Wide: true}.Write()
	}
	gemmgen.Tile{Name: "peakAVX512", Wide: true}.Peak()
	Generate()
}
