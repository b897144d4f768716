// SPDX-License-Identifier: Apache-2.0

package elementwise

import (
	"errors"
	"math"
	"math/rand/v2"
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
	texts       = optest.Texts
	nan         = float32(math.NaN())
	inf         = float32(math.Inf(1))
)

func node(name string, attributes ...onnx.Attribute) optest.Node {
	return optest.Node{Name: name, Attributes: attributes}
}

func truth(list ...bool) *op.Value { return optest.Of(tensor.Bool, list) }

// TestWalk compares broadcasting with an index computed for each element.
func TestWalk(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 2000 {
		var a, b tensor.Shape
		for range r.IntN(5) {
			d := r.Int64N(4)
			x, y := d, d
			switch r.IntN(4) {
			case 0:
				x = 1
			case 1:
				y = 1
			}
			a, b = append(a, x), append(b, y)
		}
		if cut := r.IntN(len(b) + 1); r.IntN(2) == 0 {
			b = b[cut:]
		}
		whole, err := op.Broadcast(a, b)
		if err != nil {
			t.Fatal(err)
		}
		next := 0
		w := newWalk(whole, a, b)
		w.each(func(out, i, j int) {
			for range w.inner.extent {
				wantI, wantJ := sourceOf(whole, a, next), sourceOf(whole, b, next)
				if out != next && w.inner.extent == 1 || i != wantI || j != wantJ {
					t.Fatalf("%v and %v: element %d is made of %d and %d, want %d and %d", a, b, next, i, j, wantI, wantJ)
				}
				next, i, j = next+1, i+w.inner.a, j+w.inner.b
			}
		})
		if elements, _ := whole.Elements(); int64(next) != elements {
			t.Fatalf("%v and %v: %d elements of %d", a, b, next, elements)
		}
	}
}

// sourceOf is the place in an array of shape from that is repeated to place at of shape.
func sourceOf(shape, from tensor.Shape, at int) int {
	place, step := 0, 1
	for back := 1; back <= len(shape); back++ {
		extent := int(shape[len(shape)-back])
		k := at % extent
		at /= extent
		if back > len(from) {
			continue
		}
		if own := int(from[len(from)-back]); own != 1 {
			place += k * step
			step *= own
		}
	}
	return place
}

func TestArithmetic(t *testing.T) {
	tests := []struct {
		name   string
		node   optest.Node
		want   *op.Value
		inputs []*op.Value
	}{
		{"subtracted from a number", node("Sub"), floats([]float32{9, 8, 7}), []*op.Value{floats([]float32{10}), floats([]float32{1, 2, 3})}},
		{"divided by rows", node("Div"), floats([]float32{1, 1, 3, 2}, 2, 2), []*op.Value{floats([]float32{1, 2, 3, 4}, 2, 2), floats([]float32{1, 2})}},
		{"a column less a row", node("Sub"), floats([]float32{-2, -3, -1, -2}, 2, 2), []*op.Value{floats([]float32{1, 2}, 2, 1), floats([]float32{3, 4})}},
		{"nothing", node("Add"), floats(nil, 0, 2), []*op.Value{floats(nil, 0, 1), floats([]float32{3, 4})}},
		{"nothing and a number", node("Mul"), floats(nil, 0), []*op.Value{floats(nil, 0), floats([]float32{3}, -1)}},
		{"scalars", node("Add"), floats([]float32{3}, -1), []*op.Value{floats([]float32{1}, -1), floats([]float32{2}, -1)}},
		{"integers divided", node("Div"), ints([]int64{-3, 0, math.MinInt64}), []*op.Value{ints([]int64{-7, 5, math.MinInt64}), ints([]int64{2, 0, -1})}},
		{"small integers wrap", node("Add"), optest.Of(tensor.Int8, []int8{-128}), []*op.Value{optest.Of(tensor.Int8, []int8{127}), optest.Of(tensor.Int8, []int8{1})}},
		{"remainder by the divisor", node("Mod"), ints([]int64{2, -1, 0}), []*op.Value{ints([]int64{-7, 5, 1}), ints([]int64{3, -3, 0})}},
		{"remainder by the dividend", node("Mod", onnx.IntAttribute("fmod", 1)), floats([]float32{-1, 2}), []*op.Value{floats([]float32{-7, 5}), floats([]float32{3, -3})}},
		{"larger than NaN", node("Max"), floats([]float32{nan, 2}), []*op.Value{floats([]float32{nan, 1}), floats([]float32{1, 2})}},
		{"means", node("Mean"), floats([]float32{2, 3}), []*op.Value{floats([]float32{1, 2}), floats([]float32{4}), floats([]float32{1, 3})}},
		{"a sum of one", node("Sum"), floats([]float32{1}), []*op.Value{floats([]float32{1})}},
		{"powers of integers", node("Pow"), ints([]int64{8, 1}), []*op.Value{ints([]int64{2, 5}), floats([]float32{3, 0})}},
		{"NaN stays", node("Relu"), floats([]float32{nan, 0, 2}), []*op.Value{floats([]float32{nan, -1, 2})}},
		{"half to even", node("Round"), floats([]float32{0, 2, -2}), []*op.Value{floats([]float32{0.5, 1.5, -2.5})}},
		{"absolute integers", node("Abs"), ints([]int64{3, 0}), []*op.Value{ints([]int64{-3, 0})}},
		{"large sigmoids", node("Sigmoid"), floats([]float32{0, 1}), []*op.Value{floats([]float32{-200, 200})}},
		{"without a lower bound", node("Clip"), floats([]float32{-inf, 1}), []*op.Value{floats([]float32{-inf, 2}), nil, floats([]float32{1}, -1)}},
		{"old bounds", optest.Node{Name: "Clip", Version: 6, Attributes: []onnx.Attribute{onnx.FloatAttribute("min", 0)}}, floats([]float32{0, 2}), []*op.Value{floats([]float32{-2, 2})}},
		{"integers clipped", node("Clip"), ints([]int64{0, 2}), []*op.Value{ints([]int64{-2, 5}), ints([]int64{0}, -1), ints([]int64{2}, -1)}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { optest.Want(t, definitions, test.node, test.want, test.inputs...) })
	}
}

func TestComparisons(t *testing.T) {
	for name, want := range map[string][]bool{
		"Less": {true, false, false, false}, "LessOrEqual": {true, true, false, false}, "Equal": {false, true, false, false},
		"Greater": {false, false, true, false}, "GreaterOrEqual": {false, true, true, false},
	} {
		optest.Want(t, definitions, node(name), truth(want...), floats([]float32{1, 2, 3, nan}), floats([]float32{2}))
		optest.Want(t, definitions, node(name), truth(want[:3]...), texts([]string{"a", "b", "c"}), texts([]string{"b"}))
	}
	optest.Want(t, definitions, node("Where"), texts([]string{"a", "y"}), truth(true, false), texts([]string{"a", "b"}), texts([]string{"x", "y"}))
	optest.Want(t, definitions, node("Where"), ints([]int64{1, 7, 3}), truth(true, false, true), ints([]int64{1, 2, 3}), ints([]int64{7}, -1))
	optest.Want(t, definitions, node("IsInf", onnx.IntAttribute("detect_negative", 0)), truth(true, false, false), floats([]float32{inf, -inf, nan}))
	optest.Want(t, definitions, node("Xor"), truth(false, true), truth(true, false), truth(true, true))
}

// TestNotCovered checks that types that are left out are left to another backend.
func TestNotCovered(t *testing.T) {
	half := optest.Of(tensor.FP16, []uint16{1})
	for _, name := range []string{"Add", "Relu", "Less", "IsNaN"} {
		inputs := []*op.Value{half, half}
		if name == "Relu" || name == "IsNaN" {
			inputs = inputs[:1]
		}
		if _, err := optest.Run(definitions, node(name), inputs...); !errors.Is(err, op.ErrNotCovered) {
			t.Errorf("%s of FP16: %v", name, err)
		}
	}
}

func TestRowwise(t *testing.T) {
	x, row, column, one := floats(make([]float32, 16), 4, 4), floats(make([]float32, 4)), floats(make([]float32, 4), 4, 1), floats([]float32{1}, -1)
	tests := []struct {
		name    string
		carries []bool
		inputs  []*op.Value
		want    bool
	}{
		{"a row for all", []bool{true, false}, []*op.Value{x, row}, true},
		{"a number for all", []bool{false, true}, []*op.Value{one, x}, true},
		{"both of the batch", []bool{true, true}, []*op.Value{x, column}, true},
		{"rows of something else", []bool{true, false}, []*op.Value{x, column}, false},
		{"rows across columns", []bool{true, true}, []*op.Value{x, row}, false},
		{"one row repeated", []bool{true, true}, []*op.Value{floats(make([]float32, 4), 1, 4), x}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for _, name := range []string{"Add", "Less", "Pow"} {
				if got := optest.Rowwise(t, definitions, node(name), test.carries, test.inputs...); got != test.want {
					t.Errorf("%s: %v, want %v", name, got, test.want)
				}
			}
		})
	}
}
