// SPDX-License-Identifier: Apache-2.0

package control

import (
	"fmt"
	"math"

	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/onnx/rewrite"
	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/kernels/vec"
)

// bags makes a row of each bag of rows of a table, whose begins and ends come with the
// indices.
type bags struct {
	table     []float32
	rows, dim int
	count     int
	mode      vec.BagMode
	// empty is what a bag without rows gives.
	empty float32
}

func newBags(table *op.Value, count int, mode string) *bags {
	o := &bags{table: op.Floats(table), rows: int(table.Shape[0]), dim: int(table.Shape[1]), count: count, mode: vec.BagSum}
	switch mode {
	case rewrite.ModeMean:
		o.mode, o.empty = vec.BagMean, float32(math.NaN())
	case rewrite.ModeMax:
		o.mode, o.empty = vec.BagMax, float32(math.Inf(-1))
	}
	return o
}

func (o *bags) Infer(_, out []*op.Value) error {
	return out[0].Set(tensor.FP32, int64(o.count), int64(o.dim))
}

func (o *bags) Bind(in, out []*op.Value, _ *op.Scratch) (op.Run, error) {
	x, begins, ends, y := op.As[int64](in[0]), op.As[int64](in[1]), op.As[int64](in[2]), op.Floats(out[0])
	indices, offsets := make([]int64, len(x)), []int64{0}
	return func() error {
		for i := range o.count {
			row := y[i*o.dim : (i+1)*o.dim]
			taken := x[place(begins[i], len(x)):]
			if taken = taken[:max(0, place(ends[i], len(x))-(len(x)-len(taken)))]; len(taken) == 0 {
				vec.Fill(row, o.empty)
				continue
			}
			if err := o.read(indices[:len(taken)], taken); err != nil {
				return fmt.Errorf("turn %d: %w", i, err)
			}
			if err := vec.EmbeddingBag(row, o.table, o.dim, indices[:len(taken)], offsets, nil, o.mode); err != nil {
				return fmt.Errorf("turn %d: %w", i, err)
			}
		}
		return nil
	}, nil
}

// place is the begin or end of a slice of n elements, as Slice takes it.
func place(at int64, n int) int {
	if at < 0 {
		at = max(at, -int64(n)) + int64(n)
	}
	return int(min(at, int64(n)))
}

// read copies indices and turns those that count from the end.
func (o *bags) read(dst, src []int64) error {
	for i, index := range src {
		if dst[i] = index; index < 0 {
			dst[i] += int64(o.rows)
		}
		if dst[i] < 0 || dst[i] >= int64(o.rows) {
			return fmt.Errorf("index %d of a table of %d rows", index, o.rows)
		}
	}
	return nil
}

// Cost implements op.Coster.
func (o *bags) Cost(in, _ []*op.Value) float64 {
	return 20*float64(o.count) + float64(in[0].Len())*(1+float64(o.dim)/16)
}

// Describe implements op.Describer.
func (o *bags) Describe(_, _ []*op.Value) string {
	return fmt.Sprintf("%d embedding bags of %d x %d", o.count, o.rows, o.dim)
}
