// SPDX-License-Identifier: Apache-2.0

package vec

// binaryRowsGeneric sets dst[r, c] = a[r*stepA+c] op b[r*stepB+c]; op is none of the
// reversed ones.
func binaryRowsGeneric(op Op, dst, a, b []float32, rows, cols, stepA, stepB int) {
	for r := range rows {
		d, x, y := dst[r*cols:][:cols], a[r*stepA:][:cols], b[r*stepB:][:cols]
		switch op {
		case OpAdd:
			for i := range d {
				d[i] = x[i] + y[i]
			}
		case OpSub:
			for i := range d {
				d[i] = x[i] - y[i]
			}
		case OpMul:
			for i := range d {
				d[i] = x[i] * y[i]
			}
		case OpDiv:
			for i := range d {
				d[i] = x[i] / y[i]
			}
		case OpMin:
			for i := range d {
				d[i] = smaller(x[i], y[i])
			}
		case OpMax:
			for i := range d {
				d[i] = larger(x[i], y[i])
			}
		}
	}
}

// binaryColumnGeneric sets dst[r, c] = a[r, c] op column[r].
func binaryColumnGeneric(op Op, dst, a, column []float32, rows, cols int) {
	for r := range rows {
		d, x, v := dst[r*cols:][:cols], a[r*cols:][:cols], column[r]
		switch op {
		case OpAdd:
			for i := range d {
				d[i] = x[i] + v
			}
		case OpSub:
			for i := range d {
				d[i] = x[i] - v
			}
		case OpMul:
			for i := range d {
				d[i] = x[i] * v
			}
		case OpDiv:
			for i := range d {
				d[i] = x[i] / v
			}
		case OpMin:
			for i := range d {
				d[i] = smaller(x[i], v)
			}
		case OpMax:
			for i := range d {
				d[i] = larger(x[i], v)
			}
		case OpRevSub:
			for i := range d {
				d[i] = v - x[i]
			}
		case OpRevDiv:
			for i := range d {
				d[i] = v / x[i]
			}
		}
	}
}

// smaller and larger are what VMINPS and VMAXPS do (of two zeros, b; b where one is
// NaN), but for an a that is NaN, which wins.
func smaller(a, b float32) float32 {
	if a < b || a != a {
		return a
	}
	return b
}

func larger(a, b float32) float32 {
	if a > b || a != a {
		return a
	}
	return b
}
