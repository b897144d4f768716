// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"slices"

	"github.com/millrace-ml/millrace/engine/onnx"
)

// Rules change the graph by the methods of this file, which keep the reads of values
// and note that something changed.

// newNode makes a node of an operator with one output, not yet part of a graph.
func newNode(domain, opType string, inputs []*value, attributes ...onnx.Attribute) *node {
	for len(inputs) > 0 && inputs[len(inputs)-1] == nil {
		inputs = inputs[:len(inputs)-1]
	}
	return &node{
		op: qualify(domain, opType), domain: domain, opType: opType,
		inputs: inputs, attributes: attributes,
	}
}

// replace puts n in the place of root, whose first output it takes over, and removes
// the nodes that this leaves unread. kind is that of the fusion reported, with the
// absorbed nodes and root.
func (r *rewriter) replace(kind string, root, n *node, absorbed ...*node) {
	n.name = root.name
	g := root.home
	n.outputs = []*value{root.outputs[0]}
	n.outputs[0].maker = n
	root.outputs[0] = nil
	g.insert(n, root)
	for _, v := range n.inputs {
		v.read(n)
	}
	r.fused(kind, append(absorbed, root)...)
	r.remove(root, new(int))
	r.infer(n)
}

// fused adds to the report. A node may be listed twice by rules that do not care.
func (r *rewriter) fused(kind string, nodes ...*node) {
	f := Fusion{Kind: kind}
	for i, n := range nodes {
		if n != nil && !slices.Contains(nodes[:i], n) {
			f.Nodes = append(f.Nodes, n.label())
		}
	}
	r.report.Fused = append(r.report.Fused, f)
	r.changed = true
}

// constant makes a constant. All are written in the outermost graph, where every graph
// sees them.
func constant(name string, t onnx.Tensor) *value {
	t.Name = name
	return &value{name: name, typ: typeOfTensor(&t), tensor: &t}
}

// substitute makes every reader of old read v instead, and removes the node that made
// old if nothing else of it is read. counter counts what is removed.
func (r *rewriter) substitute(old, v *value, counter *int) {
	for n := range old.users {
		for i, in := range n.inputs {
			if in == old {
				n.inputs[i] = v
				v.read(n)
			}
		}
	}
	old.users = nil
	for _, s := range old.slots {
		s.graph.outputs[s.index] = v
		v.slots = append(v.slots, s)
	}
	old.slots = nil
	if v.typ.Kind == onnx.KindUnknown {
		v.typ = old.typ
	} else if v.typ.Kind == onnx.KindTensor && v.tensor == nil {
		v.typ = refine(v.typ, old.typ)
	}
	r.changed = true
	if old.maker != nil && !old.maker.gone && old.maker.unread() {
		r.remove(old.maker, counter)
	}
}

// sweep removes a node that nobody reads, and then those that only it read. It
// reports whether the node is gone.
func (r *rewriter) sweep(n *node) bool {
	if !n.gone && n.known() && n.unread() {
		r.remove(n, &r.report.Removed)
	}
	return n.gone
}

// remove takes a node out, and those before it that only it read, and counts them. A
// list instead of recursion: chains are as long as the graph.
func (r *rewriter) remove(n *node, counter *int) {
	r.changed = true
	for todo := []*node{n}; len(todo) > 0; {
		n, todo = todo[len(todo)-1], todo[:len(todo)-1]
		if n.gone {
			continue
		}
		*counter++
		for _, v := range n.release(nil) {
			if v.maker != nil && !v.maker.gone && v.maker.known() && v.maker.unread() {
				todo = append(todo, v.maker)
			}
		}
	}
}

// unread reports whether no output of the node is read.
func (n *node) unread() bool {
	for _, out := range n.outputs {
		if !out.unread() {
			return false
		}
	}
	return true
}

// release unlinks a node and what is inside it, and adds to list the values that they
// no longer read.
func (n *node) release(list []*value) []*value {
	n.gone = true
	n.home.unlink(n)
	for _, v := range n.inputs {
		if v != nil {
			v.drop(n)
			list = append(list, v)
		}
	}
	for _, g := range n.graphs {
		for inner := g.first; inner != nil; inner = g.first {
			list = inner.release(list)
		}
		for i, v := range g.outputs {
			v.slots = slices.DeleteFunc(v.slots, func(s slot) bool { return s == slot{g, i} })
			list = append(list, v)
		}
	}
	return list
}
