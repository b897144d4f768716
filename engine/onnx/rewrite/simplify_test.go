// SPDX-License-Identifier: Apache-2.0

package rewrite_test

import (
	"slices"
	"testing"

	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/onnx/rewrite"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// ints adds a list of integers.
func ints(b *onnx.Builder, name string, values ...int64) string {
	b.Initializer(onnx.TensorOf(name, values, int64(len(values))))
	return name
}

func cast(to onnx.ElemType) onnx.Attribute { return onnx.IntAttribute("to", int64(to)) }

// simpleCases are graphs over x [batch, 4] of nodes that change nothing, or no more
// than fewer nodes would.
var simpleCases = []struct {
	name  string
	build func(b *onnx.Builder)
	want  string
}{
	{"chain of nothing", func(b *onnx.Builder) {
		b.Node("Identity", list("x"), list("a"))
		b.Node("Dropout", list("a"), list("b"))
		b.Node("Cast", list("b"), list("c"), cast(onnx.ElemFloat))
		b.Node("Sin", list("c"), list("y"))
	}, "Sin"},
	{"output of nothing", func(b *onnx.Builder) {
		b.Node("Sin", list("x"), list("a"))
		b.Node("Identity", list("a"), list("y"))
	}, "Sin"},
	{"input as output", func(b *onnx.Builder) { b.Node("Identity", list("x"), list("y")) }, "Identity"},
	{"factor of one", func(b *onnx.Builder) {
		b.Node("Mul", list(c(b, "one", []float32{1}, 1), "x"), list("a"))
		b.Node("Div", list("a", "one"), list("b"))
		b.Node("Sin", list("b"), list("y"))
	}, "Sin"},
	{"one that adds a dimension", func(b *onnx.Builder) {
		b.Node("Mul", list("x", c(b, "one", []float32{1}, 1, 1, 1)), list("a"))
		b.Node("Squeeze", list("a", ints(b, "axis", 0)), list("y"))
	}, "Mul Squeeze"},
	{"casts that lose nothing", func(b *onnx.Builder) {
		b.Node("Cast", list("x"), list("a"), cast(onnx.ElemDouble))
		b.Node("Cast", list("a"), list("b"), cast(onnx.ElemFloat))
		b.Node("Sin", list("b"), list("y"))
	}, "Sin"},
	{"casts that lose", func(b *onnx.Builder) {
		b.Node("Cast", list("x"), list("a"), cast(onnx.ElemInt32))
		b.Node("Cast", list("a"), list("y"), cast(onnx.ElemFloat))
	}, "Cast Cast"},
	{"transposes", func(b *onnx.Builder) {
		b.Node("Transpose", list("x"), list("a"))
		b.Node("Transpose", list("a"), list("b"), onnx.IntsAttribute("perm", 1, 0))
		b.Node("Sin", list("b"), list("y"))
	}, "Sin"},
	{"reshapes", func(b *onnx.Builder) {
		b.Node("Reshape", list("x", ints(b, "s", -1, 2, 2)), list("a"))
		b.Node("Reshape", list("a", ints(b, "t", 0, 4, 1)), list("b"))
		b.Node("Flatten", list("b"), list("c"))
		b.Node("Reshape", list("c", ints(b, "u", -1, 2)), list("y"))
	}, "Reshape"},
	{"reshape to the same", func(b *onnx.Builder) {
		b.Node("Reshape", list("x", ints(b, "s", -1, 4)), list("a"))
		b.Node("Sin", list("a"), list("y"))
	}, "Sin"},
	{"shape put together", func(b *onnx.Builder) {
		b.Node("Shape", list("x"), list("s"))
		b.Node("Gather", list("s", ints(b, "zero", 0)), list("rows"))
		b.Node("Gather", list("s", ints(b, "one", 1)), list("columns"))
		b.Node("Mul", list("columns", ints(b, "two", 2)), list("eight"))
		b.Node("Div", list("eight", ints(b, "four", 4)), list("half"))
		b.Node("Concat", list("rows", "half", ints(b, "rest", -1)), list("t"), onnx.IntAttribute("axis", 0))
		b.Node("Reshape", list("x", "t"), list("a"))
		b.Node("Sin", list("a"), list("b"))
		b.Node("Flatten", list("b"), list("y"))
	}, "Reshape Sin Flatten"},
	{"squeeze and unsqueeze", func(b *onnx.Builder) {
		b.Node("Unsqueeze", list("x", ints(b, "axes", 1)), list("a"))
		b.Node("Squeeze", list("a", "axes"), list("b"))
		b.Node("Sin", list("b"), list("y"))
	}, "Sin"},
	{"padding with nothing", func(b *onnx.Builder) {
		b.Node("Pad", list("x", ints(b, "pads", 0, 0, 0, 0)), list("a"))
		b.Node("Sin", list("a"), list("y"))
	}, "Sin"},
	{"the same twice", func(b *onnx.Builder) {
		b.Node("Sin", list("x"), list("a"))
		b.Node("Sin", list("x"), list("b"))
		b.Node("Add", list("a", c(b, "k", []float32{2})), list("d"))
		b.Node("Add", list("b", c(b, "l", []float32{2})), list("e"))
		b.Node("Sub", list("d", "e"), list("y"))
	}, "Sin Add Sub"},
	{"not the same", func(b *onnx.Builder) {
		b.Node("LeakyRelu", list("x"), list("a"), onnx.FloatAttribute("alpha", 0.1))
		b.Node("LeakyRelu", list("x"), list("b"), onnx.FloatAttribute("alpha", 0.2))
		b.Node("Sub", list("a", "b"), list("y"))
	}, "LeakyRelu LeakyRelu Sub"},
	{"unread", func(b *onnx.Builder) {
		b.Node("Sin", list("x"), list("a"))
		b.Node("Exp", list("a"), list("b"))
		b.Node("Log", list("b"), list("c"))
		b.Node("Cos", list("x"), list("y"))
		c(b, "unread", ramp(4, 1), 4)
	}, "Cos"},
	{"optional inputs left out", func(b *onnx.Builder) {
		b.Node("Identity", list("x"), list("a"))
		b.Node("Clip", list("a", "", c(b, "high", []float32{0.5})), list("y"))
	}, "Clip"},
}

func TestSimplify(t *testing.T) {
	for _, test := range simpleCases {
		t.Run(test.name, func(t *testing.T) {
			build := func() *onnx.Builder {
				b := rowModel(4)
				test.build(b)
				return b
			}
			m, _ := apply(t, build(), rewrite.Options{Standard: true})
			wantOps(t, m, test.want)
			if slices.ContainsFunc(m.Graph.Initializers, func(c onnx.Tensor) bool { return c.Name == "unread" }) {
				t.Error("a constant that nobody reads stays")
			}
			given, err := build().Model()
			if err != nil {
				t.Fatal(err)
			}
			for _, rows := range []int64{3, 1} {
				sameAnswers(t, given, m, input(ramp(int(rows)*4, 3), rows, 4))
			}
		})
	}
}

func TestFolding(t *testing.T) {
	build := func() *onnx.Builder {
		b := rowModel(4)
		b.Node("Constant", nil, list("two"), onnx.FloatAttribute("value_float", 2))
		b.Node("Sqrt", list("two"), list("root"))
		b.Node("Expand", list("root", ints(b, "four", 4)), list("row"))
		b.Node("Mul", list("x", "row"), list("y"))
		return b
	}
	given, err := build().Model()
	if err != nil {
		t.Fatal(err)
	}
	evaluate := evaluator(t, given)
	m, report := apply(t, build(), rewrite.Options{Standard: true, Evaluate: evaluate})
	wantOps(t, m, "Mul")
	if report.Folded != 3 {
		t.Errorf("%d nodes folded, want 3", report.Folded)
	}
	sameAnswers(t, given, m, input(ramp(8, 1), 2, 4))
	m, _ = apply(t, build(), rewrite.Options{Standard: true})
	wantOps(t, m, "Sqrt Expand Mul")
	m, _ = apply(t, build(), rewrite.Options{Standard: true, Evaluate: evaluate, FoldBytesMax: 8})
	wantOps(t, m, "Expand Mul")
}

func TestLargeResultsAreNotFolded(t *testing.T) {
	b := rowModel(4)
	b.Node("ConstantOfShape", list(ints(b, "huge", 1<<40)), list("h"))
	b.Node("ReduceSum", list("h"), list("s"), onnx.IntAttribute("keepdims", 0))
	b.Node("Add", list("x", "s"), list("y"))
	called := false
	m, _ := apply(t, b, rewrite.Options{Evaluate: func(n *onnx.Node, _ func(string) int64, _ []onnx.Tensor) ([]onnx.Tensor, error) {
		called = true
		return nil, nil
	}})
	wantOps(t, m, "ConstantOfShape ReduceSum Add")
	if called {
		t.Error("a result of a terabyte was asked for")
	}
}

func TestZipMap(t *testing.T) {
	build := func() *onnx.Builder {
		b := onnx.NewBuilder("m")
		b.Opset("ai.onnx.ml", 3)
		b.Input("x", tensor.FP32, onnx.Symbol("batch"), onnx.Extent(2))
		b.Node("Softmax", list("x"), list("p"))
		b.DomainNode("ai.onnx.ml", "ZipMap", list("p"), list("y"), onnx.IntsAttribute("classlabels_int64s", 0, 1))
		b.Output("y", tensor.FP32)
		return b
	}
	m, _ := apply(t, build(), rewrite.Options{Standard: true})
	wantOps(t, m, "Softmax ai.onnx.ml.ZipMap")
	m, _ = apply(t, build(), rewrite.Options{Standard: true, DropZipMap: true})
	wantOps(t, m, "Softmax")
	if got := m.Graph.Outputs[0]; got.Name != "y" || got.Type.String() != "tensor(float)[batch,2]" {
		t.Errorf("the output is %s %s", got.Name, got.Type.String())
	}
	if got := run(t, m, input([]float32{0, 0}, 1, 2))[0]; !slices.Equal(floats(got.Data), []float32{0.5, 0.5}) {
		t.Errorf("probabilities are %v", floats(got.Data))
	}
}
