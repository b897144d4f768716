// SPDX-License-Identifier: Apache-2.0

package product

import (
	"errors"
	"fmt"
	"math"

	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/onnx/rewrite"
	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/kernels/vec"
)

// embeddingBag looks up rows of a table and sums, averages or takes the largest of each
// bag of them.
type embeddingBag struct {
	table []float32
	rows  int
	dim   int
	mode  vec.BagMode
	// empty is what a bag without rows gives.
	empty float32
}

func buildEmbeddingBag(n *op.Node) (op.Operator, error) {
	if err := n.Arity(2, 3, 1, 1); err != nil {
		return nil, err
	}
	t := n.In(0)
	if t == nil || t.Rank() != 2 || t.Type != tensor.FP32 {
		return nil, op.NotCovered("a table that is not a constant matrix of FP32")
	}
	o := &embeddingBag{table: op.Floats(t), rows: int(t.Shape[0]), dim: int(t.Shape[1])}
	switch mode := n.Text(rewrite.AttrMode, rewrite.ModeSum); mode {
	case rewrite.ModeSum:
		o.mode = vec.BagSum
	case rewrite.ModeMean:
		o.mode, o.empty = vec.BagMean, float32(math.NaN())
	case rewrite.ModeMax:
		o.mode, o.empty = vec.BagMax, float32(math.Inf(-1))
	default:
		return nil, op.Invalid("mode %q", mode)
	}
	if n.Has(2) && o.mode != vec.BagSum {
		return nil, op.Invalid("factors in another mode than sum")
	}
	return o, nil
}

func (o *embeddingBag) Infer(in, out []*op.Value) error {
	if err := op.Want(in[1], "indices", tensor.Int64, tensor.Int32); err != nil {
		return err
	}
	if in[1].Rank() == 0 {
		return op.Invalid("indices have no dimensions")
	}
	if len(in) > 2 && in[2] != nil && (in[2].Type != tensor.FP32 || in[2].Len() != in[1].Len()) {
		return op.Invalid("factors %s %v for indices of shape %v", in[2].Type, in[2].Shape, in[1].Shape)
	}
	shape := append(tensor.Shape{}, in[1].Shape...)
	shape[len(shape)-1] = int64(o.dim)
	return out[0].Set(tensor.FP32, shape...)
}

func (o *embeddingBag) Bind(in, out []*op.Value, _ *op.Scratch) (op.Run, error) {
	y, bagLen := op.Floats(out[0]), int(in[1].Shape[in[1].Rank()-1])
	if bagLen == 0 {
		return func() error {
			vec.Fill(y, o.empty)
			return nil
		}, nil
	}
	var factors []float32
	if len(in) > 2 && in[2] != nil {
		factors = op.Floats(in[2])
	}
	bags := func(indices []int64) error {
		return vec.EmbeddingBags(y, o.table, o.dim, indices, bagLen, factors, o.mode)
	}
	// Indices are passed on as they are until some count from the end.
	direct := in[1].Type == tensor.Int64 && o.dim > 0
	indices := make([]int64, in[1].Len())
	return func() error {
		if direct {
			if err := bags(op.As[int64](in[1])); !errors.Is(err, vec.ErrIndex) {
				return err
			}
		}
		if err := o.read(indices, in[1]); err != nil {
			return err
		}
		direct = false
		return bags(indices)
	}, nil
}

// read widens the indices and turns those that count from the end.
func (o *embeddingBag) read(indices []int64, v *op.Value) error {
	if v.Type == tensor.Int32 {
		vec.Int32ToInt64(indices, op.As[int32](v))
	} else {
		copy(indices, op.As[int64](v))
	}
	for i, index := range indices {
		if index < 0 {
			indices[i] = index + int64(o.rows)
		}
		if indices[i] < 0 || indices[i] >= int64(o.rows) {
			return fmt.Errorf("index %d of a table of %d rows", index, o.rows)
		}
	}
	return nil
}

func (o *embeddingBag) Rowwise(in []*op.Value, carries []bool) bool {
	factors := len(in) > 2 && in[2] != nil
	return carries[1] && in[1].Rank() > 1 && (!factors || carries[2])
}

// Cost implements op.Coster: a lookup of a row costs about a cache line's way each.
func (o *embeddingBag) Cost(in, _ []*op.Value) float64 {
	return float64(in[1].Len()) * (1 + float64(o.dim)/16)
}

// Describe implements op.Describer.
func (o *embeddingBag) Describe(_, _ []*op.Value) string {
	return fmt.Sprintf("embedding bag of %d x %d", o.rows, o.dim)
}
