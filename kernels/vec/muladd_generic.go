// SPDX-License-Identifier: Apache-2.0

package vec

// ternaryGeneric meets every row of a with the rows b and c. Products are converted
// so that no compiler fuses them with the sum.
func ternaryGeneric(op int, dst, a, b, c []float32, rows, cols int) {
	b, c = b[:cols], c[:cols]
	for r := range rows {
		d, x := dst[r*cols:][:cols], a[r*cols:][:cols]
		if op == scaleOp {
			for i := range d {
				d[i] = (x[i] - b[i]) * c[i]
			}
			continue
		}
		for i := range d {
			d[i] = float32(x[i]*b[i]) + c[i]
		}
	}
}

// ternaryScalarGeneric meets all of dst's elements with two scalars.
func ternaryScalarGeneric(op int, dst, a []float32, b, c float32) {
	a = a[:len(dst)]
	if op == scaleOp {
		for i := range dst {
			dst[i] = (a[i] - b) * c
		}
		return
	}
	for i := range dst {
		dst[i] = float32(a[i]*b) + c
	}
}

func axpyGeneric(dst []float32, a float32, x []float32) {
	x = x[:len(dst)]
	for i := range dst {
		dst[i] += float32(a * x[i])
	}
}
