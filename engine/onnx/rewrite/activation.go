// SPDX-License-Identifier: Apache-2.0

package rewrite

import "github.com/millrace-ml/millrace/engine/onnx"

// domainOf is the domain under which an operator that the standard has since some
// opset may be produced; false where it may not.
func (r *rewriter) domainOf(since int64) (string, bool) {
	if r.opset("") >= since {
		return "", true
	}
	return Domain, !r.options.Standard
}

// becomes replaces the root of a pattern by an operator that the standard has since
// some opset.
func (r *rewriter) becomes(kind, opType string, since int64, root *node, inputs []*value, attributes ...onnx.Attribute) {
	domain, ok := r.domainOf(since)
	if !ok {
		return
	}
	r.replace(kind, root, newNode(domain, opType, inputs, attributes...), pattern(root, inputs[0])...)
}

// patternMax bounds how many nodes of a pattern the report names.
const patternMax = 16

// pattern lists the nodes between the input of a pattern and its root.
func pattern(root *node, input *value) []*node {
	var found []*node
	todo := []*node{root}
	seen := map[*node]bool{root: true}
	for len(todo) > 0 && len(found) < patternMax {
		n := todo[0]
		todo = todo[1:]
		for _, v := range n.inputs {
			if v == nil || v == input || v.maker == nil || seen[v.maker] || v.maker == input.maker {
				continue
			}
			seen[v.maker] = true
			found = append(found, v.maker)
			todo = append(todo, v.maker)
		}
	}
	return found
}

// fuseGelu makes Gelu of x/2 * (1 + erf(x/sqrt(2))) and of its approximation by tanh.
func fuseGelu(r *rewriter, n *node) {
	f, ok := factorsOf(n)
	if !ok {
		return
	}
	var input *value
	var approximate string
	if !f.pair(0.5, func(x, other *value) bool {
		inner, sum, ok := plus(other, 1)
		if !ok {
			return false
		}
		input, approximate = x, "none"
		if erf := inner.madeBy("Erf"); erf != nil {
			u, ok := factorsOfValue(erf.in(0), erf)
			return ok && u.is(sqrtHalf, x, 1)
		}
		approximate = "tanh"
		tanh := inner.onlyFor(sum, "Tanh")
		return tanh != nil && geluCurve(tanh.in(0), tanh, x)
	}) {
		return
	}
	r.becomes("gelu", OpGelu, 20, n, []*value{input}, onnx.StringAttribute("approximate", approximate))
}

// geluCurve reports whether a value is sqrt(2/pi) * (x + 0.044715 x^3), written so or
// as x * (1 + 0.044715 x^2).
func geluCurve(v *value, reader *node, x *value) bool {
	u, ok := factorsOfValue(v, reader)
	if !ok || !near(u.constant, sqrtTwoPi) {
		return false
	}
	switch len(u.leaves) {
	case 1:
		sum := u.leaves[0].madeBy("Add")
		if sum == nil {
			return false
		}
		for i := range 2 {
			if sum.in(i) != x {
				continue
			}
			cubic, ok := factorsOfValue(sum.in(1-i), sum)
			return ok && cubic.is(geluCubic, x, 3)
		}
	case 2:
		return u.pair(sqrtTwoPi, func(first, other *value) bool {
			inner, sum, ok := plus(other, 1)
			if !ok || first != x {
				return false
			}
			square, ok := factorsOfValue(inner, sum)
			return ok && square.is(geluCubic, x, 2)
		})
	}
	return false
}

// fuseSwish makes Swish of x * sigmoid(alpha * x).
func fuseSwish(r *rewriter, n *node) {
	f, ok := factorsOf(n)
	if !ok {
		return
	}
	var input *value
	var alpha float64
	if !f.pair(1, func(x, other *value) bool {
		sigmoid := other.madeBy("Sigmoid")
		if sigmoid == nil {
			return false
		}
		u, ok := factorsOfValue(sigmoid.in(0), sigmoid)
		input, alpha = x, u.constant
		return ok && len(u.leaves) == 1 && u.leaves[0] == x && isFloat(x)
	}) {
		return
	}
	r.becomes("swish", OpSwish, 24, n, []*value{input}, onnx.FloatAttribute(AttrAlpha, float32(alpha)))
}

// fuseHardSwish makes HardSwish of x * hard_sigmoid(x) and of x * clip(x + 3, 0, 6) / 6.
func fuseHardSwish(r *rewriter, n *node) {
	f, ok := factorsOf(n)
	if !ok {
		return
	}
	var input *value
	whole := f.pair(1, func(x, other *value) bool {
		h := other.madeBy("HardSigmoid")
		input = x
		return h != nil && h.in(0) == x && isFloat(x) &&
			near(float64(h.float(AttrAlpha, 0.2)), sixth) && near(float64(h.float(AttrBeta, 0.5)), 0.5)
	})
	if !whole && !f.pair(sixth, func(x, other *value) bool {
		clip := other.madeBy("Clip")
		if clip == nil || clip.in(0) == nil {
			return false
		}
		low, high, ok := clipBounds(clip)
		inner, _, sum := plus(clip.in(0), hardCentre)
		input = x
		return ok && low == 0 && high == float32(hardWidth) && sum && inner == x
	}) {
		return
	}
	r.becomes("hard_swish", OpHardSwish, 14, n, []*value{input})
}

// fuseMish makes Mish of x * tanh(softplus(x)).
func fuseMish(r *rewriter, n *node) {
	f, ok := factorsOf(n)
	if !ok {
		return
	}
	var input *value
	if !f.pair(1, func(x, other *value) bool {
		tanh := other.madeBy("Tanh")
		if tanh == nil {
			return false
		}
		softplus := tanh.in(0).madeBy("Softplus")
		input = x
		return softplus != nil && softplus.in(0) == x && isFloat(x)
	}) {
		return
	}
	r.becomes("mish", OpMish, 18, n, []*value{input})
}
