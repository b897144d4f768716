// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"slices"

	"github.com/millrace-ml/millrace/engine/onnx"
)

// dropIdentity removes a node that gives its first input back.
func dropIdentity(r *rewriter, n *node) {
	if n.op == "Mul" && isOne(n.in(0), n.in(1)) {
		n.inputs[0], n.inputs[1] = n.inputs[1], n.inputs[0]
	}
	in, out := n.in(0), n.out(0)
	if in == nil || out == nil || !givesInput(n) {
		return
	}
	for _, other := range n.outputs[1:] {
		if !other.unread() { // the mask of Dropout
			return
		}
	}
	r.substitute(out, in, &r.report.Removed)
}

func givesInput(n *node) bool {
	switch n.op {
	case "Identity":
		return true
	case "Dropout":
		return evaluates(n.in(2))
	case "Cast":
		e := elem(n.in(0))
		return e != onnx.ElemUndefined && n.attribute("to", onnx.AttributeInt) != nil && e == onnx.ElemType(n.int("to", 0))
	case "Pad":
		return padsNothing(n)
	case "Flatten":
		a := n.int("axis", 1)
		return rank(n.in(0)) == 2 && (a == 1 || a == -1)
	case "Concat", "Sum", "Max", "Min", "Mean":
		return len(n.inputs) == 1
	case "Mul", "Div":
		return isOne(n.in(1), n.in(0))
	}
	return false
}

// evaluates reports whether the input of Dropout that says whether to train says no.
func evaluates(training *value) bool {
	if training == nil {
		return true
	}
	on, ok := boolScalar(training)
	return ok && !on
}

func padsNothing(n *node) bool {
	pads, ok := n.ints("pads")
	if v := n.in(1); v != nil {
		pads, ok = intList(v)
	}
	return ok && !slices.ContainsFunc(pads, func(p int64) bool { return p != 0 })
}

// isOne reports whether a factor is 1 and leaves the shape of what it multiplies.
func isOne(factor, v *value) bool {
	one, ok := scalar(factor)
	return ok && one == 1 && (rank(factor) == 0 || rank(factor) <= rank(v))
}

// mergeCasts makes one cast of two, where the first loses nothing.
func mergeCasts(r *rewriter, n *node) {
	first := n.in(0).madeBy("Cast")
	if first == nil {
		return
	}
	from := first.in(0)
	if onnx.ElemType(n.int("to", 0)) == onnx.ElemString { // numbers are written by their type
		return
	}
	if !widens(elem(from), onnx.ElemType(first.int("to", 0))) || n.has("saturate") || first.has("saturate") {
		return
	}
	n.setInput(0, from)
	r.sweep(first)
	r.changed = true
}

// madeBy is the node that makes a value if it is of one of the operators given.
func (v *value) madeBy(ops ...string) *node {
	if v == nil || v.maker == nil || !slices.Contains(ops, v.maker.op) || v.maker.out(0) != v {
		return nil
	}
	return v.maker
}

// onlyFor is the node that makes a value which nothing else reads, if it is of one of
// the operators given and in the same graph as its reader.
func (v *value) onlyFor(reader *node, ops ...string) *node {
	n := v.madeBy(ops...)
	if n == nil || v.reads() != 1 || n.home != reader.home {
		return nil
	}
	return n
}

// widens reports whether every value of one element type has an equal one in another,
// so that a cast through it changes nothing.
func widens(from, to onnx.ElemType) bool {
	var into []onnx.ElemType
	switch from {
	case onnx.ElemFloat16, onnx.ElemBFloat16:
		into = []onnx.ElemType{onnx.ElemFloat, onnx.ElemDouble}
	case onnx.ElemFloat:
		into = []onnx.ElemType{onnx.ElemDouble}
	case onnx.ElemInt8:
		into = []onnx.ElemType{onnx.ElemInt16, onnx.ElemInt32, onnx.ElemInt64, onnx.ElemFloat, onnx.ElemDouble}
	case onnx.ElemUint8:
		into = []onnx.ElemType{onnx.ElemInt16, onnx.ElemInt32, onnx.ElemInt64, onnx.ElemFloat, onnx.ElemDouble}
	case onnx.ElemInt32:
		into = []onnx.ElemType{onnx.ElemInt64, onnx.ElemDouble}
	case onnx.ElemBool:
		into = []onnx.ElemType{onnx.ElemInt32, onnx.ElemInt64, onnx.ElemFloat, onnx.ElemDouble}
	}
	return slices.Contains(into, to)
}

// dropZipMap replaces the maps that ZipMap makes for an output of the outermost graph
// by the tensor that it makes them of.
func dropZipMap(r *rewriter, n *node) {
	in, out := n.in(0), n.out(0)
	if in == nil || out == nil || len(out.users) > 0 || n.home != r.top {
		return
	}
	columns := onnx.Unknown()
	for _, name := range []string{"classlabels_int64s", "classlabels_strings"} {
		for _, a := range n.attributes {
			if a.Name == name {
				columns = onnx.Extent(int64(max(len(a.Ints), len(a.Strings))))
			}
		}
	}
	rows := onnx.Unknown()
	if d, ok := dims(in); ok && len(d) == 2 {
		rows = d[0]
	}
	for _, s := range out.slots {
		if s.graph.retyped == nil {
			s.graph.retyped = make(map[int]onnx.Type)
		}
		s.graph.retyped[s.index] = onnx.TensorType(onnx.ElemFloat, rows, columns)
	}
	out.typ = onnx.Type{} // that of the maps, which in does not have
	r.substitute(out, in, &r.report.Removed)
}
