// SPDX-License-Identifier: Apache-2.0

// Package product holds the operators that multiply matrices: dense layers, products of
// two inputs, embedding bags.
//
// Constant weights are packed when the model is loaded, and the steps of a layer (bias,
// residual, activation) are done while a block of the product is still in registers or
// cache. FP64 and integers, which scaling and glue use, run in plain Go.
package product

import (
	"fmt"

	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/onnx/rewrite"
	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/kernels/act"
	"github.com/millrace-ml/millrace/kernels/cpu"
	"github.com/millrace-ml/millrace/kernels/gemm"
)

// Operators lists what this package runs.
func Operators() []op.Definition {
	return []op.Definition{
		{Name: "Gemm", Since: 7, Build: buildGemm},
		{Name: "MatMul", Since: 1, Build: buildMatMul},
		{Domain: rewrite.Domain, Name: rewrite.OpLinear, Since: 1, Build: buildLinear},
		{Domain: rewrite.Domain, Name: rewrite.OpEmbeddingBag, Since: 1, Build: buildEmbeddingBag},
	}
}

// Measured speeds of the kernels on a core with AVX-512, for estimates.
const (
	flopsPerNano       = 90.0
	weightBytesPerNano = 70.0
	callNanos          = 20.0
)

// weights is a constant right side, packed.
type weights struct {
	f32  *gemm.Packed
	bf16 *gemm.PackedBF16
	k, n int
}

// pack packs a constant of rank 2, which is [N, K] when transposed.
func pack(w *op.Value, transposed bool) (*weights, error) {
	if w == nil || w.Rank() != 2 {
		return nil, op.Invalid("weights are not a constant matrix")
	}
	k, n := int(w.Shape[0]), int(w.Shape[1])
	if transposed {
		k, n = n, k
	}
	p := &weights{k: k, n: n}
	ldb := int(w.Shape[1])
	switch w.Type {
	case tensor.FP32:
		p.f32 = gemm.Pack(k, n, op.Floats(w), ldb, transposed)
	case tensor.BF16:
		p.bf16 = gemm.PackBF16Bits(k, n, op.As[uint16](w), ldb, transposed)
	case tensor.FP16:
		wide := make([]float32, w.Len())
		for i, bits := range op.As[uint16](w) {
			wide[i] = tensor.FP16ToFloat32(bits)
		}
		p.f32 = gemm.Pack(k, n, wide, ldb, transposed)
	default:
		return nil, op.NotCovered("weights of type %s", w.Type)
	}
	return p, nil
}

func (w *weights) bytes() int {
	if w.bf16 != nil {
		return w.bf16.Bytes()
	}
	return w.f32.Bytes()
}

// bind makes the function that computes y = x*w of m rows.
func (w *weights) bind(m int, x, y []float32, e *gemm.Epilogue, s *op.Scratch) func() {
	if w.bf16 != nil {
		s.Gemm.ReserveBF16(m, w.bf16)
		return func() { gemm.GemmBF16(m, x, w.k, w.bf16, y, w.n, e, &s.Gemm) }
	}
	s.Gemm.Reserve(m, w.f32)
	return gemm.Prepare(m, x, w.k, w.f32, y, w.n, e, &s.Gemm).Run
}

// cost estimates a product of m rows.
func (w *weights) cost(m int) float64 {
	return callNanos + max(2*float64(m)*float64(w.k)*float64(w.n)/flopsPerNano, float64(w.bytes())/weightBytesPerNano)
}

func (w *weights) describe() string {
	kind := "f32"
	if w.bf16 != nil {
		kind = "bf16"
	}
	return fmt.Sprintf("gemm %s %dx%d, %s", kind, w.k, w.n, cpu.Active())
}

// activation is what a layer ends in: in the epilogue of the product where the kernel
// has it, else in place after it.
type activation struct {
	name  rewrite.Activation
	fused gemm.Activation
	alpha float32
	beta  float32
	after func(dst, src []float32)
}

func activationOf(n *op.Node) (activation, error) {
	a := activation{name: rewrite.Activation(n.Text(rewrite.AttrActivation, ""))}
	alpha, beta := n.Float(rewrite.AttrAlpha, 0), n.Float(rewrite.AttrBeta, 0)
	a.alpha, a.beta = alpha, beta
	switch a.name {
	case "":
	case rewrite.ActivationRelu:
		a.fused = gemm.Relu
	case rewrite.ActivationLeakyRelu:
		a.fused = gemm.LeakyRelu
	case rewrite.ActivationClip:
		a.fused = gemm.Clip
	case rewrite.ActivationSigmoid:
		a.fused = gemm.Sigmoid
	case rewrite.ActivationTanh:
		a.fused = gemm.Tanh
	case rewrite.ActivationGelu:
		a.fused = gemm.Gelu
	case rewrite.ActivationGeluTanh:
		a.fused = gemm.GeluTanh
	case rewrite.ActivationSwish:
		a.fused = gemm.Silu
		if alpha != 1 {
			return a, op.NotCovered("activation Swish with alpha %g", alpha)
		}
	case rewrite.ActivationHardSigmoid:
		a.fused = gemm.HardSigmoid
	case rewrite.ActivationHardSwish:
		a.fused = gemm.HardSwish
	case rewrite.ActivationElu:
		a.fused = gemm.Elu
	case rewrite.ActivationSoftplus:
		a.fused = gemm.Softplus
	case rewrite.ActivationMish:
		a.after = act.Mish
	default:
		return a, op.NotCovered("activation %q", a.name)
	}
	return a, nil
}

// epilogue is the activation with a bias, nil when there is neither.
func (a *activation) epilogue(bias []float32) *gemm.Epilogue {
	if bias == nil && a.fused == gemm.None {
		return nil
	}
	return &gemm.Epilogue{Bias: bias, Activation: a.fused, Alpha: a.alpha, Beta: a.beta}
}

// withAfter adds to a product the activation that the kernel does not have.
func (a *activation) withAfter(product func(), y []float32) op.Run {
	if a.after == nil {
		return func() error {
			product()
			return nil
		}
	}
	return func() error {
		product()
		a.after(y, y)
		return nil
	}
}

// lead is the number of rows when all dimensions but the last are taken as one.
func lead(shape tensor.Shape) int {
	n := 1
	for _, d := range shape[:len(shape)-1] {
		n *= int(d)
	}
	return n
}
