// SPDX-License-Identifier: Apache-2.0

package reduction

import (
	"math"

	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/kernels/act"
)

func softmaxOperators() []op.Definition {
	return []op.Definition{
		{Name: "Softmax", Since: 1, Build: buildSoftmax(act.Softmax, softmaxLine)},
		{Name: "LogSoftmax", Since: 1, Build: buildSoftmax(act.LogSoftmax, logSoftmaxLine)},
		{Name: "Hardmax", Since: 1, Build: buildSoftmax(hardmaxRows, hardmaxLine)},
	}
}

// softmax turns lines of numbers into shares, along an axis.
type softmax struct {
	axis int64
	// flat says that lines are all that lies behind the axis, as before opset 13.
	flat bool
	rows func(dst, src []float32, rows, cols int)
	line func(line []float64)
}

func buildSoftmax(rows func(dst, src []float32, rows, cols int), line func([]float64)) func(n *op.Node) (op.Operator, error) {
	return func(n *op.Node) (op.Operator, error) {
		o := &softmax{axis: n.Int("axis", -1), rows: rows, line: line}
		if n.Version < 13 {
			o.axis, o.flat = n.Int("axis", 1), true
		}
		return o, n.Arity(1, 1, 1, 1)
	}
}

func (o *softmax) lines(in *op.Value) (lines, error) {
	axis, err := op.Axis(o.axis, in.Rank())
	if o.flat && o.axis == int64(in.Rank()) {
		return lines{in.Len(), 1, 1}, nil
	}
	if err != nil {
		return lines{}, err
	}
	l := linesOf(in.Shape, axis)
	if o.flat {
		l = lines{l.outer, l.extent * l.inner, 1}
	}
	return l, nil
}

func (o *softmax) Infer(in, out []*op.Value) error {
	if _, err := o.lines(in[0]); err != nil {
		return err
	}
	if err := op.Want(in[0], "input", tensor.FP32, tensor.FP64); err != nil {
		return err
	}
	return out[0].Set(in[0].Type, in[0].Shape...)
}

func (o *softmax) Bind(in, out []*op.Value, _ *op.Scratch) (op.Run, error) {
	l, err := o.lines(in[0])
	if err != nil || in[0].Len() == 0 { // lines may still have an extent then
		return nil, err
	}
	if in[0].Type == tensor.FP64 {
		return bindLines[float64](o, l, in[0], out[0]), nil
	}
	if l.inner > 1 {
		return bindLines[float32](o, l, in[0], out[0]), nil
	}
	x, y := op.Floats(in[0]), op.Floats(out[0])
	return func() error {
		o.rows(y, x, l.outer, l.extent)
		return nil
	}, nil
}

func bindLines[T float32 | float64](o *softmax, l lines, in, out *op.Value) op.Run {
	x, y, line := op.As[T](in), op.As[T](out), make([]float64, l.extent)
	return func() error {
		l.each(func(first int) {
			for k := range line {
				line[k] = float64(x[first+k*l.inner])
			}
			o.line(line)
			for k, v := range line {
				y[first+k*l.inner] = T(v)
			}
		})
		return nil
	}
}

func softmaxLine(line []float64) {
	largest, sum := peak(line)
	for k, v := range line {
		line[k] = math.Exp(v-largest) / sum
	}
}

func logSoftmaxLine(line []float64) {
	largest, sum := peak(line)
	for k, v := range line {
		line[k] = v - largest - math.Log(sum)
	}
}

// peak is the largest element, and the sum of the exponentials relative to it.
func peak(line []float64) (largest, sum float64) {
	largest = math.Inf(-1)
	for _, v := range line {
		largest = max(largest, v)
	}
	for _, v := range line {
		sum += math.Exp(v - largest)
	}
	return largest, sum
}

func hardmaxLine(line []float64) {
	best := 0
	for k, v := range line {
		if v > line[best] {
			best = k
		}
	}
	clear(line)
	if len(line) > 0 {
		line[best] = 1
	}
}

func hardmaxRows(dst, src []float32, rows, cols int) {
	for r := range rows {
		row, to := src[r*cols:][:cols], dst[r*cols:][:cols]
		best := 0
		for k, v := range row {
			if v > row[best] {
				best = k
			}
		}
		clear(to)
		if cols > 0 {
			to[best] = 1
		}
	}
}

func (o *softmax) Rowwise(in []*op.Value, carries []bool) bool {
	l, err := o.lines(in[0])
	return err == nil && carries[0] && in[0].Rank() > 0 && l.outer > 1 && l.outer%int(max(1, in[0].Shape[0])) == 0
}

// InPlace holds where the kernels run; the other path reads a line before it writes it.
func (*softmax) InPlace() []int { return []int{0} }

// Cost implements op.Coster.
func (*softmax) Cost(in, _ []*op.Value) float64 { return 0.5 * float64(in[0].Len()) }
