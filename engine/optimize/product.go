// SPDX-License-Identifier: Apache-2.0

package optimize

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"

	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// product is a MatMul or Gemm whose right side is constant weights.
type product struct {
	at   int // index of the node
	node *onnx.Node
	// name is that of the node, or of its output where it has none.
	name string
	// x is the left side, weightsName the initializer that the right side is, perhaps
	// transposed, of [k, n] weights.
	x, weightsName string
	weights        *onnx.Tensor
	k, n           int
	transposed     bool
	// bias is what is added to each row, nil where there is none; addend is the name of
	// what is added that is not of that form.
	bias   []float32
	addend string
	// bounds are those of the Clip that makes the left side, nil where none does.
	bounds *clipBounds
	// clipped is the result of a Relu or Clip that alone reads the product's output; empty
	// where there is no such node. Its range is the product's own in static mode.
	clipped string
	// clippedTo are the bounds of that Clip, nil for a Relu.
	clippedTo *clipBounds
	// problem is why the product cannot be changed; empty where it can.
	problem string
}

// graphIndex finds what products are made of.
type graphIndex struct {
	constants map[string]*onnx.Tensor
	makers    map[string]*onnx.Node
	// inputs are the names of the graph's inputs: a constant among them is a default,
	// which a caller may replace.
	inputs map[string]bool
}

func indexOf(g *onnx.Graph) *graphIndex {
	index := &graphIndex{make(map[string]*onnx.Tensor), make(map[string]*onnx.Node), make(map[string]bool)}
	for i := range g.Inputs {
		index.inputs[g.Inputs[i].Name] = true
	}
	for i := range g.Initializers {
		index.constants[g.Initializers[i].Name] = &g.Initializers[i]
	}
	for i := range g.Nodes {
		for _, name := range g.Nodes[i].Outputs {
			index.makers[name] = &g.Nodes[i]
		}
	}
	return index
}

// readersOf are the nodes of a graph that read each value; a node inside another is
// counted as the one that holds it, and an output of the graph as nil.
func readersOf(g *onnx.Graph) map[string][]*onnx.Node {
	readers := make(map[string][]*onnx.Node)
	for i := range g.Nodes {
		n := &g.Nodes[i]
		read := make(map[string]bool)
		for _, name := range n.Inputs {
			read[name] = true
		}
		for _, inner := range innerGraphs(n) {
			collectReads(inner, read)
		}
		for name := range read {
			readers[name] = append(readers[name], n)
		}
	}
	for i := range g.Outputs {
		readers[g.Outputs[i].Name] = append(readers[g.Outputs[i].Name], nil)
	}
	return readers
}

// clippedBy is the result of the only reader of a value, where that is a Relu or Clip
// and its result no output of the graph.
func clippedBy(readers map[string][]*onnx.Node, value string) string {
	list := readers[value]
	if len(list) != 1 || list[0] == nil || list[0].OpType != "Relu" && list[0].OpType != "Clip" || list[0].Inputs[0] != value {
		return ""
	}
	out := list[0].Outputs[0]
	if len(readers[out]) == 0 || slices.Contains(readers[out], nil) {
		return ""
	}
	return out
}

// clipBounds are what a Clip keeps values between. known is false where they are not
// constant.
type clipBounds struct {
	low, high float32
	known     bool
}

// clipOf are the bounds of the Clip that makes a value, nil where another node does.
func (x *graphIndex) clipOf(value string) *clipBounds {
	n := x.makers[value]
	if n == nil || n.OpType != "Clip" {
		return nil
	}
	b := &clipBounds{-math.MaxFloat32, math.MaxFloat32, len(n.Attributes) == 0}
	for i, bound := range []*float32{&b.low, &b.high} {
		if len(n.Inputs) <= 1+i || n.Inputs[1+i] == "" {
			continue
		}
		name := n.Inputs[1+i]
		list, ok := []float32(nil), false
		if c := x.constants[name]; c != nil && !x.inputs[name] {
			list, ok = floatsOf(c)
		}
		if !ok || len(list) != 1 || list[0] != list[0] {
			b.known = false
			continue
		}
		*bound = list[0]
	}
	return b
}

// findProducts lists the products of a graph, in the order of its nodes.
func findProducts(g *onnx.Graph) []*product {
	index, readers := indexOf(g), readersOf(g)
	var list []*product
	for i := range g.Nodes {
		n := &g.Nodes[i]
		if n.Domain != "" && n.Domain != "ai.onnx" || n.OpType != "MatMul" && n.OpType != "Gemm" || len(n.Inputs) < 2 || len(n.Outputs) != 1 {
			continue
		}
		if p := index.product(n); p != nil {
			p.at, p.clipped = i, clippedBy(readers, n.Outputs[0])
			p.bounds = index.clipOf(p.x)
			p.clippedTo = index.clipOf(p.clipped)
			list = append(list, p)
		}
	}
	return list
}

// product reads a node as a product, nil where its weights are not a float matrix.
func (x *graphIndex) product(n *onnx.Node) *product {
	p := &product{node: n, name: n.Name, x: n.Inputs[0], weightsName: n.Inputs[1]}
	if p.name == "" {
		p.name = n.Outputs[0]
	}
	if x.constants[p.x] != nil {
		return nil
	}
	if before := x.makers[p.weightsName]; before != nil && before.OpType == "Transpose" && len(before.Inputs) == 1 {
		if perm := before.Attribute("perm"); perm != nil && (len(perm.Ints) != 2 || perm.Ints[0] != 1) {
			return nil
		}
		p.weightsName, p.transposed = before.Inputs[0], true
	}
	p.weights = x.constants[p.weightsName]
	if p.weights == nil || p.weights.Elem != onnx.ElemFloat || len(p.weights.Dims) != 2 {
		return nil
	}
	if x.inputs[p.weightsName] {
		p.problem = "its weights are an input of the model with a default"
	}
	x.readGemm(p)
	p.k, p.n = int(p.weights.Dims[0]), int(p.weights.Dims[1])
	if p.transposed {
		p.k, p.n = p.n, p.k
	}
	if n.OpType == "Gemm" {
		x.readBias(p)
	}
	return p
}

// readGemm reads the attributes of Gemm.
func (x *graphIndex) readGemm(p *product) {
	if p.node.OpType != "Gemm" {
		return
	}
	for i := range p.node.Attributes {
		switch a := &p.node.Attributes[i]; a.Name {
		case "transA":
			if a.Int != 0 {
				p.problem = "its left side is transposed"
			}
		case "transB":
			p.transposed = p.transposed != (a.Int != 0)
		case "alpha", "beta":
			if a.Float != 1 && (a.Name == "alpha" || len(p.node.Inputs) > 2) {
				p.problem = fmt.Sprintf("it has %s %v", a.Name, a.Float)
			}
		}
	}
}

// readBias reads the third input of Gemm.
func (x *graphIndex) readBias(p *product) {
	if len(p.node.Inputs) < 3 || p.node.Inputs[2] == "" {
		return
	}
	p.addend = p.node.Inputs[2]
	c := x.constants[p.addend]
	if c == nil || x.inputs[p.addend] || len(c.Dims) > 2 || len(c.Dims) == 2 && c.Dims[0] != 1 {
		return
	}
	list, ok := floatsOf(c)
	if !ok || len(list) != 1 && len(list) != p.n || !finite(list) {
		return
	}
	p.bias = make([]float32, p.n)
	for i := range p.bias {
		p.bias[i] = list[i%len(list)]
	}
	p.addend = ""
}

// matrix is the weights as [k, n] floats.
func (p *product) matrix() ([]float32, error) {
	list, ok := floatsOf(p.weights)
	if !ok || len(list) != p.k*p.n {
		return nil, fmt.Errorf("weights %q have no data", p.weightsName)
	}
	if p.transposed {
		list = transpose(list, p.n, p.k)
	}
	return list, nil
}

// pattern reads a name in which * stands for any text, slashes included, as the names
// that exporters give have many.
func pattern(text string) *regexp.Regexp {
	parts := strings.Split(text, "*")
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	return regexp.MustCompile("^(?s:" + strings.Join(parts, ".*") + ")$")
}

// matches reports whether a pattern names the product, its output or its weights.
func (p *product) matches(pattern *regexp.Regexp) bool {
	return pattern.MatchString(p.name) || pattern.MatchString(p.node.Outputs[0]) || pattern.MatchString(p.weightsName)
}

// alone is a model of nothing but the product, on its constant weights and bias.
func (p *product) alone(opset int64) (*onnx.Model, error) {
	w, err := p.matrix()
	if err != nil {
		return nil, err
	}
	b := onnx.NewBuilder("product")
	b.Opset("", opset)
	b.Input("x", tensor.FP32, onnx.Symbol("rows"), onnx.Extent(int64(p.k)))
	b.Initializer(onnx.TensorOf("w", w, int64(p.k), int64(p.n)))
	inputs := []string{"x", "w"}
	op := "MatMul"
	if p.bias != nil {
		b.Initializer(onnx.TensorOf("b", p.bias, int64(p.n)))
		inputs, op = append(inputs, "b"), "Gemm"
	}
	b.Node(op, inputs, []string{"y"})
	b.Output("y", tensor.FP32, onnx.Symbol("rows"), onnx.Extent(int64(p.n)))
	return b.Model()
}
