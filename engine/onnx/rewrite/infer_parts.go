// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"slices"

	"github.com/millrace-ml/millrace/engine/onnx"
)

// inferPad knows the rank.
func inferPad(_ *rewriter, n *node) onnx.Type {
	d, ok := dims(n.in(0))
	return tensorOf(elem(n.in(0)), unknownDims(len(d)), ok)
}

// inferSlice knows the extents of the axes that are whole, and of those cut at known
// places.
func inferSlice(r *rewriter, n *node) onnx.Type {
	d, ok := dims(n.in(0))
	if !ok {
		return tensorOf(elem(n.in(0)), nil, false)
	}
	nothing := tensorOf(elem(n.in(0)), unknownDims(len(d)), true)
	starts, ok := partial(n.in(1))
	ends, okEnds := partial(n.in(2))
	axes, okAxes := sliceAxes(n, len(starts))
	if !ok || !okEnds || !okAxes || len(ends) != len(starts) || len(axes) != len(starts) {
		return nothing
	}
	steps := slices.Repeat([]int64{1}, len(starts))
	if v := n.in(4); v != nil {
		if steps, ok = intList(v); !ok || len(steps) != len(starts) {
			return nothing
		}
	}
	result := slices.Clone(d)
	for i := range starts {
		at, ok := axis(axes[i], len(d))
		if !ok {
			return nothing
		}
		result[at] = cut(d[at], starts[i], ends[i], steps[i])
	}
	return tensorOf(elem(n.in(0)), result, true)
}

func sliceAxes(n *node, count int) ([]int64, bool) {
	if v := n.in(3); v != nil {
		return intList(v)
	}
	axes := make([]int64, count)
	for i := range axes {
		axes[i] = int64(i)
	}
	return axes, true
}

// cut is the extent that a slice leaves of a dimension.
func cut(d onnx.Dim, start, end entry, step int64) onnx.Dim {
	if !start.known || !end.known || step != 1 {
		return onnx.Unknown()
	}
	if start.n == 0 && end.n >= 1<<31-1 {
		return d
	}
	if d.Value < 0 || d.Value > intListMax*intListMax {
		return onnx.Unknown()
	}
	from, to := bound(start.n, int(d.Value)), bound(end.n, int(d.Value))
	return onnx.Extent(max(to-from, 0))
}

func inferSplit(_ *rewriter, n *node) onnx.Type { return splitPart(n, 0) }

// splitPart is the type of one output of a Split.
func splitPart(n *node, part int) onnx.Type {
	d, ok := dims(n.in(0))
	at, okAxis := axis(n.int("axis", 0), len(d))
	if !ok || !okAxis {
		return tensorOf(elem(n.in(0)), nil, false)
	}
	result := slices.Clone(d)
	result[at] = onnx.Unknown()
	sizes, ok := n.ints("split")
	if v := n.in(1); v != nil {
		sizes, ok = intList(v)
	}
	parts := int64(len(n.outputs))
	switch {
	case ok && part < len(sizes) && sizes[part] >= 0:
		result[at] = onnx.Extent(sizes[part])
	case !ok && n.in(1) == nil && d[at].Value >= 0 && d[at].Value%parts == 0:
		result[at] = onnx.Extent(d[at].Value / parts)
	}
	return tensorOf(elem(n.in(0)), result, true)
}

// mlDomain is the prefix of the operators of classical models.
const mlDomain = "ai.onnx.ml."

// inferRows is for operators that make floats of each element.
func inferRows(_ *rewriter, n *node) onnx.Type {
	d, ok := dims(n.in(0))
	return tensorOf(onnx.ElemFloat, d, ok)
}

func inferLabels(_ *rewriter, n *node) onnx.Type {
	d, ok := dims(n.in(0))
	e := onnx.ElemUndefined
	for name, as := range map[string]onnx.ElemType{
		"values_floats": onnx.ElemFloat, "values_int64s": onnx.ElemInt64, "values_strings": onnx.ElemString,
	} {
		if n.has(name) {
			e = as
		}
	}
	return tensorOf(e, d, ok)
}

// inferColumns is for the choice of columns of the last axis.
func inferColumns(_ *rewriter, n *node) onnx.Type {
	d, ok := dims(n.in(0))
	if !ok || len(d) == 0 {
		return tensorOf(elem(n.in(0)), nil, false)
	}
	count := onnx.Unknown()
	if list, ok := intList(n.in(1)); ok {
		count = onnx.Extent(int64(len(list)))
	}
	if len(d) == 1 {
		return tensorOf(elem(n.in(0)), []onnx.Dim{onnx.Extent(1), count}, true)
	}
	return tensorOf(elem(n.in(0)), append(slices.Clone(d[:len(d)-1]), count), true)
}

// inferVector knows that the result is rows of floats.
func inferVector(*rewriter, *node) onnx.Type {
	return tensorOf(onnx.ElemFloat, unknownDims(2), true)
}

// inferTargets is for regressors: a row of targets for each row.
func inferTargets(_ *rewriter, n *node) onnx.Type {
	result := unknownDims(2)
	if d, ok := dims(n.in(0)); ok && len(d) == 2 {
		result[0] = d[0]
	}
	return tensorOf(onnx.ElemFloat, result, true)
}
