// SPDX-License-Identifier: Apache-2.0

// Package elementwise holds the operators that compute each element of the output from
// the elements at the same place of the inputs, with broadcasting: arithmetic,
// comparisons, logic, activations.
//
// FP32 runs on the kernels. FP64 and integers run in plain Go, which is fast enough for
// what graphs do with them. FP16 and BF16 are not covered: exporters of tabular models
// do not compute in them.
package elementwise

import (
	"slices"

	"github.com/millrace-ml/millrace/engine/native/op"
)

// Operators lists what this package runs.
func Operators() []op.Definition {
	return slices.Concat(mapOperators(), zipOperators(), compareOperators(), logicOperators())
}

// rowwise reports whether rows stay apart: inputs with the batch's rows have them as
// the first dimension of the result, the others repeat over it.
func rowwise(in []*op.Value, carries []bool) bool {
	rank, rows := 0, int64(0)
	for i, v := range in {
		if v == nil {
			continue
		}
		rank = max(rank, v.Rank())
		if carries[i] && v.Rank() > 0 {
			rows = v.Shape[0]
		}
	}
	for i, v := range in {
		if v == nil {
			continue
		}
		repeats := v.Rank() < rank || v.Shape[0] == 1
		if carries[i] && (v.Rank() != rank || v.Shape[0] != rows) {
			return false
		}
		if !carries[i] && !repeats {
			return false
		}
	}
	return rank > 0
}
