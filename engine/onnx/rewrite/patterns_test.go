// SPDX-License-Identifier: Apache-2.0

package rewrite_test

import (
	"math"
	"testing"

	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/onnx/rewrite"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// patternCases are groups of nodes over x [batch, 4], at an opset, with what they
// become as a file and for the native engine.
var patternCases = []struct {
	name               string
	opset              int64
	build              func(b *onnx.Builder)
	standard, internal string
}{
	{"gelu", 20, gelu, "Gelu", "Gelu"},
	{"gelu before its opset", 17, gelu, "Div Erf Add Mul Mul", "*Gelu"},
	{"gelu of another width", 20, func(b *onnx.Builder) {
		b.Node("Mul", list("x", c(b, "k", []float32{0.8})), list("u"))
		b.Node("Erf", list("u"), list("e"))
		b.Node("Add", list("e", c(b, "one", []float32{1})), list("s"))
		b.Node("Mul", list("x", "s"), list("p"))
		b.Node("Mul", list("p", c(b, "half", []float32{0.5})), list("y"))
	}, "Mul Erf Add Mul Mul", "Mul Erf Add Mul Mul"},
	{"swish", 17, func(b *onnx.Builder) {
		b.Node("Sigmoid", list("x"), list("s"))
		b.Node("Mul", list("s", "x"), list("y"))
	}, "Sigmoid Mul", "*Swish"},
	{"swish of another value", 17, func(b *onnx.Builder) {
		b.Node("Sin", list("x"), list("z"))
		b.Node("Sigmoid", list("z"), list("s"))
		b.Node("Mul", list("s", "x"), list("y"))
	}, "Sin Sigmoid Mul", "Sin Sigmoid Mul"},
	{"hard swish", 17, func(b *onnx.Builder) {
		b.Node("HardSigmoid", list("x"), list("s"), onnx.FloatAttribute("alpha", 1.0/6))
		b.Node("Mul", list("x", "s"), list("y"))
	}, "HardSwish", "HardSwish"},
	{"hard sigmoid of another slope", 17, func(b *onnx.Builder) {
		b.Node("HardSigmoid", list("x"), list("s"))
		b.Node("Mul", list("x", "s"), list("y"))
	}, "HardSigmoid Mul", "HardSigmoid Mul"},
	{"mish", 18, func(b *onnx.Builder) {
		b.Node("Softplus", list("x"), list("s"))
		b.Node("Tanh", list("s"), list("t"))
		b.Node("Mul", list("x", "t"), list("y"))
	}, "Mish", "Mish"},
	{"layer norm", 17, layerNorm, "LayerNormalization", "LayerNormalization"},
	{"layer norm before its opset", 13, layerNorm, "ReduceMean Sub Pow ReduceMean Add Sqrt Div Mul Add", "*LayerNormalization"},
	{"norm over the rows", 17, func(b *onnx.Builder) { normOver(b, 0) },
		"ReduceMean Sub Pow ReduceMean Add Sqrt Div", "ReduceMean Sub Pow ReduceMean Add Sqrt Div"},
	{"rms norm", 17, func(b *onnx.Builder) {
		b.Node("Mul", list("x", "x"), list("q"))
		b.Node("ReduceMean", list("q"), list("v"), onnx.IntsAttribute("axes", 1))
		b.Node("Add", list("v", c(b, "eps", []float32{1e-5})), list("e"))
		b.Node("Sqrt", list("e"), list("r"))
		b.Node("Reciprocal", list("r"), list("i"))
		b.Node("Mul", list("x", "i"), list("n"))
		b.Node("Mul", list(c(b, "g", ramp(4, 2), 4), "n"), list("y"))
	}, "Mul ReduceMean Add Sqrt Reciprocal Mul Mul", "*RMSNormalization"},
}

func gelu(b *onnx.Builder) {
	b.Node("Div", list("x", c(b, "root", []float32{math.Sqrt2})), list("u"))
	b.Node("Erf", list("u"), list("e"))
	b.Node("Add", list("e", c(b, "one", []float32{1})), list("s"))
	b.Node("Mul", list("x", "s"), list("p"))
	b.Node("Mul", list("p", c(b, "half", []float32{0.5})), list("y"))
}

func layerNorm(b *onnx.Builder) {
	normOver(b, -1)
	b.Node("Mul", list("n", c(b, "g", ramp(4, 2), 4)), list("s"))
	b.Node("Add", list("s", c(b, "h", ramp(4, 1), 4)), list("y"))
}

// normOver normalises x over an axis into n, or into y where that is not the last.
func normOver(b *onnx.Builder, axis int64) {
	axes := onnx.IntsAttribute("axes", axis)
	b.Node("ReduceMean", list("x"), list("m"), axes)
	b.Node("Sub", list("x", "m"), list("d"))
	b.Node("Pow", list("d", c(b, "two", []float32{2})), list("q"))
	b.Node("ReduceMean", list("q"), list("v"), axes)
	b.Node("Add", list("v", c(b, "eps", []float32{1e-5})), list("e"))
	b.Node("Sqrt", list("e"), list("r"))
	out := "n"
	if axis == 0 {
		out = "y"
	}
	b.Node("Div", list("d", "r"), list(out))
}

func TestPatterns(t *testing.T) {
	for _, test := range patternCases {
		t.Run(test.name, func(t *testing.T) {
			build := func() *onnx.Builder {
				b := rowModel(4)
				b.Opset("", test.opset)
				test.build(b)
				return b
			}
			standard, _ := apply(t, build(), rewrite.Options{Standard: true})
			wantOps(t, standard, test.standard)
			internal, _ := apply(t, build(), rewrite.Options{})
			wantOps(t, internal, test.internal)
			given, err := build().Model()
			if err != nil {
				t.Fatal(err)
			}
			x := input(ramp(12, 3), 3, 4)
			sameAnswers(t, given, standard, x)
			sameAnswers(t, given, expand(t, internal), x)
		})
	}
}

func TestFusionsCanBeChosen(t *testing.T) {
	build := func() *onnx.Builder {
		b := rowModel(4)
		b.Node("MatMul", list("x", c(b, "w", ramp(16, 1), 4, 4)), list("p"))
		b.Node("Add", list("p", c(b, "b", ramp(4, 1), 4)), list("q"))
		b.Node("Mul", list("q", c(b, "s", ramp(4, 1), 4)), list("r"))
		b.Node("Relu", list("r"), list("y"))
		return b
	}
	for set, want := range map[rewrite.Set]string{
		rewrite.All:        "*Linear",
		0:                  "*Linear",
		rewrite.None:       "MatMul Add Mul Relu",
		rewrite.FuseLinear: "*Linear Mul Relu",
		rewrite.FuseLinear | rewrite.FuseEpilogue:                   "*Linear Mul Relu",
		rewrite.FuseLinear | rewrite.FuseScale:                      "*Linear Relu",
		rewrite.All &^ (rewrite.FuseLinear | rewrite.FuseScale):     "MatMul Add Mul Relu",
		rewrite.FuseScale | rewrite.FuseNorm:                        "MatMul Add Mul Relu",
		rewrite.FuseEpilogue | rewrite.FuseScale | rewrite.FuseInt8: "MatMul Add Mul Relu",
	} {
		m, _ := apply(t, build(), rewrite.Options{Fusions: set})
		wantOps(t, m, want)
	}
}

func bagModel(reduce string, weighted bool) *onnx.Builder {
	b := onnx.NewBuilder("bag")
	b.Input("ids", tensor.Int64, onnx.Symbol("batch"), onnx.Extent(3))
	b.Output("y", tensor.FP32, onnx.Symbol("batch"), onnx.Extent(4))
	b.Node("Gather", list(c(b, "table", ramp(40, 1), 10, 4), "ids"), list("rows"))
	rows := "rows"
	if weighted {
		b.Input("weights", tensor.FP32, onnx.Symbol("batch"), onnx.Extent(3))
		b.Initializer(onnx.TensorOf("last", []int64{-1}, 1))
		b.Node("Unsqueeze", list("weights", "last"), list("column"))
		b.Node("Mul", list("column", "rows"), list("weighted"))
		rows = "weighted"
	}
	keep := onnx.IntAttribute("keepdims", 0)
	if reduce == "ReduceSum" {
		b.Initializer(onnx.TensorOf("axes", []int64{1}, 1))
		b.Node(reduce, list(rows, "axes"), list("y"), keep)
	} else {
		b.Node(reduce, list(rows), list("y"), keep, onnx.IntsAttribute("axes", -2))
	}
	return b
}

func TestEmbeddingBag(t *testing.T) {
	ids := input([]int64{0, 9, -1, 3, 3, -10}, 2, 3)
	weights := input(ramp(6, 2), 2, 3)
	for _, test := range []struct {
		reduce   string
		weighted bool
		want     string
	}{
		{"ReduceSum", false, "*EmbeddingBag"},
		{"ReduceMean", false, "*EmbeddingBag"},
		{"ReduceMax", false, "*EmbeddingBag"},
		{"ReduceSum", true, "*EmbeddingBag"},
		{"ReduceMean", true, "Gather Unsqueeze Mul ReduceMean"},
	} {
		given, err := bagModel(test.reduce, test.weighted).Model()
		if err != nil {
			t.Fatal(err)
		}
		m, _ := apply(t, bagModel(test.reduce, test.weighted), rewrite.Options{})
		wantOps(t, m, test.want)
		inputs := []tensor.Tensor{ids}
		if test.weighted {
			inputs = append(inputs, weights)
		}
		sameAnswers(t, given, expand(t, m), inputs...)
	}
}

func TestPowerOfTwoMovesIntoWeights(t *testing.T) {
	build := func(scale float32) *onnx.Builder {
		b := onnx.NewBuilder("attention")
		b.Input("x", tensor.FP32, onnx.Symbol("batch"), onnx.Extent(3), onnx.Extent(4))
		b.Output("y", tensor.FP32, onnx.Symbol("batch"), onnx.Extent(3), onnx.Extent(3))
		b.Node("MatMul", list("x", c(b, "wq", ramp(16, 1), 4, 4)), list("q"))
		b.Node("MatMul", list("x", c(b, "wk", ramp(16, 2), 4, 4)), list("k"))
		b.Node("Transpose", list("k"), list("kt"), onnx.IntsAttribute("perm", 0, 2, 1))
		b.Node("MatMul", list("q", "kt"), list("s"))
		b.Node("Mul", list("s", c(b, "scale", []float32{scale})), list("t"))
		b.Node("Softmax", list("t"), list("y"))
		return b
	}
	m, _ := apply(t, build(0.125), rewrite.Options{Standard: true})
	wantOps(t, m, "MatMul MatMul Transpose MatMul Softmax")
	given, err := build(0.125).Model()
	if err != nil {
		t.Fatal(err)
	}
	sameAnswers(t, given, m, input(ramp(24, 1), 2, 3, 4))
	m, _ = apply(t, build(0.3), rewrite.Options{Standard: true})
	wantOps(t, m, "MatMul MatMul Transpose MatMul Mul Softmax")
}
