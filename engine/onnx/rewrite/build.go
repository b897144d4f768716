// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"fmt"

	"github.com/millrace-ml/millrace/engine/onnx"
)

// irConstants is the version of the format from which on an input with an initializer
// is a default that callers may override; before, every initializer is an input too,
// and is a constant.
const irConstants = 4

// budgetFactor is how many times the model's own constants folding may make in all,
// beside what the options allow.
const budgetFactor = 8

// names resolves names of values while a graph is built. A graph inside a node sees
// the names around it.
type names struct {
	values map[string]*value
	outer  *names
}

func (s *names) find(name string) *value {
	for ; s != nil; s = s.outer {
		if v := s.values[name]; v != nil {
			return v
		}
	}
	return nil
}

// build makes the working form of the model's graph, which has been checked.
func (r *rewriter) build() error {
	g, err := r.buildGraph(r.model.Graph, nil, nil)
	r.top = g
	return err
}

func (r *rewriter) buildGraph(source *onnx.Graph, holder *node, outer *names) (*graph, error) {
	g := &graph{source: source, holder: holder}
	scope := &names{values: make(map[string]*value), outer: outer}
	r.defineOutside(g, scope)
	nodes := make([]*node, len(source.Nodes))
	for i := range source.Nodes {
		nodes[i] = r.declare(&source.Nodes[i], g, scope)
	}
	scope.describe(source.ValueInfos)
	scope.describe(source.Outputs)
	for i := range source.Nodes {
		if err := r.connect(nodes[i], &source.Nodes[i], scope); err != nil {
			return nil, err
		}
	}
	for i := range source.Outputs {
		v := scope.find(source.Outputs[i].Name)
		if v == nil {
			return nil, fmt.Errorf("output %.100q is not defined", source.Outputs[i].Name)
		}
		g.outputs = append(g.outputs, v)
		v.slots = append(v.slots, slot{g, i})
	}
	for _, n := range sorted(nodes, g) {
		g.insert(n, nil)
	}
	return g, nil
}

// defineOutside defines inputs and constants.
func (r *rewriter) defineOutside(g *graph, scope *names) {
	for i := range g.source.Inputs {
		in := &g.source.Inputs[i]
		v := &value{name: in.Name, typ: in.Type, input: true}
		scope.values[in.Name] = v
		g.inputs = append(g.inputs, v)
	}
	for i := range g.source.Initializers {
		t := &g.source.Initializers[i]
		r.budget += budgetFactor * roughBytes(t)
		if v := scope.values[t.Name]; v != nil {
			if v.fallback = t; r.model.IRVersion < irConstants && g.holder == nil {
				v.tensor = t
			}
			continue
		}
		scope.values[t.Name] = &value{name: t.Name, typ: typeOfTensor(t), tensor: t}
	}
	for i := range g.source.SparseInitializers {
		t := &g.source.SparseInitializers[i]
		if v := scope.values[t.Values.Name]; v != nil {
			v.sparse = t
			continue
		}
		scope.values[t.Values.Name] = &value{name: t.Values.Name, sparse: t}
	}
}

// declare makes a node with its outputs.
func (r *rewriter) declare(source *onnx.Node, g *graph, scope *names) *node {
	n := &node{
		name: source.Name, op: qualify(source.Domain, source.OpType),
		domain: source.Domain, opType: source.OpType, overload: source.Overload, home: g,
	}
	for _, name := range source.Outputs {
		if name == "" {
			n.outputs = append(n.outputs, nil)
			continue
		}
		v := &value{name: name, maker: n}
		scope.values[name] = v
		n.outputs = append(n.outputs, v)
	}
	return n
}

// describe notes declared types where there are values of the graph to have them.
func (s *names) describe(infos []onnx.ValueInfo) {
	for i := range infos {
		if v := s.values[infos[i].Name]; v != nil && v.typ.Kind == onnx.KindUnknown {
			v.typ = infos[i].Type
		}
	}
}

// connect gives a node its inputs, its attributes and the graphs inside it.
func (r *rewriter) connect(n *node, source *onnx.Node, scope *names) error {
	for _, name := range source.Inputs {
		v := scope.find(name)
		if v == nil && name != "" {
			return fmt.Errorf("node %.100q (%.40s): input %.100q is not defined", source.Name, source.OpType, name)
		}
		n.inputs = append(n.inputs, v)
		v.read(n)
	}
	for i := range source.Attributes {
		if err := r.connectAttribute(n, &source.Attributes[i], scope); err != nil {
			return err
		}
	}
	return nil
}

func (r *rewriter) connectAttribute(n *node, a *onnx.Attribute, scope *names) error {
	if a.Graph == nil && len(a.Graphs) == 0 {
		n.attributes = append(n.attributes, *a)
		return nil
	}
	if a.Graph != nil {
		return r.connectGraph(n, a.Graph, a.Name, false, scope)
	}
	for i := range a.Graphs {
		if err := r.connectGraph(n, &a.Graphs[i], a.Name, true, scope); err != nil {
			return err
		}
	}
	return nil
}

func (r *rewriter) connectGraph(n *node, source *onnx.Graph, attribute string, listed bool, scope *names) error {
	g, err := r.buildGraph(source, n, scope)
	if err != nil {
		return err
	}
	g.attribute, g.listed = attribute, listed
	n.graphs = append(n.graphs, g)
	return nil
}

// sorted puts the nodes of a graph, which has no circles, in an order of execution.
// Those that are in order already are left as they are.
func sorted(nodes []*node, g *graph) []*node {
	waits := make(map[*node][]*node, len(nodes))
	for _, n := range nodes {
		waits[n] = n.makers(g, nil)
	}
	order := make([]*node, 0, len(nodes))
	placed := make(map[*node]bool, len(nodes))
	for _, n := range nodes {
		for stack := []*node{n}; len(stack) > 0; {
			n := stack[len(stack)-1]
			if left := waits[n]; len(left) > 0 && !placed[n] {
				waits[n] = left[1:]
				if !placed[left[0]] {
					stack = append(stack, left[0])
				}
				continue
			}
			stack = stack[:len(stack)-1]
			if !placed[n] {
				placed[n] = true
				order = append(order, n)
			}
		}
	}
	return order
}

// makers adds to list the nodes of g that make what n reads, itself or inside it.
func (n *node) makers(g *graph, list []*node) []*node {
	for _, v := range n.inputs {
		if v != nil && v.maker != nil && v.maker.home == g {
			list = append(list, v.maker)
		}
	}
	for _, inner := range n.graphs {
		for m := inner.first; m != nil; m = m.next {
			list = m.makers(g, list)
		}
		for _, v := range inner.outputs {
			if v.maker != nil && v.maker.home == g {
				list = append(list, v.maker)
			}
		}
	}
	return list
}
