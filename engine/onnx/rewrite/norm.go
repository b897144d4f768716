// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"slices"

	"github.com/millrace-ml/millrace/engine/onnx"
)

// The opsets that have the normalizations.
const (
	layerNormSince = 17
	rmsNormSince   = 23
)

// normOps are the operators that fuseNormScale and fuseNormBias add to.
var (
	layerNorms = []string{"LayerNormalization", internalOp(OpLayerNormalization)}
	rmsNorms   = []string{"RMSNormalization", internalOp(OpRMSNormalization)}
)

// meanOver is the node that makes a value as the mean over the last axis, which it
// keeps with extent 1.
func meanOver(v *value) *node {
	n := v.madeBy("ReduceMean")
	if n == nil || n.int("keepdims", 1) != 1 || n.in(0) == nil {
		return nil
	}
	axes, ok := n.axes(1)
	if !ok || len(axes) != 1 || !isAxis(axes[0], n.in(0), 1) {
		return nil
	}
	return n
}

// squareOf is x, where a value is x times x.
func squareOf(v *value) *value {
	n := v.madeBy("Mul", "Pow")
	if n == nil {
		return nil
	}
	if f, ok := factorsOf(n); ok && len(f.leaves) == 2 && f.is(1, f.leaves[0], 2) {
		return f.leaves[0]
	}
	return nil
}

// deviation reads a node as x divided by sqrt(mean(s^2) + epsilon), in the ways that
// exporters write it, and gives x, s and epsilon.
func deviation(n *node) (x, s *value, epsilon float32, ok bool) {
	root := n.in(1)
	x = n.in(0)
	if n.op == "Mul" {
		inverse := inverseOf(n.in(1))
		if inverse == nil {
			inverse, x = inverseOf(n.in(0)), n.in(1)
		}
		root = inverse
	}
	sqrt := root.madeBy("Sqrt")
	if sqrt == nil || x == nil {
		return nil, nil, 0, false
	}
	sum := sqrt.in(0).madeBy("Add")
	if sum == nil {
		return nil, nil, 0, false
	}
	for i := range 2 {
		e, ok := elementwise(sum.in(i), sum.in(1-i))
		mean := meanOver(sum.in(1 - i))
		if !ok || mean == nil || e < 0 {
			continue
		}
		if s = squareOf(mean.in(0)); s != nil {
			return x, s, float32(e), true
		}
	}
	return nil, nil, 0, false
}

// inverseOf is v, where a value is 1/v.
func inverseOf(v *value) *value {
	n := v.madeBy("Reciprocal", "Div")
	if n == nil {
		return nil
	}
	if n.op == "Reciprocal" {
		return n.in(0)
	}
	if one, ok := floatScalar(n.in(0)); ok && one == 1 && rank(n.in(0)) == 0 {
		return n.in(1)
	}
	return nil
}

// fuseLayerNorm makes LayerNormalization of (x - mean(x)) / sqrt(mean((x - mean(x))^2) +
// epsilon) over the last axis. Its scale is then 1, and put in by fuseNormScale.
func fuseLayerNorm(r *rewriter, n *node) {
	d, s, epsilon, ok := deviation(n)
	if !ok || d != s {
		return
	}
	sub := d.madeBy("Sub")
	if sub == nil || sub.in(0) == nil {
		return
	}
	x := sub.in(0)
	if mean := meanOver(sub.in(1)); mean == nil || mean.in(0) != x {
		return
	}
	r.normalize("layer_norm", OpLayerNormalization, layerNormSince, n, x, epsilon)
}

// fuseRMSNorm makes RMSNormalization of x / sqrt(mean(x^2) + epsilon) over the last
// axis.
func fuseRMSNorm(r *rewriter, n *node) {
	x, s, epsilon, ok := deviation(n)
	if !ok || x != s {
		return
	}
	if sub := x.madeBy("Sub"); sub != nil && meanOver(sub.in(1)) != nil { // a LayerNormalization
		return
	}
	r.normalize("rms_norm", OpRMSNormalization, rmsNormSince, n, x, epsilon)
}

func (r *rewriter) normalize(kind, opType string, since int64, root *node, x *value, epsilon float32) {
	width := extentFromEnd(x, 1)
	if !isFloat(x) || width <= 0 || width > growthFree {
		return
	}
	if _, ok := r.domainOf(since); !ok {
		return
	}
	ones := slices.Repeat([]float32{1}, int(width))
	scale := constant(root.out(0).name+"_scale", onnx.TensorOf("", ones, width))
	r.becomes(kind, opType, since, root, []*value{x, scale},
		onnx.IntAttribute("axis", -1), onnx.FloatAttribute("epsilon", epsilon))
}

// rowOf reads a float constant as one entry for each column of the last axis.
func rowOf(v, x *value) ([]float32, bool) {
	width := extentFromEnd(x, 1)
	list, ok := floats(v)
	if !ok || width <= 0 || width > growthFree || rank(v) > rank(x) {
		return nil, false
	}
	if len(list) == 1 {
		return slices.Repeat(list, int(width)), true
	}
	return list, int64(len(list)) == width && extentFromEnd(v, 1) == width
}

// lastAxis reports whether a normalization is over the last axis alone.
func lastAxis(n *node) bool {
	return isAxis(n.int("axis", -1), n.in(0), 1)
}

// fuseNormScale puts a constant factor into a normalization that has none yet.
func fuseNormScale(r *rewriter, n *node) {
	for i := range 2 {
		norm := n.in(i).onlyFor(n, slices.Concat(layerNorms, rmsNorms)...)
		if norm == nil || norm.in(2) != nil || !lastAxis(norm) || len(norm.outputs) > 1 {
			continue
		}
		before, ok := floats(norm.in(1))
		scale, okScale := rowOf(n.in(1-i), norm.in(0))
		if !ok || !okScale || slices.ContainsFunc(before, func(x float32) bool { return x != 1 }) {
			continue
		}
		factor := constant(n.in(1-i).name, onnx.TensorOf("", scale, int64(len(scale))))
		r.replace("norm_scale", n, newNode(norm.domain, norm.opType, []*value{norm.in(0), factor}, norm.attributes...), norm)
		return
	}
}

// fuseNormBias puts a constant term into a LayerNormalization that has none yet.
func fuseNormBias(r *rewriter, n *node) {
	for i := range 2 {
		norm := n.in(i).onlyFor(n, layerNorms...)
		if norm == nil || norm.in(2) != nil || !lastAxis(norm) || len(norm.outputs) > 1 {
			continue
		}
		bias, ok := rowOf(n.in(1-i), norm.in(0))
		if !ok {
			continue
		}
		term := constant(n.in(1-i).name, onnx.TensorOf("", bias, int64(len(bias))))
		inputs := []*value{norm.in(0), norm.in(1), term}
		r.replace("norm_bias", n, newNode(norm.domain, norm.opType, inputs, norm.attributes...), norm)
		return
	}
}
