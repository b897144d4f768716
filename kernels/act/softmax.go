// SPDX-License-Identifier: Apache-2.0

package act

// Softmax is exp(x - max) / sum(exp(x - max)) over each row of cols elements.
//
// It is within (4 + cols/128 + d/2) * 1.2e-7 with d = max - x, a difference that is
// rounded once, or 3e-45 where it is denormal. A row with NaN or +Inf, or of nothing but -Inf, is all
// NaN; elements of -Inf beside finite ones give 0.
func Softmax(dst, src []float32, rows, cols int) {
	if dst, src = block(dst, src, rows, cols); len(src) > 0 {
		softmax(dst, src, cols)
	}
}

// LogSoftmax is x - max - log(sum(exp(x - max))) over each row of cols elements: the
// logarithm of Softmax, which has its values where Softmax is too small for float32.
// It is within (4 + cols/128) * 1.2e-7 of 1 + the result. Special rows are those of
// Softmax; an element of -Inf beside finite ones gives -Inf.
func LogSoftmax(dst, src []float32, rows, cols int) {
	if dst, src = block(dst, src, rows, cols); len(src) > 0 {
		logSoftmax(dst, src, cols)
	}
}
