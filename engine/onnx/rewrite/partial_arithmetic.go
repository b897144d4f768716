// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"math"
	"slices"

	"github.com/millrace-ml/millrace/engine/onnx"
)

// arithmetic combines two lists of the same length, or one with a single entry.
func (t *tracer) arithmetic(n *node) ([]entry, bool) {
	a, ok := t.list(n.in(0))
	b, okb := t.list(n.in(1))
	if !ok || !okb || n.int("fmod", 0) != 0 {
		return nil, false
	}
	a, b, ok = alike(a, b)
	if !ok {
		return nil, false
	}
	result := make([]entry, len(a))
	for i := range a {
		result[i] = combine(n.op, a[i], b[i])
	}
	return result, true
}

// alike repeats single entries so that both lists are of one length.
func alike(a, b []entry) ([]entry, []entry, bool) {
	if len(a) == 1 {
		a = slices.Repeat(a, len(b))
	}
	if len(b) == 1 {
		b = slices.Repeat(b, len(a))
	}
	return a, b, len(a) == len(b)
}

// entryMax bounds the numbers computed with, far from overflow.
const entryMax = math.MaxInt32

func combine(op string, a, b entry) entry {
	unknown := entry{dim: onnx.Unknown()}
	if op == "Equal" {
		return equalEntry(a, b)
	}
	if !a.known || !b.known {
		return unknown
	}
	if max(a.n, -a.n, b.n, -b.n) > entryMax {
		return unknown
	}
	switch {
	case op == "Add":
		return knownEntry(a.n + b.n)
	case op == "Sub":
		return knownEntry(a.n - b.n)
	case op == "Mul":
		return knownEntry(a.n * b.n)
	case op == "Div" && a.n >= 0 && b.n > 0:
		return knownEntry(a.n / b.n)
	case op == "Mod" && a.n >= 0 && b.n > 0:
		return knownEntry(a.n % b.n)
	}
	return unknown
}

// equalEntry is 1 for equal, 0 for not. An extent is never equal to a negative number.
func equalEntry(a, b entry) entry {
	switch {
	case a.known && b.known && a.n == b.n:
		return knownEntry(1)
	case a.known && b.known, a.extent && b.known && b.n < 0, b.extent && a.known && a.n < 0:
		return knownEntry(0)
	}
	return entry{dim: onnx.Unknown()}
}

// where picks entries by a list of conditions.
func (t *tracer) where(n *node) ([]entry, bool) {
	condition, okc := t.list(n.in(0))
	a, ok := t.list(n.in(1))
	b, okb := t.list(n.in(2))
	if !okc || !ok || !okb {
		return nil, false
	}
	a, b, ok = alike(a, b)
	if !ok || len(condition) != len(a) {
		return nil, false
	}
	result := make([]entry, len(a))
	for i, c := range condition {
		switch {
		case !c.known:
			result[i] = entry{dim: onnx.Unknown()}
		case c.n != 0:
			result[i] = a[i]
		default:
			result[i] = b[i]
		}
	}
	return result, true
}

// filled is a list of one number repeated.
func (t *tracer) filled(n *node) ([]entry, bool) {
	length, ok := intList(n.in(0))
	if !ok || len(length) != 1 || length[0] < 0 || length[0] > partialMax {
		return nil, false
	}
	a := n.attribute("value", onnx.AttributeTensor)
	if a == nil || a.Tensor == nil {
		return nil, false
	}
	list, ok := intList(&value{tensor: a.Tensor})
	if !ok || len(list) != 1 {
		return nil, false
	}
	return slices.Repeat([]entry{knownEntry(list[0])}, int(length[0])), true
}

// dropWhere removes a choice between two values that always takes the second, as
// exporters write for shapes that may hold -1.
func dropWhere(r *rewriter, n *node) {
	if n.in(2) == nil || !sameShape(n.in(2), n.out(0)) {
		return
	}
	condition, ok := partial(n.in(0))
	if !ok || slices.ContainsFunc(condition, func(c entry) bool { return !c.known || c.n != 0 }) {
		return
	}
	r.substitute(n.out(0), n.in(2), &r.report.Removed)
}
