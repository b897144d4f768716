// SPDX-License-Identifier: Apache-2.0

package rewrite_test

import (
	"slices"
	"testing"

	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/onnx/rewrite"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// rowModel starts a model with input x [batch, width] and output y [batch, ...].
func rowModel(width int64) *onnx.Builder {
	b := onnx.NewBuilder("m")
	b.Input("x", tensor.FP32, onnx.Symbol("batch"), onnx.Extent(width))
	b.Output("y", tensor.FP32, onnx.Symbol("batch"), onnx.Unknown())
	return b
}

// c adds a float constant.
func c(b *onnx.Builder, name string, values []float32, dims ...int64) string {
	b.Initializer(onnx.TensorOf(name, values, dims...))
	return name
}

// linearCases are graphs around a product with what they become.
var linearCases = []struct {
	name               string
	build              func(b *onnx.Builder)
	standard, internal string
}{
	{"bias", func(b *onnx.Builder) {
		b.Node("MatMul", list("x", c(b, "w", ramp(12, 1), 4, 3)), list("p"))
		b.Node("Add", list("p", c(b, "b", ramp(3, 1), 3)), list("y"))
	}, "Gemm", "*Linear"},
	{"bias first", func(b *onnx.Builder) {
		b.Node("MatMul", list("x", c(b, "w", ramp(12, 1), 4, 3)), list("p"))
		b.Node("Add", list(c(b, "b", ramp(3, 1), 1, 3), "p"), list("y"))
	}, "Gemm", "*Linear"},
	{"bias for all", func(b *onnx.Builder) {
		b.Node("MatMul", list("x", c(b, "w", ramp(12, 1), 4, 3)), list("p"))
		b.Node("Add", list("p", c(b, "b", []float32{2})), list("y"))
	}, "Gemm", "*Linear"},
	{"bias of higher rank", func(b *onnx.Builder) {
		b.Node("MatMul", list("x", c(b, "w", ramp(12, 1), 4, 3)), list("p"))
		b.Node("Add", list("p", c(b, "b", ramp(3, 1), 1, 1, 3)), list("q"))
		b.Node("Reshape", list("q", "shape"), list("y"))
		b.Initializer(onnx.TensorOf("shape", []int64{-1, 3}, 2))
	}, "MatMul Add Reshape", "*Linear Add Reshape"},
	{"bias for each row", func(b *onnx.Builder) {
		b.Node("Gemm", list("x", c(b, "w", ramp(12, 1), 4, 3)), list("p"))
		b.Node("Add", list("p", c(b, "b", ramp(6, 1), 2, 3)), list("y"))
	}, "Gemm Add", "*Linear Add"},
	{"two biases", func(b *onnx.Builder) {
		b.Node("Gemm", list("x", c(b, "w", ramp(12, 1), 3, 4), c(b, "b", ramp(3, 1), 3)), list("p"), onnx.IntAttribute("transB", 1))
		b.Node("Add", list("p", c(b, "b2", ramp(3, 3), 3)), list("y"))
	}, "Gemm", "*Linear"},
	{"factors", func(b *onnx.Builder) {
		b.Node("Gemm", list("x", c(b, "w", ramp(12, 1), 3, 4), c(b, "b", ramp(3, 1), 3)), list("y"),
			onnx.IntAttribute("transB", 1), onnx.FloatAttribute("alpha", 0.3), onnx.FloatAttribute("beta", 2))
	}, "Gemm", "*Linear"},
	{"transposed weights", func(b *onnx.Builder) {
		b.Node("Transpose", list(c(b, "w", ramp(12, 1), 3, 4)), list("wt"))
		b.Node("MatMul", list("x", "wt"), list("y"))
	}, "MatMul", "*Linear"},
	{"transposed for Gemm", func(b *onnx.Builder) {
		b.Node("Transpose", list(c(b, "w", ramp(12, 1), 3, 4)), list("wt"), onnx.IntsAttribute("perm", 1, 0))
		b.Node("Gemm", list("x", "wt"), list("y"))
	}, "Gemm", "*Linear"},
	{"transposed left", func(b *onnx.Builder) {
		b.Node("Transpose", list("x"), list("xt"), onnx.IntsAttribute("perm", 1, 0))
		b.Node("Gemm", list("xt", c(b, "w", ramp(8, 1), 2, 4)), list("y"))
	}, "Gemm", "Gemm"},
	{"scale", func(b *onnx.Builder) {
		b.Node("Gemm", list("x", c(b, "w", ramp(12, 1), 4, 3), c(b, "b", ramp(3, 1), 3)), list("p"))
		b.Node("Mul", list("p", c(b, "s", ramp(3, 2), 3)), list("q"))
		b.Node("Div", list("q", c(b, "d", []float32{3})), list("r"))
		b.Node("Sub", list(c(b, "e", ramp(3, 1), 3), "r"), list("y"))
	}, "Gemm", "*Linear"},
	{"scale without bias", func(b *onnx.Builder) {
		b.Node("MatMul", list("x", c(b, "w", ramp(12, 1), 4, 3)), list("p"))
		b.Node("Mul", list("p", c(b, "s", ramp(3, 2), 3)), list("y"))
	}, "MatMul", "*Linear"},
	{"shared weights", func(b *onnx.Builder) {
		c(b, "w", ramp(16, 1), 4, 4)
		b.Node("MatMul", list("x", "w"), list("p"))
		b.Node("Mul", list("p", c(b, "s", ramp(4, 2), 4)), list("q"))
		b.Node("MatMul", list("q", "w"), list("y"))
	}, "MatMul Mul MatMul", "*Linear Mul *Linear"},
	{"batch norm", func(b *onnx.Builder) {
		b.Node("Gemm", list("x", c(b, "w", ramp(12, 1), 4, 3), c(b, "b", ramp(3, 1), 3)), list("p"))
		b.Node("BatchNormalization", list("p", c(b, "g", ramp(3, 2), 3), c(b, "h", ramp(3, 1), 3),
			c(b, "mean", ramp(3, 1), 3), c(b, "var", []float32{0.5, 1, 2}, 3)), list("y"))
	}, "Gemm", "*Linear"},
	{"read twice", func(b *onnx.Builder) {
		b.Node("MatMul", list("x", c(b, "w", ramp(16, 1), 4, 4)), list("p"))
		b.Node("Add", list("p", c(b, "b", ramp(4, 1), 4)), list("q"))
		b.Node("Mul", list("p", "q"), list("y"))
	}, "MatMul Add Mul", "*Linear Add Mul"},
	{"variable weights", func(b *onnx.Builder) {
		b.Node("Transpose", list("x"), list("xt"))
		b.Node("MatMul", list("x", "xt"), list("p"))
		b.Node("MatMul", list("p", "x"), list("q"))
		b.Node("Add", list("q", c(b, "b", ramp(4, 1), 4)), list("y"))
	}, "Transpose MatMul MatMul Add", "Transpose MatMul MatMul Add"},
	{"epilogue", func(b *onnx.Builder) {
		b.Node("MatMul", list("x", c(b, "w", ramp(16, 1), 4, 4)), list("p"))
		b.Node("Add", list("p", c(b, "b", ramp(4, 1), 4)), list("q"))
		b.Node("Add", list("q", "x"), list("r"))
		b.Node("LeakyRelu", list("r"), list("y"), onnx.FloatAttribute("alpha", 0.2))
	}, "Gemm Add LeakyRelu", "*Linear"},
	{"activation before residual", func(b *onnx.Builder) {
		b.Node("MatMul", list("x", c(b, "w", ramp(16, 1), 4, 4)), list("p"))
		b.Node("Relu", list("p"), list("q"))
		b.Node("Add", list("q", "x"), list("y"))
	}, "MatMul Relu Add", "*Linear Add"},
	{"clip", func(b *onnx.Builder) {
		b.Node("MatMul", list("x", c(b, "w", ramp(16, 1), 4, 4)), list("p"))
		b.Node("Clip", list("p", "", c(b, "six", []float32{6})), list("y"))
	}, "MatMul Clip", "*Linear"},
	{"any rank", func(b *onnx.Builder) {
		b.Initializer(onnx.TensorOf("axis", []int64{1}, 1))
		b.Node("Unsqueeze", list("x", "axis"), list("u"))
		b.Node("MatMul", list("u", c(b, "w", ramp(12, 1), 4, 3)), list("p"))
		b.Node("Add", list("p", c(b, "b", ramp(3, 1), 3)), list("q"))
		b.Node("Squeeze", list("q", "axis"), list("y"))
	}, "Unsqueeze MatMul Add Squeeze", "Unsqueeze *Linear Squeeze"},
}

func TestLinear(t *testing.T) {
	for _, test := range linearCases {
		t.Run(test.name, func(t *testing.T) {
			m := func() *onnx.Builder {
				b := rowModel(4)
				test.build(b)
				return b
			}
			standard, _ := apply(t, m(), rewrite.Options{Standard: true})
			wantOps(t, standard, test.standard)
			internal, _ := apply(t, m(), rewrite.Options{})
			wantOps(t, internal, test.internal)
			given, err := m().Model()
			if err != nil {
				t.Fatal(err)
			}
			x := input(ramp(8, 3), 2, 4)
			sameAnswers(t, given, standard, x)
			sameAnswers(t, given, expand(t, internal), x)
		})
	}
}

func TestFoldedScaleIsExactArithmetic(t *testing.T) {
	b := rowModel(2)
	b.Node("MatMul", list("x", c(b, "w", []float32{1, 2, 3, 4}, 2, 2)), list("p"))
	b.Node("Mul", list("p", c(b, "s", []float32{10, 100}, 2)), list("y"))
	m, report := apply(t, b, rewrite.Options{Standard: true})
	if got := floatsOf(t, initializer(t, m, "w")); !slices.Equal(got, []float32{10, 200, 30, 400}) {
		t.Errorf("weights are %v", got)
	}
	if len(report.Fused) != 1 || report.Fused[0].Kind != "scale" || !slices.Equal(report.Fused[0].Nodes, list("MatMul_0", "Mul_1")) {
		t.Errorf("report is %+v", report)
	}
}

func TestHalfWeights(t *testing.T) {
	build := func() *onnx.Builder {
		b := rowModel(2)
		w := onnx.TensorOf("w", []uint16{0x3f80, 0x4000, 0x4040, 0x4080}, 2, 2) // 1 2 3 4
		w.Elem = onnx.ElemBFloat16
		b.Initializer(w)
		b.Node("Cast", list("w"), list("wide"), onnx.IntAttribute("to", int64(onnx.ElemFloat)))
		b.Node("MatMul", list("x", "wide"), list("y"))
		return b
	}
	m, _ := apply(t, build(), rewrite.Options{})
	wantOps(t, m, "*Linear")
	if a := m.Graph.Nodes[0].Attribute(rewrite.AttrWeightType); a == nil || string(a.String) != "bfloat16" {
		t.Errorf("attribute %s is %v", rewrite.AttrWeightType, a)
	}
	m, _ = apply(t, build(), rewrite.Options{Standard: true})
	wantOps(t, m, "Cast MatMul")
}

func TestConvolution(t *testing.T) {
	build := func() *onnx.Builder {
		b := onnx.NewBuilder("m")
		b.Input("x", tensor.FP32, onnx.Symbol("batch"), onnx.Extent(2), onnx.Extent(5), onnx.Extent(5))
		b.Output("y", tensor.FP32, onnx.Symbol("batch"), onnx.Extent(3), onnx.Extent(3), onnx.Extent(3))
		b.Node("Conv", list("x", c(b, "w", ramp(54, 1), 3, 2, 3, 3)), list("p"))
		b.Node("BatchNormalization", list("p", c(b, "g", ramp(3, 2), 3), c(b, "h", ramp(3, 1), 3),
			c(b, "mean", ramp(3, 1), 3), c(b, "var", []float32{0.5, 1, 2}, 3)), list("q"))
		b.Node("Mul", list("q", c(b, "s", ramp(3, 1), 1, 3, 1, 1)), list("r"))
		b.Node("Relu", list("r"), list("y"))
		return b
	}
	given, err := build().Model()
	if err != nil {
		t.Fatal(err)
	}
	x := input(ramp(100, 1), 2, 2, 5, 5)
	standard, _ := apply(t, build(), rewrite.Options{Standard: true})
	wantOps(t, standard, "Conv Relu")
	sameAnswers(t, given, standard, x)
	internal, _ := apply(t, build(), rewrite.Options{})
	wantOps(t, internal, "*Conv")
	sameAnswers(t, given, expand(t, internal), x)
}
