// SPDX-License-Identifier: Apache-2.0

package quant

import (
	"fmt"
	"testing"

	"github.com/millrace-ml/millrace/kernels/kerneltest"
)

// TestQuantizeFarValues has values so far beyond the steps of a byte that products with
// the reciprocal of the scale overflow, the smaller of its two parts included.
func TestQuantizeFarValues(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		src, got, want := make([]float32, 2*block), make([]uint8, 2*block), make([]uint8, 2*block)
		for _, scale := range []float32{1.2527717e-15, 3e-18, 0.7e-10, 1.1e17} {
			for i := range src {
				src[i] = float32(i%5-2) * 1e33
				want[i] = []uint8{0, 0, 200, 255, 255}[i%5]
				if scale > 1 {
					src[i] *= 1e5
				}
			}
			QuantizeU8(got, src, scale, 200)
			kerneltest.Same(t, fmt.Sprintf("scale %g", scale), got, want)
		}
	})
}
