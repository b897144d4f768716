// SPDX-License-Identifier: Apache-2.0

package control_test

import (
	"slices"
	"testing"

	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// branches gives (x+x, x) or (c, x*x), where c is constant.
func branches(b *onnx.Builder, condition string) {
	constant(b, "c", []float32{5, 6}, 2)
	then := &onnx.Graph{Name: "then", Outputs: names("double", "x"), Nodes: []onnx.Node{node("Add", list("x", "x"), list("double"))}}
	other := &onnx.Graph{Name: "else", Outputs: names("c", "square"), Nodes: []onnx.Node{node("Mul", list("x", "x"), list("square"))}}
	b.Node("If", list(condition), list("p", "q"), onnx.GraphAttribute("then_branch", then), onnx.GraphAttribute("else_branch", other))
	b.Output("p", tensor.FP32, onnx.Unknown())
	b.Output("q", tensor.FP32, onnx.Unknown())
}

func TestIfThatTheRequestDecides(t *testing.T) {
	everyLevel(t, func(t *testing.T) {
		in := instance(t, func(b *onnx.Builder) {
			b.Input("x", tensor.FP32, onnx.Extent(2))
			b.Input("k", tensor.Bool)
			branches(b, "k")
		})
		for _, way := range []bool{true, false, true} {
			p, q := []float32{5, 6}, []float32{9, 16}
			if way {
				p, q = []float32{6, 8}, []float32{3, 4}
			}
			out := run(t, in, floats([]float32{3, 4}, 2), truth(way))
			if a, b := as[float32](out[0]), as[float32](out[1]); !slices.Equal(a, p) || !slices.Equal(b, q) {
				t.Errorf("%v: %v and %v, want %v and %v", way, a, b, p, q)
			}
		}
	})
}

// TestIfThatShapesDecide has a condition that is known once the shape of x is, so that
// the branches need not give the same shapes.
func TestIfThatShapesDecide(t *testing.T) {
	in := instance(t, func(b *onnx.Builder) {
		b.Input("x", tensor.FP32, onnx.Unknown())
		constant(b, "four", []int64{4})
		b.Node("Size", list("x"), list("n"))
		b.Node("Less", list("n", "four"), list("short"))
		branches(b, "short")
	})
	for n := int64(2); n < 7; n++ {
		x, p, q := make([]float32, n), make([]float32, n), make([]float32, n)
		for i := range x {
			x[i], p[i], q[i] = float32(i), 2*float32(i), float32(i)
		}
		if n >= 4 {
			p = []float32{5, 6}
			for i := range q {
				q[i] = x[i] * x[i]
			}
		}
		out := run(t, in, floats(x, n))
		if a, b := as[float32](out[0]), as[float32](out[1]); !slices.Equal(a, p) || !slices.Equal(b, q) {
			t.Errorf("%d elements: %v and %v, want %v and %v", n, a, b, p, q)
		}
	}
}
