// SPDX-License-Identifier: Apache-2.0

package rewrite_test

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// composer builds a random graph block by block. Each block takes rows [batch, width]
// and gives rows; between them stand the patterns that rewrites look for.
type composer struct {
	*onnx.Builder
	rand  *rand.Rand
	opset int64
	count int
	// made are values that later blocks and outputs may read again.
	made []row
}

type row struct {
	name  string
	width int64
}

// randomModel is a graph over x [batch, 6] and the indices ids [batch, 3].
func randomModel(seed uint64) *onnx.Builder {
	random := rand.New(rand.NewPCG(seed, 0))
	opset := []int64{13, 17, 20, 21}[random.IntN(4)]
	c := &composer{Builder: onnx.NewBuilder("random"), rand: random, opset: opset}
	c.Opset("", opset)
	c.Input("x", tensor.FP32, onnx.Symbol("batch"), onnx.Extent(6))
	c.Input("ids", tensor.Int64, onnx.Symbol("batch"), onnx.Extent(3))
	at := row{"x", 6}
	c.made = append(c.made, at)
	for range 3 + random.IntN(5) {
		at = blocks[random.IntN(len(blocks))](c, at)
		c.made = append(c.made, at)
	}
	c.finish(at)
	return c.Builder
}

// finish declares outputs: the last value and some before it.
func (c *composer) finish(last row) {
	seen := make(map[string]bool)
	for _, r := range append(c.made[1:len(c.made)-1:len(c.made)-1], last) {
		if r.name == last.name || c.rand.IntN(4) == 0 {
			if seen[r.name] || r.name == "x" {
				continue
			}
			seen[r.name] = true
			c.Output(r.name, tensor.FP32, onnx.Symbol("batch"), onnx.Extent(r.width))
		}
	}
	if len(seen) == 0 {
		c.Node("Identity", list(last.name), list("same"))
		c.Output("same", tensor.FP32, onnx.Symbol("batch"), onnx.Extent(last.width))
	}
}

func (c *composer) fresh(kind string) string {
	c.count++
	return fmt.Sprintf("%s_%d", kind, c.count)
}

// op adds a node and gives the name of its output.
func (c *composer) op(opType string, inputs []string, attributes ...onnx.Attribute) string {
	out := c.fresh(opType)
	c.Node(opType, inputs, []string{out}, attributes...)
	return out
}

// weights adds a constant of random values: an initializer or, at times, a Constant.
func (c *composer) weights(scale float64, dims ...int64) string {
	n := int64(1)
	for _, d := range dims {
		n *= d
	}
	values := make([]float32, n)
	for i := range values {
		values[i] = float32(scale * c.rand.NormFloat64())
	}
	return c.constant(values, dims...)
}

func (c *composer) constant(values []float32, dims ...int64) string {
	name := c.fresh("c")
	t := onnx.TensorOf(name, values, dims...)
	if c.rand.IntN(3) == 0 {
		c.Node("Constant", nil, []string{name}, onnx.TensorAttribute("value", t))
	} else {
		c.Initializer(t)
	}
	return name
}

func (c *composer) scalar(x float64) string { return c.constant([]float32{float32(x)}) }

func (c *composer) ints(values ...int64) string {
	name := c.fresh("i")
	c.Initializer(onnx.TensorOf(name, values, int64(len(values))))
	return name
}

// either adds a node of two inputs in one order or the other.
func (c *composer) either(opType, a, b string) string {
	if c.rand.IntN(2) == 0 {
		a, b = b, a
	}
	return c.op(opType, list(a, b))
}

// positive adds a constant of values from a half to one and a half.
func (c *composer) positive(dims ...int64) string {
	n := int64(1)
	for _, d := range dims {
		n *= d
	}
	values := make([]float32, n)
	for i := range values {
		values[i] = 0.5 + c.rand.Float32()
	}
	return c.constant(values, dims...)
}

// mean is that over the last axis, kept.
func (c *composer) mean(x string) string {
	keep := onnx.IntAttribute("keepdims", 1)
	if c.opset >= 18 {
		return c.op("ReduceMean", list(x, c.ints(-1)), keep)
	}
	return c.op("ReduceMean", list(x), keep, onnx.IntsAttribute("axes", -1))
}

var blocks = []func(c *composer, x row) row{
	blockMatMul, blockMatMul, blockGemm, blockGemm, blockScale, blockScale, blockBatchNorm, blockActivation, blockActivation,
	blockGelu, blockGeluTanh, blockGates, blockLayerNorm, blockRMSNorm, blockResidual, blockShapes, blockTwice,
	blockConstants, blockAttention, blockEmbedding, blockDynamicInt8, blockDeep, blockIf, blockNothing,
}

func blockMatMul(c *composer, x row) row {
	width := 2 * (1 + c.rand.Int64N(4))
	var w string
	if scale := 1 / math.Sqrt(float64(x.width)); c.rand.IntN(3) == 0 {
		w = c.op("Transpose", list(c.weights(scale, width, x.width)), onnx.IntsAttribute("perm", 1, 0))
	} else {
		w = c.weights(scale, x.width, width)
	}
	y := c.op("MatMul", list(x.name, w))
	if c.rand.IntN(3) > 0 {
		y = c.either("Add", y, c.weights(1, width))
	}
	return row{y, width}
}

func blockGemm(c *composer, x row) row {
	width := 2 * (1 + c.rand.Int64N(4))
	dims, transposed := []int64{x.width, width}, c.rand.Int64N(2)
	if transposed == 1 {
		dims = []int64{width, x.width}
	}
	inputs := list(x.name, c.weights(1/math.Sqrt(float64(x.width)), dims...))
	if c.rand.IntN(3) > 0 {
		bias := [][]int64{{width}, {1, width}, {1}, nil}[c.rand.IntN(4)]
		inputs = append(inputs, c.weights(1, bias...))
	}
	attributes := []onnx.Attribute{onnx.IntAttribute("transB", transposed)}
	if c.rand.IntN(4) == 0 {
		attributes = append(attributes, onnx.FloatAttribute("alpha", 0.7), onnx.FloatAttribute("beta", 1.5))
	}
	return row{c.op("Gemm", inputs, attributes...), width}
}

func blockScale(c *composer, x row) row {
	dims := [][]int64{{x.width}, {1, x.width}, {1}, nil}[c.rand.IntN(4)]
	switch c.rand.IntN(6) {
	case 0:
		return row{c.either("Mul", x.name, c.weights(1, dims...)), x.width}
	case 1:
		return row{c.op("Div", list(x.name, c.positive(dims...))), x.width}
	case 2:
		return row{c.op("Sub", list(c.weights(1, dims...), x.name)), x.width}
	case 3:
		return row{c.op("Sub", list(x.name, c.weights(1, dims...))), x.width}
	case 4:
		return row{c.either("Mul", x.name, c.scalar(0.25)), x.width}
	}
	return row{c.either("Add", x.name, c.weights(1, dims...)), x.width}
}

func blockBatchNorm(c *composer, x row) row {
	w := x.width
	return row{c.op("BatchNormalization", list(x.name, c.weights(1, w), c.weights(1, w), c.weights(1, w), c.positive(w))), w}
}

func blockActivation(c *composer, x row) row {
	switch op := []string{"Relu", "LeakyRelu", "Sigmoid", "Tanh", "Elu", "HardSigmoid", "Softplus", "Clip", "PRelu"}[c.rand.IntN(9)]; op {
	case "LeakyRelu", "Elu":
		return row{c.op(op, list(x.name), onnx.FloatAttribute("alpha", 0.3)), x.width}
	case "Clip":
		return row{c.op(op, list(x.name, c.scalar(-0.5), c.scalar(0.8))), x.width}
	case "PRelu":
		return row{c.op(op, list(x.name, c.weights(1, 1))), x.width}
	default:
		return row{c.op(op, list(x.name)), x.width}
	}
}

func blockGelu(c *composer, x row) row {
	var u string
	if c.rand.IntN(2) == 0 {
		u = c.op("Div", list(x.name, c.scalar(math.Sqrt2)))
	} else {
		u = c.either("Mul", x.name, c.scalar(math.Sqrt(0.5)))
	}
	sum := c.either("Add", c.op("Erf", list(u)), c.scalar(1))
	if c.rand.IntN(2) == 0 {
		return row{c.either("Mul", c.either("Mul", x.name, sum), c.scalar(0.5)), x.width}
	}
	return row{c.either("Mul", c.either("Mul", x.name, c.scalar(0.5)), sum), x.width}
}

func blockGeluTanh(c *composer, x row) row {
	var u string
	switch c.rand.IntN(3) {
	case 0:
		cube := c.op("Pow", list(x.name, c.scalar(3)))
		u = c.either("Add", x.name, c.either("Mul", cube, c.scalar(0.044715)))
	case 1:
		cube := c.either("Mul", x.name, c.op("Mul", list(x.name, x.name)))
		u = c.either("Add", x.name, c.either("Mul", cube, c.scalar(0.044715)))
	case 2:
		square := c.either("Mul", x.name, c.either("Mul", x.name, c.scalar(0.044715)))
		u = c.either("Mul", x.name, c.either("Add", square, c.scalar(1)))
	}
	tanh := c.op("Tanh", list(c.either("Mul", u, c.scalar(math.Sqrt(2/math.Pi)))))
	half := c.either("Mul", x.name, c.scalar(0.5))
	return row{c.either("Mul", half, c.either("Add", tanh, c.scalar(1))), x.width}
}

// blockGates is the family of x times a function of x.
func blockGates(c *composer, x row) row {
	switch c.rand.IntN(5) {
	case 0:
		return row{c.either("Mul", x.name, c.op("Sigmoid", list(x.name))), x.width}
	case 1:
		return row{c.either("Mul", x.name, c.op("Sigmoid", list(c.either("Mul", x.name, c.scalar(1.702))))), x.width}
	case 2:
		return row{c.either("Mul", x.name, c.op("Tanh", list(c.op("Softplus", list(x.name))))), x.width}
	case 3:
		h := c.op("HardSigmoid", list(x.name), onnx.FloatAttribute("alpha", 1.0/6), onnx.FloatAttribute("beta", 0.5))
		return row{c.either("Mul", x.name, h), x.width}
	}
	clip := c.op("Clip", list(c.either("Add", x.name, c.scalar(3)), c.scalar(0), c.scalar(6)))
	return row{c.op("Div", list(c.either("Mul", x.name, clip), c.scalar(6))), x.width}
}

func blockLayerNorm(c *composer, x row) row {
	d := c.op("Sub", list(x.name, c.mean(x.name)))
	y := c.normed(d, d)
	if c.rand.IntN(3) > 0 {
		y = c.either("Mul", y, c.weights(1, x.width))
		y = c.either("Add", y, c.weights(1, x.width))
	}
	return row{y, x.width}
}

// normed is x / sqrt(mean(s^2) + epsilon).
func (c *composer) normed(x, s string) string {
	square := c.op("Mul", list(s, s))
	if c.rand.IntN(2) == 0 {
		square = c.op("Pow", list(s, c.scalar(2)))
	}
	root := c.op("Sqrt", list(c.op("Add", list(c.mean(square), c.scalar(0.01)))))
	if c.rand.IntN(2) == 0 {
		return c.op("Div", list(x, root))
	}
	return c.either("Mul", x, c.op("Reciprocal", list(root)))
}

func blockRMSNorm(c *composer, x row) row {
	y := c.normed(x.name, x.name)
	if c.rand.IntN(2) == 0 {
		y = c.either("Mul", y, c.weights(1, x.width))
	}
	return row{y, x.width}
}
