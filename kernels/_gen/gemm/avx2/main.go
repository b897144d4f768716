// SPDX-License-Identifier: Apache-2.0

// Command avx2 generates the AVX2 kernels of kernels/gemm.
package main

import (
	. "github.com/mmcloughlin/avo/build"

	"github.com/millrace-ml/millrace/kernels/_gen/internal/gemmgen"
)

func main() {
	ConstraintExpr("!purego")
	gemmgen.Tile{Name: "tileAVX2", Rows: 1, Cols: 64}.Write()
	for rows := 1; rows <= 3; rows++ {
		gemmgen.Tile{Name: "tileAVX2", Rows: rows, Cols: 32}.Write()
	}
	for rows := 1; rows <= 6; rows++ {
		gemmgen.Tile{Name: "tileAVX2", Rows: rows, Cols: 16}.Write()
	}
	gemmgen.Tile{Name: "peakAVX2"}.Peak()
	Generate()
}
