// SPDX-License-Identifier: Apache-2.0

package zoo

import (
	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// LookupRows is the number of rows that Lookup's table has.
const LookupRows = 16

// Repeat joins INPUT0 FP32 [batch, n] to itself: OUTPUT0 is [batch, 2n], which the
// graph gives as a dimension of its own, so that only a run can tell it.
func Repeat(name string) *onnx.Model {
	b := onnx.NewBuilder(name)
	b.Input("INPUT0", tensor.FP32, onnx.Symbol("batch"), onnx.Symbol("n"))
	b.Node("Concat", []string{"INPUT0", "INPUT0"}, []string{"OUTPUT0"}, onnx.IntAttribute("axis", 1))
	b.Output("OUTPUT0", tensor.FP32, onnx.Symbol("batch"), onnx.Symbol("twice_n"))
	return finish(b)
}

// NonZero gives OUTPUT0 INT64 [1, k], the indices of the elements of INPUT0 FP32
// [n] that are not zero. The output's extent depends on data, not on shapes.
func NonZero(name string) *onnx.Model {
	b := onnx.NewBuilder(name)
	b.Input("INPUT0", tensor.FP32, onnx.Symbol("n"))
	b.Node("NonZero", []string{"INPUT0"}, []string{"OUTPUT0"})
	b.Output("OUTPUT0", tensor.Int64, onnx.Extent(1), onnx.Unknown())
	return finish(b)
}

// Lookup gives VALUE FP32 [batch, 1], entry INDEX (INT64 [batch, 1]) of a table
// whose entry i is i. A run with an index that is not below LookupRows fails.
func Lookup(name string) *onnx.Model {
	table := make([]float32, LookupRows)
	for i := range table {
		table[i] = float32(i)
	}
	b := onnx.NewBuilder(name)
	b.Input("INDEX", tensor.Int64, onnx.Symbol("batch"), onnx.Extent(1))
	b.Initializer(onnx.TensorOf("table", table, LookupRows))
	b.Node("Gather", []string{"table", "INDEX"}, []string{"VALUE"}, onnx.IntAttribute("axis", 0))
	b.Output("VALUE", tensor.FP32, onnx.Symbol("batch"), onnx.Extent(1))
	return finish(b)
}
