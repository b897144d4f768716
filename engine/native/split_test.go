// SPDX-License-Identifier: Apache-2.0

package native

import (
	"math/rand/v2"
	"testing"

	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// TestSplitOnlyWhereAlike checks models of which rows may be computed apart, and others
// that only look so with as many rows as here.
func TestSplitOnlyWhereAlike(t *testing.T) {
	const rows = 128
	shapeOf := func(g *grower, x made) string {
		name := g.name("shape")
		g.b.Node("Shape", []string{x.name}, []string{name})
		g.b.Node("Gather", []string{name, g.ints(0)}, []string{name + "n"})
		g.b.Node("Cast", []string{name + "n"}, []string{name + "f"}, onnx.IntAttribute("to", int64(onnx.ElemFloat)))
		return name
	}
	for name, test := range map[string]struct {
		splits bool
		build  func(g *grower)
	}{
		"a layer": {true, func(g *grower) {
			g.nodeTo("MatMul", g.values[0], tensor.FP32, []int64{rowsExtent, 5}, []string{g.weights(1, 12, 5)})
		}},
		"a shape with the number of rows": {true, func(g *grower) {
			shape := shapeOf(g, g.values[0])
			g.b.Node("Concat", []string{shape + "n", g.ints(3, 4)}, []string{"target"}, onnx.IntAttribute("axis", 0))
			g.nodeTo("Reshape", g.values[0], tensor.FP32, []int64{rowsExtent, 3, 4}, []string{"target"})
			g.node("Softmax", g.values[len(g.values)-1], nil)
		}},
		"a number of rows to compute with": {false, func(g *grower) {
			g.node("Div", g.values[0], []string{shapeOf(g, g.values[0]) + "f"})
		}},
		"rows that are repeated to so many": {false, func(g *grower) {
			g.nodeTo("Expand", g.values[0], tensor.FP32, []int64{rows, 12}, []string{g.ints(rows, 12)})
			g.node("Tanh", g.values[len(g.values)-1], nil)
		}},
		"a place for each row": {false, func(g *grower) {
			shape := shapeOf(g, g.values[0])
			g.b.Node("Squeeze", []string{shape + "n"}, []string{"limit"})
			g.b.Initializer(onnx.TensorOf("zero", []int64{0}))
			g.b.Initializer(onnx.TensorOf("one", []int64{1}))
			g.b.Node("Range", []string{"zero", "limit", "one"}, []string{"places"})
			g.b.Node("Cast", []string{"places"}, []string{"floats"}, onnx.IntAttribute("to", int64(onnx.ElemFloat)))
			g.b.Node("Unsqueeze", []string{"floats", g.ints(1)}, []string{"column"})
			g.node("Add", g.values[0], []string{"column"})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			defer alwaysSplit()()
			model, g := buildModel(t, test.build)
			folder := writeModel(t, model)
			inputs := g.inputsOf(rand.New(rand.NewPCG(1, 8)), rows)
			two := instanceOf(t, Backend{}, folder, 2)
			got := answers(t, two, inputs)
			identical(t, "on two threads", got, answers(t, instanceOf(t, Backend{}, folder, 1), inputs))
			if split := two.(*instance).latest.parts != nil; split != test.splits {
				t.Errorf("split: %v, want %v", split, test.splits)
			}
		})
	}
}
