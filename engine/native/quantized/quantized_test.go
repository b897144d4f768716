// SPDX-License-Identifier: Apache-2.0

package quantized

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/native/op/optest"
	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/onnx/rewrite"
	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/kernels/cpu"
)

var (
	definitions = Operators()
	floats      = optest.Floats
	known       = optest.Known
)

func node(name string, attributes ...onnx.Attribute) optest.Node {
	return optest.Node{Name: name, Attributes: attributes}
}

func bytes8(list []uint8, shape ...int64) *op.Value { return optest.Of(tensor.Uint8, list, shape...) }
func signed(list []int8, shape ...int64) *op.Value  { return optest.Of(tensor.Int8, list, shape...) }

func TestQuantize(t *testing.T) {
	axis := func(n int64) onnx.Attribute { return onnx.IntAttribute("axis", n) }
	inf := float32(math.Inf(1))
	tests := []struct {
		name   string
		node   optest.Node
		want   *op.Value
		inputs []*op.Value
	}{
		{"half to even", node("QuantizeLinear"), bytes8([]uint8{0, 2, 2, 4}), []*op.Value{floats([]float32{0.5, 1.5, 2.5, 3.5}), floats([]float32{1}, -1)}},
		{"the ends", node("QuantizeLinear"), signed([]int8{-128, 127, -128, 127}), []*op.Value{floats([]float32{-1000, 1000, -inf, inf}), floats([]float32{1}, -1), signed([]int8{0}, -1)}},
		{"rows of their own scale", node("QuantizeLinear", axis(0)), bytes8([]uint8{11, 12, 20, 21}, 2, 2), []*op.Value{floats([]float32{1, 2, 1, 2}, 2, 2), floats([]float32{1, 2}), bytes8([]uint8{10, 20})}},
		{"columns of their own scale", node("QuantizeLinear", axis(-1)), bytes8([]uint8{1, 1, 1, 1}, 2, 2), []*op.Value{floats([]float32{1, 2, 1, 2}, 2, 2), floats([]float32{1, 2})}},
		{"nothing", node("QuantizeLinear"), bytes8(nil, 0, 2), []*op.Value{floats(nil, 0, 2), floats([]float32{1}, -1)}},
		{"back", node("DequantizeLinear"), floats([]float32{-5, 0, 122.5}), []*op.Value{bytes8([]uint8{0, 10, 255}), floats([]float32{0.5}, -1), bytes8([]uint8{10}, -1)}},
		{"back along an axis", node("DequantizeLinear", axis(0)), floats([]float32{1, 2, 6, 8}, 2, 2), []*op.Value{signed([]int8{1, 2, 3, 4}, 2, 2), floats([]float32{1, 2})}},
		{"back from 32 bits", node("DequantizeLinear"), floats([]float32{1 << 20}), []*op.Value{optest.Of(tensor.Int32, []int32{1 << 21}), floats([]float32{0.5}, -1)}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { optest.Want(t, definitions, test.node, test.want, test.inputs...) })
	}
	if _, err := optest.Run(definitions, node("QuantizeLinear", onnx.IntAttribute("block_size", 2)), floats([]float32{1}), floats([]float32{1}, -1)); !errors.Is(err, op.ErrNotCovered) {
		t.Errorf("blocks: %v", err)
	}
}

// TestProducts compares integer products with a loop at every CPU level, which is exact.
func TestProducts(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, level := range cpu.Available() {
		undo := cpu.Limit(level)
		for _, size := range [][3]int{{1, 1, 1}, {3, 7, 5}, {65, 130, 33}, {0, 3, 2}} {
			m, k, n := size[0], size[1], size[2]
			a, b, y := make([]uint8, m*k), make([]int8, k*n), make([]int32, m*n)
			zero, zeros := uint8(r.IntN(256)), make([]int8, n)
			for i := range a {
				a[i] = uint8(r.IntN(256))
			}
			for i := range b {
				b[i] = int8(r.IntN(256) - 128)
			}
			for i := range zeros {
				zeros[i] = int8(r.IntN(256) - 128)
			}
			for i := range y {
				for p := range k {
					y[i] += (int32(a[i/n*k+p]) - int32(zero)) * (int32(b[p*n+i%n]) - int32(zeros[i%n]))
				}
			}
			want := optest.Of(tensor.Int32, y, int64(m), int64(n))
			optest.Want(t, definitions, node("MatMulInteger"), want, bytes8(a, int64(m), int64(k)), known(signed(b, int64(k), int64(n))),
				bytes8([]uint8{zero}, -1), known(signed(zeros)))
		}
		undo()
	}
}

// TestLinear follows the definition of the layer by its parts.
func TestLinear(t *testing.T) {
	layer := optest.Node{Domain: rewrite.Domain, Name: rewrite.OpLinearInt8, Version: 1}
	one := func(x float32) *op.Value { return known(floats([]float32{x}, -1)) }
	weights := known(signed([]int8{1, -1, 2, 3}, 2, 2))
	zero, bias := known(bytes8([]uint8{128}, -1)), known(floats([]float32{0.5, -100}))
	inputs := []*op.Value{bytes8([]uint8{130, 127}, 1, 2), one(0.5), zero, weights, known(floats([]float32{1, 2})), known(signed([]int8{0}, -1)), bias}
	// (2, -1) x weights is (0, -5); times 0.5 and the scales (1, 2), plus the bias.
	optest.Want(t, definitions, layer, floats([]float32{0.5, -105}, 1, 2), inputs...)
	for activation, want := range map[rewrite.Activation][]float32{rewrite.ActivationRelu: {0.5, 0}, rewrite.ActivationSigmoid: {0.62245935, 0}} {
		with := layer
		with.Attributes = []onnx.Attribute{onnx.StringAttribute(rewrite.AttrActivation, string(activation))}
		outputs, err := optest.Run(definitions, with, inputs...)
		if err != nil {
			t.Fatal(err)
		}
		for i, x := range op.Floats(outputs[0]) {
			if math.Abs(float64(x-want[i])) > 1e-6 {
				t.Errorf("%s: element %d is %g, want %g", activation, i, x, want[i])
			}
		}
	}
	// The same quantised: 0.5/0.25 is 2, and -105/0.25 is beyond the end.
	optest.Want(t, definitions, layer, bytes8([]uint8{12, 0}, 1, 2), append(inputs, one(0.25), known(bytes8([]uint8{10}, -1)))...)
	inputs[0] = floats([]float32{1.1, -0.4}, 1, 2) // quantised on the way: 2.2 and -0.8
	optest.Want(t, definitions, layer, floats([]float32{0.5, -105}, 1, 2), inputs...)
}

func TestRowwise(t *testing.T) {
	x, scales := floats(make([]float32, 16), 4, 4), floats([]float32{1, 1, 1, 1})
	rows := []bool{true, false}
	for axis, want := range map[int64]bool{0: false, 1: true, -1: true, -2: false} {
		if got := optest.Rowwise(t, definitions, node("QuantizeLinear", onnx.IntAttribute("axis", axis)), rows, x, scales); got != want {
			t.Errorf("axis %d: %v", axis, got)
		}
	}
	if optest.Rowwise(t, definitions, optest.Node{Name: "DynamicQuantizeLinear", Outputs: 3}, rows[:1], x) {
		t.Error("rows share a scale that depends on all of them")
	}
}
