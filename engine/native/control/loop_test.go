// SPDX-License-Identifier: Apache-2.0

package control_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// accumulate is a loop over a state that grows by x each turn as long as its sum is
// below a limit: for (i < m && condition) { s += x; condition = sum(s) < limit }.
func accumulate(b *onnx.Builder) {
	b.Input("m", tensor.Int64)
	b.Input("c", tensor.Bool)
	b.Input("x", tensor.FP32, onnx.Extent(3))
	constant(b, "limit", []float32{100})
	body := &onnx.Graph{Name: "body", Inputs: names("i", "again", "s"), Outputs: names("go", "t"), Nodes: []onnx.Node{
		node("Add", list("s", "x"), list("t")),
		node("ReduceSum", list("t"), list("sum"), onnx.IntAttribute("keepdims", 0)),
		node("Less", list("sum", "limit"), list("go")),
	}}
	b.Node("Loop", list("m", "c", "x"), list("y"), onnx.GraphAttribute("body", body))
	b.Output("y", tensor.FP32, onnx.Extent(3))
}

func TestLoopOfTurnsThatTheRequestDecides(t *testing.T) {
	everyLevel(t, func(t *testing.T) {
		in := instance(t, accumulate)
		for _, turns := range []int64{-3, 0, 1, 2, 7, 1000} {
			for _, condition := range []bool{false, true} {
				x := []float32{1, 2, 3}
				want := slices.Clone(x)
				for i := int64(0); i < turns && condition && (i == 0 || want[0]+want[1]+want[2] < 100); i++ {
					for k := range want {
						want[k] += x[k]
					}
				}
				y := as[float32](run(t, in, ints([]int64{turns}), truth(condition), floats(x, 3))[0])
				if !slices.Equal(y, want) {
					t.Errorf("%d turns, condition %v: %v, want %v", turns, condition, y, want)
				}
			}
		}
	})
}

// TestLoopOfKnownTurns has scan outputs and states that change places, which a turn must
// not overwrite before they are read.
func TestLoopOfKnownTurns(t *testing.T) {
	for _, turns := range []int64{0, 1, 2, 5} {
		in := instance(t, func(b *onnx.Builder) {
			b.Input("x", tensor.FP32, onnx.Extent(2))
			b.Input("y", tensor.FP32, onnx.Extent(2))
			constant(b, "m", []int64{turns})
			constant(b, "true", []bool{true})
			body := &onnx.Graph{
				Name: "body", Inputs: names("i", "again", "a", "b"), Outputs: names("again", "b", "a", "sum", "at"),
				Nodes: []onnx.Node{
					node("Cast", list("i"), list("at"), onnx.IntAttribute("to", int64(onnx.ElemFloat))),
					node("Mul", list("a", "at"), list("scaled")),
					node("Add", list("scaled", "b"), list("sum")),
				},
			}
			b.Node("Loop", list("m", "true", "x", "y"), list("p", "q", "sums", "ats"), onnx.GraphAttribute("body", body))
			for _, name := range list("p", "q") {
				b.Output(name, tensor.FP32, onnx.Extent(2))
			}
			b.Output("sums", tensor.FP32, onnx.Unknown(), onnx.Unknown())
			b.Output("ats", tensor.FP32, onnx.Unknown())
		})
		x, y := []float32{1, 2}, []float32{10, 20}
		out := run(t, in, floats(x, 2), floats(y, 2))
		var sums, ats []float32
		for i := range turns {
			sums = append(sums, x[0]*float32(i)+y[0], x[1]*float32(i)+y[1])
			ats = append(ats, float32(i))
			x, y = y, x
		}
		for i, want := range [][]float32{x, y, sums, ats} {
			if got := as[float32](out[i]); !slices.Equal(got, want) {
				t.Errorf("%d turns: output %d is %v, want %v", turns, i, got, want)
			}
		}
		if want := (tensor.Shape{turns, 2}); !slices.Equal(out[2].Shape, want) {
			t.Errorf("%d turns: shape %v, want %v", turns, out[2].Shape, want)
		}
	}
}

// TestLoopOfOtherShapes has a state that grows, and pieces whose sizes depend on the
// turn: both need turns that are planned one by one.
func TestLoopOfOtherShapes(t *testing.T) {
	in := instance(t, func(b *onnx.Builder) {
		b.Input("x", tensor.FP32, onnx.Unknown())
		constant(b, "zero", []int64{0}, 1)
		constant(b, "one", []int64{1}, 1)
		constant(b, "true", []bool{true})
		b.Node("Size", list("x"), list("n"))
		b.Node("Slice", list("x", "zero", "zero"), list("none"))
		body := &onnx.Graph{Name: "body", Inputs: names("i", "again", "s"), Outputs: names("again", "t", "sum"), Nodes: []onnx.Node{
			node("Reshape", list("i", "one"), list("from")),
			node("Slice", list("x", "from", "n1"), list("tail")),
			node("ReduceSum", list("tail"), list("sum"), onnx.IntAttribute("keepdims", 0)),
			node("Concat", list("s", "tail"), list("t"), onnx.IntAttribute("axis", 0)),
		}}
		b.Node("Reshape", list("n", "one"), list("n1"))
		b.Node("Loop", list("n", "true", "none"), list("all", "sums"), onnx.GraphAttribute("body", body))
		b.Output("all", tensor.FP32, onnx.Unknown())
		b.Output("sums", tensor.FP32, onnx.Unknown())
	})
	for n := int64(1); n < 6; n++ {
		var x, all, sums []float32
		for i := range n {
			x = append(x, float32(i+1))
		}
		for i := range x {
			sum := float32(0)
			for _, v := range x[i:] {
				sum += v
			}
			all, sums = append(all, x[i:]...), append(sums, sum)
		}
		out := run(t, in, floats(x, n))
		if got := as[float32](out[0]); !slices.Equal(got, all) {
			t.Errorf("%d: all tails are %v, want %v", n, got, all)
		}
		if got := as[float32](out[1]); !slices.Equal(got, sums) {
			t.Errorf("%d: sums are %v, want %v", n, got, sums)
		}
	}
}

// TestNestedGraphs has a branch inside a loop inside a loop, which read values of all
// graphs around them.
func TestNestedGraphs(t *testing.T) {
	everyLevel(t, func(t *testing.T) {
		in := instance(t, func(b *onnx.Builder) {
			b.Input("x", tensor.FP32, onnx.Extent(4))
			b.Input("m", tensor.Int64)
			constant(b, "true", []bool{true})
			constant(b, "three", []int64{3})
			constant(b, "zero", []float32{0})
			constant(b, "two", []float32{2})
			then := &onnx.Graph{Name: "then", Outputs: names("doubled"), Nodes: []onnx.Node{node("Mul", list("s", "two"), list("doubled"))}}
			other := &onnx.Graph{Name: "else", Outputs: names("more"), Nodes: []onnx.Node{
				node("Cast", list("j"), list("f"), onnx.IntAttribute("to", int64(onnx.ElemFloat))),
				node("Cast", list("i"), list("g"), onnx.IntAttribute("to", int64(onnx.ElemFloat))),
				node("Add", list("f", "g"), list("fg")),
				node("Add", list("fg", "x"), list("fgx")),
				node("Add", list("fgx", "s"), list("more")),
			}}
			inner := &onnx.Graph{Name: "inner", Inputs: names("j", "on", "s"), Outputs: names("on", "r"), Nodes: []onnx.Node{
				node("ReduceSum", list("s"), list("sum"), onnx.IntAttribute("keepdims", 0)),
				node("Less", list("sum", "zero"), list("low")),
				node("If", list("low"), list("r"), onnx.GraphAttribute("then_branch", then), onnx.GraphAttribute("else_branch", other)),
			}}
			outer := &onnx.Graph{Name: "outer", Inputs: names("i", "again", "u"), Outputs: names("again", "v"), Nodes: []onnx.Node{
				node("Loop", list("three", "true", "u"), list("v"), onnx.GraphAttribute("body", inner)),
			}}
			b.Node("Loop", list("m", "true", "x"), list("y"), onnx.GraphAttribute("body", outer))
			b.Output("y", tensor.FP32, onnx.Extent(4))
		})
		random := rand.New(rand.NewPCG(7, 7))
		for turns := range int64(4) {
			x := make([]float32, 4)
			for k := range x {
				x[k] = float32(random.IntN(9) - 4)
			}
			want := slices.Clone(x)
			for i := range turns {
				for j := range 3 {
					low := want[0]+want[1]+want[2]+want[3] < 0
					for k := range want {
						if low {
							want[k] *= 2
						} else {
							want[k] += float32(i) + float32(j) + x[k]
						}
					}
				}
			}
			if y := as[float32](run(t, in, floats(x, 4), ints([]int64{turns}))[0]); !slices.Equal(y, want) {
				t.Errorf("%d turns of %v: %v, want %v", turns, x, y, want)
			}
		}
	})
}

// TestLoopThatDoesNotEnd runs into the bound on turns.
func TestLoopThatDoesNotEnd(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	in := instance(t, accumulate)
	_, err := try(t, in, ints([]int64{math.MaxInt64}), truth(true), floats([]float32{-1, 0, 0}, 3))
	if err == nil || !strings.Contains(err.Error(), "more than 16777216 turns") || !strings.Contains(err.Error(), "Loop") {
		t.Errorf("error %v", err)
	}
}

func TestRunsDoNotAllocate(t *testing.T) {
	in := instance(t, accumulate)
	b, err := try(t, in, ints([]int64{9}), truth(true), floats([]float32{1, 1, 1}, 3))
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() {
		if err := in.Run(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%g allocations a run", n)
	}
}
