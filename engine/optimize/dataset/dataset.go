// SPDX-License-Identifier: Apache-2.0

// Package dataset reads rows for a model from files: CSV with a header, .npy and .npz.
//
// What is read has the datatypes and shapes of the model's inputs; what does not fit is
// an error that names the row and the column. A Data does not change after it is made
// and may be used from many goroutines.
package dataset

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// Options say what is read.
type Options struct {
	// Inputs are what the model takes.
	Inputs []engine.TensorSpec
	// Label is the column or array that holds what the model should have said; empty is
	// none.
	Label string
	// LabelOptional lets data without labels pass.
	LabelOptional bool
	// RowsMax is the most rows that are kept; 0 is no bound.
	RowsMax int
	// AllowNaN takes NaN and empty cells for values, as models of trees do.
	AllowNaN bool
}

// Data is rows for a model.
type Data struct {
	// Inputs are in the order of the model's, with all rows.
	Inputs []tensor.Tensor
	// Labels are one for each row, or nil.
	Labels []string
	// Rows is the number of rows in each input. Unit is what they come in multiples of:
	// 1 where the model takes any number of rows, its fixed number of rows where it does
	// not, and Rows where the rows of its inputs do not belong together.
	Rows, Unit int
	// offsets are, for inputs of BYTES, where each row begins and the last one ends.
	offsets [][]int
}

// New checks tensors, in the order of the model's inputs, and keeps the first rows.
// labels is nil or has an entry for each row.
func New(inputs []tensor.Tensor, labels []string, o Options) (*Data, error) {
	if len(inputs) != len(o.Inputs) {
		return nil, fmt.Errorf("%d inputs given, the model has %d: %s", len(inputs), len(o.Inputs), names(o.Inputs))
	}
	d := &Data{Inputs: slices.Clone(inputs), Labels: labels}
	for i := range d.Inputs {
		if err := checkInput(&d.Inputs[i], &o.Inputs[i], o.AllowNaN); err != nil {
			return nil, fmt.Errorf("input %q: %w", o.Inputs[i].Name, err)
		}
	}
	if err := d.countRows(o.Inputs); err != nil {
		return nil, err
	}
	if labels != nil && len(labels) != d.Rows {
		return nil, fmt.Errorf("%d labels for %d rows", len(labels), d.Rows)
	}
	d.findOffsets()
	return d.head(o)
}

// checkInput compares a tensor with what the model takes. The first extent is the
// number of rows, which countRows judges.
func checkInput(t *tensor.Tensor, spec *engine.TensorSpec, allowNaN bool) error {
	if t.Datatype != spec.Datatype {
		return fmt.Errorf("datatype %s, the model takes %s", t.Datatype, spec.Datatype)
	}
	want := spec.Shape
	if len(want) > 0 && len(t.Shape) == len(want) {
		want = slices.Clone(want)
		want[0] = -1
	}
	if !want.Matches(t.Shape) {
		return fmt.Errorf("shape %v, the model takes %v", t.Shape, spec.Shape)
	}
	elements, err := t.Shape.Elements()
	if err != nil {
		return err
	}
	if size := t.Datatype.Size(); size > 0 && int64(len(t.Data))/int64(size) != elements {
		return fmt.Errorf("%d bytes of data for shape %v", len(t.Data), t.Shape)
	}
	if t.Datatype == tensor.Bytes {
		length, err := tensor.SkipBytes(t.Data, elements)
		if err != nil || length != len(t.Data) {
			return fmt.Errorf("data that is not %d elements of BYTES", elements)
		}
	}
	if allowNaN {
		return nil
	}
	return findNaN(t)
}

// findNaN reports the first NaN of a tensor.
func findNaN(t *tensor.Tensor) error {
	var isNaN func(at int) bool
	switch t.Datatype {
	case tensor.FP32:
		isNaN = func(at int) bool {
			return math.IsNaN(float64(math.Float32frombits(binary.LittleEndian.Uint32(t.Data[4*at:]))))
		}
	case tensor.FP64:
		isNaN = func(at int) bool { return math.IsNaN(math.Float64frombits(binary.LittleEndian.Uint64(t.Data[8*at:]))) }
	default:
		return nil
	}
	at, elements := 0, len(t.Data)/t.Datatype.Size()
	for at < elements && !isNaN(at) {
		at++
	}
	if at == elements {
		return nil
	}
	width := 1
	for _, extent := range t.Shape[min(1, len(t.Shape)):] {
		width *= int(extent)
	}
	return fmt.Errorf("row %d, column %d (counted from 0) is NaN", at/width, at%width)
}

// countRows finds how many rows the inputs have in common.
func (d *Data) countRows(specs []engine.TensorSpec) error {
	open, fixed := -1, 0
	for i := range specs {
		switch shape := specs[i].Shape; {
		case len(shape) > 0 && shape[0] < 0:
			if open >= 0 && d.Inputs[i].Shape[0] != d.Inputs[open].Shape[0] {
				return fmt.Errorf("input %q has %d rows, input %q has %d", specs[open].Name, d.Inputs[open].Shape[0], specs[i].Name, d.Inputs[i].Shape[0])
			}
			open = i
		default:
			fixed++
		}
	}
	switch {
	case fixed == 0 && open >= 0:
		d.Rows, d.Unit = int(d.Inputs[open].Shape[0]), 1
	case open < 0 && d.fixedRows(specs):
	default:
		return d.oneRun(specs, open)
	}
	if d.Rows == 0 {
		return errors.New("there are no rows")
	}
	return nil
}

// fixedRows tries to see the data as several runs of a model that takes a fixed number
// of rows.
func (d *Data) fixedRows(specs []engine.TensorSpec) bool {
	for i := range specs {
		if len(specs[i].Shape) == 0 || specs[i].Shape[0] != specs[0].Shape[0] || d.Inputs[i].Shape[0] != d.Inputs[0].Shape[0] {
			return false
		}
	}
	unit, rows := int(specs[0].Shape[0]), int(d.Inputs[0].Shape[0])
	if unit == 0 || rows%unit != 0 {
		return false
	}
	d.Rows, d.Unit = rows, unit
	return true
}

// oneRun sees the data as the inputs of one run.
func (d *Data) oneRun(specs []engine.TensorSpec, open int) error {
	for i := range specs {
		if !specs[i].Shape.Matches(d.Inputs[i].Shape) {
			return fmt.Errorf("input %q has shape %v, the model takes %v", specs[i].Name, d.Inputs[i].Shape, specs[i].Shape)
		}
	}
	d.Rows = 1
	if open >= 0 {
		d.Rows = max(1, int(d.Inputs[open].Shape[0]))
	}
	d.Unit = d.Rows
	return nil
}

// findOffsets walks the elements of BYTES inputs once.
func (d *Data) findOffsets() {
	d.offsets = make([][]int, len(d.Inputs))
	for i := range d.Inputs {
		t := &d.Inputs[i]
		if t.Datatype != tensor.Bytes || d.whole() || len(t.Shape) == 0 {
			continue
		}
		count, _ := t.Shape[1:].Elements() // the whole shape was checked
		at := 0
		list := []int{0}
		for range d.Rows {
			length, _ := tensor.SkipBytes(t.Data[at:], count)
			at += length
			list = append(list, at)
		}
		d.offsets[i] = list
	}
}

// whole reports whether the data is one run that cannot be cut.
func (d *Data) whole() bool { return d.Unit == d.Rows }

// head keeps as many rows as were asked for.
func (d *Data) head(o Options) (*Data, error) {
	if o.RowsMax <= 0 || o.RowsMax >= d.Rows || d.whole() {
		return d, nil
	}
	rows := o.RowsMax / d.Unit * d.Unit
	if rows == 0 {
		return nil, fmt.Errorf("the model takes %d rows at once, no fewer", d.Unit)
	}
	return d.Head(rows), nil
}

// Head is the first rows of the data, which share its memory.
func (d *Data) Head(rows int) *Data {
	if rows >= d.Rows {
		return d
	}
	short := &Data{Inputs: d.Slice(0, rows), Rows: rows, Unit: d.Unit}
	if d.Labels != nil {
		short.Labels = d.Labels[:rows]
	}
	short.findOffsets()
	return short
}

// Slice is the rows from up to to as inputs, which share the data's memory. Both are
// multiples of Unit.
func (d *Data) Slice(from, to int) []tensor.Tensor {
	inputs := slices.Clone(d.Inputs)
	if from == 0 && to == d.Rows {
		return inputs
	}
	for i := range inputs {
		t := &inputs[i]
		t.Shape = slices.Clone(t.Shape)
		t.Shape[0] = int64(to - from)
		first, last := from, to
		if d.offsets[i] != nil {
			first, last = d.offsets[i][from], d.offsets[i][to]
		} else {
			stride := len(t.Data) / d.Rows
			first, last = from*stride, to*stride
		}
		t.Data = t.Data[first:last:last]
	}
	return inputs
}

func names(specs []engine.TensorSpec) string {
	list := make([]string, len(specs))
	for i, s := range specs {
		list[i] = fmt.Sprintf("%s (%s %v)", s.Name, s.Datatype, s.Shape)
	}
	return strings.Join(list, ", ")
}
