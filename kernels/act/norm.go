// SPDX-License-Identifier: Apache-2.0

package act

import "fmt"

// LayerNorm is (x - mean) / √(variance + epsilon) * gamma + beta over each row of cols
// elements; gamma and beta are of cols elements, or nil for 1 and 0.
//
// Mean and variance are taken of the deviations from the mean of the first 64 elements,
// never as mean(x²) - mean(x)²: a mean much larger than the deviations costs nothing
// beyond what x itself was rounded by. Before gamma and beta, results are within
// (4 + cols/16) * 1.2e-7 of the larger of the result and 1, on the worst of rows; where
// the first elements are like the others, within (4 + cols/256) * 1.2e-7. Squares
// overflow for deviations beyond 1e18, which gives 0 or NaN.
func LayerNorm(dst, src []float32, rows, cols int, gamma, beta []float32, epsilon float32) {
	checkRow("gamma", gamma, cols)
	checkRow("beta", beta, cols)
	if dst, src = block(dst, src, rows, cols); len(src) > 0 {
		layerNorm(dst, src, cols, gamma, beta, epsilon)
	}
}

// RMSNorm is x / √(mean(x²) + epsilon) * gamma over each row of cols elements; gamma is
// of cols elements, or nil for 1. Within (3 + cols/256) * 1.2e-7; squares overflow for
// elements beyond 1e18.
func RMSNorm(dst, src []float32, rows, cols int, gamma []float32, epsilon float32) {
	checkRow("gamma", gamma, cols)
	if dst, src = block(dst, src, rows, cols); len(src) > 0 {
		rmsNorm(dst, src, cols, gamma, epsilon)
	}
}

func checkRow(what string, row []float32, cols int) {
	if row != nil && len(row) < cols {
		panic(fmt.Sprintf("act: %s of %d elements for %d columns", what, len(row), cols))
	}
}
