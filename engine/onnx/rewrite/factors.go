// SPDX-License-Identifier: Apache-2.0

package rewrite

import "math"

// factors is a value seen as a constant times other values. Exporters write the same
// product in many orders; seen so they are all alike.
type factors struct {
	constant float64
	leaves   []*value
	// nodes are those that the product is made of, without the one that makes the value.
	nodes []*node
}

// Bounds of what is seen as one product.
const (
	factorsMax     = 4
	factorDepthMax = 6
)

// factorsOf takes a product apart: Mul, Div by a constant, and Pow with exponent 2 or
// 3. Of the nodes inside only those that nothing else reads are taken apart, so a
// value that is used twice stays whole.
func factorsOf(n *node) (factors, bool) {
	f := factors{constant: 1}
	ok := f.add(n, 0)
	return f, ok && len(f.leaves) <= factorsMax
}

// factorsOfValue is factorsOf for what makes a value; what is not a product is a leaf.
func factorsOfValue(v *value, reader *node) (factors, bool) {
	f := factors{constant: 1}
	ok := f.value(v, reader, 0)
	return f, ok && len(f.leaves) <= factorsMax
}

func (f *factors) value(v *value, reader *node, depth int) bool {
	if v == nil || depth > factorDepthMax || len(f.leaves) > factorsMax {
		return false
	}
	if n := v.onlyFor(reader, "Mul", "Div", "Pow"); n != nil {
		return f.add(n, depth)
	}
	f.leaves = append(f.leaves, v)
	return true
}

func (f *factors) add(n *node, depth int) bool {
	left, right := n.in(0), n.in(1)
	if left == nil || right == nil || n.home == nil {
		return false
	}
	if depth > 0 {
		f.nodes = append(f.nodes, n)
	}
	constant, ok := elementwise(right, left)
	switch n.op {
	case "Mul":
		if ok {
			f.constant *= constant
			return f.value(left, n, depth+1)
		}
		if constant, ok := elementwise(left, right); ok {
			f.constant *= constant
			return f.value(right, n, depth+1)
		}
		return f.value(left, n, depth+1) && f.value(right, n, depth+1)
	case "Div":
		if ok {
			f.constant /= constant
			return f.value(left, n, depth+1)
		}
	case "Pow":
		if exponent, ok := scalar(right); ok && rank(right) <= max(rank(left), 0) && (exponent == 2 || exponent == 3) {
			for range int(exponent) {
				f.leaves = append(f.leaves, left)
			}
			return true
		}
	}
	// Not a product: it is a leaf itself.
	if depth == 0 {
		return false
	}
	f.nodes = f.nodes[:len(f.nodes)-1]
	f.leaves = append(f.leaves, n.out(0))
	return true
}

// elementwise is a float constant of one element that leaves the shape of the value it
// is combined with.
func elementwise(c, with *value) (float64, bool) {
	x, ok := floatScalar(c)
	return x, ok && rank(c) <= max(rank(with), 0)
}

// pair tries a match on a product of a constant and two values, in both orders.
func (f *factors) pair(constant float64, match func(x, other *value) bool) bool {
	if len(f.leaves) != 2 || !near(f.constant, constant) {
		return false
	}
	return match(f.leaves[0], f.leaves[1]) || match(f.leaves[1], f.leaves[0])
}

// is reports whether the product is a constant times x, times times over.
func (f *factors) is(constant float64, x *value, times int) bool {
	if len(f.leaves) != times || !near(f.constant, constant) {
		return false
	}
	for _, leaf := range f.leaves {
		if leaf != x {
			return false
		}
	}
	return true
}

// plus reads the node that makes a value as the sum of a constant and another value.
func plus(v *value, constant float64) (*value, *node, bool) {
	n := v.madeBy("Add")
	if n == nil {
		return nil, nil, false
	}
	for i := range 2 {
		if c, ok := elementwise(n.in(i), n.in(1-i)); ok && near(c, constant) {
			return n.in(1 - i), n, true
		}
	}
	return nil, nil, false
}

var (
	sqrtHalf   = math.Sqrt(0.5)
	sqrtTwoPi  = math.Sqrt(2 / math.Pi)
	geluCubic  = 0.044715
	sixth      = 1.0 / 6
	hardCentre = 3.0
	hardWidth  = 6.0
)
