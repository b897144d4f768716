// SPDX-License-Identifier: Apache-2.0

package control

import (
	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// copyAll copies all elements of a value to one of the same type and shape.
func copyAll(dst, src *op.Value) {
	copy(dst.Data, src.Data)
	copy(dst.Strings, src.Strings)
}

// lines is a value along one of its axes: outer blocks of extent lines, each of inner
// elements.
type lines struct{ outer, extent, inner int }

func linesOf(shape tensor.Shape, axis int) lines {
	l := lines{1, int(shape[axis]), 1}
	for _, d := range shape[:axis] {
		l.outer *= int(d)
	}
	for _, d := range shape[axis+1:] {
		l.inner *= int(d)
	}
	return l
}

// copyLines copies n lines of every block of src, from line from on, to the lines of
// dst from line to on.
func copyLines(dst *op.Value, d lines, to int, src *op.Value, s lines, from, n int) {
	if dst.Type == tensor.Bytes {
		copyBlocks(dst.Strings, d, to, src.Strings, s, from, n, 1)
	} else {
		copyBlocks(dst.Data, d, to, src.Data, s, from, n, dst.Type.Size())
	}
}

func copyBlocks[T any](dst []T, d lines, to int, src []T, s lines, from, n, size int) {
	width := s.inner * size
	for block := range s.outer {
		at := (block*s.extent + from) * width
		copy(dst[(block*d.extent+to)*width:], src[at:at+n*width])
	}
}

// without is a shape less one axis, and with is one with an axis of some extent more.
func without(shape tensor.Shape, axis int) tensor.Shape {
	return append(append(tensor.Shape{}, shape[:axis]...), shape[axis+1:]...)
}

func with(shape tensor.Shape, axis int, extent int64) tensor.Shape {
	return append(append(append(tensor.Shape{}, shape[:axis]...), extent), shape[axis:]...)
}
