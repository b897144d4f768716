// SPDX-License-Identifier: Apache-2.0

package rewrite_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/onnx/rewrite"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// node is a node of a graph put together by hand.
func node(opType string, inputs, outputs []string, attributes ...onnx.Attribute) onnx.Node {
	return onnx.Node{Name: opType + outputs[0], OpType: opType, Inputs: inputs, Outputs: outputs, Attributes: attributes}
}

func floatInfo(name string) onnx.ValueInfo {
	return onnx.ValueInfo{Name: name, Type: onnx.TensorType(onnx.ElemFloat, onnx.Unknown(), onnx.Unknown())}
}

// choice is an If over x whose branches use the same names as the graph around.
func choice(b *onnx.Builder) {
	branch := func(opType string) *onnx.Graph {
		return &onnx.Graph{
			Name:         opType,
			Nodes:        []onnx.Node{node(opType, list("x"), list("a")), node("Add", list("a", "k"), list("y"))},
			Initializers: []onnx.Tensor{onnx.TensorOf("k", []float32{float32(len(opType))})},
			Outputs:      []onnx.ValueInfo{floatInfo("y")},
		}
	}
	b.Node("If", list("condition"), list("c"),
		onnx.GraphAttribute("then_branch", branch("Sin")), onnx.GraphAttribute("else_branch", branch("Sqrt")))
	b.Node("Cos", list("x"), list("a"))
	b.Node("Add", list("a", "c"), list("y"))
}

func TestConstantConditionTakesItsBranch(t *testing.T) {
	for condition, want := range map[bool]string{true: "Sin Add Cos Add", false: "Sqrt Add Cos Add"} {
		build := func() *onnx.Builder {
			b := rowModel(4)
			b.Initializer(onnx.TensorOf("condition", []bool{condition}))
			choice(b)
			return b
		}
		given, err := build().Model()
		if err != nil {
			t.Fatal(err)
		}
		m, report := apply(t, build(), rewrite.Options{Standard: true})
		wantOps(t, m, want)
		if report.Inlined != 1 {
			t.Errorf("%d inlined, want 1", report.Inlined)
		}
		sameAnswers(t, given, m, input(ramp(8, 1), 2, 4))
	}
}

func TestBranchesKeepWhatTheyRead(t *testing.T) {
	build := func() *onnx.Builder {
		b := rowModel(4)
		b.Input("condition", tensor.Bool)
		b.Node("Identity", list("x"), list("x2"))
		choice(b)
		return b
	}
	given, err := build().Model()
	if err != nil {
		t.Fatal(err)
	}
	m, _ := apply(t, build(), rewrite.Options{Standard: true})
	wantOps(t, m, "If Cos Add")
	for _, condition := range []bool{true, false} {
		sameAnswers(t, given, m, input(ramp(8, 1), 2, 4), scalarInput(condition))
	}
}

// scalarInput is a condition for a request.
func scalarInput(condition bool) tensor.Tensor {
	v := input([]bool{condition})
	v.Shape = tensor.Shape{}
	return v
}

// loopModel doubles x in a loop whose body reads w, a value of the graph around that
// goes through nodes which rewrites remove, and folds inside.
func loopModel() *onnx.Builder {
	b := rowModel(4)
	b.Initializer(onnx.TensorOf("trips", []int64{3}))
	b.Initializer(onnx.TensorOf("go", []bool{true}))
	b.Node("Cos", list("x"), list("w0"))
	b.Node("Identity", list("w0"), list("w"))
	body := &onnx.Graph{
		Name: "body",
		Nodes: []onnx.Node{
			node("Identity", list("more"), list("go_on")),
			node("Dropout", list("state"), list("same")),
			node("Add", list("same", "w"), list("next")),
		},
		Inputs: []onnx.ValueInfo{
			{Name: "i", Type: onnx.TensorType(onnx.ElemInt64)}, {Name: "more", Type: onnx.TensorType(onnx.ElemBool)}, floatInfo("state"),
		},
		Outputs: []onnx.ValueInfo{{Name: "go_on", Type: onnx.TensorType(onnx.ElemBool)}, floatInfo("next")},
	}
	b.Node("Loop", list("trips", "go", "x"), list("y"), onnx.GraphAttribute("body", body))
	return b
}

func TestLoopBodies(t *testing.T) {
	given, err := loopModel().Model()
	if err != nil {
		t.Fatal(err)
	}
	m, _ := apply(t, loopModel(), rewrite.Options{Standard: true})
	wantOps(t, m, "Cos Loop")
	body := m.Graph.Nodes[1].Attribute("body").Graph
	if len(body.Nodes) > 2 {
		t.Errorf("the body has %d nodes, want the sum and at most one more", len(body.Nodes))
	}
	sameAnswers(t, given, m, input(ramp(8, 1), 2, 4))
}

func TestFunctionsAreInlined(t *testing.T) {
	m := functionModel()
	result, report := applyModel(t, m, rewrite.Options{Standard: true})
	wantOps(t, result, "LeakyRelu Add LeakyRelu Add")
	if len(result.Functions) != 0 || report.Inlined != 4 || result.Opset("local") != 0 {
		t.Errorf("%d functions left, %d calls inlined, opset %d", len(result.Functions), report.Inlined, result.Opset("local"))
	}
	sameAnswers(t, m, result, input(ramp(8, 1), 2, 4))
}

// functionModel calls a function twice, with an attribute and with its default, that
// calls another.
func functionModel() *onnx.Model {
	slope := onnx.Attribute{Name: "alpha", Type: onnx.AttributeFloat, Ref: "slope"}
	leak := node("LeakyRelu", list("in"), list("out"), slope)
	inner := onnx.Node{OpType: "Leak", Domain: "local", Inputs: list("v"), Outputs: list("u"),
		Attributes: []onnx.Attribute{{Name: "slope", Type: onnx.AttributeFloat, Ref: "slope"}}}
	opsets := []onnx.OpsetImport{{Version: 17}, {Domain: "local", Version: 1}}
	call := func(in, out string, attributes ...onnx.Attribute) onnx.Node {
		return onnx.Node{Name: "call_" + out, OpType: "Step", Domain: "local", Inputs: list(in), Outputs: list(out), Attributes: attributes}
	}
	return &onnx.Model{
		IRVersion: 8,
		Opsets:    opsets,
		Graph: &onnx.Graph{
			Name:    "g",
			Nodes:   []onnx.Node{call("x", "a", onnx.FloatAttribute("slope", 0.5)), call("a", "y")},
			Inputs:  []onnx.ValueInfo{floatInfo("x")},
			Outputs: []onnx.ValueInfo{floatInfo("y")},
		},
		Functions: []onnx.Function{
			{Name: "Step", Domain: "local", Inputs: list("v"), Outputs: list("w"), Opsets: opsets,
				Defaults: []onnx.Attribute{onnx.FloatAttribute("slope", 0.25)},
				Nodes:    []onnx.Node{inner, node("Add", list("u", "v"), list("w"))}},
			{Name: "Leak", Domain: "local", Inputs: list("in"), Outputs: list("out"), Attributes: list("slope"),
				Opsets: opsets, Nodes: []onnx.Node{leak}},
		},
	}
}

func TestFunctionsOfOtherVersionsStay(t *testing.T) {
	m := functionModel()
	for i := range m.Functions {
		m.Functions[i].Opsets = []onnx.OpsetImport{{Version: 16}, {Domain: "local", Version: 1}}
	}
	result, _ := applyModel(t, m, rewrite.Options{})
	wantOps(t, result, "local.Step local.Step")
	if len(result.Functions) != 2 {
		t.Errorf("%d functions left, want 2", len(result.Functions))
	}
}

func TestFunctionsInCirclesAreAnError(t *testing.T) {
	m := functionModel()
	m.Functions[1].Nodes = []onnx.Node{{OpType: "Step", Domain: "local", Inputs: list("in"), Outputs: list("out")}}
	wantInvalid(t, m, "deeper than")
	m = functionModel()
	m.Functions[1].Nodes[0].Inputs = list("nothing")
	wantInvalid(t, m, "not defined")
	m = functionModel()
	m.Graph.Nodes[0].Inputs = list("x", "x")
	wantInvalid(t, m, "2 inputs and 1 outputs given")
}

func wantInvalid(t *testing.T, m *onnx.Model, text string) {
	t.Helper()
	_, _, err := rewrite.Apply(m, rewrite.Options{})
	if !errors.Is(err, onnx.ErrInvalidGraph) || !strings.Contains(err.Error(), text) {
		t.Errorf("error is %v, want one of class %v with %q", err, onnx.ErrInvalidGraph, text)
	}
}

func TestFunctionsThatExplodeAreAnError(t *testing.T) {
	m := functionModel()
	m.Functions = nil
	opsets := []onnx.OpsetImport{{Version: 17}, {Domain: "local", Version: 1}}
	for depth := range 25 { // 2^25 nodes
		name := fmt.Sprintf("F%d", depth+1)
		if depth == 0 {
			name = "Step"
		}
		next := func(in, out string) onnx.Node {
			return onnx.Node{OpType: fmt.Sprintf("F%d", depth+2), Domain: "local", Inputs: list(in), Outputs: list(out)}
		}
		m.Functions = append(m.Functions, onnx.Function{Name: name, Domain: "local", Inputs: list("a"), Outputs: list("c"),
			Opsets: opsets, Nodes: []onnx.Node{next("a", "b"), next("b", "c")}})
	}
	wantInvalid(t, m, "more than")
}

func TestBadGraphsAreErrors(t *testing.T) {
	wantInvalid(t, nil, "no model")
	wantInvalid(t, &onnx.Model{}, "no graph")
	b := onnx.NewBuilder("bad")
	b.Node("Add", list("p", "q"), list("p"))
	b.Output("p", tensor.FP32)
	if _, err := b.Model(); err == nil {
		t.Fatal("the builder takes a bad graph")
	}
}

func TestNodesOfUnknownDomainsStay(t *testing.T) {
	b := rowModel(4)
	b.Opset("acme", 1)
	b.Node("Identity", list("x"), list("a"))
	b.DomainNode("acme", "Log", list("a"), list("unread"))
	b.DomainNode("acme", "Log", list("a"), list("unread_too"))
	b.Node("Sin", list("a"), list("y"))
	m, _ := apply(t, b, rewrite.Options{})
	wantOps(t, m, "acme.Log acme.Log Sin")
}

func TestInputWithDefaultIsNoConstant(t *testing.T) {
	build := func() *onnx.Builder {
		b := rowModel(4)
		b.Input("bias", tensor.FP32, onnx.Extent(3))
		b.Node("MatMul", list("x", c(b, "w", ramp(12, 1), 4, 3)), list("p"))
		b.Node("Add", list("p", c(b, "bias", ramp(3, 1), 3)), list("y"))
		return b
	}
	m, _ := apply(t, build(), rewrite.Options{})
	wantOps(t, m, "*Linear Add")
	if len(m.Inputs()) != 1 || len(m.Graph.Inputs) != 2 {
		t.Errorf("inputs are %v", m.Graph.Inputs)
	}
	// Before version 4 of the format constants had to be inputs too.
	old, err := build().Model()
	if err != nil {
		t.Fatal(err)
	}
	old.IRVersion = 3
	old.Graph.Inputs = append(old.Graph.Inputs, onnx.ValueInfo{Name: "w", Type: onnx.TensorType(onnx.ElemFloat, onnx.Extent(4), onnx.Extent(3))})
	m, _ = applyModel(t, old, rewrite.Options{})
	wantOps(t, m, "*Linear")
}

// chain is x through many nodes of an operator.
func chain(nodes int, opType string, more ...string) *onnx.Builder {
	b := rowModel(4)
	c(b, "k", []float32{1.00001}, 1)
	c(b, "w", ramp(16, 0.5), 4, 4)
	at := "x"
	for i := range nodes {
		out := fmt.Sprintf("v%d", i)
		if i == nodes-1 {
			out = "y"
		}
		b.Node(opType, append(list(at), more...), list(out))
		at = out
	}
	return b
}

func TestLongChainsTakeLittleTime(t *testing.T) {
	const nodes = 20000
	for _, test := range []struct {
		op   string
		more []string
		want int
	}{
		{"Identity", nil, 1},
		{"Transpose", nil, 1},
		{"Mul", list("k"), nodes},
		{"Add", list("k"), nodes},
		{"MatMul", list("w"), nodes},
		{"Softplus", nil, nodes},
	} {
		t.Run(test.op, func(t *testing.T) {
			m, err := chain(nodes, test.op, test.more...).Model()
			if err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			result, _, err := rewrite.Apply(m, rewrite.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if len(result.Graph.Nodes) != test.want {
				t.Errorf("%d nodes are left, want %d", len(result.Graph.Nodes), test.want)
			}
			if took := time.Since(start); took > 20*time.Second { // about 0.1 s on one core
				t.Errorf("it took %v", took)
			}
		})
	}
}

func TestValuesReadByManyTakeLittleTime(t *testing.T) {
	const nodes = 10000
	b := rowModel(4)
	b.Node("Identity", list("x"), list("shared"))
	var all []string
	for i := range nodes {
		out := fmt.Sprintf("v%d", i)
		b.Node("Add", list("shared", c(b, "c"+out, []float32{float32(i)})), list(out+"_sum"))
		b.Node("Identity", list(out+"_sum"), list(out))
		all = append(all, out)
	}
	b.Node("Sum", all, list("y"))
	m, err := b.Model()
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	result, _, err := rewrite.Apply(m, rewrite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(result.Graph.Nodes) != nodes+1 {
		t.Errorf("%d nodes are left, want %d", len(result.Graph.Nodes), nodes+1)
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("it took %v", took)
	}
}
