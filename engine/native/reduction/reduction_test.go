// SPDX-License-Identifier: Apache-2.0

package reduction

import (
	"math"
	"testing"

	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/native/op/optest"
	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/tensor"
)

var (
	definitions = Operators()
	floats      = optest.Floats
	ints        = optest.Ints
	known       = optest.Known
	nan         = float32(math.NaN())
	inf         = float32(math.Inf(1))
)

func node(name string, attributes ...onnx.Attribute) optest.Node {
	return optest.Node{Name: name, Attributes: attributes}
}

func attribute(name string, n int64) onnx.Attribute { return onnx.IntAttribute(name, n) }

func TestReductions(t *testing.T) {
	cube := func() *op.Value { return floats([]float32{1, 2, 3, 4, 5, 6, 7, 8}, 2, 2, 2) }
	axes := func(list ...int64) *op.Value { return known(ints(list)) }
	last := []onnx.Attribute{attribute("keepdims", 0)}
	tests := []struct {
		name   string
		node   optest.Node
		want   *op.Value
		inputs []*op.Value
	}{
		{"axes that are no neighbours", node("ReduceSum", last...), floats([]float32{14, 22}), []*op.Value{cube(), axes(0, -1)}},
		{"the same axis twice", node("ReduceSum", last...), floats([]float32{10, 26}), []*op.Value{cube(), axes(1, 2, -1)}},
		{"all axes", node("ReduceMean"), floats([]float32{4.5}, 1, 1, 1), []*op.Value{cube()}},
		{"no axes at all", node("ReduceSum", attribute("noop_with_empty_axes", 1)), cube(), []*op.Value{cube(), axes()}},
		{"a scalar", node("ReduceMax"), floats([]float32{3}, -1), []*op.Value{floats([]float32{3}, -1)}},
		{"the sum of nothing", node("ReduceSum", last...), floats([]float32{0, 0}), []*op.Value{floats(nil, 2, 0), axes(1)}},
		{"the product of nothing", node("ReduceProd", last...), floats([]float32{1}), []*op.Value{floats(nil, 1, 0), axes(1)}},
		{"the largest of nothing", node("ReduceMax", last...), floats([]float32{-inf}), []*op.Value{floats(nil, 1, 0), axes(1)}},
		{"the smallest of no numbers", node("ReduceMin", last...), ints([]int64{math.MaxInt64}), []*op.Value{ints(nil, 1, 0), axes(1)}},
		{"the largest of no numbers", node("ReduceMax", last...), optest.Of(tensor.Int32, []int32{math.MinInt32}), []*op.Value{optest.Of(tensor.Int32, []int32{}, 1, 0), axes(1)}},
		{"numbers beyond float64", node("ReduceSum", last...), ints([]int64{1<<53 + 1}), []*op.Value{ints([]int64{1 << 53, 1}, 1, 2), axes(1)}},
		{"the largest of low numbers", node("ReduceMax", last...), ints([]int64{-2, -1}), []*op.Value{ints([]int64{-3, -2, -1, -9}, 2, 2), axes(1)}},
		{"exponentials that overflow", node("ReduceLogSumExp", last...), floats([]float32{1000.6931471805599}), []*op.Value{floats([]float32{1000, 1000}, 1, 2), axes(1)}},
		{"exponentials of nothing", node("ReduceLogSumExp", last...), floats([]float32{-inf}), []*op.Value{floats([]float32{-inf, -inf}, 1, 2), axes(1)}},
		{"NaN among numbers", node("ReduceMax", last...), floats([]float32{nan, 2}), []*op.Value{floats([]float32{1, nan, 1, 2}, 2, 2), axes(1)}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { optest.Want(t, definitions, test.node, test.want, test.inputs...) })
	}
}

func TestAxesAsAttribute(t *testing.T) {
	old := optest.Node{Name: "ReduceSum", Version: 11, Attributes: []onnx.Attribute{onnx.IntsAttribute("axes", -2), attribute("keepdims", 0)}}
	optest.Want(t, definitions, old, floats([]float32{4, 6}), floats([]float32{1, 2, 3, 4}, 2, 2))
}

// TestSelections compares the path of the kernels, along the last axis, with the others.
func TestSelections(t *testing.T) {
	axis := func(n int64) onnx.Attribute { return attribute("axis", n) }
	row := []float32{2, nan, 5, 5, -1}
	for name, want := range map[string]int64{"ArgMax": 1, "ArgMin": 1} {
		optest.Want(t, definitions, node(name, axis(-1)), ints([]int64{want}, 1, 1), floats(row, 1, 5))
		optest.Want(t, definitions, node(name, axis(0)), ints([]int64{want, want}, 1, 2), floats(twice(row), 5, 2))
	}
	last := attribute("select_last_index", 1)
	optest.Want(t, definitions, node("ArgMax", axis(1), last), ints([]int64{3}, 1, 1), floats([]float32{2, 1, 5, 5, -1}, 1, 5))
	optest.Want(t, definitions, node("ArgMin", axis(-1), attribute("keepdims", 0)), ints([]int64{1}), ints([]int64{4, 3, 3}, 1, 3))

	for _, largest := range []int64{0, 1} {
		n := optest.Node{Name: "TopK", Attributes: []onnx.Attribute{axis(-1), attribute("largest", largest)}, Outputs: 2}
		flat, err := optest.Run(definitions, n, floats(row, 1, 5), known(ints([]int64{5})))
		if err != nil {
			t.Fatal(err)
		}
		n.Attributes[0] = axis(0)
		down, err := optest.Run(definitions, n, floats(row, 5, 1), known(ints([]int64{5})))
		if err != nil {
			t.Fatal(err)
		}
		for i := range flat {
			down[i].Shape = flat[i].Shape
			optest.Equal(t, down[i], flat[i])
		}
	}
	optest.Want(t, definitions, node("TopK"), floats(nil, 2, 0), floats([]float32{1, 2}, 2, 1), known(ints([]int64{0})))
	running := node("CumSum", attribute("reverse", 1), attribute("exclusive", 1))
	optest.Want(t, definitions, running, ints([]int64{5, 3, 0}), ints([]int64{1, 2, 3}), known(ints([]int64{-1}, -1)))
}

// twice repeats each number.
func twice(list []float32) (all []float32) {
	for _, x := range list {
		all = append(all, x, x)
	}
	return all
}

func TestSoftmax(t *testing.T) {
	half := floats([]float32{0.5, 0.5, 0.5, 0.5}, 2, 2)
	optest.Want(t, definitions, node("Softmax", attribute("axis", 0)), half, floats([]float32{1000, -1000, 1000, -1000}, 2, 2))
	optest.Want(t, definitions, node("Softmax"), half, floats([]float32{3, 3, -1e30, -1e30}, 2, 2))
	flat := optest.Node{Name: "Softmax", Version: 11, Attributes: []onnx.Attribute{attribute("axis", 0)}}
	optest.Want(t, definitions, flat, floats([]float32{0.25, 0.25, 0.25, 0.25}, 2, 2), floats(make([]float32, 4), 2, 2))
	optest.Want(t, definitions, node("Softmax"), floats(nil, 3, 0), floats(nil, 3, 0))
	optest.Want(t, definitions, node("Hardmax"), floats([]float32{0, 1, 0}, 1, 3), floats([]float32{1, 2, 2}, 1, 3))
}

func TestNorms(t *testing.T) {
	normalizer := func(norm string) optest.Node {
		return optest.Node{Domain: "ai.onnx.ml", Name: "Normalizer", Attributes: []onnx.Attribute{onnx.StringAttribute("norm", norm)}}
	}
	zeros := floats(make([]float32, 2), 1, 2)
	for _, norm := range []string{"L1", "L2", "MAX"} {
		optest.Want(t, definitions, normalizer(norm), zeros, floats(make([]float32, 2), 1, 2))
	}
	optest.Want(t, definitions, normalizer("L1"), floats([]float32{-0.25, 0.75}, 1, 2), ints([]int64{-1, 3}, 1, 2))
	optest.Want(t, definitions, normalizer("MAX"), floats([]float32{-0.5, 1}, 1, 2), floats([]float32{-1, 2}, 1, 2))
	optest.Want(t, definitions, node("LpNormalization", attribute("p", 1)), zeros, floats(make([]float32, 2), 1, 2))
	one := func(list ...float32) *op.Value { return floats(list) }
	batch := []*op.Value{floats([]float32{1, 2, 3, 4}, 1, 2, 2), one(1, 2), one(0, 1), one(1, 3), one(1, 1)}
	optest.Want(t, definitions, node("BatchNormalization", onnx.FloatAttribute("epsilon", 0)), floats([]float32{0, 1, 1, 3}, 1, 2, 2), batch...)
	optest.Want(t, definitions, node("BatchNormalization"), floats(nil, 0, 2, 2), floats(nil, 0, 2, 2), one(1, 2), one(0, 1), one(1, 3), one(1, 1))
}

func TestRowwise(t *testing.T) {
	x := floats(make([]float32, 16), 4, 4)
	gamma := floats(make([]float32, 4))
	yes, all := []bool{true}, []bool{true, true, false}
	axis := func(n int64) onnx.Attribute { return attribute("axis", n) }
	tests := []struct {
		name    string
		node    optest.Node
		carries []bool
		inputs  []*op.Value
		want    bool
	}{
		{"sum of columns", node("ReduceSum"), []bool{true, false}, []*op.Value{x, known(ints([]int64{-1}))}, true},
		{"sum of rows", node("ReduceSum"), []bool{true, false}, []*op.Value{x, known(ints([]int64{-2}))}, false},
		{"sum of all", node("ReduceSum"), yes, []*op.Value{x}, false},
		{"shares of columns", node("Softmax", axis(1)), yes, []*op.Value{x}, true},
		{"shares of rows", node("Softmax", axis(-2)), yes, []*op.Value{x}, false},
		{"shares of all", optest.Node{Name: "Softmax", Version: 11, Attributes: []onnx.Attribute{axis(0)}}, yes, []*op.Value{x}, false},
		{"best column", node("ArgMax", axis(-1)), yes, []*op.Value{x}, true},
		{"best row", node("ArgMax"), yes, []*op.Value{x}, false},
		{"layer", node("LayerNormalization"), []bool{true, false, false}, []*op.Value{x, gamma, gamma}, true},
		{"layer over rows", node("LayerNormalization", axis(0)), []bool{true, false, false}, []*op.Value{x, gamma, gamma}, false},
		{"layer whose scale is of the batch", node("LayerNormalization"), all, []*op.Value{x, gamma, gamma}, false},
		{"batch whose scale is of the batch", node("BatchNormalization"), []bool{true, true, false, false, false}, []*op.Value{x, gamma, gamma, gamma, gamma}, false},
		{"running along columns", node("CumSum"), []bool{true, false}, []*op.Value{x, known(ints([]int64{1}, -1))}, true},
		{"running along rows", node("CumSum"), []bool{true, false}, []*op.Value{x, known(ints([]int64{0}, -1))}, false},
		{"largest columns", node("TopK"), []bool{true, false}, []*op.Value{x, known(ints([]int64{1}))}, true},
		{"largest rows", node("TopK", axis(0)), []bool{true, false}, []*op.Value{x, known(ints([]int64{1}))}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := optest.Rowwise(t, definitions, test.node, test.carries, test.inputs...); got != test.want {
				t.Errorf("%v, want %v", got, test.want)
			}
		})
	}
}
