// SPDX-License-Identifier: Apache-2.0

package optimize

import (
	"fmt"
	"slices"

	"github.com/millrace-ml/millrace/engine/onnx"
)

// keepBodies gives the graphs inside nodes outputs that are made by their own nodes: an
// Identity makes those that rewriting led straight to an input or to a value from
// outside. The standard allows both, but ONNX Runtime 1.30 gives wrong answers for a
// Scan that passes a state on so.
func keepBodies(m *onnx.Model) *onnx.Model {
	w := &writer{taken: make(map[string]bool)}
	w.takeNames(m.Graph)
	result := *m
	result.Graph = w.body(m.Graph, false)
	return &result
}

// body is a copy of a graph; inner says that it is inside a node.
func (w *writer) body(g *onnx.Graph, inner bool) *onnx.Graph {
	result := *g
	result.Nodes = slices.Clone(g.Nodes)
	for i := range result.Nodes {
		n := &result.Nodes[i]
		n.Attributes = slices.Clone(n.Attributes)
		for j := range n.Attributes {
			a := &n.Attributes[j]
			if a.Graph != nil {
				a.Graph = w.body(a.Graph, true)
			}
			a.Graphs = slices.Clone(a.Graphs)
			for k := range a.Graphs {
				a.Graphs[k] = *w.body(&a.Graphs[k], true)
			}
		}
	}
	if inner {
		w.ownOutputs(&result)
	}
	return &result
}

func (w *writer) ownOutputs(g *onnx.Graph) {
	made := make(map[string]bool)
	for i := range g.Nodes {
		for _, name := range g.Nodes[i].Outputs {
			made[name] = true
		}
	}
	for i := range g.Initializers {
		made[g.Initializers[i].Name] = true
	}
	g.Outputs = slices.Clone(g.Outputs)
	for i := range g.Outputs {
		from := g.Outputs[i].Name
		if made[from] {
			continue
		}
		g.Outputs[i].Name = w.name(from, fmt.Sprintf("_out%d", i))
		g.Nodes = append(g.Nodes, onnx.Node{
			Name: w.name(g.Outputs[i].Name, "_Identity"), OpType: "Identity", Inputs: []string{from}, Outputs: []string{g.Outputs[i].Name},
		})
	}
}
