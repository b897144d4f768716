// SPDX-License-Identifier: Apache-2.0

// Command bf16 generates the bf16 kernels of kernels/gemm.
package main

import (
	. "github.com/mmcloughlin/avo/build"

	"github.com/millrace-ml/millrace/kernels/_gen/internal/gemmgen"
)

func main() {
	ConstraintExpr("!purego")
	for rows := 1; rows <= 2; rows++ {
		gemmgen.Tile{Name: "tileBF16", Rows: rows, Cols: 64, Wide: true, BF16: true}.Write()
	}
	for rows := 1; rows <= 14; rows++ {
		gemmgen.Tile{Name: "tileBF16", Rows: rows, Cols: 32, Wide: true, BF16: true}.Write()
	}
	gemmgen.Tile{Name: "peakBF16", Wide: true, BF16: true}.Peak()
	gemmgen.Round("roundBF16")
	Generate()
}
