// SPDX-License-Identifier: Apache-2.0

package rewrite

import "github.com/millrace-ml/millrace/engine/onnx"

// bagModes are the reductions of a bag.
var bagModes = map[string]string{"ReduceSum": ModeSum, "ReduceMean": ModeMean, "ReduceMax": ModeMax}

// fuseEmbeddingBag makes OpEmbeddingBag of rows gathered from a constant table and
// reduced over the last axis of their indices. For sums the rows may have factors.
func fuseEmbeddingBag(r *rewriter, n *node) {
	rows := n.in(0)
	axes, ok := n.axes(1)
	if !ok || len(axes) != 1 || n.int("keepdims", 1) != 0 || rows == nil {
		return
	}
	if !isAxis(axes[0], rows, 2) {
		return
	}
	var weights *value
	gather := rows.onlyFor(n, "Gather")
	var between []*node
	if mul := rows.onlyFor(n, "Mul"); mul != nil && n.op == "ReduceSum" {
		gather, weights, between = weighted(mul)
	}
	if gather == nil || gather.int("axis", 0) != 0 || gather.in(1) == nil {
		return
	}
	table, indices := gather.in(0), gather.in(1)
	if table == nil || table.tensor == nil || table.tensor.Elem != onnx.ElemFloat || len(table.tensor.Dims) != 2 {
		return
	}
	if indices.tensor != nil || axes[0] == -2 && rank(indices) == 0 {
		return
	}
	if weights != nil && !sameShape(weights, indices) {
		return
	}
	r.replace("embedding_bag", n, newNode(Domain, OpEmbeddingBag, []*value{table, indices, weights},
		onnx.StringAttribute(AttrMode, bagModes[n.op])), append(between, gather)...)
}

// weighted reads a Mul as gathered rows times one factor for each row.
func weighted(mul *node) (gather *node, weights *value, between []*node) {
	for i := range 2 {
		gather := mul.in(i).onlyFor(mul, "Gather")
		factor := mul.in(1 - i).madeBy("Unsqueeze")
		if gather == nil || factor == nil || factor.in(0) == nil {
			continue
		}
		axes, ok := factor.axes(1)
		if ok && len(axes) == 1 && isAxis(axes[0], factor.out(0), 1) {
			return gather, factor.in(0), []*node{factor, mul}
		}
	}
	return nil, nil, nil
}
