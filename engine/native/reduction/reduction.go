// SPDX-License-Identifier: Apache-2.0

// Package reduction holds the operators that look at many elements to compute one:
// sums and means along axes, the largest and the k largest, softmax, normalisation,
// running sums.
//
// FP32 runs on the kernels; FP64 and integers in plain Go.
package reduction

import (
	"slices"

	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// Operators lists what this package runs.
func Operators() []op.Definition {
	return slices.Concat(reduceOperators(), selectOperators(), softmaxOperators(), normOperators())
}

// lines is how an array falls apart along an axis: outer blocks of as many lines as
// inner, each line with extent elements that lie inner apart.
type lines struct{ outer, extent, inner int }

func linesOf(shape tensor.Shape, axis int) lines {
	l := lines{outer: 1, extent: int(shape[axis]), inner: 1}
	for _, d := range shape[:axis] {
		l.outer *= int(d)
	}
	for _, d := range shape[axis+1:] {
		l.inner *= int(d)
	}
	return l
}

// each calls visit with the first element of every line.
func (l lines) each(visit func(first int)) {
	for block := range l.outer {
		for k := range l.inner {
			visit(block*l.extent*l.inner + k)
		}
	}
}

// firstCarries reports whether the first input has the batch's rows and no other.
func firstCarries(carries []bool) bool { return carries[0] && !slices.Contains(carries[1:], true) }

// axesOf reads axes from an attribute, or from the second input from version input on.
func axesOf(n *op.Node, input int64) func(in []*op.Value) ([]int64, error) {
	if n.Version < input {
		axes := n.Ints("axes")
		return func([]*op.Value) ([]int64, error) { return axes, nil }
	}
	return func(in []*op.Value) ([]int64, error) {
		if len(in) < 2 || in[1] == nil {
			return nil, nil
		}
		if !in[1].Const || in[1].Type != tensor.Int64 {
			return nil, op.NotCovered("axes that are not known before the run")
		}
		return op.As[int64](in[1]), nil
	}
}
