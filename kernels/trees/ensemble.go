// SPDX-License-Identifier: Apache-2.0

// Package trees evaluates ensembles of decision trees: gradient boosted trees, random
// forests, and whatever else ONNX's TreeEnsemble operators express.
//
// An Ensemble is the description that a model file is read into. Compile checks it and
// makes a Forest of it, which holds the same trees twice: laid out for many rows at
// once, and for one row after another. The two, and all instruction sets, give the same
// bits:
//
//	T1  Per target, a sum starts at +0 and takes the values of the leaves in the
//	    order of the trees. An average is that sum divided by the number of trees.
//	    Base is added last. Nothing is reassociated and nothing is fused.
//	T2  What a row gets does not depend on the rows beside it.
//	T3  A missing value (NaN) takes the branch that MissingTrue names, whatever the
//	    comparison is.
//
// Many rows are evaluated in tiles of 64 or 256, one bit a row. For every distinct
// comparison of the ensemble a word says in which rows it holds; a tree is then walked
// by all rows at once, with two AND operations a node that divide the rows which reach
// it between its children. See tile.go.
//
// An Ensemble must not change while it is compiled, and is not kept. A Forest does not
// change: goroutines share it, each with a Scratch of its own.
package trees

import "math"

// Compare is how a node compares: the True branch is taken when "value OP threshold"
// holds.
type Compare uint8

// The comparisons of ONNX's ai.onnx.ml.
const (
	LessEqual Compare = iota
	Less
	GreaterEqual
	Greater
	Equal
	NotEqual
	// Member holds when the value is one of Members.
	Member
	compares
)

// Node is a branch of a tree. True and False are indices into Ensemble.Nodes, or, when
// negative, the bitwise complement of an index into Ensemble.Leaves.
type Node struct {
	Feature     int32
	Compare     Compare
	Threshold   float64   // compared as float32 unless Ensemble.Double
	Members     []float64 // for Member only; compared like Threshold
	MissingTrue bool      // NaN takes True rather than False
	True, False int32
}

// Weight is what a leaf gives to one target.
type Weight struct {
	Target int32
	Value  float64 // rounded to float32 unless Ensemble.Double
}

// Leaf is the end of a walk. It gives its weights in this order; targets that it does
// not name get nothing from it.
type Leaf struct{ Weights []Weight }

// Aggregate is how the values that a target gets from the trees become one.
type Aggregate uint8

// The aggregates of ONNX's ai.onnx.ml. Under Min and Max a target that no leaf gave
// anything is 0, as it is under Sum.
const (
	Sum Aggregate = iota
	// Average divides the sum by the number of trees.
	Average
	Min
	Max
	aggregates
)

// Ensemble describes the trees of a model.
type Ensemble struct {
	Features, Targets int // columns of the input and of the output
	Nodes             []Node
	Leaves            []Leaf
	Roots             []int32 // one a tree, as Node.True: a tree may be a single leaf
	Aggregate         Aggregate
	Base              []float64 // nil, or what is added at the end to each target
	Double            bool      // inputs, arithmetic and outputs are float64
}

// float is what ensembles calculate in.
type float interface{ float32 | float64 }

// PredictGeneric evaluates rows of x, ldx elements apart, into y, ldy elements apart,
// by walking each tree from its root. It is the reference that Forest is held to. The
// ensemble must be valid and not Double.
func (e *Ensemble) PredictGeneric(x []float32, ldx, rows int, y []float32, ldy int) {
	predictGeneric(e, x, ldx, rows, y, ldy)
}

// PredictGeneric64 is PredictGeneric for ensembles that are Double.
func (e *Ensemble) PredictGeneric64(x []float64, ldx, rows int, y []float64, ldy int) {
	predictGeneric(e, x, ldx, rows, y, ldy)
}

func predictGeneric[F float](e *Ensemble, x []F, ldx, rows int, y []F, ldy int) {
	for r := range rows {
		in, out := x[r*ldx:][:e.Features], y[r*ldy:][:e.Targets]
		begin(e.Aggregate, out)
		for _, at := range e.Roots {
			for at >= 0 {
				at = follow(&e.Nodes[at], in)
			}
			for _, w := range e.Leaves[^at].Weights {
				give(e.Aggregate, &out[w.Target], F(w.Value))
			}
		}
		finish(e.Aggregate, out, e.Base, len(e.Roots))
	}
}

// follow is the branch that a row takes.
func follow[F float](n *Node, row []F) int32 {
	v := row[n.Feature]
	holds := n.MissingTrue
	if v == v {
		holds = compare(n, v)
	}
	if holds {
		return n.True
	}
	return n.False
}

func compare[F float](n *Node, v F) bool {
	t := F(n.Threshold)
	switch n.Compare {
	case LessEqual:
		return v <= t
	case Less:
		return v < t
	case GreaterEqual:
		return v >= t
	case Greater:
		return v > t
	case Equal:
		return v == t
	case NotEqual:
		return v != t
	}
	for _, m := range n.Members {
		if v == F(m) {
			return true
		}
	}
	return false
}

// begin readies a row of the output for give. Under Min and Max NaN stands for a
// target that nothing was given to: Validate lets no leaf give NaN there.
func begin[F float](a Aggregate, out []F) {
	start := F(0)
	if a == Min || a == Max {
		start = F(math.NaN())
	}
	for i := range out {
		out[i] = start
	}
}

// give adds one leaf's value to a target.
func give[F float](a Aggregate, to *F, v F) {
	switch a {
	case Min:
		if !(*to <= v) {
			*to = v
		}
	case Max:
		if !(*to >= v) {
			*to = v
		}
	default:
		*to += v
	}
}

// finish makes the output of a row of what give left there.
func finish[F float](a Aggregate, out []F, base []float64, trees int) {
	for i, v := range out {
		switch {
		case a == Average:
			v /= F(max(trees, 1))
		case v != v && a != Sum:
			v = 0
		}
		if base != nil {
			v += F(base[i])
		}
		out[i] = v
	}
}
