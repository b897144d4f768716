// SPDX-License-Identifier: Apache-2.0

package vec

// The two forms of an operation on three numbers.
const (
	scaleOp  = iota // (a - b) * c
	mulAddOp        // a*b + c
)

// MulAdd sets dst[i] = a[i]*b[i] + c[i] for all of dst. The product is rounded first,
// so that the result is that of Mul and Add. dst may be any of the others.
func MulAdd(dst, a, b, c []float32) {
	n := len(dst)
	need("MulAdd", n, min(len(a), len(b), len(c)))
	if n > 0 {
		ternary(mulAddOp, dst, a, b, c, 1, n)
	}
}

// MulAddRow sets dst[r, c] = src[r, c]*scale[c] + bias[c]. scale and bias have 1 or
// cols elements; one element counts for all columns. dst may be src.
func MulAddRow(dst, src []float32, rows, cols int, scale, bias []float32) {
	affine("MulAddRow", mulAddOp, dst, src, rows, cols, scale, bias)
}

// Scale sets dst[r, c] = (src[r, c] - offset[c]) * scale[c], the Scaler of ONNX-ML.
// offset and scale have 1 or cols elements; one element counts for all columns. dst
// may be src.
func Scale(dst, src []float32, rows, cols int, offset, scale []float32) {
	affine("Scale", scaleOp, dst, src, rows, cols, offset, scale)
}

// affine is an operation on the elements of a matrix and two rows or scalars, in one
// pass if both are of the same kind.
func affine(name string, op int, dst, src []float32, rows, cols int, b, c []float32) {
	n := area(name, rows, cols, min(len(dst), len(src)))
	if n == 0 {
		return
	}
	rowB, rowC := isRow(name, cols, b), isRow(name, cols, c)
	switch {
	case rowB && rowC:
		ternary(op, dst, src, b, c, rows, cols)
	case !rowB && !rowC:
		ternaryScalar(op, dst[:n], src, b[0], c[0])
	default:
		first, second := OpSub, OpMul
		if op == mulAddOp {
			first, second = OpMul, OpAdd
		}
		withEither(first, dst, src, rows, cols, b)
		withEither(second, dst, dst, rows, cols, c)
	}
}

func isRow(name string, cols int, b []float32) bool {
	if len(b) != 1 {
		need(name, cols, len(b))
	}
	return len(b) != 1
}

func withEither(op Op, dst, a []float32, rows, cols int, b []float32) {
	if len(b) == 1 {
		WithScalar(op, dst[:rows*cols], a, b[0])
		return
	}
	WithRow(op, dst, a, rows, cols, b)
}

// Axpy adds a*x[i] to dst[i] for all of dst. The product is rounded first.
func Axpy(dst []float32, a float32, x []float32) {
	need("Axpy", len(dst), len(x))
	if len(dst) > 0 {
		axpy(dst, a, x)
	}
}
