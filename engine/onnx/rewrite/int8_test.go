// SPDX-License-Identifier: Apache-2.0

package rewrite_test

import (
	"testing"

	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/onnx/rewrite"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// bytesOf makes n weights of 8 bits that differ from each other.
func bytesOf(n int) []int8 {
	values := make([]int8, n)
	for i := range values {
		values[i] = int8((i*91 + 17) % 255)
	}
	return values
}

// scales adds the scale and zero point of a tensor of type uint8.
func scales(b *onnx.Builder, name string, scale float32, zero uint8) {
	b.Initializer(onnx.TensorOf(name+"_scale", []float32{scale}))
	b.Initializer(onnx.TensorOf(name+"_zero", []uint8{zero}))
}

// qdq quantises a value and takes it back.
func qdq(b *onnx.Builder, in, out, by string) {
	b.Node("QuantizeLinear", list(in, by+"_scale", by+"_zero"), list(out+"_q"))
	b.Node("DequantizeLinear", list(out+"_q", by+"_scale", by+"_zero"), list(out))
}

func dequantisedWeights(b *onnx.Builder, name string, axis int64, perColumn bool, dims ...int64) string {
	b.Initializer(onnx.TensorOf(name+"_q", bytesOf(int(dims[0]*dims[1])), dims...))
	if perColumn {
		n := dims[axis]
		s, z := make([]float32, n), make([]int8, n)
		for i := range s {
			s[i], z[i] = 0.01*float32(i+1), int8(i)
		}
		b.Initializer(onnx.TensorOf(name+"_s", s, n))
		b.Initializer(onnx.TensorOf(name+"_z", z, n))
	} else {
		b.Initializer(onnx.TensorOf(name+"_s", []float32{0.02}))
		b.Initializer(onnx.TensorOf(name+"_z", []int8{2}))
	}
	b.Node("DequantizeLinear", list(name+"_q", name+"_s", name+"_z"), list(name), onnx.IntAttribute("axis", axis))
	return name
}

var quantizedCases = []struct {
	name  string
	build func(b *onnx.Builder)
	want  string
}{
	{"float in and out", func(b *onnx.Builder) {
		qdq(b, "x", "xd", "x")
		b.Node("MatMul", list("xd", dequantisedWeights(b, "w", 1, true, 4, 3)), list("y"))
	}, "*LinearInt8"},
	{"bias and activation", func(b *onnx.Builder) {
		qdq(b, "x", "xd", "x")
		b.Node("MatMul", list("xd", dequantisedWeights(b, "w", 1, false, 4, 3)), list("p"))
		b.Node("Add", list("p", c(b, "b", ramp(3, 1), 3)), list("q"))
		b.Node("Relu", list("q"), list("y"))
	}, "*LinearInt8"},
	{"Gemm with a quantised bias", func(b *onnx.Builder) {
		qdq(b, "x", "xd", "x")
		b.Initializer(onnx.TensorOf("b_q", []int32{100, -200, 300}, 3))
		// The scale of the bias is that of the product, as runtimes assume.
		b.Initializer(onnx.TensorOf("b_s", []float32{0.03 * 0.01, 0.03 * 0.02, 0.03 * 0.03}, 3))
		b.Node("DequantizeLinear", list("b_q", "b_s"), list("b"), onnx.IntAttribute("axis", 0))
		b.Node("Gemm", list("xd", dequantisedWeights(b, "w", 0, true, 3, 4), "b"), list("y"), onnx.IntAttribute("transB", 1))
	}, "*LinearInt8"},
	{"two layers", func(b *onnx.Builder) {
		scales(b, "h", 0.05, 10)
		qdq(b, "x", "xd", "x")
		b.Node("MatMul", list("xd", dequantisedWeights(b, "w", 1, false, 4, 4)), list("p"))
		b.Node("Relu", list("p"), list("r"))
		qdq(b, "r", "hd", "h")
		b.Node("MatMul", list("hd", dequantisedWeights(b, "v", 1, false, 4, 3)), list("y"))
	}, "*LinearInt8 *LinearInt8"},
	{"scales along the rows", func(b *onnx.Builder) {
		qdq(b, "x", "xd", "x")
		b.Node("MatMul", list("xd", dequantisedWeights(b, "w", 0, true, 4, 4)), list("y"))
	}, "QuantizeLinear DequantizeLinear DequantizeLinear MatMul"},
	{"QLinearMatMul", func(b *onnx.Builder) {
		scales(b, "y", 0.1, 30)
		b.Initializer(onnx.TensorOf("w", bytesOf(12), 4, 3))
		b.Initializer(onnx.TensorOf("w_s", []float32{0.02}))
		b.Initializer(onnx.TensorOf("w_z", []int8{2}))
		b.Node("QuantizeLinear", list("x", "x_scale", "x_zero"), list("q"))
		b.Node("QLinearMatMul", list("q", "x_scale", "x_zero", "w", "w_s", "w_z", "y_scale", "y_zero"), list("p"))
		b.Node("DequantizeLinear", list("p", "y_scale", "y_zero"), list("y"))
	}, "*LinearInt8 DequantizeLinear"},
}

func TestQuantizedProducts(t *testing.T) {
	for _, test := range quantizedCases {
		t.Run(test.name, func(t *testing.T) {
			build := func() *onnx.Builder {
				b := rowModel(4)
				scales(b, "x", 0.03, 128)
				test.build(b)
				return b
			}
			given, err := build().Model()
			if err != nil {
				t.Fatal(err)
			}
			x := input(ramp(8, 3), 2, 4)
			m, _ := apply(t, build(), rewrite.Options{})
			wantOps(t, m, test.want)
			sameAnswers(t, given, expand(t, m), x)
			standard, _ := apply(t, build(), rewrite.Options{Standard: true, Evaluate: evaluator(t, given)})
			sameAnswers(t, given, standard, x)
		})
	}
}

func TestWeightsLeftQuantizedAreFolded(t *testing.T) {
	build := func() *onnx.Builder {
		b := rowModel(4)
		b.Node("MatMul", list("x", dequantisedWeights(b, "w", 1, false, 4, 3)), list("y"))
		return b
	}
	given, err := build().Model()
	if err != nil {
		t.Fatal(err)
	}
	evaluate := evaluator(t, given)
	m, _ := apply(t, build(), rewrite.Options{Evaluate: evaluate})
	wantOps(t, m, "*Linear")
	m, _ = apply(t, build(), rewrite.Options{Evaluate: evaluate, Standard: true})
	wantOps(t, m, "DequantizeLinear MatMul")
}

func TestDynamicInt8(t *testing.T) {
	build := func() *onnx.Builder {
		b := onnx.NewBuilder("m")
		b.Input("x", tensor.FP32, onnx.Symbol("batch"), onnx.Extent(4))
		b.Output("y", tensor.FP32, onnx.Symbol("batch"), onnx.Extent(3))
		b.Initializer(onnx.TensorOf("w", bytesOf(12), 4, 3))
		b.Node("DynamicQuantizeLinear", list("x"), list("q", "s", "z"))
		b.Node("MatMulInteger", list("q", "w", "z"), list("i"))
		b.Node("Cast", list("i"), list("f"), onnx.IntAttribute("to", int64(onnx.ElemFloat)))
		b.Node("Mul", list("s", c(b, "ws", []float32{0.1, 0.2, 0.3}, 3)), list("k"))
		b.Node("Mul", list("f", "k"), list("p"))
		b.Node("Add", list("p", c(b, "b", ramp(3, 1), 3)), list("r"))
		b.Node("Sigmoid", list("r"), list("y"))
		return b
	}
	given, err := build().Model()
	if err != nil {
		t.Fatal(err)
	}
	m, _ := apply(t, build(), rewrite.Options{})
	wantOps(t, m, "*LinearDynamicInt8")
	sameAnswers(t, given, expand(t, m), input(ramp(20, 3), 5, 4))
}
