// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/millrace-ml/millrace/engine/onnx"
)

func inferCast(_ *rewriter, n *node) onnx.Type {
	d, ok := dims(n.in(0))
	return tensorOf(onnx.ElemType(n.int("to", 0)), d, ok)
}

func inferShapeOf(_ *rewriter, n *node) onnx.Type {
	d, ok := shapeOf(n)
	if !ok {
		return onnx.TensorType(onnx.ElemInt64, onnx.Unknown())
	}
	return onnx.TensorType(onnx.ElemInt64, onnx.Extent(int64(len(d))))
}

// shapeOf are the dimensions that a Shape gives.
func shapeOf(n *node) ([]onnx.Dim, bool) {
	d, ok := dims(n.in(0))
	start := bound(n.int("start", 0), len(d))
	end := bound(n.int("end", int64(len(d))), len(d))
	return d[start:max(start, end)], ok
}

func inferSize(*rewriter, *node) onnx.Type { return onnx.TensorType(onnx.ElemInt64) }

func inferConstantOfShape(_ *rewriter, n *node) onnx.Type {
	e := onnx.ElemFloat
	if a := n.attribute("value", onnx.AttributeTensor); a != nil && a.Tensor != nil {
		e = a.Tensor.Elem
	}
	d, ok := dimsOf(n.in(0))
	return tensorOf(e, d, ok)
}

// dimsOf are the dimensions that a list of extents asks for, unknown where it is
// negative or not constant.
func dimsOf(v *value) ([]onnx.Dim, bool) {
	list, ok := partial(v)
	if !ok {
		return nil, false
	}
	result := unknownDims(len(list))
	for i, e := range list {
		switch {
		case e.known && e.n >= 0:
			result[i] = onnx.Extent(e.n)
		case !e.known:
			result[i] = e.dim
		}
	}
	return result, true
}

func inferExpand(_ *rewriter, n *node) onnx.Type {
	d, ok := dims(n.in(0))
	target, okt := dimsOf(n.in(1))
	if !ok || !okt {
		return tensorOf(elem(n.in(0)), nil, false)
	}
	result, _ := broadcast([]*value{ranked(d), ranked(target)})
	return tensorOf(elem(n.in(0)), result, true)
}

func inferReshape(_ *rewriter, n *node) onnx.Type {
	e := elem(n.in(0))
	target, ok := partial(n.in(1))
	if !ok {
		return tensorOf(e, nil, false)
	}
	from, ranked := dims(n.in(0))
	result := unknownDims(len(target))
	for i, t := range target {
		switch {
		case t.known && t.n == 0 && n.int("allowzero", 0) == 0:
			if ranked && i < len(from) {
				result[i] = from[i]
			}
		case t.known && t.n >= 0:
			result[i] = onnx.Extent(t.n)
		case t.dim.Param != "":
			result[i] = t.dim
		}
	}
	inferRest(result, from, ranked)
	return tensorOf(e, result, true)
}

// inferRest finds the one extent that is not known, where the number of elements
// tells it: what is left when extents and symbols on both sides cancel.
func inferRest(result, from []onnx.Dim, ranked bool) {
	at := slices.IndexFunc(result, func(d onnx.Dim) bool { return d.Value < 0 && d.Param == "" })
	if at < 0 || !ranked {
		return
	}
	total, symbols, ok := measure(from)
	others, used, okOthers := measure(slices.Concat(result[:at], result[at+1:]))
	if !ok || !okOthers || total%others != 0 {
		return
	}
	for _, symbol := range used {
		i := slices.Index(symbols, symbol)
		if i < 0 {
			return
		}
		symbols = slices.Delete(symbols, i, i+1)
	}
	switch len(symbols) {
	case 0:
		result[at] = onnx.Extent(total / others)
	case 1:
		result[at] = multiple(total/others, symbols[0])
	}
}

// measure is the number of elements of a shape: a number times symbols. It is false
// for shapes that may be empty or are not known.
func measure(d []onnx.Dim) (total int64, symbols []string, ok bool) {
	total = 1
	for _, d := range d {
		factor := d.Value
		if d.Value < 0 {
			var symbol string
			factor, symbol = splitMultiple(d.Param)
			symbols = append(symbols, symbol)
		}
		if factor <= 0 || d.Value < 0 && d.Param == "" || total > math.MaxInt32 || factor > math.MaxInt32 {
			return 0, nil, false
		}
		total *= factor
	}
	return total, symbols, true
}

// multiple is a symbol times a number, written as exporters do: "2*rows".
func multiple(n int64, symbol string) onnx.Dim {
	if n == 1 {
		return onnx.Symbol(symbol)
	}
	return onnx.Symbol(strconv.FormatInt(n, 10) + "*" + symbol)
}

func splitMultiple(param string) (int64, string) {
	number, symbol, ok := strings.Cut(param, "*")
	if n, err := strconv.ParseInt(number, 10, 32); ok && err == nil && n > 0 && symbol != "" && !strings.ContainsAny(symbol, "+-*/ ()") {
		return n, symbol
	}
	return 1, param
}

func inferFlatten(_ *rewriter, n *node) onnx.Type {
	result := unknownDims(2)
	d, ok := dims(n.in(0))
	at := n.int("axis", 1)
	if ok && at < 0 {
		at += int64(len(d))
	}
	if ok && at >= 0 && at <= int64(len(d)) {
		result[0], result[1] = product(d[:at]), product(d[at:])
	}
	return tensorOf(elem(n.in(0)), result, true)
}

// product is the extent of several dimensions seen as one.
func product(d []onnx.Dim) onnx.Dim {
	if len(d) == 1 {
		return d[0]
	}
	total := int64(1)
	for _, d := range d {
		if d.Value < 0 || d.Value > 0 && total > math.MaxInt64/d.Value {
			return onnx.Unknown()
		}
		total *= d.Value
	}
	return onnx.Extent(total)
}

// permutation is that of a Transpose.
func permutation(n *node, rank int) ([]int64, bool) {
	perm, ok := n.ints("perm")
	if !ok {
		for i := rank - 1; i >= 0; i-- {
			perm = append(perm, int64(i))
		}
		return perm, rank >= 0 && !n.has("perm")
	}
	seen := make([]bool, len(perm))
	for _, p := range perm {
		if p < 0 || p >= int64(len(perm)) || seen[p] {
			return nil, false
		}
		seen[p] = true
	}
	return perm, rank < 0 || rank == len(perm)
}

func inferTranspose(_ *rewriter, n *node) onnx.Type {
	d, ok := dims(n.in(0))
	perm, okp := permutation(n, rank(n.in(0)))
	if !ok || !okp {
		return tensorOf(elem(n.in(0)), nil, false)
	}
	result := make([]onnx.Dim, len(d))
	for i, p := range perm {
		result[i] = d[p]
	}
	return tensorOf(elem(n.in(0)), result, true)
}

func inferSqueeze(_ *rewriter, n *node) onnx.Type {
	d, ok := dims(n.in(0))
	axes, known := n.axes(1)
	if !ok || !known || len(axes) == 0 {
		return tensorOf(elem(n.in(0)), nil, false)
	}
	gone := make([]bool, len(d))
	for _, a := range axes {
		i, ok := axis(a, len(d))
		if !ok {
			return onnx.Type{}
		}
		gone[i] = true
	}
	var result []onnx.Dim
	for i := range d {
		if !gone[i] {
			result = append(result, d[i])
		}
	}
	return tensorOf(elem(n.in(0)), result, true)
}

func inferUnsqueeze(_ *rewriter, n *node) onnx.Type {
	d, ok := dims(n.in(0))
	axes, known := n.axes(1)
	if !ok || !known {
		return tensorOf(elem(n.in(0)), nil, false)
	}
	result := make([]onnx.Dim, len(d)+len(axes))
	added := make([]bool, len(result))
	for _, a := range axes {
		i, ok := axis(a, len(result))
		if !ok || added[i] {
			return onnx.Type{}
		}
		added[i], result[i] = true, onnx.Extent(1)
	}
	next := 0
	for i := range result {
		if !added[i] {
			result[i] = d[next]
			next++
		}
	}
	return tensorOf(elem(n.in(0)), result, true)
}

func inferConcat(_ *rewriter, n *node) onnx.Type {
	first, ok := dims(n.in(0))
	at, okAxis := axis(n.int("axis", 0), len(first))
	if !ok || !okAxis {
		return tensorOf(elem(n.in(0)), nil, false)
	}
	result := slices.Clone(first)
	for _, in := range n.inputs[1:] {
		d, ok := dims(in)
		if !ok || len(d) != len(first) {
			return tensorOf(elem(n.in(0)), unknownDims(len(first)), true)
		}
		for i := range d {
			switch {
			case i != at && result[i].Value < 0:
				result[i] = d[i]
			case i == at && result[i].Value >= 0 && d[i].Value >= 0 && result[i].Value <= math.MaxInt64-d[i].Value:
				result[i] = onnx.Extent(result[i].Value + d[i].Value)
			case i == at:
				result[i] = onnx.Unknown()
			}
		}
	}
	return tensorOf(elem(n.in(0)), result, true)
}

func inferGather(_ *rewriter, n *node) onnx.Type {
	d, ok := dims(n.in(0))
	index, oki := dims(n.in(1))
	at, oka := axis(n.int("axis", 0), len(d))
	if !ok || !oki || !oka {
		return tensorOf(elem(n.in(0)), nil, false)
	}
	return tensorOf(elem(n.in(0)), slices.Concat(d[:at], index, d[at+1:]), true)
}
