// SPDX-License-Identifier: Apache-2.0

package attribution

import (
	"math"

	"github.com/millrace-ml/millrace/engine/onnx"
)

func truth(b bool) float32 {
	if b {
		return 1
	}
	return 0
}

// castOf is what a Cast does to numbers that FP32 holds.
func castOf(to int64) (func(x float32) float32, error) {
	switch onnx.ElemType(to) {
	case onnx.ElemFloat, onnx.ElemDouble:
		return nil, nil
	case onnx.ElemInt64, onnx.ElemInt32:
		return func(x float32) float32 { return float32(math.Trunc(float64(x))) }, nil
	case onnx.ElemBool:
		return func(x float32) float32 { return truth(x != 0) }, nil
	}
	return nil, refuse("a cast to %s before the scores", onnx.ElemType(to))
}

func unaryOf(n *onnx.Node) (func(x float32) float32, error) {
	of := func(f func(float64) float64) (func(float32) float32, error) {
		return func(x float32) float32 { return float32(f(float64(x))) }, nil
	}
	switch n.OpType {
	case "Neg":
		return func(x float32) float32 { return -x }, nil
	case "IsNaN":
		return func(x float32) float32 { return truth(x != x) }, nil
	case "Sign":
		return func(x float32) float32 { return truth(x > 0) - truth(x < 0) }, nil
	case "Abs":
		return of(math.Abs)
	case "Log":
		return of(math.Log)
	case "Exp":
		return of(math.Exp)
	case "Sqrt":
		return of(math.Sqrt)
	case "Floor":
		return of(math.Floor)
	case "Cast":
		return castOf(intOf(n, "to", 1))
	}
	return nil, nil // Identity, Dropout
}

func (w *walker) unary(n *onnx.Node) (*value, error) {
	if len(n.Inputs) < 1 {
		return nil, refuse("%s without an input", n.OpType)
	}
	v, err := w.value(n.Inputs[0])
	if err != nil {
		return nil, err
	}
	f, err := unaryOf(n)
	if err != nil || f == nil {
		return v, err
	}
	return v.mapped(func(_ int, x float32) float32 { return f(x) }), nil
}

// mapped applies a function to each column by itself.
func (v *value) mapped(f func(i int, x float32) float32) *value {
	out := &value{columns: make([]column, len(v.columns)), flat: v.flat}
	for i, c := range v.columns {
		out.columns[i] = combine(func(row []float32) float32 { return f(i, c.eval(row)) }, c)
	}
	return out
}

var binaries = map[string]func(a, b float32) float32{
	"Add":     func(a, b float32) float32 { return a + b },
	"Sub":     func(a, b float32) float32 { return a - b },
	"Mul":     func(a, b float32) float32 { return a * b },
	"Div":     func(a, b float32) float32 { return a / b },
	"Min":     func(a, b float32) float32 { return min(a, b) },
	"Max":     func(a, b float32) float32 { return max(a, b) },
	"Greater": func(a, b float32) float32 { return truth(a > b) },
	"Less":    func(a, b float32) float32 { return truth(a < b) },
	"Equal":   func(a, b float32) float32 { return truth(a == b) },
}

func (w *walker) binary(n *onnx.Node) (*value, error) {
	in, err := w.inputs(n)
	if err != nil {
		return nil, err
	}
	if len(in) != 2 {
		return nil, refuse("%s of %d inputs", n.OpType, len(in))
	}
	f := binaries[n.OpType]
	return each(in, func(c []column) column {
		a, b := c[0].eval, c[1].eval
		return combine(func(row []float32) float32 { return f(a(row), b(row)) }, c...)
	})
}

func (w *walker) where(n *onnx.Node) (*value, error) {
	in, err := w.inputs(n)
	if err != nil {
		return nil, err
	}
	if len(in) != 3 {
		return nil, refuse("Where of %d inputs", len(in))
	}
	return each(in, func(c []column) column {
		if len(c[0].sources) == 0 { // chosen once for all rows
			if c[0].eval(nil) != 0 {
				return c[1]
			}
			return c[2]
		}
		which, a, b := c[0].eval, c[1].eval, c[2].eval
		return combine(func(row []float32) float32 {
			if which(row) != 0 {
				return a(row)
			}
			return b(row)
		}, c...)
	})
}

func (w *walker) clip(n *onnx.Node) (*value, error) {
	if len(n.Inputs) < 1 {
		return nil, refuse("Clip without an input")
	}
	v, err := w.value(n.Inputs[0])
	if err != nil {
		return nil, err
	}
	limits := [2]float32{floatOf(n, "min", float32(math.Inf(-1))), floatOf(n, "max", float32(math.Inf(1)))}
	for i, name := range n.Inputs[1:] {
		if name == "" || i > 1 {
			continue
		}
		_, numbers, err := w.constOf(name)
		if err != nil {
			return nil, err
		}
		if len(numbers) != 1 {
			return nil, refuse("Clip by %d numbers", len(numbers))
		}
		limits[i] = numbers[0]
	}
	return v.mapped(func(_ int, x float32) float32 { return min(max(x, limits[0]), limits[1]) }), nil
}

func (w *walker) concat(n *onnx.Node) (*value, error) {
	if axis := intOf(n, "axis", 0); axis != 1 && axis != -1 {
		return nil, refuse("Concat of rows before the scores")
	}
	in, err := w.inputs(n)
	if err != nil {
		return nil, err
	}
	out := &value{}
	for _, v := range in {
		if v.flat {
			return nil, refuse("Concat of values of one dimension")
		}
		out.columns = append(out.columns, v.columns...)
	}
	return out, nil
}

// gather picks columns of a matrix, or rows of a table by a column.
func (w *walker) gather(n *onnx.Node) (*value, error) {
	if len(n.Inputs) != 2 {
		return nil, refuse("Gather of %d inputs", len(n.Inputs))
	}
	axis := intOf(n, "axis", 0)
	if _, ok := w.consts[n.Inputs[0]]; ok && axis == 0 {
		return w.lookUp(n.Inputs[0], n.Inputs[1])
	}
	v, err := w.value(n.Inputs[0])
	if err != nil {
		return nil, err
	}
	t, places, err := w.constOf(n.Inputs[1])
	if err != nil {
		return nil, err
	}
	if axis != 1 && axis != -1 || v.flat || len(t.Dims) > 1 {
		return nil, refuse("Gather that does not pick columns")
	}
	out := &value{flat: len(t.Dims) == 0}
	for _, place := range places {
		i := int(place)
		if i < 0 {
			i += len(v.columns)
		}
		if i < 0 || i >= len(v.columns) {
			return nil, refuse("Gather of column %d of %d", i, len(v.columns))
		}
		out.columns = append(out.columns, v.columns[i])
	}
	return out, nil
}

func (w *walker) lookUp(table, index string) (*value, error) {
	t, numbers, err := w.constOf(table)
	if err != nil {
		return nil, err
	}
	v, err := w.value(index)
	if err != nil {
		return nil, err
	}
	if len(t.Dims) != 2 || !v.flat || len(v.columns) != 1 || t.Dims[0] < 1 || t.Dims[1] > columnsMax {
		return nil, refuse("Gather from a table of shape %v", t.Dims)
	}
	rows, width := int(t.Dims[0]), int(t.Dims[1])
	from, out := v.columns[0], &value{columns: make([]column, width)}
	for i := range out.columns {
		out.columns[i] = combine(func(row []float32) float32 {
			at := int(from.eval(row))
			if at < 0 {
				at += rows
			}
			return numbers[min(max(at, 0), rows-1)*width+i]
		}, from)
	}
	return out, nil
}

// slice picks columns that follow each other.
func (w *walker) slice(n *onnx.Node) (*value, error) {
	if len(n.Inputs) < 4 {
		return nil, refuse("Slice without axes")
	}
	v, err := w.value(n.Inputs[0])
	if err != nil {
		return nil, err
	}
	var given [4]int // starts, ends, axes, steps
	given[3] = 1
	for i, name := range n.Inputs[1:] {
		_, numbers, err := w.constOf(name)
		if err != nil {
			return nil, err
		}
		if len(numbers) != 1 || i > 3 {
			return nil, refuse("Slice of several axes")
		}
		// Exporters write the greatest whole number for an open end.
		given[i] = int(min(max(numbers[0], -columnsMax), columnsMax))
	}
	if axis := given[2]; axis != 1 && axis != -1 || v.flat || given[3] != 1 {
		return nil, refuse("Slice that does not pick columns")
	}
	bound := func(i int) int {
		if i < 0 {
			i += len(v.columns)
		}
		return min(max(i, 0), len(v.columns))
	}
	start, end := bound(given[0]), bound(given[1])
	return &value{columns: v.columns[start:max(start, end)]}, nil
}

func (w *walker) scaler(n *onnx.Node) (*value, error) {
	in, err := w.inputs(n)
	if err != nil {
		return nil, err
	}
	offsets, scales := floatList(n, "offset"), floatList(n, "scale")
	if len(in) != 1 || !fits(offsets, in[0]) || !fits(scales, in[0]) {
		return nil, refuse("Scaler of other columns than its input has")
	}
	return in[0].mapped(func(i int, x float32) float32 {
		return (x - offsets[min(i, len(offsets)-1)]) * scales[min(i, len(scales)-1)]
	}), nil
}

func fits(list []float32, v *value) bool { return len(list) == 1 || len(list) == len(v.columns) }

// labelEncoder maps numbers to numbers.
func (w *walker) labelEncoder(n *onnx.Node) (*value, error) {
	in, err := w.inputs(n)
	if err != nil {
		return nil, err
	}
	keys, to, otherwise := floatList(n, "keys_floats"), floatList(n, "values_floats"), floatOf(n, "default_float", 0)
	if to == nil {
		for _, x := range intList(n, "values_int64s") {
			to = append(to, float32(x))
		}
		otherwise = float32(intOf(n, "default_int64", -1))
	}
	if len(in) != 1 || len(keys) == 0 || len(keys) != len(to) {
		return nil, refuse("LabelEncoder that does not map numbers to numbers")
	}
	table, missing := make(map[float32]float32, len(keys)), otherwise
	for i, k := range keys {
		if k != k {
			missing = to[i]
			continue
		}
		table[k] = to[i]
	}
	return in[0].mapped(func(_ int, x float32) float32 {
		if x != x {
			return missing
		}
		if y, ok := table[x]; ok {
			return y
		}
		return otherwise
	}), nil
}
