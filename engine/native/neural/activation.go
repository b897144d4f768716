// SPDX-License-Identifier: Apache-2.0

package neural

import (
	"math"

	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/onnx/rewrite"
	"github.com/millrace-ml/millrace/kernels/act"
)

// activation is what a convolution ends in: limits, which the kernel does, and a
// function for what it does not.
type activation struct {
	name      rewrite.Activation
	low, high float32
	after     func(dst, src []float32)
}

// plainLow and plainHigh limit nothing.
var plainLow, plainHigh = float32(math.Inf(-1)), float32(math.Inf(1))

func activationOf(n *op.Node) (activation, error) {
	a := activation{
		name: rewrite.Activation(n.Text(rewrite.AttrActivation, "")),
		low:  plainLow, high: plainHigh,
	}
	alpha, beta := n.Float(rewrite.AttrAlpha, 0), n.Float(rewrite.AttrBeta, 0)
	switch a.name {
	case "":
	case rewrite.ActivationRelu:
		a.low = 0
	case rewrite.ActivationClip:
		a.low, a.high = alpha, beta
	case rewrite.ActivationLeakyRelu:
		a.after = func(dst, src []float32) { act.LeakyRelu(dst, src, alpha) }
	case rewrite.ActivationElu:
		a.after = func(dst, src []float32) { act.Elu(dst, src, alpha) }
	case rewrite.ActivationHardSigmoid:
		a.after = func(dst, src []float32) { act.HardSigmoid(dst, src, alpha, beta) }
	default:
		a.after = plainActivations[a.name]
		if a.after == nil {
			return a, op.NotCovered("activation %q", a.name)
		}
		if a.name == rewrite.ActivationSwish && alpha != 1 {
			return a, op.NotCovered("activation Swish with alpha %g", alpha)
		}
	}
	return a, n.Err()
}

// plainActivations are those without parameters.
var plainActivations = map[rewrite.Activation]func(dst, src []float32){
	rewrite.ActivationSigmoid:   act.Sigmoid,
	rewrite.ActivationTanh:      act.Tanh,
	rewrite.ActivationGelu:      act.Gelu,
	rewrite.ActivationGeluTanh:  act.GeluTanh,
	rewrite.ActivationSwish:     act.Silu,
	rewrite.ActivationHardSwish: act.HardSwish,
	rewrite.ActivationSoftplus:  act.Softplus,
	rewrite.ActivationMish:      act.Mish,
}
