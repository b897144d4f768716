// SPDX-License-Identifier: Apache-2.0

package vec

import (
	"math"
	"testing"

	"github.com/millrace-ml/millrace/kernels/kerneltest"
)

func TestOneHot(t *testing.T) {
	dst, check := kerneltest.Slice[float32](t, 6*3, 1)
	OneHot(dst, []int64{0, 2, -1, 3, -4, math.MinInt64}, 6, 3, 5, -1)
	check()
	kerneltest.Same(t, "rows", dst, []float32{
		5, -1, -1,
		-1, -1, 5,
		-1, -1, 5,
		-1, -1, -1,
		-1, -1, -1,
		-1, -1, -1,
	})
	OneHot(dst, []int32{1}, 1, 3, 1, 0)
	kerneltest.Same(t, "the first row", dst[:4], []float32{0, 1, 0, -1})
	OneHot(nil, []int32{}, 0, 3, 1, 0)
}

func TestFill(t *testing.T) {
	for _, n := range append(kerneltest.Lengths(4), 1023, 1024, 1025, 5000) {
		dst, check := kerneltest.Slice[float32](t, n, 1)
		Fill(dst, 2.5)
		check()
		for i, v := range dst {
			if v != 2.5 {
				t.Fatalf("element %d of %d is %v", i, n, v)
			}
		}
	}
}
