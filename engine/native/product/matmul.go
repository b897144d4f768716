// SPDX-License-Identifier: Apache-2.0

package product

import (
	"slices"

	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/kernels/gemm"
)

// matMul is the product of NumPy: the last two dimensions are matrices, those before
// them are broadcast.
type matMul struct{ weights *weights }

func buildMatMul(n *op.Node) (op.Operator, error) {
	if err := n.Arity(2, 2, 1, 1); err != nil {
		return nil, err
	}
	o := &matMul{}
	if b := n.In(1); b != nil && b.Type == tensor.FP32 && b.Rank() == 2 {
		var err error
		if o.weights, err = pack(b, false); err != nil {
			return nil, err
		}
	}
	return o, nil
}

// batchesMax bounds the matrices of one product, whose places are listed.
const batchesMax = 1 << 22

// multiplication is what a product comes to: batches of m x k times k x n.
type multiplication struct {
	m, k, n int
	// a and b are the places of each batch's matrices.
	a, b  []int
	shape tensor.Shape
}

func multiplicationOf(a, b tensor.Shape) (*multiplication, error) {
	if len(a) == 0 || len(b) == 0 {
		return nil, op.Invalid("shapes %v and %v", a, b)
	}
	left, right := a, b
	if len(a) == 1 {
		left = tensor.Shape{1, a[0]}
	}
	if len(b) == 1 {
		right = tensor.Shape{b[0], 1}
	}
	x := &multiplication{m: int(left[len(left)-2]), k: int(left[len(left)-1]), n: int(right[len(right)-1])}
	if int64(x.k) != right[len(right)-2] {
		return nil, op.Invalid("shapes %v and %v cannot be multiplied", a, b)
	}
	left, right = left[:len(left)-2], right[:len(right)-2]
	batch, err := op.Broadcast(left, right)
	if err != nil {
		return nil, err
	}
	if n, err := batch.Elements(); err != nil || n > batchesMax {
		return nil, op.NotCovered("products of shapes %v and %v, more than %d", a, b, batchesMax)
	}
	x.a, x.b = places(left, batch, x.m*x.k), places(right, batch, x.k*x.n)
	x.shape = slices.Clone(batch)
	if len(a) > 1 {
		x.shape = append(x.shape, int64(x.m))
	}
	if len(b) > 1 {
		x.shape = append(x.shape, int64(x.n))
	}
	return x, nil
}

// places is where the matrix of each batch lies in an operand whose own batches have
// shape from.
func places(from, batch tensor.Shape, size int) []int {
	n, _ := batch.Elements()
	list := make([]int, n)
	for i := range list {
		rest, step := i, size
		for axis := len(batch) - 1; axis >= 0; axis-- {
			k := rest % int(batch[axis])
			rest /= int(batch[axis])
			if own := axis - (len(batch) - len(from)); own >= 0 {
				if from[own] != 1 {
					list[i] += k * step
				}
				step *= int(from[own])
			}
		}
	}
	return list
}

func (o *matMul) Infer(in, out []*op.Value) error {
	x, err := multiplicationOf(in[0].Shape, in[1].Shape)
	if err != nil {
		return err
	}
	if err := op.Want(in[0], "input", tensor.FP32, tensor.FP64, tensor.Int64, tensor.Int32); err != nil {
		return err
	}
	if in[0].Type != in[1].Type {
		return op.Invalid("inputs of types %s and %s", in[0].Type, in[1].Type)
	}
	return out[0].Set(in[0].Type, x.shape...)
}

func (o *matMul) Bind(in, out []*op.Value, s *op.Scratch) (op.Run, error) {
	x, err := multiplicationOf(in[0].Shape, in[1].Shape)
	if err != nil {
		return nil, err
	}
	switch in[0].Type {
	case tensor.FP64:
		return bindMatMulLoop[float64](x, in, out[0]), nil
	case tensor.Int64:
		return bindMatMulLoop[int64](x, in, out[0]), nil
	case tensor.Int32:
		return bindMatMulLoop[int32](x, in, out[0]), nil
	}
	a, b, y := op.Floats(in[0]), op.Floats(in[1]), op.Floats(out[0])
	if o.weights != nil {
		multiply := o.weights.bind(lead(in[0].Shape), a, y, nil, s)
		return func() error {
			multiply()
			return nil
		}, nil
	}
	s.Gemm.ReserveMatMul(x.m, x.k)
	return func() error {
		for i, at := range x.a {
			gemm.MatMul(x.m, x.n, x.k, 1, a[at:], x.k, b[x.b[i]:], x.n, false, y[i*x.m*x.n:], x.n, &s.Gemm)
		}
		return nil
	}, nil
}

func bindMatMulLoop[T int32 | int64 | float64](x *multiplication, in []*op.Value, out *op.Value) op.Run {
	a, b, y := op.As[T](in[0]), op.As[T](in[1]), op.As[T](out)
	return func() error {
		for i, at := range x.a {
			left, right, to := a[at:], b[x.b[i]:], y[i*x.m*x.n:]
			for r := range x.m {
				row := to[r*x.n:][:x.n]
				clear(row)
				for p := range x.k {
					v := left[r*x.k+p]
					for j, w := range right[p*x.n:][:x.n] {
						row[j] += v * w
					}
				}
			}
		}
		return nil
	}
}

func (o *matMul) Rowwise(in []*op.Value, carries []bool) bool {
	a, b := in[0].Rank(), in[1].Rank()
	switch {
	case carries[0] && carries[1]: // batches of both
		return a > 2 && a == b && in[0].Shape[0] == in[1].Shape[0]
	case carries[0]:
		return a > 1 && (b < a || (b == a && b > 2 && in[1].Shape[0] == 1) || b == 2)
	}
	return b > 2 && a < b
}

// Releases implements op.Releaser.
func (o *matMul) Releases() []int {
	if o.weights != nil {
		return []int{1}
	}
	return nil
}

// Cost implements op.Coster.
func (o *matMul) Cost(in, _ []*op.Value) float64 {
	x, err := multiplicationOf(in[0].Shape, in[1].Shape)
	if err != nil {
		return 0
	}
	return float64(len(x.a)) * (callNanos + 2*float64(x.m)*float64(x.k)*float64(x.n)/flopsPerNano)
}

// Describe implements op.Describer.
func (o *matMul) Describe(in, _ []*op.Value) string {
	switch {
	case in[0].Type != tensor.FP32:
		return "plain loop, " + in[0].Type.String()
	case o.weights != nil:
		return o.weights.describe()
	}
	return "gemm f32, both sides unpacked"
}
