// SPDX-License-Identifier: Apache-2.0

package rewrite

import "github.com/millrace-ml/millrace/engine/onnx"

// functions are the model's functions that are still called, by nodes or by each
// other, and notes the domains that they are of.
func (w *writer) functions(all []onnx.Function) []onnx.Function {
	keep := make([]bool, len(all))
	for more := true; more; {
		more = false
		for i := range all {
			f := &all[i]
			if keep[i] || !w.calls[functionKey{plainDomain(f.Domain), f.Name, f.Overload}] {
				continue
			}
			keep[i], more = true, true
			w.domains[plainDomain(f.Domain)] = true
			w.callsOf(f.Nodes)
		}
	}
	var kept []onnx.Function
	for i := range all {
		if keep[i] {
			kept = append(kept, all[i])
		}
	}
	return kept
}

// callsOf notes what nodes call, themselves or in the graphs inside them.
func (w *writer) callsOf(nodes []onnx.Node) {
	for i := range nodes {
		n := &nodes[i]
		w.calls[functionKey{plainDomain(n.Domain), n.OpType, n.Overload}] = true
		for a := range n.Attributes {
			if g := n.Attributes[a].Graph; g != nil {
				w.callsOf(g.Nodes)
			}
			for j := range n.Attributes[a].Graphs {
				w.callsOf(n.Attributes[a].Graphs[j].Nodes)
			}
		}
	}
}

// imports are the model's opset imports, those that inlined functions brought, and the
// internal one if it is used; without those of domains that only held functions which
// are gone.
func (r *rewriter) imports(used map[string]bool) []onnx.OpsetImport {
	held := make(map[string]bool)
	for i := range r.model.Functions {
		held[plainDomain(r.model.Functions[i].Domain)] = true
	}
	var list []onnx.OpsetImport
	for _, o := range append(r.model.Opsets[:len(r.model.Opsets):len(r.model.Opsets)], r.added...) {
		domain := plainDomain(o.Domain)
		if domain == Domain || held[domain] && !used[domain] {
			continue
		}
		list = append(list, o)
	}
	if used[Domain] {
		list = append(list, onnx.OpsetImport{Domain: Domain, Version: DomainVersion})
	}
	return list
}
