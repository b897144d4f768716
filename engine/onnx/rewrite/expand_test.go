// SPDX-License-Identifier: Apache-2.0

package rewrite_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/onnx/rewrite"
)

// expander writes internal operators by standard ones, as their contract says, so that
// ONNX Runtime can hold the rewritten model to the one given.
type expander struct {
	t     testing.TB
	m     *onnx.Model
	nodes []onnx.Node
	added []onnx.Tensor
	count int
}

func expand(t testing.TB, m *onnx.Model) *onnx.Model {
	t.Helper()
	e := &expander{t: t, m: m}
	for i := range m.Graph.Nodes {
		e.node(&m.Graph.Nodes[i])
	}
	out, g := *m, *m.Graph
	g.Nodes = e.nodes
	g.Initializers = slices.Concat(m.Graph.Initializers, e.added)
	out.Graph = &g
	out.Opsets = slices.DeleteFunc(slices.Clone(m.Opsets), func(o onnx.OpsetImport) bool { return o.Domain == rewrite.Domain })
	if err := out.Check(); err != nil {
		t.Fatal(err)
	}
	return &out
}

func (e *expander) fresh() string {
	e.count++
	return fmt.Sprintf("expanded_%d", e.count)
}

// op adds a node and gives the name of its output.
func (e *expander) op(opType string, inputs []string, attributes ...onnx.Attribute) string {
	out := e.fresh()
	e.nodes = append(e.nodes, onnx.Node{OpType: opType, Inputs: inputs, Outputs: []string{out}, Attributes: attributes})
	return out
}

func (e *expander) scalar(x float64) string {
	name := e.fresh()
	e.added = append(e.added, onnx.TensorOf(name, []float32{float32(x)}))
	return name
}

func (e *expander) ints(x ...int64) string {
	name := e.fresh()
	e.added = append(e.added, onnx.TensorOf(name, x, int64(len(x))))
	return name
}

func at(n *onnx.Node, i int) string {
	if i < len(n.Inputs) {
		return n.Inputs[i]
	}
	return ""
}

func intOf(n *onnx.Node, name string, otherwise int64) int64 {
	if a := n.Attribute(name); a != nil {
		return a.Int
	}
	return otherwise
}

func floatOf(n *onnx.Node, name string) float64 {
	if a := n.Attribute(name); a != nil {
		return float64(a.Float)
	}
	return math.NaN()
}

func stringOf(n *onnx.Node, name string) string {
	if a := n.Attribute(name); a != nil {
		return string(a.String)
	}
	return ""
}

func (e *expander) node(n *onnx.Node) {
	if n.Domain != rewrite.Domain {
		e.nodes = append(e.nodes, e.inside(*n))
		return
	}
	var y string
	switch n.OpType {
	case rewrite.OpLinear:
		y = e.activate(n, e.linear(n))
	case rewrite.OpConv:
		attributes := slices.DeleteFunc(slices.Clone(n.Attributes), func(a onnx.Attribute) bool {
			return a.Name == rewrite.AttrActivation || a.Name == rewrite.AttrAlpha || a.Name == rewrite.AttrBeta
		})
		y = e.activate(n, e.op("Conv", n.Inputs, attributes...))
	case rewrite.OpLinearDynamicInt8:
		y = e.activate(n, e.dynamicInt8(n))
	case rewrite.OpLinearInt8:
		y = e.int8(n)
	case rewrite.OpEmbeddingBag:
		y = e.embeddingBag(n)
	case rewrite.OpLayerNormalization, rewrite.OpRMSNormalization:
		y = e.norm(n)
	case rewrite.OpGelu:
		name := rewrite.ActivationGelu
		if stringOf(n, "approximate") == "tanh" {
			name = rewrite.ActivationGeluTanh
		}
		y = e.function(name, at(n, 0), 0, 0)
	default:
		y = e.function(rewrite.Activation(n.OpType), at(n, 0), floatOf(n, "alpha"), 0)
	}
	e.nodes = append(e.nodes, onnx.Node{OpType: "Identity", Inputs: []string{y}, Outputs: n.Outputs})
}

// inside expands the graphs inside a node.
func (e *expander) inside(n onnx.Node) onnx.Node {
	n.Attributes = slices.Clone(n.Attributes)
	for i, a := range n.Attributes {
		if a.Graph == nil {
			continue
		}
		outer := e.nodes
		e.nodes = nil
		for k := range a.Graph.Nodes {
			e.node(&a.Graph.Nodes[k])
		}
		g := *a.Graph
		g.Nodes = e.nodes
		n.Attributes[i].Graph = &g
		e.nodes = outer
	}
	return n
}

func (e *expander) linear(n *onnx.Node) string {
	w := at(n, 1)
	if stringOf(n, rewrite.AttrWeightType) != "" {
		w = e.op("Cast", list(w), onnx.IntAttribute("to", int64(onnx.ElemFloat)))
	}
	if intOf(n, rewrite.AttrTransB, 0) == 1 {
		w = e.op("Transpose", list(w), onnx.IntsAttribute("perm", 1, 0))
	}
	y := e.op("MatMul", list(at(n, 0), w))
	for _, term := range []string{at(n, 2), at(n, 3)} {
		if term != "" {
			y = e.op("Add", list(y, term))
		}
	}
	return y
}

func (e *expander) dynamicInt8(n *onnx.Node) string {
	q, s, z := e.fresh(), e.fresh(), e.fresh()
	e.nodes = append(e.nodes, onnx.Node{OpType: "DynamicQuantizeLinear", Inputs: list(at(n, 0)), Outputs: list(q, s, z)})
	inputs := list(q, at(n, 1), z)
	if zero := at(n, 3); zero != "" {
		inputs = append(inputs, zero)
	}
	y := e.op("Cast", list(e.op("MatMulInteger", inputs)), onnx.IntAttribute("to", int64(onnx.ElemFloat)))
	y = e.op("Mul", list(y, e.op("Mul", list(s, at(n, 2)))))
	if bias := at(n, 4); bias != "" {
		y = e.op("Add", list(y, bias))
	}
	return y
}

func (e *expander) int8(n *onnx.Node) string {
	x := at(n, 0)
	if e.isFloat(x) {
		x = e.op("QuantizeLinear", list(x, at(n, 1), at(n, 2)))
	}
	x = e.op("DequantizeLinear", list(x, at(n, 1), at(n, 2)))
	transposed := intOf(n, rewrite.AttrTransB, 0)
	w := e.op("DequantizeLinear", list(at(n, 3), at(n, 4), at(n, 5)), onnx.IntAttribute("axis", 1-transposed))
	if transposed == 1 {
		w = e.op("Transpose", list(w), onnx.IntsAttribute("perm", 1, 0))
	}
	y := e.op("MatMul", list(x, w))
	if bias := at(n, 6); bias != "" {
		y = e.op("Add", list(y, bias))
	}
	y = e.activate(n, y)
	if at(n, 7) != "" {
		y = e.op("QuantizeLinear", list(y, at(n, 7), at(n, 8)))
	}
	return y
}

// isFloat reports whether an input of the graph or what a node makes is declared float.
func (e *expander) isFloat(name string) bool {
	for _, v := range slices.Concat(e.m.Graph.Inputs, e.m.Graph.ValueInfos) {
		if v.Name == name {
			return v.Type.Elem == onnx.ElemFloat
		}
	}
	e.t.Fatalf("the type of %q is not declared", name)
	return false
}

func (e *expander) embeddingBag(n *onnx.Node) string {
	rows := e.op("Gather", list(at(n, 0), at(n, 1)))
	if weights := at(n, 2); weights != "" {
		rows = e.op("Mul", list(rows, e.op("Unsqueeze", list(weights, e.ints(-1)))))
	}
	switch stringOf(n, rewrite.AttrMode) {
	case rewrite.ModeSum:
		return e.op("ReduceSum", list(rows, e.ints(-2)), onnx.IntAttribute("keepdims", 0))
	case rewrite.ModeMean:
		return e.reduce("ReduceMean", rows, -2, 0)
	}
	return e.reduce("ReduceMax", rows, -2, 0)
}

// reduce writes the axes where the model's opset has them.
func (e *expander) reduce(opType, x string, axis, keep int64) string {
	if e.m.Opset("") >= 18 {
		return e.op(opType, list(x, e.ints(axis)), onnx.IntAttribute("keepdims", keep))
	}
	return e.op(opType, list(x), onnx.IntsAttribute("axes", axis), onnx.IntAttribute("keepdims", keep))
}

func (e *expander) norm(n *onnx.Node) string {
	d := at(n, 0)
	if n.OpType == rewrite.OpLayerNormalization {
		d = e.op("Sub", list(d, e.reduce("ReduceMean", d, -1, 1)))
	}
	variance := e.reduce("ReduceMean", e.op("Mul", list(d, d)), -1, 1)
	y := e.op("Div", list(d, e.op("Sqrt", list(e.op("Add", list(variance, e.scalar(floatOf(n, "epsilon"))))))))
	y = e.op("Mul", list(y, at(n, 1)))
	if bias := at(n, 2); bias != "" {
		y = e.op("Add", list(y, bias))
	}
	return y
}

func (e *expander) activate(n *onnx.Node, x string) string {
	name := stringOf(n, rewrite.AttrActivation)
	if name == "" {
		return x
	}
	return e.function(rewrite.Activation(name), x, floatOf(n, rewrite.AttrAlpha), floatOf(n, rewrite.AttrBeta))
}

func (e *expander) function(name rewrite.Activation, x string, alpha, beta float64) string {
	switch name {
	case rewrite.ActivationRelu, rewrite.ActivationSigmoid, rewrite.ActivationTanh, rewrite.ActivationSoftplus:
		return e.op(string(name), list(x))
	case rewrite.ActivationLeakyRelu, rewrite.ActivationElu:
		return e.op(string(name), list(x), onnx.FloatAttribute("alpha", float32(alpha)))
	case rewrite.ActivationHardSigmoid:
		return e.op("HardSigmoid", list(x), onnx.FloatAttribute("alpha", float32(alpha)), onnx.FloatAttribute("beta", float32(beta)))
	case rewrite.ActivationClip:
		return e.op("Clip", list(x, e.scalar(alpha), e.scalar(beta)))
	case rewrite.ActivationHardSwish:
		h := e.op("HardSigmoid", list(x), onnx.FloatAttribute("alpha", 1.0/6), onnx.FloatAttribute("beta", 0.5))
		return e.op("Mul", list(x, h))
	case rewrite.ActivationSwish:
		return e.op("Mul", list(x, e.op("Sigmoid", list(e.op("Mul", list(x, e.scalar(alpha)))))))
	case rewrite.ActivationMish:
		return e.op("Mul", list(x, e.op("Tanh", list(e.op("Softplus", list(x))))))
	case rewrite.ActivationGelu:
		erf := e.op("Erf", list(e.op("Mul", list(x, e.scalar(math.Sqrt(0.5))))))
		return e.op("Mul", list(e.op("Mul", list(x, e.scalar(0.5))), e.op("Add", list(erf, e.scalar(1)))))
	case rewrite.ActivationGeluTanh:
		cube := e.op("Mul", list(e.op("Mul", list(x, x)), e.op("Mul", list(x, e.scalar(0.044715)))))
		tanh := e.op("Tanh", list(e.op("Mul", list(e.op("Add", list(x, cube)), e.scalar(math.Sqrt(2/math.Pi))))))
		return e.op("Mul", list(e.op("Mul", list(x, e.scalar(0.5))), e.op("Add", list(tanh, e.scalar(1)))))
	}
	e.t.Fatalf("activation %q is not one of the contract", name)
	return ""
}
