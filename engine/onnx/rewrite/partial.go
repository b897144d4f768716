// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"slices"

	"github.com/millrace-ml/millrace/engine/onnx"
)

// entry is one element of a list of integers of which some may not be known before a
// request comes. extent says that it is one, and so not negative; then dim is the
// dimension that it is of.
type entry struct {
	n      int64
	known  bool
	extent bool
	dim    onnx.Dim
}

func knownEntry(n int64) entry { return entry{n: n, known: true, dim: onnx.Unknown()} }

// tracer bounds how many nodes are looked at on the way back from a list of integers.
type tracer struct{ left int }

// Bounds of what is traced, many times what shapes need.
const (
	traceMax   = 64
	partialMax = 64
)

// partial is what is known of a list of integers, or of a single one, such as the
// shape that Reshape takes: exporters put these together from parts of the shapes of
// other values. It is false where not even the length is known.
func partial(v *value) ([]entry, bool) {
	return (&tracer{traceMax}).list(v)
}

func (t *tracer) list(v *value) ([]entry, bool) {
	if t.left--; v == nil || t.left < 0 {
		return nil, false
	}
	if elements(v) > partialMax {
		return nil, false
	}
	if list, ok := intList(v); ok && rank(v) <= 1 {
		entries := make([]entry, len(list))
		for i, n := range list {
			entries[i] = knownEntry(n)
		}
		return entries, true
	}
	if entries, ok := t.made(v.maker); ok && len(entries) <= partialMax {
		return entries, true
	}
	d, ok := dims(v)
	if !ok || len(d) > 1 || len(d) == 1 && (d[0].Value < 0 || d[0].Value > partialMax) {
		return nil, false
	}
	if e := elem(v); e != onnx.ElemInt64 && e != onnx.ElemInt32 {
		return nil, false
	}
	length := int64(1)
	if len(d) == 1 {
		length = d[0].Value
	}
	return slices.Repeat([]entry{{dim: onnx.Unknown()}}, int(length)), true
}

func (t *tracer) made(n *node) ([]entry, bool) {
	if n == nil {
		return nil, false
	}
	switch n.op {
	case "Shape":
		return partialShape(n)
	case "Concat":
		return t.concat(n)
	case "Gather":
		return t.gather(n)
	case "Slice":
		return t.slice(n)
	case "Identity":
		return t.list(n.in(0))
	case "Add", "Sub", "Mul", "Div", "Mod", "Equal":
		return t.arithmetic(n)
	case "Where":
		return t.where(n)
	case "ConstantOfShape":
		return t.filled(n)
	case "Squeeze", "Unsqueeze":
		if r := rank(n.out(0)); r < 0 || r > 1 {
			return nil, false
		}
		return t.list(n.in(0))
	case "Cast":
		if to := onnx.ElemType(n.int("to", 0)); to == onnx.ElemInt64 && elem(n.in(0)) == onnx.ElemInt64 {
			return t.list(n.in(0))
		}
	}
	return nil, false
}

func partialShape(n *node) ([]entry, bool) {
	d, ok := shapeOf(n)
	if !ok {
		return nil, false
	}
	entries := make([]entry, len(d))
	for i := range d {
		entries[i] = entry{n: d[i].Value, known: d[i].Value >= 0, extent: true, dim: d[i]}
	}
	return entries, true
}

func (t *tracer) concat(n *node) ([]entry, bool) {
	var entries []entry
	for _, in := range n.inputs {
		part, ok := t.list(in)
		if !ok || rank(in) != 1 || len(entries) > partialMax {
			return nil, false
		}
		entries = append(entries, part...)
	}
	return entries, true
}

func (t *tracer) gather(n *node) ([]entry, bool) {
	from, ok := t.list(n.in(0))
	indices, oki := intList(n.in(1))
	if !ok || !oki || rank(n.in(0)) != 1 || rank(n.in(1)) > 1 {
		return nil, false
	}
	entries := make([]entry, len(indices))
	for i, index := range indices {
		at, ok := axis(index, len(from))
		if !ok {
			return nil, false
		}
		entries[i] = from[at]
	}
	return entries, true
}

// slice is for slices of a list, forward and without steps.
func (t *tracer) slice(n *node) ([]entry, bool) {
	from, ok := t.list(n.in(0))
	starts, oks := intList(n.in(1))
	ends, oke := intList(n.in(2))
	if !ok || !oks || !oke || rank(n.in(0)) != 1 || len(starts) != 1 || len(ends) != 1 {
		return nil, false
	}
	if steps := n.in(4); steps != nil {
		if list, ok := intList(steps); !ok || len(list) != 1 || list[0] != 1 {
			return nil, false
		}
	}
	start, end := bound(starts[0], len(from)), bound(ends[0], len(from))
	return from[start:max(start, end)], true
}

// bound is where a slice starts or ends in a list.
func bound(at int64, length int) int64 {
	if at < 0 {
		at += int64(length)
	}
	return min(max(at, 0), int64(length))
}
