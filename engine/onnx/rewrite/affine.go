// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"math"

	"github.com/millrace-ml/millrace/engine/onnx"
)

// affine is a product or convolution with constant weights, seen as one function per
// output channel: channel j of the result is what weights j give, plus bias j. Such a
// function can take in what multiplies or is added to its channel.
type affine struct {
	n       *node
	weights *value
	// channels is the number of channels; weight k belongs to channel k / inner %
	// channels.
	channels, inner int64
	// back is where the channel axis is, counted from the last axis, of which rank
	// there are; rank is -1 where it is not known.
	back, rank int
	// bias is nil where there is none.
	bias []float64
}

// affineOf is the node that makes a value for one reader alone, as an affine function.
func affineOf(v *value, reader *node) (*affine, bool) {
	n := v.onlyFor(reader, "MatMul", "Gemm", "Conv", internalOp(OpLinear), internalOp(OpConv))
	if n == nil || n.in(1) == nil || n.in(1).tensor == nil || n.in(0) == nil || n.has(AttrActivation) {
		return nil, false
	}
	a := &affine{n: n, weights: n.in(1)}
	extents := a.weights.tensor.Dims
	switch n.op {
	case "Conv", internalOp(OpConv):
		if len(extents) < 3 {
			return nil, false
		}
		a.rank, a.back, a.channels, a.inner = len(extents), len(extents)-2, extents[0], 1
		for _, d := range extents[1:] {
			a.inner *= d
		}
	case "Gemm":
		if n.float("alpha", 1) != 1 || n.in(2) != nil && n.float("beta", 1) != 1 {
			return nil, false
		}
		a.rank = 2
	default:
		a.rank = rank(n.in(0))
	}
	if a.inner == 0 && !a.columns(extents) || n.in(3) != nil {
		return nil, false
	}
	return a, a.readBias()
}

// columns notes the layout of the weights of a product.
func (a *affine) columns(extents []int64) bool {
	if len(extents) != 2 {
		return false
	}
	if a.channels, a.inner = extents[1], 1; a.n.int("transB", 0) != 0 {
		a.channels, a.inner = extents[0], extents[1]
	}
	return a.inner > 0
}

func (a *affine) readBias() bool {
	v := a.n.in(2)
	if a.n.op == "MatMul" || v == nil {
		return true
	}
	var ok bool
	if a.n.op == "Gemm" {
		a.bias, ok = a.perChannel(v)
		return ok
	}
	list, ok := floats(v)
	if !ok || int64(len(list)) != a.channels {
		return false
	}
	for _, b := range list {
		a.bias = append(a.bias, float64(b))
	}
	return true
}

// perChannel is a float constant that broadcasts over the result without changing its
// shape, and is the same all over each channel: its value for each.
func (a *affine) perChannel(v *value) ([]float64, bool) {
	if v == nil || v.tensor == nil || len(v.tensor.Dims) > max(a.rank, 1) || len(v.tensor.Dims) == 1 && a.rank == 0 {
		return nil, false
	}
	d := v.tensor.Dims
	for i := range d {
		if back := len(d) - 1 - i; d[i] != 1 && (back != a.back || d[i] != a.channels) {
			return nil, false
		}
	}
	list, ok := floats(v)
	if !ok || a.channels == 0 || a.channels > elements(a.weights) { // weights without elements may have any number
		return nil, false
	}
	result := make([]float64, a.channels)
	for i := range result {
		result[i] = float64(list[i%len(list)]) // one or as many as channels
	}
	return result, true
}

// canScale reports whether the weights may be multiplied: they are float and nobody
// else's, and the work is within bounds.
func (a *affine) canScale(r *rewriter) bool {
	size := roughBytes(a.weights.tensor)
	return a.weights.tensor.Elem == onnx.ElemFloat && a.weights.reads() == 1 && (size <= growthFree || size <= r.budget)
}

// scaled is the weights times a factor for each channel.
func (a *affine) scaled(r *rewriter, factor []float64) (*value, bool) {
	list, ok := floats(a.weights)
	if !ok {
		return nil, false
	}
	for k := range list {
		w := float32(float64(list[k]) * factor[int64(k)/a.inner%a.channels])
		if !finite(float64(w)) {
			return nil, false
		}
		list[k] = w
	}
	r.budget -= int64(4 * len(list))
	return constant(a.weights.name, onnx.TensorOf("", list, a.weights.tensor.Dims...)), true
}

func finite(x float64) bool { return !math.IsInf(x, 0) && !math.IsNaN(x) }

// absorb replaces root, which computes factor * a + term for each channel, by a node
// that does so itself. factor or term may be nil.
func (r *rewriter) absorb(kind string, root *node, a *affine, factor, term []float64) {
	weights := a.weights
	if factor != nil {
		if !a.canScale(r) {
			return
		}
		scaled, ok := a.scaled(r, factor)
		if !ok {
			return
		}
		weights = scaled
	}
	bias, ok := a.newBias(factor, term)
	if !ok || !r.takesBias(a, bias != nil) {
		return
	}
	inputs := []*value{a.n.in(0), weights, bias}
	attributes := without(a.n.attributes, "alpha", "beta")
	n := newNode(a.n.domain, a.n.opType, inputs, attributes...)
	if a.n.op == "MatMul" && bias != nil {
		n = newNode("", "Gemm", inputs)
	}
	r.replace(kind, root, n, a.n)
}

// takesBias reports whether the node can have a bias: MatMul becomes Gemm for it, which
// is for matrices.
func (r *rewriter) takesBias(a *affine, some bool) bool {
	if !some || a.n.op != "MatMul" {
		return true
	}
	return a.rank == 2 && r.options.Fusions.has(FuseLinear)
}

func (a *affine) newBias(factor, term []float64) (*value, bool) {
	if a.bias == nil && term == nil {
		return nil, true
	}
	list := make([]float32, a.channels)
	for j := range list {
		b := 0.0
		if a.bias != nil {
			b = a.bias[j]
		}
		if factor != nil {
			b *= factor[j]
		}
		if term != nil {
			b += term[j]
		}
		if list[j] = float32(b); !finite(float64(list[j])) {
			return nil, false
		}
	}
	name := a.weights.name + "_bias"
	if v := a.n.in(2); v != nil && a.n.op != "MatMul" {
		name = v.name
	}
	return constant(name, onnx.TensorOf("", list, a.channels)), true
}
