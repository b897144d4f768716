// SPDX-License-Identifier: Apache-2.0

package rewrite

// inlineIf replaces an If whose condition is constant by the nodes of the branch that
// it takes.
func inlineIf(r *rewriter, n *node) {
	condition, ok := boolScalar(n.in(0))
	if !ok {
		return
	}
	name := "else_branch"
	if condition {
		name = "then_branch"
	}
	for i, g := range n.graphs {
		if g.attribute != name || g.listed || len(g.outputs) < len(n.outputs) || len(g.inputs) > 0 {
			continue
		}
		n.graphs = append(n.graphs[:i:i], n.graphs[i+1:]...)
		r.report.Inlined++
		r.splice(n, g)
		return
	}
}
