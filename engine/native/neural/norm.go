// SPDX-License-Identifier: Apache-2.0

package neural

import (
	"math"

	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/kernels/act"
	"github.com/millrace-ml/millrace/kernels/vec"
)

func normOperators() []op.Definition {
	return []op.Definition{
		{Name: "GroupNormalization", Since: 18, Build: buildGroupNorm},
		{Name: "LRN", Since: 1, Build: buildLRN},
	}
}

// groupNorm normalises groups of channels of each row.
type groupNorm struct {
	groups  int
	epsilon float32
	// each says that scale and bias are by channel; in version 18 they were by group.
	each bool
}

func buildGroupNorm(n *op.Node) (op.Operator, error) {
	groups := n.Int("num_groups", 0)
	if groups < 1 || groups > extentMax {
		return nil, op.Invalid("num_groups %d", groups)
	}
	if err := n.Arity(3, 3, 1, 1); err != nil {
		return nil, err
	}
	return &groupNorm{int(groups), n.Float("epsilon", 1e-5), n.Version >= 21}, n.Err()
}

func (o *groupNorm) Infer(in, out []*op.Value) error {
	for _, v := range in {
		if err := op.Want(v, "input", tensor.FP32); err != nil {
			return err
		}
	}
	shape := in[0].Shape
	if len(shape) < 2 || shape[1]%int64(o.groups) != 0 {
		return op.Invalid("shape %v in %d groups", shape, o.groups)
	}
	want := int64(o.groups)
	if o.each {
		want = shape[1]
	}
	for _, v := range in[1:] {
		if int64(v.Len()) != want {
			return op.Invalid("parameters of shape %v for %d groups of shape %v", v.Shape, o.groups, shape)
		}
	}
	return out[0].Set(tensor.FP32, shape...)
}

func (o *groupNorm) Bind(in, out []*op.Value, _ *op.Scratch) (op.Run, error) {
	x, y, scale, bias := op.Floats(in[0]), op.Floats(out[0]), op.Floats(in[1]), op.Floats(in[2])
	if len(y) == 0 {
		return nil, nil
	}
	channels := int(in[0].Shape[1])
	planes := int(in[0].Shape[0]) * channels
	plane, perGroup := len(x)/planes, channels/o.groups
	return func() error {
		act.LayerNorm(y, x, planes/perGroup, plane*perGroup, nil, nil, o.epsilon)
		for p := range planes {
			i := p % channels
			if !o.each {
				i /= perGroup
			}
			to := y[p*plane:][:plane]
			vec.MulScalar(to, to, scale[i])
			vec.AddScalar(to, to, bias[i])
		}
		return nil
	}, nil
}

// Rowwise implements op.Rowwiser.
func (*groupNorm) Rowwise(_ []*op.Value, carries []bool) bool {
	return carries[0] && !carries[1] && !carries[2]
}

// InPlace implements op.InPlacer.
func (*groupNorm) InPlace() []int { return []int{0} }

// lrn divides by a power of the sum of squares over neighbouring channels.
type lrn struct {
	size              int
	alpha, beta, bias float64
}

func buildLRN(n *op.Node) (op.Operator, error) {
	size := n.Int("size", 0)
	if size < 1 || size > extentMax {
		return nil, op.Invalid("size %d", size)
	}
	if err := n.Arity(1, 1, 1, 1); err != nil {
		return nil, err
	}
	return &lrn{
		int(size), float64(n.Float("alpha", 0.0001)), float64(n.Float("beta", 0.75)), float64(n.Float("bias", 1)),
	}, n.Err()
}

func (o *lrn) Infer(in, out []*op.Value) error {
	if err := op.Want(in[0], "input", tensor.FP32); err != nil {
		return err
	}
	if in[0].Rank() < 2 {
		return op.Invalid("shape %v, want rows and channels", in[0].Shape)
	}
	return out[0].Set(tensor.FP32, in[0].Shape...)
}

func (o *lrn) Bind(in, out []*op.Value, _ *op.Scratch) (op.Run, error) {
	x, y := op.Floats(in[0]), op.Floats(out[0])
	if len(y) == 0 {
		return nil, nil
	}
	rows, channels := int(in[0].Shape[0]), int(in[0].Shape[1])
	plane := len(x) / (rows * channels)
	before, after := (o.size-1)/2, o.size/2
	return func() error {
		for row := range rows {
			from, to := x[row*channels*plane:], y[row*channels*plane:]
			for c := range channels {
				first, last := max(0, c-before), min(channels-1, c+after)
				for i := range plane {
					sum := 0.0
					for k := first; k <= last; k++ {
						v := float64(from[k*plane+i])
						sum += v * v
					}
					divisor := math.Pow(o.bias+o.alpha/float64(o.size)*sum, o.beta)
					to[c*plane+i] = float32(float64(from[c*plane+i]) / divisor)
				}
			}
		}
		return nil
	}, nil
}

// Rowwise implements op.Rowwiser.
func (*lrn) Rowwise(_ []*op.Value, carries []bool) bool { return carries[0] }

// Cost implements op.Coster.
func (o *lrn) Cost(in, _ []*op.Value) float64 {
	return callNanos + float64(in[0].Len())*(20+float64(o.size))
}
