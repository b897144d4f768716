// SPDX-License-Identifier: Apache-2.0

package rewrite_test

import (
	"math"

	"github.com/millrace-ml/millrace/engine/onnx"
)

// blockResidual adds a product to an earlier value of the width that fits.
func blockResidual(c *composer, x row) row {
	earlier := c.made[c.rand.IntN(len(c.made))]
	w := c.weights(1/math.Sqrt(float64(x.width)), x.width, earlier.width)
	y := c.op("MatMul", list(x.name, w))
	if c.rand.IntN(2) == 0 {
		y = c.op("Add", list(y, c.weights(1, earlier.width)))
	}
	y = c.either("Add", y, earlier.name)
	if c.rand.IntN(2) == 0 {
		y = c.op("Relu", list(y))
	}
	return row{y, earlier.width}
}

// blockShapes changes the shape and comes back to it.
func blockShapes(c *composer, x row) row {
	switch c.rand.IntN(5) {
	case 0: // the batch size read from the shape, as exporters do
		batch := c.op("Gather", list(c.op("Shape", list(x.name)), c.ints(0)), onnx.IntAttribute("axis", 0))
		split := c.op("Concat", list(batch, c.ints(2, -1)), onnx.IntAttribute("axis", 0))
		back := c.op("Concat", list(batch, c.ints(x.width)), onnx.IntAttribute("axis", 0))
		y := c.op("Reshape", list(x.name, split))
		y = c.op("Relu", list(y))
		return row{c.op("Reshape", list(y, back)), x.width}
	case 1:
		y := c.op("Transpose", list(x.name), onnx.IntsAttribute("perm", 1, 0))
		return row{c.op("Transpose", list(y)), x.width}
	case 2:
		axes := c.ints(1)
		return row{c.op("Squeeze", list(c.op("Unsqueeze", list(x.name, axes)), axes)), x.width}
	case 3:
		y := c.op("Reshape", list(x.name, c.ints(0, 1, -1)))
		y = c.op("Reshape", list(y, c.ints(0, x.width/2, 2)))
		return row{c.op("Flatten", list(y)), x.width}
	}
	y := c.op("Reshape", list(x.name, c.ints(-1, x.width)))
	return row{c.op("Tanh", list(y)), x.width}
}

// blockTwice computes the same twice.
func blockTwice(c *composer, x row) row {
	k := c.weights(1, x.width)
	a := c.op("Sin", list(c.op("Mul", list(x.name, k))))
	b := c.op("Sin", list(c.op("Mul", list(x.name, k))))
	return row{c.op("Add", list(a, b)), x.width}
}

// blockConstants puts arithmetic on constants alone before a product.
func blockConstants(c *composer, x row) row {
	w := c.op("Mul", list(c.weights(0.5, x.width, x.width), c.op("Sqrt", list(c.positive(x.width)))))
	b := c.op("Add", list(c.weights(1, x.width), c.op("Neg", list(c.weights(1, x.width)))))
	y := c.op("MatMul", list(x.name, w))
	return row{c.op("Add", list(y, b)), x.width}
}

// blockAttention is one head over rows cut in two tokens.
func blockAttention(c *composer, x row) row {
	tokens := c.op("Reshape", list(x.name, c.ints(-1, 2, x.width/2)))
	part := func() string {
		return c.op("MatMul", list(tokens, c.weights(0.5, x.width/2, 4)))
	}
	keys := c.op("Transpose", list(part()), onnx.IntsAttribute("perm", 0, 2, 1))
	scores := c.op("MatMul", list(part(), keys))
	if c.rand.IntN(2) == 0 {
		scores = c.op("Div", list(scores, c.scalar(2)))
	} else {
		scores = c.op("Mul", list(scores, c.scalar(0.3)))
	}
	mixed := c.op("MatMul", list(c.op("Softmax", list(scores), onnx.IntAttribute("axis", -1)), part()))
	return row{c.op("Reshape", list(mixed, c.ints(-1, 8))), 8}
}

// blockEmbedding adds the bag of the row's indices.
func blockEmbedding(c *composer, x row) row {
	rows := c.op("Gather", list(c.weights(1, 10, x.width), "ids"), onnx.IntAttribute("axis", 0))
	if c.rand.IntN(2) == 0 || c.opset >= 18 {
		rows = c.op("ReduceSum", list(rows, c.ints(1)), onnx.IntAttribute("keepdims", 0))
	} else {
		rows = c.op("ReduceMean", list(rows), onnx.IntsAttribute("axes", 1), onnx.IntAttribute("keepdims", 0))
	}
	return row{c.op("Add", list(x.name, rows)), x.width}
}

// blockDynamicInt8 is a product as the tools for dynamic quantisation write it. It reads
// the graph's input: what was computed with other rounding may quantise otherwise.
func blockDynamicInt8(c *composer, _ row) row {
	w := make([]int8, 6*4)
	for i := range w {
		w[i] = int8(c.rand.IntN(256) - 128)
	}
	weights := c.fresh("w")
	c.Initializer(onnx.TensorOf(weights, w, 6, 4))
	zero := c.fresh("zero")
	c.Initializer(onnx.TensorOf(zero, []int8{3}))
	q, scale, point := c.fresh("q"), c.fresh("scale"), c.fresh("point")
	c.Node("DynamicQuantizeLinear", list("x"), list(q, scale, point))
	sum := c.op("MatMulInteger", list(q, weights, point, zero))
	y := c.op("Cast", list(sum), onnx.IntAttribute("to", int64(onnx.ElemFloat)))
	y = c.op("Mul", list(y, c.op("Mul", list(scale, c.weights(0.01, 4)))))
	if c.rand.IntN(2) == 0 {
		y = c.op("Relu", list(c.op("Add", list(y, c.weights(1, 4)))))
	}
	return row{y, 4}
}

// blockDeep is a product over three dimensions.
func blockDeep(c *composer, x row) row {
	axes := c.ints(1)
	y := c.op("Unsqueeze", list(x.name, axes))
	y = c.op("MatMul", list(y, c.weights(0.5, x.width, 4)))
	y = c.op("Add", list(y, c.weights(1, 4)))
	y = c.op("Relu", list(y))
	return row{c.op("Squeeze", list(y, axes)), 4}
}

// blockIf takes one of two branches by a constant, each of which reads from outside.
func blockIf(c *composer, x row) row {
	condition := c.fresh("condition")
	c.Initializer(onnx.TensorOf(condition, []bool{c.rand.IntN(2) == 0}))
	branch := func(name, opType string) *onnx.Graph {
		return &onnx.Graph{
			Name: name,
			Nodes: []onnx.Node{
				{OpType: opType, Inputs: list(x.name), Outputs: list("inner")},
				{OpType: "Identity", Inputs: list("inner"), Outputs: list("result")},
			},
			Outputs: []onnx.ValueInfo{{Name: "result", Type: onnx.TensorType(onnx.ElemFloat, onnx.Unknown(), onnx.Unknown())}},
		}
	}
	return row{c.op("If", list(condition),
		onnx.GraphAttribute("then_branch", branch("then", "Relu")), onnx.GraphAttribute("else_branch", branch("else", "Tanh"))), x.width}
}

// blockNothing adds nodes that change nothing, and one that nobody reads.
func blockNothing(c *composer, x row) row {
	c.op("Exp", list(x.name))
	y := c.op("Identity", list(x.name))
	y = c.op("Dropout", list(y))
	y = c.op("Cast", list(y), onnx.IntAttribute("to", int64(onnx.ElemFloat)))
	y = c.either("Mul", y, c.scalar(1))
	return row{y, x.width}
}
