// SPDX-License-Identifier: Apache-2.0

package product

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/native/op/optest"
	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/onnx/rewrite"
	"github.com/millrace-ml/millrace/engine/tensor"
)

var (
	definitions = Operators()
	floats      = optest.Floats
	ints        = optest.Ints
	known       = optest.Known
	random      = rand.New(rand.NewPCG(1, 1))
)

func node(name string, attributes ...onnx.Attribute) optest.Node {
	return optest.Node{Name: name, Attributes: attributes}
}

// some is numbers from -4 to 4, whose products are exact.
func some(shape ...int64) *op.Value {
	n := int64(1)
	for _, d := range shape {
		n *= d
	}
	list := make([]float32, n)
	for i := range list {
		list[i] = float32(random.IntN(9) - 4)
	}
	return floats(list, shape...)
}

// TestGemm multiplies by packed weights and without, in FP32 and in FP64, and compares
// with a loop.
func TestGemm(t *testing.T) {
	for _, size := range [][3]int64{{1, 1, 1}, {3, 5, 2}, {17, 33, 20}, {2, 0, 3}, {0, 3, 2}, {2, 3, 0}} {
		for bits := range 8 {
			m, k, n := size[0], size[1], size[2]
			a, b, c := some(m, k), some(k, n), some([][]int64{{n}, {m, 1}, {m, n}, {1}}[bits/2]...)
			var attributes []onnx.Attribute
			if bits&1 != 0 {
				a, b = some(k, m), some(n, k)
				attributes = append(attributes, onnx.IntAttribute("transA", 1), onnx.IntAttribute("transB", 1))
			}
			attributes = append(attributes, onnx.FloatAttribute("alpha", 0.5), onnx.FloatAttribute("beta", 2))
			want := floats(gemmLoop(a, b, c, m, k, n, bits&1 != 0), m, n)
			t.Run(fmt.Sprintf("%v/%d", size, bits), func(t *testing.T) {
				optest.Want(t, definitions, node("Gemm", attributes...), want, a, b, c)
				optest.Want(t, definitions, node("Gemm", attributes...), wide(want), wide(a), wide(b), wide(c))
				optest.Want(t, definitions, node("Gemm", attributes...), want, a, known(b), c)
			})
		}
	}
}

func gemmLoop(a, b, c *op.Value, m, k, n int64, transposed bool) []float32 {
	y := make([]float32, m*n)
	for i := range m {
		for j := range n {
			sum := float32(0)
			for p := range k {
				x, w := i*k+p, p*n+j
				if transposed {
					x, w = p*m+i, j*k+p
				}
				sum += op.Floats(a)[x] * op.Floats(b)[w]
			}
			var term float32
			switch {
			case c.Len() == 1:
				term = op.Floats(c)[0]
			case c.Rank() == 1:
				term = op.Floats(c)[j]
			case c.Shape[1] == 1:
				term = op.Floats(c)[i]
			default:
				term = op.Floats(c)[i*n+j]
			}
			y[i*n+j] = 0.5*sum + 2*term
		}
	}
	return y
}

func wide(v *op.Value) *op.Value {
	list := make([]float64, v.Len())
	for i, x := range op.Floats(v) {
		list[i] = float64(x)
	}
	w := optest.Of(tensor.FP64, list)
	w.Shape = v.Shape
	return w
}

// TestMatMul checks shapes of all ranks against their definition by NumPy.
func TestMatMul(t *testing.T) {
	v := func(shape ...int64) *op.Value { return some(shape...) }
	for _, test := range []struct {
		a, b *op.Value
		want tensor.Shape
	}{
		{v(3), v(3), tensor.Shape{}}, {v(3), v(3, 2), tensor.Shape{2}}, {v(2, 3), v(3), tensor.Shape{2}},
		{v(5, 2, 3), v(3, 4), tensor.Shape{5, 2, 4}}, {v(5, 2, 3), v(5, 3, 4), tensor.Shape{5, 2, 4}},
		{v(2, 3), v(5, 3, 4), tensor.Shape{5, 2, 4}}, {v(1, 2, 3), v(5, 3, 4), tensor.Shape{5, 2, 4}},
		{v(4, 1, 2, 3), v(5, 3, 1), tensor.Shape{4, 5, 2, 1}}, {v(3), v(5, 3, 4), tensor.Shape{5, 4}},
		{v(2, 0), v(0, 3), tensor.Shape{2, 3}}, {v(0, 3), v(3, 2), tensor.Shape{0, 2}}, {v(0, 2, 3), v(3, 2), tensor.Shape{0, 2, 2}},
	} {
		want := floats(matMulLoop(test.a, test.b, test.want))
		want.Shape = test.want
		t.Run(fmt.Sprintf("%v x %v", test.a.Shape, test.b.Shape), func(t *testing.T) {
			optest.Want(t, definitions, node("MatMul"), want, test.a, test.b)
			optest.Want(t, definitions, node("MatMul"), wide(want), wide(test.a), wide(test.b))
			optest.Want(t, definitions, node("MatMul"), want, test.a, known(test.b))
		})
	}
}

// matMulLoop reads both sides through the last dimensions of the result.
func matMulLoop(a, b *op.Value, shape tensor.Shape) []float32 {
	left, right := a.Shape, b.Shape
	if len(left) == 1 {
		left = tensor.Shape{1, left[0]}
	}
	if len(right) == 1 {
		right = tensor.Shape{right[0], 1}
	}
	m, k, n := left[len(left)-2], left[len(left)-1], right[len(right)-1]
	batches, _ := op.Broadcast(left[:len(left)-2], right[:len(right)-2])
	count, _ := batches.Elements()
	y := make([]float32, 0, count*m*n)
	for batch := range count {
		x, w := matrixAt(op.Floats(a), left, batches, batch), matrixAt(op.Floats(b), right, batches, batch)
		for i := range m {
			for j := range n {
				sum := float32(0)
				for p := range k {
					sum += x[i*k+p] * w[p*n+j]
				}
				y = append(y, sum)
			}
		}
	}
	return y
}

func matrixAt(list []float32, shape, batches tensor.Shape, batch int64) []float32 {
	place, step := int64(0), shape[len(shape)-2]*shape[len(shape)-1]
	own := shape[:len(shape)-2]
	for back := 1; back <= len(batches); back++ {
		k := batch % batches[len(batches)-back]
		batch /= batches[len(batches)-back]
		if back <= len(own) && own[len(own)-back] != 1 {
			place += k * step
			step *= own[len(own)-back]
		}
	}
	return list[place:]
}

// TestLinear checks the layer that rewriting makes: residual, bias and an activation.
func TestLinear(t *testing.T) {
	layer := optest.Node{Domain: rewrite.Domain, Name: rewrite.OpLinear, Version: 1,
		Attributes: []onnx.Attribute{onnx.StringAttribute(rewrite.AttrActivation, string(rewrite.ActivationRelu))}}
	x, w := floats([]float32{1, 2, 3, 4}, 2, 2), known(floats([]float32{1, -1, 0, 1}, 2, 2))
	bias, residual := known(floats([]float32{0, -3})), floats([]float32{0, 0, 1, 10}, 2, 2)
	optest.Want(t, definitions, layer, floats([]float32{1, 0, 4, 8}, 2, 2), x, w, bias, residual)
	optest.Want(t, definitions, layer, floats(nil, 0, 2), floats(nil, 0, 2), w, bias)
	layer.Attributes = append(layer.Attributes, onnx.IntAttribute(rewrite.AttrTransB, 1))
	optest.Want(t, definitions, layer, floats([]float32{0, 2}), floats([]float32{1, 2}), w, nil)
	if _, err := optest.Run(definitions, layer, x, w, nil, floats([]float32{1, 2})); err == nil {
		t.Error("a residual of another shape is added")
	}
}

func TestEmbeddingBag(t *testing.T) {
	bag := func(mode string) optest.Node {
		return optest.Node{Domain: rewrite.Domain, Name: rewrite.OpEmbeddingBag, Version: 1,
			Attributes: []onnx.Attribute{onnx.StringAttribute(rewrite.AttrMode, mode)}}
	}
	table := known(floats([]float32{1, 2, 3, 4, 5, 6}, 3, 2))
	pairs := ints([]int64{0, -1, 1, 1}, 2, 2)
	nan, inf := float32(math.NaN()), float32(math.Inf(-1))
	for mode, want := range map[string][2]*op.Value{
		rewrite.ModeSum:  {floats([]float32{6, 8, 6, 8}, 2, 2), floats([]float32{0, 0}, 1, 2)},
		rewrite.ModeMean: {floats([]float32{3, 4, 3, 4}, 2, 2), floats([]float32{nan, nan}, 1, 2)},
		rewrite.ModeMax:  {floats([]float32{5, 6, 3, 4}, 2, 2), floats([]float32{inf, inf}, 1, 2)},
	} {
		optest.Want(t, definitions, bag(mode), want[0], table, pairs)
		optest.Want(t, definitions, bag(mode), want[1], table, ints(nil, 1, 0))
	}
	optest.Want(t, definitions, bag(rewrite.ModeSum), floats([]float32{2, 4}, 1, 2), table, optest.Of(tensor.Int32, []int32{0, 1}, 1, 2), floats([]float32{2, 0}, 1, 2))
	optest.Want(t, definitions, bag(rewrite.ModeSum), floats([]float32{6, 8, 8, 10}, 2, 2), table, ints([]int64{0, 2, 1, 2}, 2, 2))
	for _, index := range []int64{3, -4, math.MaxInt64, math.MinInt64} {
		if _, err := optest.Run(definitions, bag(rewrite.ModeSum), table, ints([]int64{index}, 1, 1)); err == nil {
			t.Errorf("index %d is looked up", index)
		}
	}
}

func TestRowwise(t *testing.T) {
	x, w := some(4, 3), some(3, 2)
	left, right, both := []bool{true, false}, []bool{false, true}, []bool{true, true}
	tests := []struct {
		name    string
		carries []bool
		a, b    *op.Value
		want    bool
	}{
		{"weights", left, x, w, true},
		{"a vector of weights", left, x, some(3), true},
		{"rows on the right", right, some(2, 4), some(4, 3), false},
		{"batches on the right", right, some(2, 3), some(4, 3, 2), true},
		{"batches of both", both, some(4, 2, 3), some(4, 3, 2), true},
		{"rows and batches", both, x, some(4, 3, 2), false},
		{"one matrix for all batches", left, some(4, 2, 3), some(1, 3, 2), true},
		{"other matrices for each batch", left, some(4, 2, 3), some(4, 3, 2), false},
		{"a vector of rows", left, some(4), some(4, 2), false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := optest.Rowwise(t, definitions, node("MatMul"), test.carries, test.a, test.b); got != test.want {
				t.Errorf("%v, want %v", got, test.want)
			}
		})
	}
	if optest.Rowwise(t, definitions, node("Gemm", onnx.IntAttribute("transA", 1)), left, some(3, 4), w) {
		t.Error("a transposed input keeps its rows")
	}
}
