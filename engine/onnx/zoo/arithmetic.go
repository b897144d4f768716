// SPDX-License-Identifier: Apache-2.0

package zoo

import (
	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// arithmeticWidth is the number of values that the models here take in each input.
const arithmeticWidth = 16

// SumDifference is the model of most client examples: INPUT0 and INPUT1 [batch, 16]
// to OUTPUT0, their sum, and OUTPUT1, their difference. The datatype is any integer
// type of up to 32 bits, a float of 32 bits or more, or BYTES, whose elements are
// then decimal integers. Swapped exchanges the outputs, so that a client can tell
// one version from another.
func SumDifference(name string, datatype tensor.Datatype, swapped bool) *onnx.Model {
	return sumDifference(name, datatype, swapped, onnx.Symbol("batch"), onnx.Extent(arithmeticWidth))
}

// SumDifferenceUnbatched is SumDifference for one row: its tensors are [16].
func SumDifferenceUnbatched(name string, datatype tensor.Datatype) *onnx.Model {
	return sumDifference(name, datatype, false, onnx.Extent(arithmeticWidth))
}

func sumDifference(name string, datatype tensor.Datatype, swapped bool, dims ...onnx.Dim) *onnx.Model {
	b := onnx.NewBuilder(name)
	b.Input("INPUT0", datatype, dims...)
	b.Input("INPUT1", datatype, dims...)
	sum, difference := "OUTPUT0", "OUTPUT1"
	if swapped {
		sum, difference = difference, sum
	}
	if operand := arithmeticType(datatype); operand != datatype {
		cast(b, "INPUT0", "left", operand)
		cast(b, "INPUT1", "right", operand)
		b.Node("Add", []string{"left", "right"}, []string{"sum"})
		b.Node("Sub", []string{"left", "right"}, []string{"difference"})
		cast(b, "sum", sum, datatype)
		cast(b, "difference", difference, datatype)
	} else {
		b.Node("Add", []string{"INPUT0", "INPUT1"}, []string{sum})
		b.Node("Sub", []string{"INPUT0", "INPUT1"}, []string{difference})
	}
	b.Output("OUTPUT0", datatype, dims...)
	b.Output("OUTPUT1", datatype, dims...)
	return finish(b)
}

// arithmeticType is the type to calculate in: runtimes add few types directly.
func arithmeticType(datatype tensor.Datatype) tensor.Datatype {
	switch datatype {
	case tensor.Int8, tensor.Int16, tensor.Uint8, tensor.Uint16, tensor.Bytes:
		return tensor.Int32
	}
	return datatype
}

func cast(b *onnx.Builder, from, to string, datatype tensor.Datatype) {
	b.Node("Cast", []string{from}, []string{to}, onnx.IntAttribute("to", int64(onnx.ElemTypeOf(datatype))))
}

// Add gives OUTPUT0, the sum of INPUT0 and INPUT1, all FP32 [batch, n]. With large
// n it costs little beside the bytes it moves.
func Add(name string) *onnx.Model {
	b := onnx.NewBuilder(name)
	dims := []onnx.Dim{onnx.Symbol("batch"), onnx.Symbol("n")}
	b.Input("INPUT0", tensor.FP32, dims...)
	b.Input("INPUT1", tensor.FP32, dims...)
	b.Node("Add", []string{"INPUT0", "INPUT1"}, []string{"OUTPUT0"})
	b.Output("OUTPUT0", tensor.FP32, dims...)
	return finish(b)
}

// Increment gives a, which is b plus one, both FP32 [1, 10]. No extent is free, so
// requests cannot be batched.
func Increment(name string) *onnx.Model {
	b := onnx.NewBuilder(name)
	b.Input("b", tensor.FP32, onnx.Extent(1), onnx.Extent(10))
	b.Initializer(onnx.TensorOf("one", []float32{1}))
	b.Node("Add", []string{"b", "one"}, []string{"a"})
	b.Output("a", tensor.FP32, onnx.Extent(1), onnx.Extent(10))
	return finish(b)
}

// Identity gives OUTPUT0, which is INPUT0, of any datatype and of extents dims.
func Identity(name string, datatype tensor.Datatype, dims ...onnx.Dim) *onnx.Model {
	b := onnx.NewBuilder(name)
	b.Input("INPUT0", datatype, dims...)
	b.Node("Identity", []string{"INPUT0"}, []string{"OUTPUT0"})
	b.Output("OUTPUT0", datatype, dims...)
	return finish(b)
}
