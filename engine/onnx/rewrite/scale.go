// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"math"

	"github.com/millrace-ml/millrace/engine/onnx"
)

// addBias makes the constant added to a product or convolution its bias.
func addBias(r *rewriter, n *node) {
	for i := range 2 {
		if a, term, ok := withConstant(n, i); ok {
			r.absorb("linear", n, a, nil, term)
			return
		}
	}
}

// withConstant reads a node as an operation on an affine function at one input and a
// constant per channel at the other.
func withConstant(n *node, input int) (*affine, []float64, bool) {
	if n.in(0) == nil || n.in(1) == nil || n.in(1-input).tensor == nil {
		return nil, nil, false
	}
	a, ok := affineOf(n.in(input), n)
	if !ok {
		return nil, nil, false
	}
	list, ok := a.perChannel(n.in(1 - input))
	return a, list, ok
}

// scaleByConstant takes a constant factor or term for each column or channel into the
// weights and the bias.
func scaleByConstant(r *rewriter, n *node) {
	for i := range 2 {
		a, list, ok := withConstant(n, i)
		if !ok {
			continue
		}
		var factor, term []float64
		switch {
		case n.op == "Mul":
			factor = list
		case n.op == "Div" && i == 0:
			factor = each(list, func(x float64) float64 { return 1 / x })
		case n.op == "Add":
			term = list
		case n.op == "Sub" && i == 0:
			term = each(list, func(x float64) float64 { return -x })
		case n.op == "Sub":
			factor, term = each(list, func(float64) float64 { return -1 }), list
		default:
			return
		}
		if finiteAll(factor) && finiteAll(term) {
			r.absorb("scale", n, a, factor, term)
		}
		return
	}
}

func each(list []float64, f func(float64) float64) []float64 {
	result := make([]float64, len(list))
	for i, x := range list {
		result[i] = f(x)
	}
	return result
}

func finiteAll(list []float64) bool {
	for _, x := range list {
		if !finite(x) {
			return false
		}
	}
	return true
}

// scaleBatchNorm takes a BatchNormalization with constant statistics into the product
// or convolution before it: gamma (x - mean) / sqrt(var + epsilon) + beta.
func scaleBatchNorm(r *rewriter, n *node) {
	if len(n.inputs) != 5 || n.int("training_mode", 0) != 0 || n.int("spatial", 1) != 1 || n.in(0) == nil {
		return
	}
	for _, other := range n.outputs[1:] {
		if !other.unread() {
			return
		}
	}
	a, ok := affineOf(n.in(0), n)
	if !ok || a.back != a.rank-2 && a.rank != 2 { // the channels of a matrix are its columns
		return
	}
	var parameters [4][]float32 // gamma, beta, mean, variance
	for i := range parameters {
		parameters[i], ok = floats(n.in(1 + i))
		if !ok || int64(len(parameters[i])) != a.channels {
			return
		}
	}
	epsilon := float64(n.float("epsilon", 1e-5))
	factor, term := make([]float64, a.channels), make([]float64, a.channels)
	for j := range factor {
		factor[j] = float64(parameters[0][j]) / math.Sqrt(float64(parameters[3][j])+epsilon)
		term[j] = float64(parameters[1][j]) - float64(parameters[2][j])*factor[j]
	}
	if finiteAll(factor) && finiteAll(term) {
		r.absorb("batch_norm", n, a, factor, term)
	}
}

// moveMax bounds how many nodes a factor is moved over.
const moveMax = 8

// scaleExactly moves a factor that is a power of two, such as the 1/8 of an attention
// with heads of 64, back into constant weights: over nodes that move data alone and
// over a product of two values. Powers of two round nothing.
func scaleExactly(r *rewriter, n *node) {
	v, factor, ok := scalarFactor(n)
	if frac, _ := math.Frexp(math.Abs(factor)); !ok || frac != 0.5 || math.Abs(factor) > 1<<20 || math.Abs(factor) < 1.0/(1<<20) {
		return
	}
	a := weightsBefore(v, n, moveMax)
	if a == nil || !a.canScale(r) {
		return
	}
	factors := make([]float64, a.channels)
	for j := range factors {
		factors[j] = factor
	}
	scaled, ok := a.scaled(r, factors)
	if !ok {
		return
	}
	bias, ok := a.newBias(factors, nil)
	if !ok {
		return
	}
	a.n.setInput(1, scaled)
	if bias != nil {
		a.n.setInput(2, bias)
	}
	r.fused("scale_exact", n)
	r.substitute(n.out(0), v, new(int))
}

// scalarFactor reads a node as a value times a float constant of one element that
// leaves its shape.
func scalarFactor(n *node) (*value, float64, bool) {
	for i := range 2 {
		v, c := n.in(i), n.in(1-i)
		factor, ok := floatScalar(c)
		if v == nil || !ok || rank(c) > max(rank(v), 0) {
			continue
		}
		if n.op == "Div" {
			return v, 1 / factor, i == 0
		}
		return v, factor, true
	}
	return nil, 0, false
}

// weightsBefore finds weights to which a value is proportional, with nothing else that
// reads what is between.
func weightsBefore(v *value, reader *node, left int) *affine {
	if a, ok := affineOf(v, reader); ok {
		return a
	}
	n := v.onlyFor(reader, "Reshape", "Transpose", "Squeeze", "Unsqueeze", "MatMul")
	if n == nil || left == 0 || n.in(0) == nil || n.in(1) == nil && n.op == "MatMul" {
		return nil
	}
	if n.op == "MatMul" && n.in(0) == n.in(1) {
		return nil
	}
	if a := weightsBefore(n.in(0), n, left-1); a != nil || n.op != "MatMul" {
		return a
	}
	return weightsBefore(n.in(1), n, left-1)
}

// isFloat reports whether a value is known to be a float tensor.
func isFloat(v *value) bool { return elem(v) == onnx.ElemFloat }
