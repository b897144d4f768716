// SPDX-License-Identifier: Apache-2.0

package dataset

import (
	"encoding/binary"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// table is where the columns of a CSV file go.
type table struct {
	header []string
	label  int // -1 where there is none
	// columns are, for each input of the model, those that make its row.
	columns [][]int
	inputs  []tensor.Tensor
	labels  []string
	o       Options
}

func readCSV(f *os.File, o Options) (*Data, error) {
	reader := csv.NewReader(f)
	reader.ReuseRecord = true
	header, err := reader.Read()
	if errors.Is(err, io.EOF) {
		return nil, errors.New("the file is empty: the first line names the columns")
	}
	if err != nil {
		return nil, err
	}
	t := &table{header: slices.Clone(header), label: -1, o: o}
	if err := t.assign(); err != nil {
		return nil, err
	}
	for rows := 0; o.RowsMax <= 0 || rows < o.RowsMax; rows++ {
		record, err := reader.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		line, _ := reader.FieldPos(0)
		if err := t.add(record); err != nil {
			return nil, fmt.Errorf("line %d, %w", line, err)
		}
	}
	return New(t.inputs, t.labels, o)
}

// assign finds the columns of each input: all but the label's for a model of one
// input, else those that are called as the inputs are.
func (t *table) assign() error {
	var rest []int
	for i, name := range t.header {
		t.header[i] = strings.TrimSpace(strings.TrimPrefix(name, "\ufeff"))
		if t.header[i] == t.o.Label && t.o.Label != "" {
			t.label = i
			continue
		}
		rest = append(rest, i)
	}
	if t.o.Label != "" && t.label < 0 && !t.o.LabelOptional {
		return fmt.Errorf("no column %q for the labels; the header has %s", t.o.Label, strings.Join(t.header, ", "))
	}
	for _, spec := range t.o.Inputs {
		columns, width, err := t.columnsOf(&spec, rest)
		if err != nil {
			return err
		}
		shape := tensor.Shape{0}
		if len(spec.Shape) == 2 {
			shape = append(shape, int64(width))
		}
		t.columns = append(t.columns, columns)
		t.inputs = append(t.inputs, tensor.Tensor{Name: spec.Name, Datatype: spec.Datatype, Shape: shape})
	}
	return nil
}

func (t *table) columnsOf(spec *engine.TensorSpec, rest []int) (columns []int, width int, err error) {
	width = -1
	switch len(spec.Shape) {
	case 1:
		width = 1
	case 2:
		width = int(spec.Shape[1])
	default:
		return nil, 0, fmt.Errorf("input %q has shape %v: CSV is for inputs of rows and columns; use .npz or JSON", spec.Name, spec.Shape)
	}
	if spec.Datatype.Size() == 2 && spec.Datatype != tensor.Int16 && spec.Datatype != tensor.Uint16 {
		return nil, 0, fmt.Errorf("input %q is %s, which CSV is not read as: use .npz or JSON", spec.Name, spec.Datatype)
	}
	if len(t.o.Inputs) == 1 {
		if width >= 0 && width != len(rest) {
			return nil, 0, fmt.Errorf("%d columns beside the label, input %q takes %d", len(rest), spec.Name, width)
		}
		return rest, len(rest), nil
	}
	at := slices.Index(t.header, spec.Name)
	if at < 0 || width > 1 {
		return nil, 0, fmt.Errorf("no column for input %q of shape %v: a model of several inputs takes one column for each, of the same name", spec.Name, spec.Shape)
	}
	return []int{at}, 1, nil
}

// add appends one line.
func (t *table) add(record []string) error {
	for i := range t.inputs {
		in := &t.inputs[i]
		for _, column := range t.columns[i] {
			data, err := appendCell(in.Data, in.Datatype, record[column], t.o.AllowNaN)
			if err != nil {
				return fmt.Errorf("column %q: %w", t.header[column], err)
			}
			in.Data = data
		}
		in.Shape[0]++
		if len(in.Data) > bytesMax {
			return fmt.Errorf("input %q: more than %d bytes", in.Name, int64(bytesMax))
		}
	}
	if t.label >= 0 {
		label := strings.TrimSpace(record[t.label])
		if label == "" {
			return fmt.Errorf("column %q: the label is empty", t.header[t.label])
		}
		t.labels = append(t.labels, label)
	}
	return nil
}

// appendCell appends what a cell holds as an element.
func appendCell(data []byte, d tensor.Datatype, cell string, allowNaN bool) ([]byte, error) {
	if d == tensor.Bytes {
		return tensor.AppendBytes(data, []byte(cell)), nil
	}
	text := strings.TrimSpace(cell)
	switch d {
	case tensor.FP32, tensor.FP64:
		x, err := float(text, d.Size()*8, allowNaN)
		if err != nil {
			return nil, err
		}
		if d == tensor.FP32 {
			return binary.LittleEndian.AppendUint32(data, math.Float32bits(float32(x))), nil
		}
		return binary.LittleEndian.AppendUint64(data, math.Float64bits(x)), nil
	case tensor.Bool:
		x, err := strconv.ParseBool(strings.ToLower(text))
		if err != nil {
			return nil, fmt.Errorf("%.40q is not true or false", text)
		}
		if x {
			return append(data, 1), nil
		}
		return append(data, 0), nil
	case tensor.Uint8, tensor.Uint16, tensor.Uint32, tensor.Uint64:
		x, err := strconv.ParseUint(text, 10, d.Size()*8)
		if err != nil {
			return nil, fmt.Errorf("%.40q is not a whole number of %s", text, d)
		}
		return appendInt(data, d, x), nil
	}
	x, err := strconv.ParseInt(text, 10, d.Size()*8)
	if err != nil {
		return nil, fmt.Errorf("%.40q is not a whole number of %s", text, d)
	}
	return appendInt(data, d, uint64(x)), nil
}

func float(text string, bits int, allowNaN bool) (float64, error) {
	if text == "" && allowNaN {
		return math.NaN(), nil
	}
	x, err := strconv.ParseFloat(text, bits)
	switch {
	case text == "":
		return 0, errors.New("the cell is empty; with NaN allowed it would stand for NaN")
	case err != nil:
		return 0, fmt.Errorf("%.40q is not a number that fits", text)
	case math.IsNaN(x) && !allowNaN:
		return 0, errors.New("NaN")
	}
	return x, nil
}

// appendInt appends the low bytes of x.
func appendInt(data []byte, d tensor.Datatype, x uint64) []byte {
	var all [8]byte
	binary.LittleEndian.PutUint64(all[:], x)
	return append(data, all[:d.Size()]...)
}
