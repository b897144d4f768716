// SPDX-License-Identifier: Apache-2.0

package native

import (
	"math"
	"slices"

	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/tensor"
)

var growMath = []func(g *grower){
	growUnary, growUnary, growUnary, growParametric, growBinary, growBinary, growPair, growMatMul, growMatMul,
	growDense, growProduct, growReduce, growReduce, growSoftmax, growNorm, growSafeDivision, growCompare, growArg,
	growTopK, growCumSum, growMixing, growGelu, growVariadic, growQuantize,
}

// Functions that keep numbers of about 1 at about 1, and those of them that no engine
// rounds.
var (
	gentle  = []string{"Relu", "Sigmoid", "Tanh", "Neg", "Abs", "Erf", "Softplus", "Softsign", "Sin", "Cos", "Mish", "HardSwish"}
	bitwise = []string{"Relu", "Neg", "Abs"}
	ragged  = []string{"Floor", "Ceil", "Round", "Sign"}
)

func growUnary(g *grower) {
	x, ok := g.pick(isFloat)
	if !ok {
		return
	}
	name := gentle[g.r.IntN(len(gentle))]
	if name == "Mish" { // since opset 18
		name = "Tanh"
	}
	if x.exact && g.r.IntN(4) == 0 {
		g.node(ragged[g.r.IntN(len(ragged))], x, nil)
		return
	}
	g.node(name, x, nil)
	g.exact(x.exact && slices.Contains(bitwise, name))
}

func growParametric(g *grower) {
	x, ok := g.pick(isFloat)
	if !ok {
		return
	}
	alpha := onnx.FloatAttribute("alpha", 0.1+g.r.Float32())
	switch g.r.IntN(6) {
	case 0:
		g.node("LeakyRelu", x, nil, alpha)
	case 1:
		g.node("Elu", x, nil, alpha)
	case 2:
		g.node("HardSigmoid", x, nil, alpha, onnx.FloatAttribute("beta", g.r.Float32()))
	case 3:
		g.node("Clip", x, []string{g.constant([]float32{-0.5}), g.constant([]float32{0.8})})
	case 4:
		g.node("PRelu", x, []string{g.weights(1, x.shape[len(x.shape)-1])})
	default:
		g.node("Celu", x, nil, alpha)
	}
}

// growBinary combines a value with a constant that is broadcast to it.
func growBinary(g *grower) {
	x, ok := g.pick(isFloat)
	if !ok {
		return
	}
	shape := slices.Clone(x.shape[g.r.IntN(len(x.shape)):])
	for i := range shape {
		if shape[i] < 0 || g.r.IntN(3) == 0 {
			shape[i] = 1
		}
	}
	c := g.weights(1, shape...)
	names := []string{"Add", "Sub", "Mul", "Max", "Min"}
	name := names[g.r.IntN(len(names))]
	if g.r.IntN(3) == 0 { // the constant on the left
		v := made{name: g.name("v"), typ: x.typ, shape: x.shape}
		g.b.Node(name, []string{c, x.name}, []string{v.name})
		g.read(x.name)
		g.values = append(g.values, v)
		return
	}
	g.node(name, x, []string{c})
}

// growPair combines two values, one of which may be repeated along an axis.
func growPair(g *grower) {
	x, _ := g.pick(isFloat)
	y, ok := g.pick(func(v made) bool { return v.typ == tensor.FP32 && broadcasts(v.shape, x.shape) })
	if !ok {
		return
	}
	names := []string{"Add", "Sub", "Mul", "Max", "Min"}
	g.node(names[g.r.IntN(len(names))], x, []string{y.name})
}

// broadcasts reports whether a value of one shape is repeated to another of the same
// rank.
func broadcasts(from, to []int64) bool {
	if len(from) != len(to) {
		return false
	}
	for i, d := range from {
		if d != to[i] && d != 1 {
			return false
		}
	}
	return true
}

func growMatMul(g *grower) {
	x, ok := g.pick(isFloat)
	if !ok {
		return
	}
	k, n := x.shape[len(x.shape)-1], 1+g.r.Int64N(20)
	shape := append(slices.Clone(x.shape[:len(x.shape)-1]), n)
	y := g.nodeTo("MatMul", x, tensor.FP32, shape, []string{g.weights(1/math.Sqrt(float64(k)), k, n)})
	if g.r.IntN(2) == 0 {
		y = g.node("Add", y, []string{g.weights(0.5, n)})
	}
	if g.r.IntN(2) == 0 {
		g.node(gentle[g.r.IntN(5)], y, nil)
	}
}

func growDense(g *grower) {
	x, ok := g.pick(isMatrix)
	if !ok {
		return
	}
	k, n := x.shape[1], 1+g.r.Int64N(40)
	weights, transposed := g.weights(1/math.Sqrt(float64(k)), k, n), int64(0)
	if g.r.IntN(2) == 0 {
		weights, transposed = g.weights(1/math.Sqrt(float64(k)), n, k), 1
	}
	y := g.nodeTo("Gemm", x, tensor.FP32, []int64{rowsExtent, n}, []string{weights, g.weights(0.4, n)},
		onnx.IntAttribute("transB", transposed), onnx.FloatAttribute("alpha", 1+float32(g.r.IntN(2))/2))
	if g.r.IntN(2) == 0 {
		g.node(gentle[g.r.IntN(5)], y, nil)
	}
}

// growProduct multiplies the matrices of each row with their own transposes.
func growProduct(g *grower) {
	x, ok := g.pick(func(v made) bool { return isFloat(v) && len(v.shape) == 3 })
	if !ok {
		return
	}
	t := g.nodeTo("Transpose", x, tensor.FP32, []int64{rowsExtent, x.shape[2], x.shape[1]}, nil, onnx.IntsAttribute("perm", 0, 2, 1))
	g.nodeTo("MatMul", x, tensor.FP32, []int64{rowsExtent, x.shape[1], x.shape[1]}, []string{t.name})
	g.tame()
}

func growReduce(g *grower) {
	x, ok := g.pick(func(v made) bool { return isFloat(v) && len(v.shape) > 1 })
	if !ok {
		return
	}
	axis := 1 + g.r.IntN(len(x.shape)-1)
	keep := g.r.Int64N(2)
	shape := slices.Clone(x.shape)
	if shape[axis] = 1; keep == 0 {
		shape = slices.Delete(shape, axis, axis+1)
	}
	names := []string{"ReduceMean", "ReduceMax", "ReduceMin", "ReduceL2", "ReduceLogSumExp", "ReduceSumSquare", "ReduceL1"}
	name := names[g.r.IntN(len(names))]
	at := int64(axis)
	if g.r.IntN(2) == 0 {
		at -= int64(len(x.shape))
	}
	if g.r.IntN(4) == 0 { // its axes are an input since opset 13
		g.nodeTo("ReduceSum", x, tensor.FP32, shape, []string{g.ints(at)}, onnx.IntAttribute("keepdims", keep))
	} else {
		g.nodeTo(name, x, tensor.FP32, shape, nil, onnx.IntAttribute("keepdims", keep), onnx.IntsAttribute("axes", at))
	}
	g.tame()
}

// tame puts in the place of the last value one that is about 1.
func (g *grower) tame() {
	wild := g.values[len(g.values)-1]
	g.values = g.values[:len(g.values)-1]
	g.node("Tanh", wild, nil)
}

func growSoftmax(g *grower) {
	x, ok := g.pick(func(v made) bool { return isFloat(v) && len(v.shape) > 1 })
	if !ok {
		return
	}
	names := []string{"Softmax", "LogSoftmax"}
	g.node(names[g.r.IntN(2)], x, nil, onnx.IntAttribute("axis", 1+g.r.Int64N(int64(len(x.shape)-1))))
}

// growNorm normalises what is not constant: lines with hardly any spread blow up rounding.
func growNorm(g *grower) {
	x, ok := g.pick(func(v made) bool { return isFloat(v) && v.exact && len(v.shape) > 1 && v.shape[len(v.shape)-1] > 2 })
	if !ok {
		return
	}
	n := x.shape[len(x.shape)-1]
	if g.r.IntN(2) == 0 && len(x.shape) == 2 {
		g.node("BatchNormalization", x, []string{
			g.weights(1, n), g.weights(1, n), g.weights(1, n), g.constant(slices.Repeat([]float32{0.7}, int(n)), n),
		})
		return
	}
	g.node("LayerNormalization", x, []string{g.weights(1, n), g.weights(1, n)},
		onnx.IntAttribute("axis", -1), onnx.FloatAttribute("epsilon", 0.01))
}

// growSafeDivision divides by something of at least 1.
func growSafeDivision(g *grower) {
	x, ok := g.pick(isFloat)
	if !ok {
		return
	}
	below := g.node("Add", g.node("Abs", x, nil), []string{g.constant([]float32{1})})
	if g.r.IntN(2) == 0 {
		below = g.node("Sqrt", below, nil)
	}
	g.node("Div", x, []string{below.name})
}

func growCompare(g *grower) {
	x, ok := g.pick(isExact)
	if !ok {
		return
	}
	names := []string{"Less", "Greater", "LessOrEqual", "GreaterOrEqual", "Equal"}
	zero := g.constant([]float32{0})
	test := g.nodeTo(names[g.r.IntN(len(names))], x, tensor.Bool, x.shape, []string{zero})
	switch g.r.IntN(3) {
	case 0:
		test = g.node("Not", test, nil)
	case 1:
		g.nodeTo("Cast", test, tensor.FP32, x.shape, nil, onnx.IntAttribute("to", int64(onnx.ElemFloat)))
	}
	v := made{name: g.name("v"), typ: tensor.FP32, shape: x.shape, exact: true}
	g.b.Node("Where", []string{test.name, x.name, zero}, []string{v.name})
	g.read(test.name)
	g.values = append(g.values, v)
}

func growArg(g *grower) {
	x, ok := g.pick(func(v made) bool { return isExact(v) && len(v.shape) > 1 })
	if !ok {
		return
	}
	axis := 1 + g.r.IntN(len(x.shape)-1)
	shape := slices.Clone(x.shape)
	shape[axis] = 1
	names := []string{"ArgMax", "ArgMin"}
	g.nodeTo(names[g.r.IntN(2)], x, tensor.Int64, shape, nil, onnx.IntAttribute("axis", int64(axis)),
		onnx.IntAttribute("select_last_index", g.r.Int64N(2)))
	g.values[len(g.values)-1].below = x.shape[axis]
}

func growTopK(g *grower) {
	x, ok := g.pick(func(v made) bool { return isExact(v) && len(v.shape) == 2 })
	if !ok {
		return
	}
	k := 1 + g.r.Int64N(x.shape[1])
	values := made{name: g.name("v"), typ: tensor.FP32, shape: []int64{rowsExtent, k}, exact: true}
	places := made{name: g.name("v"), typ: tensor.Int64, shape: values.shape, below: x.shape[1]}
	g.b.Node("TopK", []string{x.name, g.ints(k)}, []string{values.name, places.name}, onnx.IntAttribute("largest", g.r.Int64N(2)))
	g.read(x.name)
	g.values = append(g.values, values, places)
}

func growCumSum(g *grower) {
	x, ok := g.pick(func(v made) bool { return isFloat(v) && len(v.shape) > 1 })
	if !ok {
		return
	}
	axis := g.name("i")
	g.b.Initializer(onnx.TensorOf(axis, []int64{1}))
	g.node("CumSum", x, []string{axis}, onnx.IntAttribute("reverse", g.r.Int64N(2)), onnx.IntAttribute("exclusive", g.r.Int64N(2)))
	g.tame()
}

// growMixing subtracts from every row the mean of all.
func growMixing(g *grower) {
	x, ok := g.pick(isMatrix)
	if !ok || g.r.IntN(4) != 0 {
		return
	}
	g.mixes = true
	mean := made{name: g.name("mean"), typ: tensor.FP32, shape: []int64{1, x.shape[1]}}
	g.b.Node("ReduceMean", []string{x.name}, []string{mean.name}, onnx.IntsAttribute("axes", 0))
	g.node("Sub", x, []string{mean.name})
}

// growGelu writes GELU out, as older exporters do.
func growGelu(g *grower) {
	x, ok := g.pick(isFloat)
	if !ok {
		return
	}
	e := g.node("Erf", g.node("Div", x, []string{g.constant([]float32{1.4142135})}), nil)
	y := g.node("Mul", x, []string{g.node("Add", e, []string{g.constant([]float32{1})}).name})
	g.node("Mul", y, []string{g.constant([]float32{0.5})})
}

func growVariadic(g *grower) {
	x, ok := g.pick(isFloat)
	if !ok {
		return
	}
	names := []string{"Sum", "Mean", "Max", "Min"}
	more := []string{g.weights(1, x.shape[len(x.shape)-1]), x.name}
	if y, ok := g.pick(func(v made) bool { return isFloat(v) && slices.Equal(v.shape, x.shape) }); ok {
		more = append(more, y.name)
	}
	g.node(names[g.r.IntN(len(names))], x, more)
}

// growQuantize goes to 8 bits and back, by a power of two, so that nothing rounds twice.
func growQuantize(g *grower) {
	x, ok := g.pick(isExact)
	if !ok {
		return
	}
	scale, zero := g.constant([]float32{0.0625}), g.name("z")
	g.b.Initializer(onnx.TensorOf(zero, []uint8{uint8(g.r.IntN(256))}))
	q := g.nodeTo("QuantizeLinear", x, tensor.Uint8, x.shape, []string{scale, zero})
	// ONNX Runtime joins two quantisations in a row, which moves the ends of the range.
	g.nodeTo("DequantizeLinear", q, tensor.FP32, x.shape, []string{scale, zero})
}
