// SPDX-License-Identifier: Apache-2.0

package evaluation

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/modelconfig"
	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/featurestore/column"
)

// batchRows is how many rows one run predicts, where the model lets us choose.
const batchRows = 4096

// predictor runs a model over the rows of a batch. It does not change and may be shared;
// each goroutine has an instance of its own.
type predictor struct {
	*loaded
	rows *column.Batch
	// inputs are the columns of each input.
	inputs [][]*column.Column
	// numbers are the rows' places in the file, for messages.
	numbers []int32
	// step is how many rows a run has; fixed says that it can have no others.
	step  int
	fixed bool
}

func newPredictor(m *loaded, rows *column.Batch, numbers []int32) (*predictor, error) {
	p := &predictor{loaded: m, rows: rows, numbers: numbers, step: batchRows}
	for i, names := range m.columns {
		in := &m.spec.Inputs[i]
		var columns []*column.Column
		for _, name := range names {
			c := rows.Column(name)
			if c.Type == column.String && in.Datatype != tensor.Bytes {
				return nil, fmt.Errorf("column %s has texts, input %q takes %s", name, in.Name, in.Datatype)
			}
			columns = append(columns, c)
		}
		p.inputs = append(p.inputs, columns)
		if n := in.Shape[0]; n >= 0 {
			if p.fixed && p.step != int(n) || n == 0 || n > batchRows {
				return nil, fmt.Errorf("input %q takes %d rows at a time, which is not evaluated", in.Name, n)
			}
			p.step, p.fixed = int(n), true
		}
	}
	return p, nil
}

// all predicts all rows, and returns so many outputs for each.
func (p *predictor) all(ctx context.Context, workers int, progress func(int64)) (scores []float64, outputs int, err error) {
	n := p.rows.Rows
	workers = max(1, min(workers, (n+p.step-1)/p.step))
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next, done atomic.Int64
	var width struct {
		sync.Once
		n int
	}
	var everyone sync.WaitGroup
	for range workers {
		instance, err := p.model.NewInstance(engine.Placement{Kind: modelconfig.KindCPU, Threads: 1})
		if err != nil {
			cancel(err)
			break
		}
		everyone.Go(func() {
			defer func() {
				if err := instance.Close(); err != nil {
					cancel(err)
				}
			}()
			for ctx.Err() == nil {
				from := int(next.Add(int64(p.step))) - p.step
				if from >= n {
					return
				}
				to := min(from+p.step, n)
				values, err := p.some(ctx, instance, from, to)
				if err != nil {
					cancel(err)
					return
				}
				each := len(values) / (to - from)
				width.Do(func() { width.n, scores = each, make([]float64, n*each) })
				if each != width.n {
					cancel(fmt.Errorf("output %q has %d columns in one run and %d in another", p.spec.Outputs[p.output].Name, width.n, each))
					return
				}
				copy(scores[from*each:], values)
				progress(done.Add(int64(to - from)))
			}
		})
	}
	everyone.Wait()
	if err := context.Cause(ctx); err != nil {
		return nil, 0, err
	}
	return scores, width.n, nil
}

// some predicts rows from..to; the answer has the same number of values for each row.
func (p *predictor) some(ctx context.Context, instance engine.Instance, from, to int) ([]float64, error) {
	b, err := p.fill(instance, from, to)
	if err != nil {
		return nil, err
	}
	if err := instance.Run(ctx, b); err != nil {
		return nil, fmt.Errorf("rows %d to %d: %w", p.numbers[from]+1, p.numbers[to-1]+1, err)
	}
	out := &b.Outputs[p.output]
	rows := to - from
	if p.fixed {
		rows = p.step
	}
	if len(out.Shape) == 0 || out.Shape[0] != int64(rows) {
		return nil, fmt.Errorf("output %q has shape %v for %d rows", out.Name, out.Shape, rows)
	}
	values, err := numbersOf(out)
	if err != nil {
		return nil, err
	}
	if len(values) < rows {
		return nil, fmt.Errorf("output %q has shape %v: there are no predictions in it", out.Name, out.Shape)
	}
	return values[:len(values)/rows*(to-from)], nil
}

// fill prepares a run. Where the model takes a fixed number of rows, the last of them is
// repeated to fill it up.
func (p *predictor) fill(instance engine.Instance, from, to int) (*engine.Binding, error) {
	rows := to - from
	if p.fixed {
		rows = p.step
	}
	shapes := make([]tensor.Shape, len(p.inputs))
	for i, columns := range p.inputs {
		shapes[i] = tensor.Shape{int64(rows)}
		if len(p.spec.Inputs[i].Shape) == 2 {
			shapes[i] = append(shapes[i], int64(len(columns)))
		}
	}
	b, err := instance.Bind(shapes)
	if err != nil {
		return nil, err
	}
	for i, columns := range p.inputs {
		in := &b.Inputs[i]
		if in.Datatype == tensor.FP32 {
			fillFloats(in.Data, columns, from, to, rows)
			continue
		}
		if in.Data, err = p.fillOther(in, columns, from, to, rows); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// fillFloats is the loop that most models spend their input on: column by column into rows.
func fillFloats(data []byte, columns []*column.Column, from, to, rows int) {
	width := 4 * len(columns)
	for at, c := range columns {
		for r := range rows {
			v := float32(c.Number(min(from+r, to-1)))
			binary.LittleEndian.PutUint32(data[r*width+4*at:], math.Float32bits(v))
		}
	}
}

func (p *predictor) fillOther(in *tensor.Tensor, columns []*column.Column, from, to, rows int) ([]byte, error) {
	data := in.Data[:0]
	for r := range rows {
		row := min(from+r, to-1)
		for _, c := range columns {
			var err error
			if data, err = appendValue(data, in.Datatype, c, row); err != nil {
				return nil, fmt.Errorf("row %d: column %s: %w", p.numbers[row]+1, c.Name, err)
			}
		}
	}
	return data, nil
}

var errNull = errors.New("there is no value, and the model's input has no way to say so")

func appendValue(data []byte, d tensor.Datatype, c *column.Column, row int) ([]byte, error) {
	if d == tensor.Bytes {
		text := ""
		if !c.Null(row) {
			text = textOf(c, row)
		}
		return tensor.AppendBytes(data, []byte(text)), nil
	}
	v := c.Number(row)
	if d == tensor.FP64 {
		return binary.LittleEndian.AppendUint64(data, math.Float64bits(v)), nil
	}
	if math.IsNaN(v) {
		return data, errNull
	}
	whole := int64(v)
	if c.Type == column.Int64 || c.Type == column.Timestamp {
		whole = c.Ints[row]
	} else if v != math.Trunc(v) || math.Abs(v) > column.IntegerMax {
		return data, fmt.Errorf("%v is not a whole number, the model takes %s", v, d)
	}
	return appendWhole(data, d, whole)
}

// wholeBounds are the smallest and the largest values of a datatype.
var wholeBounds = map[tensor.Datatype][2]int64{
	tensor.Bool: {0, 1}, tensor.Uint8: {0, math.MaxUint8}, tensor.Uint16: {0, math.MaxUint16}, tensor.Uint32: {0, math.MaxUint32},
	tensor.Uint64: {0, math.MaxInt64}, tensor.Int8: {math.MinInt8, math.MaxInt8}, tensor.Int16: {math.MinInt16, math.MaxInt16},
	tensor.Int32: {math.MinInt32, math.MaxInt32}, tensor.Int64: {math.MinInt64, math.MaxInt64},
}

func appendWhole(data []byte, d tensor.Datatype, v int64) ([]byte, error) {
	bounds, known := wholeBounds[d]
	if !known || v < bounds[0] || v > bounds[1] {
		return data, fmt.Errorf("%d is no %s", v, d)
	}
	var bytes [8]byte
	binary.LittleEndian.PutUint64(bytes[:], uint64(v))
	return append(data, bytes[:d.Size()]...), nil
}

// numbersOf are the elements of an output.
func numbersOf(t *tensor.Tensor) ([]float64, error) {
	values := make([]float64, len(t.Data)/t.Datatype.Size())
	for i := range values {
		switch t.Datatype {
		case tensor.FP32:
			values[i] = float64(math.Float32frombits(binary.LittleEndian.Uint32(t.Data[4*i:])))
		case tensor.FP64:
			values[i] = math.Float64frombits(binary.LittleEndian.Uint64(t.Data[8*i:]))
		case tensor.Int64:
			values[i] = float64(int64(binary.LittleEndian.Uint64(t.Data[8*i:])))
		default:
			return nil, fmt.Errorf("output %q is %s, which is not read as predictions", t.Name, t.Datatype)
		}
	}
	return values, nil
}
