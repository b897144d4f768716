// SPDX-License-Identifier: Apache-2.0

package vec

import "fmt"

// need panics unless a slice has the elements that an operation works on.
func need(op string, elements, has int) {
	if has < elements {
		tooShort(op, elements, has)
	}
}

//go:noinline
func tooShort(op string, elements, has int) {
	panic(fmt.Sprintf("vec.%s: a slice has %d elements, %d are needed", op, has, elements))
}

// area is rows*cols, having checked that a slice of that many elements exists.
func area(op string, rows, cols, has int) int {
	if rows < 0 || cols < 0 || (cols > 0 && rows > has/cols) {
		tooSmall(op, rows, cols, has)
	}
	return rows * cols
}

//go:noinline
func tooSmall(op string, rows, cols, has int) {
	panic(fmt.Sprintf("vec.%s: a slice has %d elements, %d rows of %d are needed", op, has, rows, cols))
}
