// SPDX-License-Identifier: Apache-2.0

// Package activation reads the function that a fused layer ends in, for layers whose
// kernels do no more than limits themselves. Its values do not change after Of.
package activation

import (
	"math"

	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/onnx/rewrite"
	"github.com/millrace-ml/millrace/kernels/act"
)

// Activation is what a layer ends in: limits, which kernels do, and a function for what
// they do not.
type Activation struct {
	Name rewrite.Activation
	// Low and High limit the output; infinite where they do not.
	Low, High float32
	// After is applied in place to what the kernel gives; nil where nothing is left.
	After func(dst, src []float32)
}

// Of reads the activation of a node. Errors wrap op.ErrNotCovered.
func Of(n *op.Node) (Activation, error) {
	a := Activation{
		Name: rewrite.Activation(n.Text(rewrite.AttrActivation, "")),
		Low:  float32(math.Inf(-1)), High: float32(math.Inf(1)),
	}
	alpha, beta := n.Float(rewrite.AttrAlpha, 0), n.Float(rewrite.AttrBeta, 0)
	switch a.Name {
	case "":
	case rewrite.ActivationRelu:
		a.Low = 0
	case rewrite.ActivationClip:
		a.Low, a.High = alpha, beta
	case rewrite.ActivationLeakyRelu:
		a.After = func(dst, src []float32) { act.LeakyRelu(dst, src, alpha) }
	case rewrite.ActivationElu:
		a.After = func(dst, src []float32) { act.Elu(dst, src, alpha) }
	case rewrite.ActivationHardSigmoid:
		a.After = func(dst, src []float32) { act.HardSigmoid(dst, src, alpha, beta) }
	default:
		a.After = plain[a.Name]
		if a.After == nil {
			return a, op.NotCovered("activation %q", a.Name)
		}
		if a.Name == rewrite.ActivationSwish && alpha != 1 {
			return a, op.NotCovered("activation Swish with alpha %g", alpha)
		}
	}
	return a, n.Err()
}

// Limits reports whether Low or High limit anything.
func (a *Activation) Limits() bool {
	return !math.IsInf(float64(a.Low), -1) || !math.IsInf(float64(a.High), 1)
}

// plain are the functions without parameters.
var plain = map[rewrite.Activation]func(dst, src []float32){
	rewrite.ActivationSigmoid:   act.Sigmoid,
	rewrite.ActivationTanh:      act.Tanh,
	rewrite.ActivationGelu:      act.Gelu,
	rewrite.ActivationGeluTanh:  act.GeluTanh,
	rewrite.ActivationSwish:     act.Silu,
	rewrite.ActivationHardSwish: act.HardSwish,
	rewrite.ActivationSoftplus:  act.Softplus,
	rewrite.ActivationMish:      act.Mish,
}
