// SPDX-License-Identifier: Apache-2.0

package rewrite

import "github.com/millrace-ml/millrace/engine/onnx"

// graph is a graph under rewriting. Its nodes are a list in an order of execution,
// which every change keeps.
type graph struct {
	source      *onnx.Graph
	first, last *node
	inputs      []*value
	outputs     []*value
	// retyped has the outputs whose type a rewrite changed.
	retyped map[int]onnx.Type
	// holder is the node that the graph is inside of, nil for the outermost; attribute
	// is where it is there, listed whether that holds a list of graphs.
	holder    *node
	attribute string
	listed    bool
}

// node is a node under rewriting. Inputs that are left out are nil, outputs too.
type node struct {
	name     string
	op       string // as qualify gives it
	domain   string
	opType   string
	overload string
	inputs   []*value
	outputs  []*value
	// attributes are those that hold no graph; the others are in graphs.
	attributes []onnx.Attribute
	graphs     []*graph
	home       *graph
	prev, next *node
	// gone says that the node was removed. Its next stays, for walks under way.
	gone bool
	// opaque says that the node stays as it is: it calls a function of the model that
	// was not inlined, or lacks what its operator must have.
	opaque bool
	// tried says that folding had its try.
	tried bool
}

// value is what an input, a constant or a node gives. Values are told apart by
// identity: names matter only when the graph is written.
type value struct {
	name string
	// typ is what is known of the type; Kind is KindUnknown where nothing is.
	typ onnx.Type
	// tensor is set for constants that no caller can override.
	tensor *onnx.Tensor
	input  bool
	// fallback is the default of an input; sparse a constant, or a default, in sparse
	// form. Neither is looked into.
	fallback *onnx.Tensor
	sparse   *onnx.SparseTensor
	maker    *node
	// users counts for each node how many of its inputs are the value.
	users map[*node]int
	// slots are the outputs of graphs that are the value.
	slots []slot
}

// slot is one output of a graph.
type slot struct {
	graph *graph
	index int
}

// qualify is the name by which rules know an operator: its type alone in the standard
// domain.
func qualify(domain, opType string) string {
	if domain = plainDomain(domain); domain != "" {
		return domain + "." + opType
	}
	return opType
}

func plainDomain(domain string) string {
	if domain == "ai.onnx" {
		return ""
	}
	return domain
}

// known reports whether the operators of a node's domain are known to be functions of
// their inputs alone.
func (n *node) known() bool {
	if n.opaque {
		return false
	}
	switch plainDomain(n.domain) {
	case "", "ai.onnx.ml", Domain:
		return true
	}
	return false
}

// in is an input, nil where it is left out.
func (n *node) in(i int) *value {
	if i < len(n.inputs) {
		return n.inputs[i]
	}
	return nil
}

// out is an output, nil where it is left out.
func (n *node) out(i int) *value {
	if i < len(n.outputs) {
		return n.outputs[i]
	}
	return nil
}

// label is how the report speaks of the node.
func (n *node) label() string {
	if n.name != "" {
		return n.name
	}
	return n.opType
}

// count is the number of nodes of the graph and of those inside it.
func (g *graph) count() int {
	total := 0
	for n := g.first; n != nil; n = n.next {
		total++
		for _, inner := range n.graphs {
			total += inner.count()
		}
	}
	return total
}

// insert puts a node before another, or at the end where that is nil.
func (g *graph) insert(n, before *node) {
	n.home, n.next = g, before
	if before == nil {
		n.prev, g.last = g.last, n
	} else {
		n.prev, before.prev = before.prev, n
	}
	if n.prev == nil {
		g.first = n
	} else {
		n.prev.next = n
	}
}

// unlink takes a node out of the list.
func (g *graph) unlink(n *node) {
	if n.prev == nil {
		g.first = n.next
	} else {
		n.prev.next = n.next
	}
	if n.next == nil {
		g.last = n.prev
	} else {
		n.next.prev = n.prev
	}
	n.prev = nil
}

// unread reports whether neither a node nor the outside reads the value.
func (v *value) unread() bool { return v == nil || len(v.users) == 0 && len(v.slots) == 0 }

// reads is how many inputs and outputs of graphs are the value.
func (v *value) reads() int {
	total := len(v.slots)
	for _, n := range v.users {
		total += n
	}
	return total
}

// read notes that a node has the value as an input.
func (v *value) read(n *node) {
	if v == nil {
		return
	}
	if v.users == nil {
		v.users = make(map[*node]int, 1)
	}
	v.users[n]++
}

// drop takes one read back.
func (v *value) drop(n *node) {
	if v == nil {
		return
	}
	if v.users[n]--; v.users[n] <= 0 {
		delete(v.users, n)
	}
}

// setInput changes one input of a node.
func (n *node) setInput(i int, v *value) {
	n.inputs[i].drop(n)
	n.inputs[i] = v
	v.read(n)
}
