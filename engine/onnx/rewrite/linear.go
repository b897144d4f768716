// SPDX-License-Identifier: Apache-2.0

package rewrite

import "github.com/millrace-ml/millrace/engine/onnx"

// matrix is constant weights of two dimensions, perhaps behind a Transpose or a Cast
// that a product can do without.
type matrix struct {
	v          *value
	transposed bool
	behind     []*node
}

// matrixOf looks for weights behind a value. A Cast is left out only where the caller
// takes weights of 16 bits.
func matrixOf(v *value, half bool) (matrix, bool) {
	var m matrix
	for v != nil && v.tensor == nil {
		n := v.madeBy("Transpose", "Cast")
		if n == nil {
			return m, false
		}
		if n.op == "Transpose" {
			perm, ok := permutation(n, rank(n.in(0)))
			if !ok || len(perm) != 2 {
				return m, false
			}
			m.transposed = m.transposed != (perm[0] == 1)
		} else if !half || onnx.ElemType(n.int("to", 0)) != onnx.ElemFloat || !isHalf(elem(n.in(0))) {
			return m, false
		}
		m.behind = append(m.behind, n)
		v = n.in(0)
	}
	if v == nil || len(v.tensor.Dims) != 2 || v.tensor.Elem != onnx.ElemFloat && !(half && isHalf(v.tensor.Elem)) {
		return m, false
	}
	m.v = v
	return m, true
}

func isHalf(e onnx.ElemType) bool { return e == onnx.ElemBFloat16 || e == onnx.ElemFloat16 }

// toLinear makes OpLinear of a product with constant weights on the right.
func toLinear(r *rewriter, n *node) {
	x := n.in(0)
	m, ok := matrixOf(n.in(1), r.options.Fusions.has(FuseHalf))
	if !ok || x == nil || x == n.in(1) {
		return
	}
	// Weights read straight from a tensor of 16 bits make a product of 16 bits.
	if n.in(1).tensor != nil && m.v.tensor.Elem != onnx.ElemFloat {
		return
	}
	var bias *value
	if n.op == "Gemm" {
		if n.int("transA", 0) != 0 || n.float("alpha", 1) != 1 {
			return
		}
		m.transposed = m.transposed != (n.int("transB", 0) != 0)
		if bias, ok = gemmBias(n, m); !ok {
			return
		}
	}
	var attributes []onnx.Attribute
	if m.transposed {
		attributes = append(attributes, onnx.IntAttribute(AttrTransB, 1))
	}
	if m.v.tensor.Elem != onnx.ElemFloat {
		attributes = append(attributes, onnx.StringAttribute(AttrWeightType, m.v.tensor.Elem.String()))
	}
	r.replace("linear", n, newNode(Domain, OpLinear, []*value{x, m.v, bias}, attributes...), m.behind...)
}

// gemmBias is the third input of Gemm with one entry for each column, nil where there
// is none.
func gemmBias(n *node, m matrix) (*value, bool) {
	c := n.in(2)
	if c == nil {
		return nil, true
	}
	width := m.v.tensor.Dims[1]
	if m.transposed {
		width = m.v.tensor.Dims[0]
	}
	a := affine{n: n, weights: m.v, channels: width, rank: 2}
	list, ok := a.perChannel(c)
	if !ok || n.float("beta", 1) != 1 {
		return nil, false
	}
	if len(c.tensor.Dims) == 1 && c.tensor.Dims[0] == width {
		return c, true
	}
	a.bias = list
	return a.newBias(nil, nil)
}

// transposedOperand makes Gemm take an operand before its Transpose.
func transposedOperand(r *rewriter, n *node) {
	for i, attribute := range []string{"transA", "transB"} {
		before := n.in(i).madeBy("Transpose")
		if before == nil || before.in(0) == nil {
			continue
		}
		perm, ok := permutation(before, rank(before.in(0)))
		if !ok || len(perm) != 2 || perm[0] != 1 {
			continue
		}
		n.setInput(i, before.in(0))
		n.set(onnx.IntAttribute(attribute, 1-min(n.int(attribute, 0), 1)))
		r.fused("linear", before)
		r.sweep(before)
	}
}

// foldFactors takes the factors of Gemm into constant weights and a constant bias.
func foldFactors(r *rewriter, n *node) {
	alpha, beta := float64(n.float("alpha", 1)), float64(n.float("beta", 1))
	if alpha != 1 && n.in(1) != nil && n.in(1).tensor != nil && len(n.in(1).tensor.Dims) == 2 {
		a := affine{n: n, weights: n.in(1), channels: 1, inner: 1}
		if a.canScale(r) {
			if scaled, ok := a.scaled(r, []float64{alpha}); ok {
				n.setInput(1, scaled)
				n.attributes = without(n.attributes, "alpha")
				r.changed = true
			}
		}
	}
	c := n.in(2)
	if beta == 1 || c == nil || c.tensor == nil || len(c.tensor.Dims) > 1 {
		return
	}
	list, ok := floats(c)
	if !ok {
		return
	}
	for i := range list {
		if list[i] = float32(beta * float64(list[i])); !finite(float64(list[i])) {
			return
		}
	}
	n.setInput(2, constant(c.name, onnx.TensorOf("", list, c.tensor.Dims...)))
	n.attributes = without(n.attributes, "beta")
	r.changed = true
}
