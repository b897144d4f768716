// SPDX-License-Identifier: Apache-2.0

package quantized

import (
	"fmt"

	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/kernels/cpu"
	"github.com/millrace-ml/millrace/kernels/quant"
)

// weights is a constant right side of 8 bits with its zero points, packed.
type weights struct{ *quant.Packed }

// pack packs a constant matrix, which is [N, K] when transposed. zero is left out, one
// element, or N.
func pack(w, zero *op.Value, transposed bool) (weights, error) {
	if w == nil || w.Rank() != 2 || !isByte(w.Type) {
		return weights{}, op.NotCovered("weights that are not a constant matrix of 8 bits")
	}
	if w.Len() == 0 { // whose other extent may be anything
		return weights{}, op.NotCovered("weights of shape %v", w.Shape)
	}
	k, n := int(w.Shape[0]), int(w.Shape[1])
	if transposed {
		k, n = n, k
	}
	if zero != nil && (zero.Type != w.Type || (zero.Len() != 1 && zero.Len() != n)) {
		return weights{}, op.NotCovered("zero points %s%v for weights %s%v", zero.Type, zero.Shape, w.Type, w.Shape)
	}
	if w.Type == tensor.Int8 {
		return weights{quant.Pack(k, n, op.As[int8](w), int(w.Shape[1]), transposed, zeroPoints[int8](zero))}, nil
	}
	return weights{quant.Pack(k, n, op.As[uint8](w), int(w.Shape[1]), transposed, zeroPoints[uint8](zero))}, nil
}

func zeroPoints[T op.Element](v *op.Value) []T {
	if v == nil {
		return nil
	}
	return op.As[T](v)
}

// rows checks an input's shape and gives the number of its rows.
func (w weights) rows(x *op.Value) (int, error) {
	if x.Rank() == 0 || x.Shape[x.Rank()-1] != int64(w.K()) {
		return 0, op.Invalid("input of shape %v for weights of %d rows", x.Shape, w.K())
	}
	m := 1
	for _, d := range x.Shape[:x.Rank()-1] {
		m *= int(d)
	}
	return m, nil
}

// shape is that of the output for an input.
func (w weights) shape(x *op.Value) tensor.Shape {
	shape := append(tensor.Shape{}, x.Shape...)
	shape[len(shape)-1] = int64(w.N())
	return shape
}

// Measured speed of the kernel with VNNI, for estimates.
const operationsPerNano = 300.0

func (w weights) cost(x *op.Value) float64 {
	return 30 + max(2*float64(x.Len())*float64(w.N())/operationsPerNano, float64(w.Bytes())/70)
}

func (w weights) describe() string {
	return fmt.Sprintf("gemm int8 %dx%d, %s", w.K(), w.N(), cpu.Active())
}

// matMulInteger is the exact product of values of 8 bits.
type matMulInteger struct{ weights }

func buildMatMulInteger(n *op.Node) (op.Operator, error) {
	if err := n.Arity(2, 4, 1, 1); err != nil {
		return nil, err
	}
	if n.Has(3) && n.In(3) == nil {
		return nil, op.NotCovered("a zero point of the weights that is not constant")
	}
	w, err := pack(n.In(1), n.In(3), false)
	return &matMulInteger{w}, err
}

func (o *matMulInteger) Infer(in, out []*op.Value) error {
	if err := op.Want(in[0], "input", tensor.Uint8, tensor.Int8); err != nil {
		return err
	}
	if len(in) > 2 && in[2] != nil && (in[2].Type != in[0].Type || in[2].Len() != 1) {
		return op.NotCovered("zero points %s%v of the input", in[2].Type, in[2].Shape)
	}
	if _, err := o.rows(in[0]); err != nil {
		return err
	}
	return out[0].Set(tensor.Int32, o.shape(in[0])...)
}

func (o *matMulInteger) Bind(in, out []*op.Value, s *op.Scratch) (op.Run, error) {
	m, err := o.rows(in[0])
	if err != nil {
		return nil, err
	}
	var zero *op.Value
	if len(in) > 2 {
		zero = in[2]
	}
	s.Quant.Reserve(m, o.Packed)
	y := op.As[int32](out[0])
	if in[0].Type == tensor.Int8 {
		x := op.As[int8](in[0])
		return func() error {
			quant.Gemm32(m, x, o.K(), zeroOf[int8](zero), o.Packed, y, o.N(), &s.Quant)
			return nil
		}, nil
	}
	x := op.As[uint8](in[0])
	return func() error {
		quant.Gemm32(m, x, o.K(), zeroOf[uint8](zero), o.Packed, y, o.N(), &s.Quant)
		return nil
	}, nil
}

func (o *matMulInteger) Rowwise(in []*op.Value, carries []bool) bool {
	return carries[0] && in[0].Rank() > 1 && (len(in) < 3 || !carries[2])
}

// Releases implements op.Releaser: the weights are packed.
func (*matMulInteger) Releases() []int { return []int{1} }

// Cost implements op.Coster.
func (o *matMulInteger) Cost(in, _ []*op.Value) float64 { return o.cost(in[0]) }

// Describe implements op.Describer.
func (o *matMulInteger) Describe(_, _ []*op.Value) string { return o.describe() }
