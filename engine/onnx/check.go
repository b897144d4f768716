// SPDX-License-Identifier: Apache-2.0

package onnx

import "fmt"

// Check reports the first fault of a model: an operator of a domain whose opset is
// not imported, or what Graph.Check reports. Bodies of functions are not checked.
// Errors wrap ErrInvalidGraph.
func (m *Model) Check() error {
	if m.Graph == nil {
		return fmt.Errorf("%w: there is no graph", ErrInvalidGraph)
	}
	for i := range m.Graph.Nodes {
		n := &m.Graph.Nodes[i]
		if m.Opset(n.Domain) == 0 && !m.defines(n.Domain) {
			return fmt.Errorf("%w: %s: no opset is imported for domain %q", ErrInvalidGraph, nodeName(m.Graph, i), n.Domain)
		}
	}
	return m.Graph.Check()
}

// defines reports whether the model has functions of its own in a domain.
func (m *Model) defines(domain string) bool {
	for i := range m.Functions {
		if m.Functions[i].Domain == domain {
			return true
		}
	}
	return false
}

// Check reports the first fault of a graph or of a graph inside it: a value with
// two definitions or none, nodes that wait for each other, a constant whose data
// does not fit its extents, extents that overflow. Errors wrap ErrInvalidGraph.
func (g *Graph) Check() error {
	_, err := g.Order()
	return err
}

// Order checks the graph as Check does and gives the indices of its nodes in an
// order of execution: each after the nodes whose outputs it reads, those that are
// in order already left as they are.
func (g *Graph) Order() ([]int, error) {
	scopes, err := resolve(g)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalidGraph, err)
	}
	var order []int
	for i := len(scopes) - 1; i >= 0; i-- { // the outermost last
		if order, err = scopes[i].order(); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrInvalidGraph, err)
		}
	}
	return order, nil
}

// nodeName is how errors speak of a node.
func nodeName(g *Graph, i int) string {
	n := &g.Nodes[i]
	if n.Name != "" {
		return fmt.Sprintf("node %.100q (%.40s)", n.Name, n.OpType)
	}
	return fmt.Sprintf("node %d (%.40s)", i, n.OpType)
}
