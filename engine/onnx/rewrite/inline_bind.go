// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"slices"

	"github.com/millrace-ml/millrace/engine/onnx"
)

// bind is the body of a function with the attributes of a call put in: those that
// refer to an attribute of the function get its value, and go where it has none.
func bind(c *callee, call *node) *onnx.Graph {
	given := make(map[string]*onnx.Attribute)
	for i := range c.function.Defaults {
		given[c.function.Defaults[i].Name] = &c.function.Defaults[i]
	}
	for i := range call.attributes {
		given[call.attributes[i].Name] = &call.attributes[i]
	}
	bound := bindGraph(c.body, given)
	if call.name != "" {
		for i := range bound.Nodes {
			if bound.Nodes[i].Name != "" {
				bound.Nodes[i].Name = call.name + "/" + bound.Nodes[i].Name
			}
		}
	}
	return bound
}

func bindGraph(g *onnx.Graph, given map[string]*onnx.Attribute) *onnx.Graph {
	bound := *g
	bound.Nodes = slices.Clone(g.Nodes)
	for i := range bound.Nodes {
		n := &bound.Nodes[i]
		if len(n.Attributes) > 0 {
			n.Attributes = bindAttributes(n.Attributes, given)
		}
	}
	return &bound
}

func bindAttributes(attributes []onnx.Attribute, given map[string]*onnx.Attribute) []onnx.Attribute {
	bound := make([]onnx.Attribute, 0, len(attributes))
	for _, a := range attributes {
		if a.Ref != "" {
			value := given[a.Ref]
			if value == nil {
				continue
			}
			name := a.Name
			a = *value
			a.Name, a.Ref = name, ""
		}
		if a.Graph != nil {
			a.Graph = bindGraph(a.Graph, given)
		}
		for i := range a.Graphs {
			if i == 0 {
				a.Graphs = slices.Clone(a.Graphs)
			}
			a.Graphs[i] = *bindGraph(&a.Graphs[i], given)
		}
		bound = append(bound, a)
	}
	return bound
}
