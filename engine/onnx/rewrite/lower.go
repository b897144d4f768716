// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/millrace-ml/millrace/engine/onnx"
)

// writer turns the working form back into a model. Every value gets a name of its own,
// the one it had where that is free.
type writer struct {
	names map[*value]string
	taken map[string]bool
	// next is the number to try next for a name that is taken.
	next map[string]int
	// constants are those read, in the order in which they are met.
	constants []*value
	domains   map[string]bool
	calls     map[functionKey]bool
	// nodes are the names of nodes, which some runtimes want to differ.
	nodes map[string]bool
}

// lower writes the model that the rewrites led to.
func (r *rewriter) lower() *onnx.Model {
	w := &writer{
		names: make(map[*value]string), taken: make(map[string]bool), next: make(map[string]int),
		domains: make(map[string]bool), calls: make(map[functionKey]bool), nodes: make(map[string]bool),
	}
	m := *r.model
	w.reserve(r.top)
	m.Graph = w.graph(r.top)
	for _, v := range w.constants {
		name := w.name(v)
		if v.sparse != nil {
			t := *v.sparse
			t.Values.Name = name
			m.Graph.SparseInitializers = append(m.Graph.SparseInitializers, t)
			continue
		}
		t := *v.tensor
		t.Name = name
		m.Graph.Initializers = append(m.Graph.Initializers, t)
	}
	m.IRVersion = max(m.IRVersion, irConstants)
	m.Functions = w.functions(r.model.Functions)
	m.Opsets = r.imports(w.domains)
	return &m
}

// reserve keeps the names that the outside knows for the values that have them.
func (w *writer) reserve(g *graph) {
	for _, v := range g.inputs {
		w.assign(v, v.name)
	}
	for i, v := range g.outputs {
		name := g.source.Outputs[i].Name
		if w.taken[name] {
			continue // an input that is an output as well
		}
		w.taken[name] = true
		if w.names[v] != "" || v.maker == nil && v.name != name {
			continue // gets there through an Identity
		}
		w.names[v] = name
		if v.maker == nil {
			w.constants = append(w.constants, v)
		}
	}
}

func (w *writer) assign(v *value, name string) {
	w.names[v], w.taken[name] = name, true
}

// name is the name that a value is written with.
func (w *writer) name(v *value) string {
	if v == nil {
		return ""
	}
	if name := w.names[v]; name != "" {
		return name
	}
	w.assign(v, w.free(cmp.Or(v.name, "value")))
	if !v.input && (v.tensor != nil || v.sparse != nil) {
		w.constants = append(w.constants, v)
	}
	return w.names[v]
}

// free is a name not taken by another value, the one given if possible.
func (w *writer) free(name string) string { return w.unlike(name, w.taken) }

func (w *writer) unlike(name string, taken map[string]bool) string {
	for base := name; taken[name]; {
		w.next[base]++
		name = fmt.Sprintf("%s_%d", base, w.next[base])
	}
	return name
}

// nodeName is a node's name, changed where another node has it; nodes may be without.
func (w *writer) nodeName(name string) string {
	if name == "" {
		return ""
	}
	name = w.unlike(name, w.nodes)
	w.nodes[name] = true
	return name
}

func (w *writer) graph(g *graph) *onnx.Graph {
	out := &onnx.Graph{Name: g.source.Name, Doc: g.source.Doc}
	for i, v := range g.inputs {
		if v.tensor != nil { // listed only because old versions of the format ask for it
			if !v.unread() {
				w.constants = append(w.constants, v)
			}
			continue
		}
		info := g.source.Inputs[i]
		info.Name = w.name(v)
		out.Inputs = append(out.Inputs, info)
		if v.fallback != nil {
			t := *v.fallback
			t.Name = info.Name
			out.Initializers = append(out.Initializers, t)
		}
		if v.sparse != nil {
			t := *v.sparse
			t.Values.Name = info.Name
			out.SparseInitializers = append(out.SparseInitializers, t)
		}
	}
	for n := g.first; n != nil; n = n.next {
		out.Nodes = append(out.Nodes, w.node(n))
	}
	for i := range g.outputs {
		w.output(g, i, out)
	}
	w.describe(g, out)
	return out
}

// output writes one output of a graph. A value that cannot have the output's name, or
// that the graph does not define, gets there through an Identity.
func (w *writer) output(g *graph, i int, out *onnx.Graph) {
	v, info := g.outputs[i], g.source.Outputs[i]
	outermost := g.holder == nil
	own := v.maker != nil && v.maker.home == g || slices.Contains(g.inputs, v)
	name := w.name(v)
	if outermost && name != info.Name || !outermost && (!own || repeated(out.Outputs, name)) {
		target := info.Name
		if !outermost {
			target = w.free(info.Name)
			w.taken[target] = true
		}
		out.Nodes = append(out.Nodes, onnx.Node{
			Name: w.nodeName(target), OpType: "Identity", Inputs: []string{name}, Outputs: []string{target},
		})
		w.domains[""] = true
		name = target
	}
	info.Name = name
	if t, ok := g.retyped[i]; ok {
		info.Type = t
	}
	out.Outputs = append(out.Outputs, info)
}

func repeated(outputs []onnx.ValueInfo, name string) bool {
	return slices.ContainsFunc(outputs, func(o onnx.ValueInfo) bool { return o.Name == name })
}

func (w *writer) node(n *node) onnx.Node {
	w.domains[plainDomain(n.domain)] = true
	w.calls[keyOf(n)] = true
	out := onnx.Node{Name: w.nodeName(n.name), OpType: n.opType, Domain: n.domain, Overload: n.overload}
	for _, v := range n.inputs {
		out.Inputs = append(out.Inputs, w.name(v))
	}
	for _, v := range n.outputs {
		out.Outputs = append(out.Outputs, w.name(v))
	}
	out.Attributes = slices.Clip(n.attributes)
	for _, g := range n.graphs {
		inner := w.graph(g)
		if !g.listed {
			out.Attributes = append(out.Attributes, onnx.GraphAttribute(g.attribute, inner))
			continue
		}
		last := len(out.Attributes) - 1
		if last < 0 || out.Attributes[last].Name != g.attribute || out.Attributes[last].Graphs == nil {
			out.Attributes = append(out.Attributes, onnx.Attribute{Name: g.attribute, Type: onnx.AttributeGraphs})
			last++
		}
		out.Attributes[last].Graphs = append(out.Attributes[last].Graphs, *inner)
	}
	return out
}

// describe writes the types known of the values that nodes of a graph make.
func (w *writer) describe(g *graph, out *onnx.Graph) {
	for n := g.first; n != nil; n = n.next {
		for _, v := range n.outputs {
			if v == nil || !describable(&v.typ) || repeatedSlot(v, g) {
				continue
			}
			out.ValueInfos = append(out.ValueInfos, onnx.ValueInfo{Name: w.name(v), Type: v.typ})
		}
	}
}

// describable reports whether a type says enough to be written.
func describable(t *onnx.Type) bool {
	return t.Kind != onnx.KindUnknown && (t.Kind != onnx.KindTensor || t.Elem != onnx.ElemUndefined)
}

// repeatedSlot reports whether a value is an output of the graph, described there.
func repeatedSlot(v *value, g *graph) bool {
	return slices.ContainsFunc(v.slots, func(s slot) bool { return s.graph == g })
}
