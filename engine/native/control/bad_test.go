// SPDX-License-Identifier: Apache-2.0

package control_test

import (
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/native"
	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// refused is a node, called bad, that cannot be run.
type refused struct {
	name       string
	inputs     []string
	operator   string
	attributes []onnx.Attribute
	// want is in the error, and covered says that the graph is at fault, not that
	// another backend may run it.
	want    string
	invalid bool
}

func graphOf(inputs, outputs []string, nodes ...onnx.Node) *onnx.Graph {
	return &onnx.Graph{Name: "body", Inputs: names(inputs...), Outputs: names(outputs...), Nodes: nodes}
}

func body(inputs, outputs []string, nodes ...onnx.Node) onnx.Attribute {
	return onnx.GraphAttribute("body", graphOf(inputs, outputs, nodes...))
}

// constants that the nodes may read, beside the inputs x (FP32 [2 3]), m (INT64) and
// c (BOOL).
func offer(b *onnx.Builder) {
	b.Input("x", tensor.FP32, onnx.Extent(2), onnx.Extent(3))
	b.Input("m", tensor.Int64)
	b.Input("c", tensor.Bool)
	constant(b, "true", []bool{true})
	constant(b, "many", []int64{1 << 50})
	constant(b, "three", []int64{3})
	constant(b, "pair", []int64{1, 2}, 2)
}

func refusals() []refused {
	keep := body(list("i", "on", "s"), list("on", "s"))
	same := graphOf(nil, list("a"), node("Add", list("x", "x"), list("a")))
	flat := graphOf(nil, list("f"), node("ReduceSum", list("x"), list("f")))
	grow := node("Concat", list("s", "s"), list("t"), onnx.IntAttribute("axis", 0))
	scans := onnx.IntAttribute("num_scan_inputs", 1)
	return []refused{
		{"no body", list("three", "true", "x"), "Loop", nil, `"body", a graph, is missing`, true},
		{"too few states", list("three", "true"), "Loop", []onnx.Attribute{keep}, "a body with 3 inputs", true},
		{"turns that are a list", list("pair", "true", "x"), "Loop", []onnx.Attribute{keep}, "a number of turns that is INT64[2]", true},
		{"turns that are floats", list("x", "true", "x"), "Loop", []onnx.Attribute{keep}, "a number of turns that is FP32", true},
		{"condition that is a number", list("three", "m", "x"), "Loop", []onnx.Attribute{keep}, "a condition that is INT64", true},
		{"state left out", list("three", "true", ""), "Loop", []onnx.Attribute{keep}, "state 0 is left out", true},
		{"no end", list("", "true", "x"), "Loop", []onnx.Attribute{keep}, "a loop that never ends", false},
		{"no end in sight", list("many", "true", "x"), "Loop", []onnx.Attribute{keep}, "a loop that never ends", false},
		{"state that grows unseen", list("m", "true", "x"), "Loop",
			[]onnx.Attribute{body(list("i", "on", "s"), list("on", "t"), grow)}, "state 0, which is FP32[2,3] before a turn and FP32[4,3] after it", false},
		{"state that grows for ever", list("many", "true", "x"), "Loop",
			[]onnx.Attribute{body(list("i", "on", "s"), list("on", "t"), grow)}, "too large", true},
		{"scan output of unknown length", list("m", "true", "x"), "Loop",
			[]onnx.Attribute{body(list("i", "on", "s"), list("on", "s", "a"), node("Add", list("s", "s"), list("a")))}, "not known before the run", false},
		{"fault in turns without end", list("many", "true", "x"), "Loop",
			[]onnx.Attribute{body(list("i", "on", "s"), list("on", "t"), node("Add", list("s", "i"), list("t")))}, "inputs of different datatypes", true},
		{"turns that are too many to plan", list("many", "true", "pair"), "Loop",
			[]onnx.Attribute{body(list("i", "on", "s"), list("on", "t", "a"), node("Add", list("s", "i"), list("t")), node("Slice", list("x", "t", "t"), list("a")))},
			"more than 524288 operators", false},
		{"fault in the body", list("three", "true", "x"), "Loop",
			[]onnx.Attribute{body(list("i", "on", "s"), list("on", "t"), node("MatMul", list("s", "s"), list("t")))}, `"MatMul to t"`, true},
		{"operator of the body missing", list("three", "true", "x"), "Loop",
			[]onnx.Attribute{body(list("i", "on", "s"), list("on", "t"), node("Nonesuch", list("s"), list("t")))}, "Nonesuch (opset 18)", false},
		{"no scan inputs", list("x"), "Scan", []onnx.Attribute{body(list("e"), list("e"))}, "num_scan_inputs is 0", true},
		{"scan of a scalar", list("m"), "Scan", []onnx.Attribute{body(list("e"), list("e")), scans}, "axis 0 of a value with 0 dimensions", true},
		{"scan axis", list("x"), "Scan", []onnx.Attribute{body(list("e"), list("e")), scans, onnx.IntsAttribute("scan_input_axes", 2)}, "axis 2", true},
		{"scan output axis", list("x"), "Scan", []onnx.Attribute{body(list("e"), list("e")), scans, onnx.IntsAttribute("scan_output_axes", -3)}, "axis -3", true},
		{"scan axes", list("x"), "Scan", []onnx.Attribute{body(list("e"), list("e")), scans, onnx.IntsAttribute("scan_input_axes", 0, 1)}, "2 axes", true},
		{"scans of other lengths", list("x", "pair", "pair"), "Scan",
			[]onnx.Attribute{body(list("e", "f", "g"), list("e", "f", "g")), onnx.IntAttribute("num_scan_inputs", 3), onnx.IntsAttribute("scan_input_axes", 1, 0, 0)},
			"scan inputs of 3 and 2 turns", true},
		{"branches of other shapes", list("c"), "If", []onnx.Attribute{onnx.GraphAttribute("then_branch", same), onnx.GraphAttribute("else_branch", flat)},
			"output 0, which is FP32[2,3] or FP32[1,1]", false},
		{"branch with an input", list("c"), "If",
			[]onnx.Attribute{onnx.GraphAttribute("then_branch", same), onnx.GraphAttribute("else_branch", graphOf(list("z"), list("z")))}, "else_branch with 1 inputs", true},
		{"one branch", list("c"), "If", []onnx.Attribute{onnx.GraphAttribute("then_branch", same)}, `"else_branch", a graph, is missing`, true},
		{"condition with elements", list("x"), "If",
			[]onnx.Attribute{onnx.GraphAttribute("then_branch", same), onnx.GraphAttribute("else_branch", same)}, "a condition that is FP32", true},
		{"tensor for a sequence", list("x"), "ConcatFromSequence", []onnx.Attribute{onnx.IntAttribute("axis", 0)}, "a tensor in place of a sequence", true},
		{"pieces of nothing", list("x", "m"), "SplitToSequence", nil, "not known before the run", false},
		{"pieces that do not fit", list("x", "pair"), "SplitToSequence", nil, "pieces [1 2] of 2", false},
		{"sequence for a tensor", list("seq"), "Relu", nil, "a sequence", false},
		{"position", list("seq", "three"), "SequenceAt", nil, "position 3 in a sequence of 1", true},
		{"position of the request", list("seq", "m"), "SequenceAt", nil, "a position that is not known before the run", false},
		{"elements of other types", list("seq", "m"), "SequenceInsert", nil, "elements of type FP32 and INT64", true},
	}
}

// loadBytesMax is what a model that is refused may allocate, for the most those whose
// turns are planned one by one.
const loadBytesMax = 2 << 30

func TestRefusedGraphs(t *testing.T) {
	for _, r := range refusals() {
		t.Run(r.name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := open(t, func(b *onnx.Builder) {
				offer(b)
				b.Node("SequenceConstruct", list("x"), list("seq"))
				b.Node(r.operator, r.inputs, list("y"), r.attributes...)
				b.Node("Identity", list("y"), list("out"))
				b.Output("out", tensor.FP32, onnx.Unknown(), onnx.Unknown())
			})
			runtime.ReadMemStats(&after)
			if !errors.Is(err, engine.ErrInvalidModel) || errors.Is(err, native.ErrNotCovered) == r.invalid {
				t.Fatalf("error %v", err)
			}
			named := strings.Contains(err.Error(), r.operator) || strings.Contains(err.Error(), "missing")
			if !named || !strings.Contains(err.Error(), r.want) {
				t.Errorf("error %v lacks %q or %q", err, r.want, r.operator)
			}
			if n := after.TotalAlloc - before.TotalAlloc; n > loadBytesMax {
				t.Errorf("%d bytes were allocated", n)
			}
		})
	}
}

// FuzzGraphs varies numbers that the graphs of this package are made of: whatever they
// are, a model loads and runs or gives an error.
func FuzzGraphs(f *testing.F) {
	f.Add(uint8(0), int64(3), int64(0), int64(1))
	f.Add(uint8(1), int64(1), int64(-1), int64(2))
	f.Add(uint8(2), int64(2), int64(1), int64(-1))
	f.Add(uint8(3), int64(-1), int64(1), int64(0))
	f.Add(uint8(4), int64(0), int64(1), int64(5))
	f.Fuzz(func(t *testing.T, kind uint8, p, q, r int64) {
		m, err := open(t, func(b *onnx.Builder) {
			offer(b)
			constant(b, "p", []int64{p % (1 << 12)})
			constant(b, "q", []int64{q})
			constant(b, "qr", []int64{q, r}, 2)
			switch kind % 5 {
			case 0:
				b.Node("Loop", list("p", "true", "x"), list("z", "y"), body(list("i", "on", "s"), list("on", "s", "a"),
					node("Slice", list("s", "qr", "qr"), list("a"))))
			case 1:
				b.Node("Scan", list("x", "x"), list("y", "z"), body(list("e", "f"), list("e", "f")), onnx.IntAttribute("num_scan_inputs", p),
					onnx.IntsAttribute("scan_input_axes", q, q), onnx.IntsAttribute("scan_output_axes", r, r))
			case 2:
				b.Node("SplitToSequence", list("x", "q"), list("s"), onnx.IntAttribute("axis", p), onnx.IntAttribute("keepdims", r&1))
				b.Node("SequenceAt", list("s", "p"), list("y"))
			case 3:
				b.Node("SplitToSequence", list("x", "qr"), list("s"), onnx.IntAttribute("axis", p))
				b.Node("ConcatFromSequence", list("s"), list("y"), onnx.IntAttribute("axis", r), onnx.IntAttribute("new_axis", q&1))
			case 4:
				b.Node("SequenceConstruct", list("x", "x"), list("s"))
				b.Node("SequenceInsert", list("s", "x", "q"), list("t"))
				b.Node("SequenceErase", list("t", "p"), list("u"))
				b.Node("ConcatFromSequence", list("u"), list("y"), onnx.IntAttribute("axis", r))
			}
			dims := []onnx.Dim{onnx.Unknown(), onnx.Unknown()}
			b.Output("y", tensor.FP32, dims...)
		})
		if err != nil {
			return
		}
		in, err := m.NewInstance(engine.Placement{})
		if err != nil {
			return
		}
		defer in.Close()
		if _, err := try(t, in, floats(make([]float32, 6), 2, 3), ints([]int64{2}), truth(true)); err != nil && kind%5 == 1 {
			t.Error(err) // what was planned runs
		}
	})
}
