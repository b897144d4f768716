// SPDX-License-Identifier: Apache-2.0

package rewrite_test

import (
	"slices"
	"testing"

	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/onnx/rewrite"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// evaluator computes a node on ONNX Runtime, as a model of that node alone.
func evaluator(t testing.TB, m *onnx.Model) rewrite.Evaluate {
	return func(n *onnx.Node, opset func(string) int64, inputs []onnx.Tensor) ([]onnx.Tensor, error) {
		node := *n
		node.Inputs, node.Outputs = make([]string, len(inputs)), make([]string, len(n.Outputs))
		g := &onnx.Graph{Name: "node"}
		var given []tensor.Tensor
		for i := range inputs {
			if inputs[i].Elem == onnx.ElemUndefined {
				continue
			}
			v, err := inputs[i].Value()
			if err != nil {
				return nil, err
			}
			v.Shape = append(tensor.Shape{}, v.Shape...) // nil would leave the input out
			node.Inputs[i] = "in" + string(rune('a'+i))
			typ := onnx.TensorType(inputs[i].Elem)
			for _, d := range inputs[i].Dims {
				typ.Dims = append(typ.Dims, onnx.Extent(d))
			}
			g.Inputs = append(g.Inputs, onnx.ValueInfo{Name: node.Inputs[i], Type: typ})
			given = append(given, v)
		}
		for i, name := range n.Outputs {
			if name != "" {
				node.Outputs[i] = "out" + string(rune('a'+i))
				g.Outputs = append(g.Outputs, onnx.ValueInfo{Name: node.Outputs[i], Type: onnx.TensorType(resultOf(&node, inputs), ranked(&node, inputs)...)})
			}
		}
		g.Nodes = []onnx.Node{node}
		alone := &onnx.Model{IRVersion: m.IRVersion, Opsets: m.Opsets, Graph: g}
		outputs, err := tryRun(t, alone, given...)
		if err != nil {
			return nil, err
		}
		var results []onnx.Tensor
		for _, name := range n.Outputs {
			if name == "" {
				results = append(results, onnx.Tensor{})
				continue
			}
			v := outputs[0]
			outputs = outputs[1:]
			results = append(results, onnx.Tensor{Dims: v.Shape, Elem: onnx.ElemTypeOf(v.Datatype), Raw: v.Data})
		}
		return results, nil
	}
}

// resultOf is the element type of what a node makes, for the operators that tests fold.
func resultOf(n *onnx.Node, inputs []onnx.Tensor) onnx.ElemType {
	switch n.OpType {
	case "Cast":
		return onnx.ElemType(n.Attribute("to").Int)
	case "Equal", "Less", "Greater", "Not", "And", "Or":
		return onnx.ElemBool
	case "Shape", "Size":
		return onnx.ElemInt64
	case "ConstantOfShape":
		if a := n.Attribute("value"); a != nil {
			return a.Tensor.Elem
		}
		return onnx.ElemFloat
	case "DequantizeLinear":
		return onnx.ElemFloat
	case "Where":
		return inputs[1].Elem
	}
	return inputs[0].Elem
}

// ranked are as many unknown dimensions as a node's result has.
func ranked(n *onnx.Node, inputs []onnx.Tensor) []onnx.Dim {
	rank := 0
	for _, in := range inputs {
		rank = max(rank, len(in.Dims))
	}
	if n.OpType == "ConstantOfShape" || n.OpType == "Expand" {
		last := inputs[len(inputs)-1].Dims
		rank = max(rank-1, int(last[0]))
	}
	return slices.Repeat([]onnx.Dim{onnx.Unknown()}, rank)
}
