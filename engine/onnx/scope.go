// SPDX-License-Identifier: Apache-2.0

package onnx

import (
	"errors"
	"fmt"
)

// fromOutside marks a value that no node of its graph makes: an input or a
// constant.
const fromOutside = -1

// scope is one graph with the values defined in it. A graph inside a node sees the
// values of the graphs around it.
type scope struct {
	graph *Graph
	// outer is the scope around, and node the index there of the node that holds
	// this graph.
	outer *scope
	node  int
	// values maps each value to the index of the node that makes it, or fromOutside.
	values map[string]int
	// readers[i] lists the nodes that read an output of node i, themselves or
	// through a graph inside them. A node that reads several is listed several times.
	readers [][]int
	// waits counts for each node the entries that name it in readers.
	waits []int
}

// resolve defines the values of a graph and of all graphs inside it, and finds the
// definition of every value that is read. It walks a list instead of recursing, so
// nesting costs no stack. Scopes come before those inside them.
func resolve(g *Graph) ([]*scope, error) {
	scopes := []*scope{{graph: g}}
	for i := 0; i < len(scopes); i++ {
		s := scopes[i]
		if err := s.define(); err != nil {
			return nil, s.locate(err)
		}
		inside, err := s.connect()
		if err != nil {
			return nil, s.locate(err)
		}
		scopes = append(scopes, inside...)
	}
	return scopes, nil
}

// locate says in which graph a fault is, where it is not the outermost.
func (s *scope) locate(err error) error {
	if s.outer == nil {
		return err
	}
	return fmt.Errorf("graph %.100q inside %s: %w", s.graph.Name, nodeName(s.outer.graph, s.node), err)
}

// define collects the values that the graph defines. A constant may have the name
// of an input, whose default it then is.
func (s *scope) define() error {
	g := s.graph
	s.values = make(map[string]int, len(g.Inputs)+len(g.Initializers)+len(g.Nodes))
	s.readers = make([][]int, len(g.Nodes))
	s.waits = make([]int, len(g.Nodes))
	if err := s.defineConstants(); err != nil {
		return err
	}
	if err := s.defineInputs(); err != nil {
		return err
	}
	for i := range g.Nodes {
		for _, name := range g.Nodes[i].Outputs {
			if name == "" {
				continue
			}
			if err := s.add(name, i); err != nil {
				return fmt.Errorf("%s: output %w", nodeName(g, i), err)
			}
		}
	}
	return nil
}

func (s *scope) defineConstants() error {
	for i := range s.graph.Initializers {
		t := &s.graph.Initializers[i]
		if err := t.checkShape(); err != nil {
			return fmt.Errorf("initializer %.100q %w", t.Name, err)
		}
		if err := s.add(t.Name, fromOutside); err != nil {
			return fmt.Errorf("initializer %w", err)
		}
	}
	for i := range s.graph.SparseInitializers {
		if err := s.add(s.graph.SparseInitializers[i].Values.Name, fromOutside); err != nil {
			return fmt.Errorf("sparse initializer %w", err)
		}
	}
	return nil
}

func (s *scope) defineInputs() error {
	seen := make(map[string]bool, len(s.graph.Inputs))
	for i := range s.graph.Inputs {
		v := &s.graph.Inputs[i]
		switch {
		case v.Name == "":
			return fmt.Errorf("input %d has no name", i)
		case seen[v.Name]:
			return fmt.Errorf("input %.100q is defined twice", v.Name)
		}
		if err := v.checkExtents(); err != nil {
			return fmt.Errorf("input %.100q: %w", v.Name, err)
		}
		seen[v.Name] = true
		s.values[v.Name] = fromOutside
	}
	return nil
}

func (s *scope) add(name string, node int) error {
	if name == "" {
		return errors.New("has no name")
	}
	if _, defined := s.values[name]; defined {
		return fmt.Errorf("%.100q is defined twice", name)
	}
	s.values[name] = node
	return nil
}

// connect finds what nodes and outputs read, and returns the scopes of the graphs
// inside nodes.
func (s *scope) connect() (inside []*scope, err error) {
	g := s.graph
	for i := range g.Nodes {
		n := &g.Nodes[i]
		if n.OpType == "" {
			return nil, fmt.Errorf("%s has no operator", nodeName(g, i))
		}
		for _, name := range n.Inputs {
			if name != "" && !s.read(name, i) {
				return nil, fmt.Errorf("%s: input %.100q is not defined", nodeName(g, i), name)
			}
		}
		for a := range n.Attributes {
			for _, sub := range n.Attributes[a].subgraphs() {
				inside = append(inside, &scope{graph: sub, outer: s, node: i})
			}
		}
	}
	return inside, s.connectOutputs()
}

func (s *scope) connectOutputs() error {
	seen := make(map[string]bool, len(s.graph.Outputs))
	for i := range s.graph.Outputs {
		v := &s.graph.Outputs[i]
		if seen[v.Name] {
			return fmt.Errorf("output %.100q is listed twice", v.Name)
		}
		seen[v.Name] = true
		if err := v.checkExtents(); err != nil {
			return fmt.Errorf("output %.100q: %w", v.Name, err)
		}
		if _, defined := s.values[v.Name]; defined {
			continue
		}
		if s.outer == nil || !s.outer.read(v.Name, s.node) {
			return fmt.Errorf("output %.100q is not defined", v.Name)
		}
	}
	return nil
}

// read notes that a node reads a value. Where the value belongs to a graph around
// this one, it is the node there, which holds this graph, that has to wait for it.
func (s *scope) read(name string, node int) bool {
	for ; s != nil; s, node = s.outer, s.node {
		maker, defined := s.values[name]
		if !defined {
			continue
		}
		if maker != fromOutside {
			s.readers[maker] = append(s.readers[maker], node)
			s.waits[node]++
		}
		return true
	}
	return false
}

// checkExtents reports fixed extents whose product no memory could hold.
func (v *ValueInfo) checkExtents() error {
	if v.Type.Kind != KindTensor {
		return nil
	}
	fixed := Tensor{Elem: v.Type.Elem}
	for _, d := range v.Type.Dims {
		if d.Value > 0 {
			fixed.Dims = append(fixed.Dims, d.Value)
		}
	}
	if err := fixed.checkShape(); err != nil {
		return fmt.Errorf("%s: %w", v.Type.String(), err)
	}
	return nil
}
