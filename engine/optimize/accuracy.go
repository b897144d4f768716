// SPDX-License-Identifier: Apache-2.0

package optimize

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"runtime"

	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// comparison runs a model before and after on one engine.
type comparison struct {
	before, after *runner
	outputs       []*Difference
	// sums are, for each output, of the absolute and the relative differences.
	sums [][2]float64
	// kept are the outputs of all rows, for labels.
	kept map[string]*pair
}

// pair is one output of all rows before and after. texts are for BYTES.
type pair struct {
	datatype                tensor.Datatype
	columns                 int
	before, after           []float64
	beforeTexts, afterTexts []string
}

// compare measures the accuracy on one engine. An error says that the engine does not
// run one of the models.
func compare(ctx context.Context, e Engine, before, after *onnx.Model, o *Options) (a *Accuracy, err error) {
	c := &comparison{kept: make(map[string]*pair)}
	defer func() { err = errors.Join(err, c.close()) }()
	if c.before, err = start(ctx, e, before, runtime.GOMAXPROCS(0)); err != nil {
		return nil, err
	}
	if c.after, err = start(ctx, e, after, runtime.GOMAXPROCS(0)); err != nil {
		return nil, fmt.Errorf("optimized model: %w", err)
	}
	err = batches(o.Data, o.BatchSize, func(from, to int) error {
		if err := c.run(ctx, from, to, o); err != nil {
			return err
		}
		o.Progress("comparing on "+e.Name, to, o.Data.Rows)
		return nil
	})
	if err != nil {
		return nil, err
	}
	a = &Accuracy{Engine: e.Name}
	for i, d := range c.outputs {
		n := max(1, float64(d.Elements-d.Broken))
		d.MeanAbs, d.MeanRelative = c.sums[i][0]/n, c.sums[i][1]/n
		a.Outputs = append(a.Outputs, *d)
	}
	if o.Data.Labels != nil {
		a.Labels, err = c.judge(o)
	}
	return a, err
}

func (c *comparison) close() error {
	var errs []error
	for _, r := range []*runner{c.before, c.after} {
		if r != nil {
			errs = append(errs, r.close())
		}
	}
	return errors.Join(errs...)
}

func (c *comparison) run(ctx context.Context, from, to int, o *Options) error {
	inputs := o.Data.Slice(from, to)
	before, err := c.before.run(ctx, inputs)
	if err != nil {
		return fmt.Errorf("rows %d to %d: %w", from, to-1, err)
	}
	after, err := c.after.run(ctx, inputs)
	if err != nil {
		return fmt.Errorf("optimized model on rows %d to %d: %w", from, to-1, err)
	}
	if c.outputs == nil {
		for i := range before {
			c.outputs = append(c.outputs, &Difference{Output: before[i].Name, Datatype: before[i].Datatype.String()})
		}
		c.sums = make([][2]float64, len(before))
	}
	if len(before) != len(after) {
		return fmt.Errorf("%d outputs before, %d after", len(before), len(after))
	}
	for i := range before {
		if err := c.add(i, &before[i], &after[i], to-from, o); err != nil {
			return fmt.Errorf("output %q: %w", before[i].Name, err)
		}
	}
	return nil
}

// add takes one output of a run into account.
func (c *comparison) add(i int, before, after *tensor.Tensor, rows int, o *Options) error {
	if before.Name != after.Name || before.Datatype != after.Datatype || before.Shape.String() != after.Shape.String() {
		return fmt.Errorf("%s %s%v before, %s %s%v after", before.Name, before.Datatype, before.Shape, after.Name, after.Datatype, after.Shape)
	}
	d := c.outputs[i]
	x, ok := numbers(before)
	y, _ := numbers(after)
	if !ok {
		d.addEqual(before, after)
	} else {
		d.addNumbers(x, y, &c.sums[i])
		d.addArgMax(x, y, before.Shape)
	}
	if o.Data.Labels == nil || len(before.Shape) == 0 || before.Shape[0] != int64(rows) || len(before.Shape) > 2 {
		return nil
	}
	p := c.kept[before.Name]
	if p == nil {
		p = &pair{datatype: before.Datatype, columns: 1}
		if len(before.Shape) == 2 {
			p.columns = int(before.Shape[1])
		}
		c.kept[before.Name] = p
	}
	return p.keep(before, after, x, y)
}

func (p *pair) keep(before, after *tensor.Tensor, x, y []float64) error {
	switch p.datatype {
	case tensor.FP32, tensor.FP64:
		p.before, p.after = append(p.before, x...), append(p.after, y...)
		return nil
	case tensor.Int64, tensor.Int32, tensor.Bytes:
		p.beforeTexts, p.afterTexts = appendTexts(p.beforeTexts, before), appendTexts(p.afterTexts, after)
	}
	return nil
}

// appendTexts appends elements as labels are written.
func appendTexts(list []string, t *tensor.Tensor) []string {
	rest := t.Data
	for len(rest) > 0 {
		var element []byte
		switch t.Datatype {
		case tensor.Int64:
			element, rest = fmt.Append(nil, int64(binary.LittleEndian.Uint64(rest))), rest[8:]
		case tensor.Int32:
			element, rest = fmt.Append(nil, int32(binary.LittleEndian.Uint32(rest))), rest[4:]
		default:
			var err error
			if element, rest, err = tensor.NextBytes(rest); err != nil {
				return list
			}
		}
		list = append(list, string(element))
	}
	return list
}

// numbers are the elements of a tensor of floats; false for other types.
func numbers(t *tensor.Tensor) ([]float64, bool) {
	size := t.Datatype.Size()
	var read func(data []byte) float64
	switch t.Datatype {
	case tensor.FP32:
		read = func(b []byte) float64 { return float64(math.Float32frombits(binary.LittleEndian.Uint32(b))) }
	case tensor.FP64:
		read = func(b []byte) float64 { return math.Float64frombits(binary.LittleEndian.Uint64(b)) }
	case tensor.FP16:
		read = func(b []byte) float64 { return float64(tensor.FP16ToFloat32(binary.LittleEndian.Uint16(b))) }
	case tensor.BF16:
		read = func(b []byte) float64 { return float64(widenBF16(binary.LittleEndian.Uint16(b))) }
	default:
		return nil, false
	}
	list := make([]float64, len(t.Data)/size)
	for i := range list {
		list[i] = read(t.Data[i*size:])
	}
	return list, true
}

// addEqual counts elements that are not the same.
func (d *Difference) addEqual(before, after *tensor.Tensor) {
	elements, _ := before.Shape.Elements()
	d.Elements += elements
	if before.Datatype == tensor.Bytes {
		x, y := appendTexts(nil, before), appendTexts(nil, after)
		for i := range min(len(x), len(y)) {
			if x[i] != y[i] {
				d.Changed++
			}
		}
		return
	}
	size := before.Datatype.Size()
	for i := range int(elements) {
		if !bytes.Equal(before.Data[i*size:(i+1)*size], after.Data[i*size:(i+1)*size]) {
			d.Changed++
		}
	}
}

// addNumbers takes the differences of floats into account.
func (d *Difference) addNumbers(x, y []float64, sums *[2]float64) {
	power, count := 0.0, 0.0
	for _, v := range x {
		if isFinite(v) {
			power += v * v
			count++
		}
	}
	typical := math.Sqrt(power / max(1, count))
	d.Elements += int64(len(x))
	for i := range x {
		if x[i] == y[i] || math.IsNaN(x[i]) && math.IsNaN(y[i]) {
			continue
		}
		if !isFinite(x[i]) || !isFinite(y[i]) {
			d.Broken++
			continue
		}
		absolute := math.Abs(x[i] - y[i])
		relative := 1.0
		if unit := max(math.Abs(x[i]), typical); unit > 0 {
			relative = absolute / unit
		}
		d.MaxAbs, d.MaxRelative = max(d.MaxAbs, absolute), max(d.MaxRelative, relative)
		sums[0] += absolute
		sums[1] += relative
	}
}

// addArgMax compares the largest of several columns.
func (d *Difference) addArgMax(x, y []float64, shape tensor.Shape) {
	if len(shape) != 2 || shape[1] < 2 {
		return
	}
	columns := int(shape[1])
	for from := 0; from+columns <= len(x); from += columns {
		d.ArgMaxRows++
		if argMax(x[from:from+columns]) != argMax(y[from:from+columns]) {
			d.ArgMaxChanged++
		}
	}
}

func argMax(list []float64) int {
	best := 0
	for i, x := range list {
		if x > list[best] {
			best = i
		}
	}
	return best
}
