// SPDX-License-Identifier: Apache-2.0

package onnx_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/engine/onnx"
)

func node(inputs, output string, attributes ...onnx.Attribute) onnx.Node {
	return onnx.Node{OpType: "Op", Inputs: strings.Fields(inputs), Outputs: strings.Fields(output), Attributes: attributes}
}

func values(names ...string) []onnx.ValueInfo {
	var list []onnx.ValueInfo
	for _, name := range names {
		list = append(list, onnx.ValueInfo{Name: name, Type: onnx.TensorType(onnx.ElemFloat)})
	}
	return list
}

// branch is a graph inside a node that computes its output from the values named.
func branch(reads, gives string) onnx.Attribute {
	return onnx.GraphAttribute("body", &onnx.Graph{Name: "branch", Nodes: []onnx.Node{node(reads, gives)}, Outputs: values(gives)})
}

func TestOrder(t *testing.T) {
	for _, c := range []struct {
		name  string
		nodes []onnx.Node
		want  []int
	}{
		{"in order", []onnx.Node{node("x", "a"), node("a", "b"), node("a b", "y")}, []int{0, 1, 2}},
		{"reversed", []onnx.Node{node("b", "y"), node("a", "b"), node("x", "a")}, []int{2, 1, 0}},
		{"independent", []onnx.Node{node("x", "a"), node("b", "y"), node("x", "b"), node("", "c")}, []int{0, 2, 1, 3}},
		{"same value twice", []onnx.Node{node("a a", "y"), node("x", "a")}, []int{1, 0}},
		{"read inside", []onnx.Node{node("x", "y", branch("a", "i")), node("x", "a")}, []int{1, 0}},
		{"output of inner graph from outside", []onnx.Node{
			node("x", "y", onnx.GraphAttribute("body", &onnx.Graph{Outputs: values("a")})), node("x", "a")}, []int{1, 0}},
	} {
		g := onnx.Graph{Nodes: c.nodes, Inputs: values("x"), Outputs: values("y")}
		order, err := g.Order()
		if err != nil || !slices.Equal(order, c.want) {
			t.Errorf("%s: order is %v, error %v, want %v", c.name, order, err, c.want)
		}
	}
}

func TestCheckFaults(t *testing.T) {
	constant := onnx.TensorOf("w", []float32{1})
	for _, c := range []struct {
		name  string
		graph onnx.Graph
		want  string
	}{
		{"undefined input", onnx.Graph{Nodes: []onnx.Node{node("x", "y")}}, `node 0 (Op): input "x" is not defined`},
		{"undefined output", onnx.Graph{Outputs: values("y")}, `output "y" is not defined`},
		{"value made twice", onnx.Graph{Nodes: []onnx.Node{node("", "y"), node("", "y")}}, `node 1 (Op): output "y" is defined twice`},
		{"input made again", onnx.Graph{Inputs: values("x"), Nodes: []onnx.Node{node("", "x")}}, `"x" is defined twice`},
		{"input twice", onnx.Graph{Inputs: values("x", "x")}, `input "x" is defined twice`},
		{"input without a name", onnx.Graph{Inputs: values("")}, "input 0 has no name"},
		{"output twice", onnx.Graph{Inputs: values("x"), Outputs: values("x", "x")}, `output "x" is listed twice`},
		{"constant twice", onnx.Graph{Initializers: []onnx.Tensor{constant, constant}}, `initializer "w" is defined twice`},
		{"constant without a name", onnx.Graph{Initializers: []onnx.Tensor{onnx.TensorOf("", []int8{1})}}, "initializer has no name"},
		{"no operator", onnx.Graph{Nodes: []onnx.Node{{Name: "n"}}}, `node "n" () has no operator`},
		{"circle of one", onnx.Graph{Nodes: []onnx.Node{node("y", "y")}}, "node 0 (Op) waits for its own output"},
		{"circle", onnx.Graph{Nodes: []onnx.Node{node("", "x"), node("x b", "a"), node("a", "b")}}, "node 1 (Op) waits"},
		{"circle through an inner graph", onnx.Graph{Nodes: []onnx.Node{node("", "y", branch("y", "i"))}}, "node 0 (Op) waits"},
		{"circle inside", onnx.Graph{Nodes: []onnx.Node{node("", "y", branch("i", "i"))}}, `graph "branch" inside node 0 (Op): node 0 (Op) waits`},
		{"undefined inside", onnx.Graph{Nodes: []onnx.Node{node("", "y", branch("z", "i"))}}, `graph "branch" inside node 0 (Op): node 0 (Op): input "z"`},
		{"inner value outside", onnx.Graph{Nodes: []onnx.Node{node("", "y", branch("", "i")), node("i", "z")}}, `node 1 (Op): input "i" is not defined`},
		{"absurd input", onnx.Graph{Inputs: []onnx.ValueInfo{{Name: "x", Type: onnx.TensorType(onnx.ElemFloat,
			onnx.Extent(math.MaxInt64), onnx.Symbol("n"), onnx.Extent(2))}}}, `input "x": tensor(float)[9223372036854775807,n,2]: element count overflows`},
		{"absurd constant", onnx.Graph{Initializers: []onnx.Tensor{{Name: "w", Elem: onnx.ElemFloat, Dims: []int64{-5}}}}, `initializer "w" dimension -5`},
	} {
		err := c.graph.Check()
		if !errors.Is(err, onnx.ErrInvalidGraph) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got error %v, want %q", c.name, err, c.want)
		}
	}
}

func TestCheckAccepts(t *testing.T) {
	g := onnx.Graph{
		Inputs:       values("x", "w"),
		Initializers: []onnx.Tensor{onnx.TensorOf("w", []float32{1})}, // the default of an input
		Nodes:        []onnx.Node{{OpType: "Op", Inputs: []string{"x", "", "w"}, Outputs: []string{"", "y"}}},
		Outputs:      values("y"),
	}
	if err := g.Check(); err != nil {
		t.Error(err)
	}
}

// A chain longer than any stack, and graphs inside graphs as deep.
func TestCheckDeep(t *testing.T) {
	const n = 20_000
	chain := onnx.Graph{Inputs: values("v0"), Outputs: values(fmt.Sprint("v", n))}
	for i := n; i > 0; i-- {
		chain.Nodes = append(chain.Nodes, node(fmt.Sprint("v", i-1), fmt.Sprint("v", i)))
	}
	order, err := chain.Order()
	if err != nil || len(order) != n || order[0] != n-1 || order[n-1] != 0 {
		t.Errorf("chain of %d: %d nodes in order, error %v", n, len(order), err)
	}
	nested := &onnx.Graph{}
	for range n {
		nested = &onnx.Graph{Nodes: []onnx.Node{node("", "y", onnx.GraphAttribute("body", nested))}}
	}
	if err := nested.Check(); err != nil {
		t.Error(err)
	}
}
