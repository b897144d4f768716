// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"math"

	"github.com/millrace-ml/millrace/engine/onnx"
)

// activation is a function of one element and its parameters, of which count are used.
type activation struct {
	name        Activation
	count       int
	alpha, beta float32
}

// attributes are those that say the activation on an internal operator.
func (a activation) attributes() []onnx.Attribute {
	list := []onnx.Attribute{onnx.StringAttribute(AttrActivation, string(a.name))}
	if a.count > 0 {
		list = append(list, onnx.FloatAttribute(AttrAlpha, a.alpha))
	}
	if a.count > 1 {
		list = append(list, onnx.FloatAttribute(AttrBeta, a.beta))
	}
	return list
}

// activations reads the nodes that can be the activation of an internal operator.
var activations = map[string]func(n *node) (activation, bool){
	"Relu":                 plainActivation(ActivationRelu),
	"Sigmoid":              plainActivation(ActivationSigmoid),
	"Tanh":                 plainActivation(ActivationTanh),
	"Softplus":             plainActivation(ActivationSoftplus),
	"Mish":                 plainActivation(ActivationMish),
	"HardSwish":            plainActivation(ActivationHardSwish),
	"Gelu":                 geluActivation,
	"LeakyRelu":            withAlpha(ActivationLeakyRelu, 0.01),
	"Elu":                  withAlpha(ActivationElu, 1),
	"Swish":                withAlpha(ActivationSwish, 1),
	"HardSigmoid":          hardSigmoidActivation,
	"Clip":                 clipActivation,
	"PRelu":                preluActivation,
	Domain + "." + OpGelu:  geluActivation,
	Domain + "." + OpSwish: withAlpha(ActivationSwish, 1),
	Domain + "." + OpMish:  plainActivation(ActivationMish),

	Domain + "." + OpHardSwish: plainActivation(ActivationHardSwish),
}

func plainActivation(name Activation) func(*node) (activation, bool) {
	return func(*node) (activation, bool) { return activation{name: name}, true }
}

func withAlpha(name Activation, otherwise float32) func(*node) (activation, bool) {
	return func(n *node) (activation, bool) {
		return activation{name: name, count: 1, alpha: n.float(AttrAlpha, otherwise)}, true
	}
}

func geluActivation(n *node) (activation, bool) {
	switch n.string("approximate", "none") {
	case "none":
		return activation{name: ActivationGelu}, true
	case "tanh":
		return activation{name: ActivationGeluTanh}, true
	}
	return activation{}, false
}

func hardSigmoidActivation(n *node) (activation, bool) {
	return activation{ActivationHardSigmoid, 2, n.float(AttrAlpha, 0.2), n.float(AttrBeta, 0.5)}, true
}

func clipActivation(n *node) (activation, bool) {
	low, high, ok := clipBounds(n)
	return activation{ActivationClip, 2, low, high}, ok
}

// clipBounds are the bounds of a Clip, the largest floats where there are none; false
// where they are not constant.
func clipBounds(n *node) (low, high float32, ok bool) {
	low = n.float("min", -math.MaxFloat32)
	high = n.float("max", math.MaxFloat32)
	for i, limit := range []*float32{&low, &high} {
		v := n.in(1 + i)
		if v == nil {
			continue
		}
		x, ok := floatScalar(v)
		if !ok {
			return 0, 0, false
		}
		*limit = float32(x)
	}
	return low, high, true
}

// preluActivation is PRelu with one slope for all.
func preluActivation(n *node) (activation, bool) {
	slope, ok := floatScalar(n.in(1))
	return activation{name: ActivationLeakyRelu, count: 1, alpha: float32(slope)}, ok
}

// fuseEpilogue puts an activation into the product or convolution that it alone reads.
func fuseEpilogue(r *rewriter, n *node) {
	read := activations[n.op]
	producer := n.in(0).onlyFor(n, "Conv", internalOp(OpLinear), internalOp(OpLinearDynamicInt8), internalOp(OpLinearInt8))
	if producer == nil || producer.has(AttrActivation) || producer.op == internalOp(OpLinearInt8) && producer.in(7) != nil {
		return
	}
	opType := producer.opType
	if opType == "Conv" {
		w, b := producer.in(1), producer.in(2)
		if w == nil || w.tensor == nil || w.tensor.Elem != onnx.ElemFloat || b != nil && b.tensor == nil {
			return
		}
		opType = OpConv
	}
	a, ok := read(n)
	if !ok {
		return
	}
	attributes := append(without(producer.attributes), a.attributes()...)
	r.replace("activation", n, newNode(Domain, opType, producer.inputs, attributes...), producer)
}

// fuseResidual puts the value added to a product into it.
func fuseResidual(r *rewriter, n *node) {
	for i := range 2 {
		residual := n.in(1 - i)
		producer := n.in(i).onlyFor(n, internalOp(OpLinear))
		if producer == nil || residual == nil || producer.has(AttrActivation) || producer.in(3) != nil {
			continue
		}
		if !isFloat(residual) || !sameShape(n.in(i), residual) {
			continue
		}
		inputs := []*value{producer.in(0), producer.in(1), producer.in(2), residual}
		r.replace("residual", n, newNode(Domain, OpLinear, inputs, producer.attributes...), producer)
		return
	}
}
