// SPDX-License-Identifier: Apache-2.0

package vec

// Op is an operation on two numbers, a and b.
type Op uint8

// The operations. OpMin and OpMax give NaN when a or b is; of two zeros, b.
const (
	OpAdd Op = iota
	OpSub
	OpMul
	OpDiv
	OpMin
	OpMax
	OpRevSub // b - a
	OpRevDiv // b / a
	ops
)

// Elementwise sets dst[i] = a[i] op b[i] for all of dst. dst may be a or b itself, but
// not overlap them otherwise; so for all functions of this file.
func Elementwise(op Op, dst, a, b []float32) {
	need("Elementwise", len(dst), min(len(a), len(b)))
	switch op {
	case OpRevSub:
		op, a, b = OpSub, b, a
	case OpRevDiv:
		op, a, b = OpDiv, b, a
	}
	if len(dst) > 0 {
		binaryRows(op, dst, a, b, 1, len(dst), 0, 0)
	}
}

// Add sets dst[i] = a[i] + b[i].
func Add(dst, a, b []float32) { Elementwise(OpAdd, dst, a, b) }

// Sub sets dst[i] = a[i] - b[i].
func Sub(dst, a, b []float32) { Elementwise(OpSub, dst, a, b) }

// Mul sets dst[i] = a[i] * b[i].
func Mul(dst, a, b []float32) { Elementwise(OpMul, dst, a, b) }

// Div sets dst[i] = a[i] / b[i].
func Div(dst, a, b []float32) { Elementwise(OpDiv, dst, a, b) }

// Min sets dst[i] to the smaller of a[i] and b[i], or NaN.
func Min(dst, a, b []float32) { Elementwise(OpMin, dst, a, b) }

// Max sets dst[i] to the larger of a[i] and b[i], or NaN.
func Max(dst, a, b []float32) { Elementwise(OpMax, dst, a, b) }

// WithScalar sets dst[i] = a[i] op v for all of dst.
func WithScalar(op Op, dst, a []float32, v float32) {
	need("WithScalar", len(dst), len(a))
	if len(dst) > 0 {
		column := [1]float32{v}
		binaryColumn(op, dst, a, column[:], 1, len(dst))
	}
}

// AddScalar sets dst[i] = a[i] + v.
func AddScalar(dst, a []float32, v float32) { WithScalar(OpAdd, dst, a, v) }

// SubScalar sets dst[i] = a[i] - v.
func SubScalar(dst, a []float32, v float32) { WithScalar(OpSub, dst, a, v) }

// MulScalar sets dst[i] = a[i] * v.
func MulScalar(dst, a []float32, v float32) { WithScalar(OpMul, dst, a, v) }

// DivScalar sets dst[i] = a[i] / v.
func DivScalar(dst, a []float32, v float32) { WithScalar(OpDiv, dst, a, v) }

// WithRow sets dst[r, c] = a[r, c] op row[c]: one row of cols elements meets every row.
func WithRow(op Op, dst, a []float32, rows, cols int, row []float32) {
	n := area("WithRow", rows, cols, min(len(dst), len(a)))
	need("WithRow", cols, len(row))
	if n == 0 {
		return
	}
	switch op {
	case OpRevSub:
		binaryRows(OpSub, dst, row, a, rows, cols, 0, cols)
	case OpRevDiv:
		binaryRows(OpDiv, dst, row, a, rows, cols, 0, cols)
	default:
		binaryRows(op, dst, a, row, rows, cols, cols, 0)
	}
}

// WithColumn sets dst[r, c] = a[r, c] op column[r]: every row meets its own scalar.
func WithColumn(op Op, dst, a []float32, rows, cols int, column []float32) {
	n := area("WithColumn", rows, cols, min(len(dst), len(a)))
	need("WithColumn", rows, len(column))
	if n > 0 {
		binaryColumn(op, dst, a, column, rows, cols)
	}
}
