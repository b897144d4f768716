// SPDX-License-Identifier: Apache-2.0

package linear

// Sums are of 64-bit floats over columns of 32-bit ones: the searches compare values that
// differ by less than 32 bits hold. Four columns at a time spare three of four loads and
// stores of what they share.

// axpy adds a x to y.
func axpy(y []float64, a float64, x []float32) {
	x = x[:len(y)]
	for i := range y {
		y[i] += a * float64(x[i])
	}
}

// axpy4 adds a of each of four columns to y.
func axpy4(y []float64, a *[4]float64, x [4][]float32) {
	n := len(y)
	x0, x1, x2, x3 := x[0][:n], x[1][:n], x[2][:n], x[3][:n]
	a0, a1, a2, a3 := a[0], a[1], a[2], a[3]
	for i := range y {
		y[i] += (a0*float64(x0[i]) + a1*float64(x1[i])) + (a2*float64(x2[i]) + a3*float64(x3[i]))
	}
}

// dot is the sum of products.
func dot(y []float64, x []float32) float64 {
	x = x[:len(y)]
	sum := 0.0
	for i := range y {
		sum += y[i] * float64(x[i])
	}
	return sum
}

// dot4 adds the sums of products with each of four columns.
func dot4(sums *[4]float64, y []float64, x [4][]float32) {
	n := len(y)
	x0, x1, x2, x3 := x[0][:n], x[1][:n], x[2][:n], x[3][:n]
	var s0, s1, s2, s3 float64
	for i, v := range y {
		s0 += v * float64(x0[i])
		s1 += v * float64(x1[i])
		s2 += v * float64(x2[i])
		s3 += v * float64(x3[i])
	}
	sums[0], sums[1], sums[2], sums[3] = sums[0]+s0, sums[1]+s1, sums[2]+s2, sums[3]+s3
}
