// SPDX-License-Identifier: Apache-2.0

package control_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// scanCase is a scan over two inputs of three dimensions with one state:
// state += a*w, out = state - b, where w is from outside.
type scanCase struct {
	turns, rows, cols int
	// axes and backward are of a, b and the output.
	axes     [3]int
	backward [3]bool
}

// dims are the extents of a value whose turns are along an axis.
func (c *scanCase) dims(axis int) tensor.Shape {
	return slices.Insert(tensor.Shape{int64(c.rows), int64(c.cols)}, axis, int64(c.turns))
}

func (c *scanCase) build(b *onnx.Builder) {
	open := make([]onnx.Dim, 3)
	for i := range open {
		open[i] = onnx.Unknown()
	}
	b.Input("s", tensor.FP32, open[:2]...)
	b.Input("a", tensor.FP32, open...)
	b.Input("b", tensor.FP32, open...)
	constant(b, "w", []float32{0.5})
	body := &onnx.Graph{Name: "body", Inputs: names("state", "ea", "eb"), Outputs: names("next", "out"), Nodes: []onnx.Node{
		node("Mul", list("ea", "w"), list("scaled")),
		node("Add", list("state", "scaled"), list("next")),
		node("Sub", list("next", "eb"), list("out")),
	}}
	number := func(x bool) int64 {
		if x {
			return 1
		}
		return 0
	}
	b.Node("Scan", list("s", "a", "b"), list("last", "all"), onnx.GraphAttribute("body", body), onnx.IntAttribute("num_scan_inputs", 2),
		onnx.IntsAttribute("scan_input_axes", int64(c.axes[0]), int64(c.axes[1]-3)),
		onnx.IntsAttribute("scan_input_directions", number(c.backward[0]), number(c.backward[1])),
		onnx.IntsAttribute("scan_output_axes", int64(c.axes[2])),
		onnx.IntsAttribute("scan_output_directions", number(c.backward[2])))
	b.Output("last", tensor.FP32, open[:2]...)
	b.Output("all", tensor.FP32, open...)
}

// at is where the element of a turn lies along axis which of a, b and the output.
func (c *scanCase) at(which, turn, row, col int) int {
	if c.backward[which] {
		turn = c.turns - 1 - turn
	}
	place := slices.Insert([]int{row, col}, c.axes[which], turn)
	dims := c.dims(c.axes[which])
	return (place[0]*int(dims[1])+place[1])*int(dims[2]) + place[2]
}

func (c *scanCase) reference(s, a, b []float32) (last, all []float32) {
	last, all = slices.Clone(s), make([]float32, len(a))
	for turn := range c.turns {
		for row := range c.rows {
			for col := range c.cols {
				k := row*c.cols + col
				last[k] += a[c.at(0, turn, row, col)] * 0.5
				all[c.at(2, turn, row, col)] = last[k] - b[c.at(1, turn, row, col)]
			}
		}
	}
	return last, all
}

func TestScan(t *testing.T) {
	everyLevel(t, func(t *testing.T) {
		random := rand.New(rand.NewPCG(3, 4))
		for i := range 40 {
			c := &scanCase{turns: random.IntN(5), rows: 1 + random.IntN(3), cols: 1 + random.IntN(20)}
			for k := range c.axes {
				c.axes[k], c.backward[k] = random.IntN(3), random.IntN(2) == 0
			}
			fill := func(n int) []float32 {
				x := make([]float32, n)
				for k := range x {
					x[k] = float32(random.IntN(64)) / 4
				}
				return x
			}
			n := c.turns * c.rows * c.cols
			s, a, b := fill(c.rows*c.cols), fill(n), fill(n)
			out := run(t, instance(t, c.build), floats(s, int64(c.rows), int64(c.cols)),
				floats(a, c.dims(c.axes[0])...), floats(b, c.dims(c.axes[1])...))
			last, all := c.reference(s, a, b)
			what := fmt.Sprintf("case %d, %+v", i, *c)
			if got := as[float32](out[0]); !slices.Equal(got, last) {
				t.Fatalf("%s: state %v, want %v", what, got, last)
			}
			if got := as[float32](out[1]); !slices.Equal(got, all) || !slices.Equal(out[1].Shape, c.dims(c.axes[2])) {
				t.Fatalf("%s: %v%v, want %v", what, out[1].Shape, got, all)
			}
		}
	})
}
