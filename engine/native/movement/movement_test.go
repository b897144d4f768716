// SPDX-License-Identifier: Apache-2.0

package movement

import (
	"errors"
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
	texts       = optest.Texts
	known       = optest.Known
)

func node(name string, attributes ...onnx.Attribute) optest.Node {
	return optest.Node{Name: name, Attributes: attributes}
}

func TestMoves(t *testing.T) {
	axis := func(n int64) onnx.Attribute { return onnx.IntAttribute("axis", n) }
	two := func() *op.Value { return floats([]float32{1, 2, 3, 4}, 2, 2) }
	words := func() *op.Value { return texts([]string{"a", "b", "c", "d"}, 2, 2) }
	tests := []struct {
		name   string
		node   optest.Node
		want   *op.Value
		inputs []*op.Value
	}{
		{"texts transposed", node("Transpose"), texts([]string{"a", "c", "b", "d"}, 2, 2), []*op.Value{words()}},
		{"texts joined", node("Concat", axis(-1)), texts([]string{"a", "b", "e", "c", "d", "f"}, 2, 3), []*op.Value{words(), texts([]string{"e", "f"}, 2, 1)}},
		{"nothing joined", node("Concat", axis(0)), floats([]float32{1, 2, 3, 4}, 2, 2), []*op.Value{floats(nil, 0, 2), two()}},
		{"texts gathered from the end", node("Gather", axis(1)), texts([]string{"b", "d"}, 2, 1), []*op.Value{words(), ints([]int64{-1})}},
		{"gathered by a scalar", node("Gather"), floats([]float32{3, 4}), []*op.Value{two(), ints([]int64{1}, -1)}},
		{"gathered by nothing", node("Gather"), floats(nil, 0, 2), []*op.Value{two(), ints(nil)}},
		{"gathered by INT32", node("Gather", axis(-1)), floats([]float32{2, 4}, 2, 1), []*op.Value{two(), optest.Of(tensor.Int32, []int32{-1})}},
		{"elements from the end", node("GatherElements", axis(1)), floats([]float32{2, 3}, 2, 1), []*op.Value{two(), ints([]int64{-1, 0}, 2, 1)}},
		{"tuples from the end", node("GatherND"), floats([]float32{4, 1}), []*op.Value{two(), ints([]int64{-1, -1, 0, 0}, 2, 2)}},
		{"texts scattered", node("ScatterElements"), texts([]string{"a", "b", "x", "d"}, 2, 2), []*op.Value{words(), ints([]int64{-1}, 1, 1), texts([]string{"x"}, 1, 1)}},
		{"sliced back to front", node("Slice"), floats([]float32{2, 1, 4, 3}, 2, 2), []*op.Value{two(), known(ints([]int64{-1})), known(ints([]int64{math.MinInt64})), known(ints([]int64{1})), known(ints([]int64{-1}))}},
		{"sliced by a giant step", node("Slice"), floats([]float32{1, 2}, 1, 2), []*op.Value{two(), known(ints([]int64{0})), known(ints([]int64{math.MaxInt64})), known(ints([]int64{0})), known(ints([]int64{math.MaxInt64}))}},
		{"sliced to nothing", node("Slice"), floats(nil, 0, 2), []*op.Value{two(), known(ints([]int64{5})), known(ints([]int64{9}))}},
		{"tiled never", node("Tile"), floats(nil, 0, 2), []*op.Value{two(), known(ints([]int64{0, 1}))}},
		{"padded by less than nothing", node("Pad"), floats([]float32{2, 0, 4, 0}, 2, 2), []*op.Value{two(), known(ints([]int64{0, -1, 0, 1}))}},
		{"wrapped", node("Pad", onnx.StringAttribute("mode", "wrap")), floats([]float32{2, 1, 2, 1, 2}), []*op.Value{floats([]float32{1, 2}), known(ints([]int64{1, 2}))}},
		{"padded along an axis", node("Pad"), floats([]float32{9, 1, 2, 9, 3, 4}, 2, 3), []*op.Value{two(), known(ints([]int64{1, 0})), floats([]float32{9}, -1), known(ints([]int64{-1}))}},
		{"expanded to nothing", node("Expand"), floats(nil, 0, 2, 2), []*op.Value{two(), known(ints([]int64{0, 1, 1}))}},
		{"one-hot beyond", node("OneHot", axis(0)), floats([]float32{0, 1, 0, 0, 0, 0}, 2, 3), []*op.Value{ints([]int64{7, -2, -9}), known(ints([]int64{2}, -1)), known(floats([]float32{0, 1}))}},
		{"places of what is not 0", node("NonZero"), ints([]int64{0, 1, 1, 0}, 2, 2), []*op.Value{known(floats([]float32{0, 3, float32(math.NaN()), float32(math.Copysign(0, -1))}, 2, 2))}},
		{"above the diagonal", node("Trilu"), floats([]float32{0, 2, 0, 0}, 2, 2), []*op.Value{two(), known(ints([]int64{1}, -1))}},
		{"above a far diagonal", node("Trilu"), floats(make([]float32, 4), 2, 2), []*op.Value{two(), known(ints([]int64{math.MaxInt64}, -1))}},
		{"below a far diagonal", node("Trilu", onnx.IntAttribute("upper", 0)), floats(make([]float32, 4), 2, 2), []*op.Value{two(), known(ints([]int64{math.MinInt64}, -1))}},
		{"a far diagonal", node("EyeLike", onnx.IntAttribute("k", math.MaxInt64)), floats(make([]float32, 4), 2, 2), []*op.Value{two()}},
		{"an empty shape", node("Shape"), ints(nil), []*op.Value{floats([]float32{1}, -1)}},
		{"the end of a shape", node("Shape", onnx.IntAttribute("start", -1)), ints([]int64{2}), []*op.Value{two()}},
		{"a range backwards", node("Range"), ints([]int64{5, 3}), []*op.Value{known(ints([]int64{5}, -1)), known(ints([]int64{1}, -1)), known(ints([]int64{-2}, -1))}},
		{"an empty range", node("Range"), ints(nil), []*op.Value{known(ints([]int64{5}, -1)), known(ints([]int64{1}, -1)), known(ints([]int64{2}, -1))}},
		{"texts chosen by a view", node("Flatten"), texts([]string{"a", "b", "c", "d"}, 1, 4), []*op.Value{texts([]string{"a", "b", "c", "d"})}},
	}
	// Flatten counts its axis from 1, which of one dimension is all of it.
	tests[len(tests)-1].node = node("Flatten", axis(0))
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { optest.Want(t, definitions, test.node, test.want, test.inputs...) })
	}
}

func TestCast(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	to := func(e onnx.ElemType) optest.Node { return node("Cast", onnx.IntAttribute("to", int64(e))) }
	tests := []struct {
		name     string
		node     optest.Node
		in, want *op.Value
	}{
		{"floats to texts", to(onnx.ElemString), floats([]float32{1.5, nan, inf, -inf}), texts([]string{"1.5", "NaN", "INF", "-INF"})},
		{"numbers to texts", to(onnx.ElemString), ints([]int64{math.MinInt64, 7}), texts([]string{"-9223372036854775808", "7"})},
		{"texts to floats", to(onnx.ElemFloat), texts([]string{"1e3", "-inf", "NaN"}), floats([]float32{1000, -inf, nan})},
		{"texts to numbers", to(onnx.ElemInt64), texts([]string{"9223372036854775807", "-2.7"}), ints([]int64{math.MaxInt64, -2})},
		{"floats to truth", to(onnx.ElemBool), floats([]float32{0, nan, -0.5}), optest.Of(tensor.Bool, []bool{false, true, true})},
		{"floats to numbers", to(onnx.ElemInt64), floats([]float32{-1.9, 1.9}), ints([]int64{-1, 1})},
		{"numbers cut", to(onnx.ElemInt8), ints([]int64{300, -129}), optest.Of(tensor.Int8, []int8{44, 127})},
		{"to half and back", to(onnx.ElemFloat16), optest.Of(tensor.FP64, []float64{1, -2, 65536}), optest.Of(tensor.FP16, []uint16{0x3c00, 0xc000, 0x7c00})},
		{"nothing", to(onnx.ElemDouble), ints(nil, 0, 3), optest.Of(tensor.FP64, []float64{}, 0, 3)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { optest.Want(t, definitions, test.node, test.want, test.in) })
	}
	if _, err := optest.Run(definitions, to(onnx.ElemFloat), texts([]string{"1", "x"})); err == nil {
		t.Error("a text that is no number becomes one")
	}
}

// TestNotKnown checks that what must be known before the run and is not is left to another
// backend.
func TestNotKnown(t *testing.T) {
	x, n := floats([]float32{1, 2}), ints([]int64{2})
	for _, name := range []string{"Reshape", "Expand", "Tile", "Unsqueeze", "Squeeze", "Split", "Pad"} {
		if _, err := optest.Run(definitions, node(name), x, n); !errors.Is(err, op.ErrNotCovered) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRowwise(t *testing.T) {
	x := floats(make([]float32, 12), 4, 3)
	rows, both := []bool{true, false}, []bool{true, true}
	axis := func(n int64) onnx.Attribute { return onnx.IntAttribute("axis", n) }
	tests := []struct {
		name    string
		node    optest.Node
		carries []bool
		inputs  []*op.Value
		want    bool
	}{
		{"transposed", node("Transpose"), rows[:1], []*op.Value{x}, false},
		{"transposed within rows", node("Transpose", onnx.IntsAttribute("perm", 0, 2, 1)), rows[:1], []*op.Value{floats(make([]float32, 12), 2, 2, 3)}, true},
		{"joined columns", node("Concat", axis(1)), both, []*op.Value{x, x}, true},
		{"joined rows", node("Concat", axis(-2)), both, []*op.Value{x, x}, false},
		{"joined with what has no rows", node("Concat", axis(1)), rows, []*op.Value{x, x}, false},
		{"columns gathered", node("Gather", axis(1)), rows, []*op.Value{x, ints([]int64{0})}, true},
		{"rows gathered", node("Gather"), rows, []*op.Value{x, ints([]int64{0})}, false},
		{"a table", node("Gather"), []bool{false, true}, []*op.Value{x, ints(make([]int64, 4))}, true},
		{"a table of rows", node("Gather"), both, []*op.Value{x, ints(make([]int64, 4))}, false},
		{"padded columns", node("Pad"), rows, []*op.Value{x, known(ints([]int64{0, 1, 0, 1}))}, true},
		{"padded rows", node("Pad"), rows, []*op.Value{x, known(ints([]int64{1, 0, 0, 0}))}, false},
		{"tiled columns", node("Tile"), rows, []*op.Value{x, known(ints([]int64{1, 2}))}, true},
		{"tiled rows", node("Tile"), rows, []*op.Value{x, known(ints([]int64{2, 1}))}, false},
		{"split columns", optest.Node{Name: "Split", Attributes: []onnx.Attribute{axis(-1)}, Outputs: 3}, rows[:1], []*op.Value{x}, true},
		{"split rows", optest.Node{Name: "Split", Outputs: 2}, rows[:1], []*op.Value{x}, false},
		{"another first dimension", node("Reshape"), rows, []*op.Value{x, known(ints([]int64{3, 4}))}, false},
		{"the same first dimension", node("Reshape"), rows, []*op.Value{x, known(ints([]int64{-1, 3, 1}))}, true},
		{"sliced columns", node("Slice"), []bool{true, false, false, false}, []*op.Value{x, known(ints([]int64{1})), known(ints([]int64{2})), known(ints([]int64{-1}))}, true},
		{"sliced rows", node("Slice"), []bool{true, false, false, false}, []*op.Value{x, known(ints([]int64{1})), known(ints([]int64{2})), known(ints([]int64{-2}))}, false},
		{"one-hot in front", node("OneHot", axis(0)), []bool{true, false, false}, []*op.Value{ints(make([]int64, 4)), known(ints([]int64{2}, -1)), known(floats([]float32{0, 1}))}, false},
		{"one-hot behind", node("OneHot"), []bool{true, false, false}, []*op.Value{ints(make([]int64, 4)), known(ints([]int64{2}, -1)), known(floats([]float32{0, 1}))}, true},
		{"scattered", node("ScatterElements"), []bool{true, true, true}, []*op.Value{x, ints(make([]int64, 12), 4, 3), x}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := optest.Rowwise(t, definitions, test.node, test.carries, test.inputs...); got != test.want {
				t.Errorf("%v, want %v", got, test.want)
			}
		})
	}
}
