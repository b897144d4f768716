// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"slices"

	"github.com/millrace-ml/millrace/engine/onnx"
)

// fixReshape makes the shape that Reshape takes a constant, where it is put together
// of parts of which all but one are known: that one is then -1, or 0 where it is the
// extent that the input has at the same place.
func fixReshape(r *rewriter, n *node) {
	if n.in(1) == nil || n.in(1).tensor != nil {
		return
	}
	entries, ok := partial(n.in(1))
	if !ok || len(entries) == 0 {
		return
	}
	target, ok := fixedTarget(n, entries)
	if !ok {
		return
	}
	old := n.in(1)
	n.setInput(1, constant(old.name+"_fixed", onnx.TensorOf("", target, int64(len(target)))))
	n.attributes = without(n.attributes, "allowzero")
	if old.maker != nil {
		r.sweep(old.maker)
	}
	r.changed = true
	r.infer(n)
}

// fixedTarget is the constant shape for the entries known of one. An extent that is
// left open takes -1 only beside fixed positive ones: with others that may be 0 an
// empty batch would not tell what it is.
func fixedTarget(n *node, entries []entry) ([]int64, bool) {
	target := make([]int64, len(entries))
	from, _ := dims(n.in(0))
	open, copies, inferred := 0, 0, 0
	for i, e := range entries {
		switch {
		case e.known && e.n > 0:
			target[i] = e.n
		case e.known && e.n == -1:
			target[i] = -1
			inferred++
		case e.known && (e.n < 0 || n.int("allowzero", 0) != 0):
			return nil, false
		case e.known || i < len(from) && e.dim.Param != "" && e.dim == from[i]:
			copies++ // target[i] is 0
		default:
			target[i] = -1
			open++
		}
	}
	return target, open+inferred <= 1 && (open == 0 || copies == 0)
}

// mergeReshapes makes one Reshape of two nodes that change the shape alone.
func mergeReshapes(r *rewriter, n *node) {
	middle := n.in(0)
	before := middle.madeBy("Reshape", "Flatten", "Squeeze", "Unsqueeze")
	if before == nil || before.in(0) == nil {
		return
	}
	target, ok := intList(n.in(1))
	if !ok || n.int("allowzero", 0) != 0 && slices.Contains(target, 0) {
		return
	}
	from, _ := dims(before.in(0))
	between, _ := dims(middle)
	for i, t := range target {
		if t == 0 && (i >= len(from) || i >= len(between) || !sameDim(from[i], between[i])) {
			return
		}
	}
	n.setInput(0, before.in(0))
	r.sweep(before)
	r.changed = true
}

// dropReshape removes a Reshape to the shape that its input has.
func dropReshape(r *rewriter, n *node) {
	if n.in(0) != nil && sameShape(n.in(0), n.out(0)) {
		r.substitute(n.out(0), n.in(0), &r.report.Removed)
	}
}

// dropSqueeze removes a pair of Squeeze and Unsqueeze along the same axes.
func dropSqueeze(r *rewriter, n *node) {
	opposite := map[string]string{"Squeeze": "Unsqueeze", "Unsqueeze": "Squeeze"}[n.op]
	before := n.in(0).madeBy(opposite)
	if before == nil {
		return
	}
	a, ok := n.axes(1)
	b, okb := before.axes(1)
	if !ok || !okb || len(a) == 0 || !slices.Equal(a, b) {
		return
	}
	// Of axes counted from the end several may mean other ones in between.
	if len(a) > 1 && slices.ContainsFunc(a, func(axis int64) bool { return axis < 0 }) {
		return
	}
	r.substitute(n.out(0), before.in(0), &r.report.Removed)
}

// mergeTransposes makes one Transpose of two, and none of one that keeps the order.
func mergeTransposes(r *rewriter, n *node) {
	perm, ok := permutation(n, rank(n.in(0)))
	if !ok {
		return
	}
	if before := n.in(0).madeBy("Transpose"); before != nil {
		first, ok := permutation(before, rank(before.in(0)))
		if !ok || len(first) != len(perm) {
			return
		}
		merged := make([]int64, len(perm))
		for i, p := range perm {
			merged[i] = first[p]
		}
		perm = merged
		n.setInput(0, before.in(0))
		n.set(onnx.IntsAttribute("perm", merged...))
		r.sweep(before)
		r.changed = true
	}
	for i, p := range perm {
		if p != int64(i) {
			return
		}
	}
	r.substitute(n.out(0), n.in(0), &r.report.Removed)
}
