// SPDX-License-Identifier: Apache-2.0

package attribution

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// columnsMax bounds the columns of a value.
const columnsMax = 1 << 20

// column is a number that a row has inside the model, as a function of the row.
type column struct {
	// sources are the features that it depends on, ascending; none of a constant.
	sources []int32
	// plain is the feature that it is, or -1.
	plain int32
	eval  func(row []float32) float32
}

// value is the columns of a value of the graph. A flat one is of shape [rows].
type value struct {
	columns []column
	flat    bool
}

// walker finds how the values of a graph come from the rows of a matrix.
type walker struct {
	graph  *onnx.Graph
	makers map[string]*onnx.Node
	consts map[string]*onnx.Tensor
	// matrix is the value that rows are of.
	matrix string
	width  int
	done   map[string]*value
	depth  int
}

// depthMax bounds the operators between the matrix and the scores.
const depthMax = 256

func newWalker(g *onnx.Graph) *walker {
	w := &walker{graph: g, makers: map[string]*onnx.Node{}, consts: map[string]*onnx.Tensor{}}
	for i := range g.Initializers {
		w.consts[g.Initializers[i].Name] = &g.Initializers[i]
	}
	for i := range g.Nodes {
		n := &g.Nodes[i]
		if n.OpType == "Constant" && len(n.Outputs) == 1 {
			if a := attribute(n, "value"); a != nil && a.Tensor != nil {
				w.consts[n.Outputs[0]] = a.Tensor
			}
		}
		for _, out := range n.Outputs {
			w.makers[out] = n
		}
	}
	return w
}

// from starts a walk from a matrix of a width.
func (w *walker) from(matrix string, width int) {
	w.matrix, w.width, w.depth = matrix, width, 0
	v := &value{columns: make([]column, width)}
	for i := range v.columns {
		v.columns[i] = column{sources: []int32{int32(i)}, plain: int32(i), eval: func(row []float32) float32 { return row[i] }}
	}
	w.done = map[string]*value{matrix: v}
}

// value returns the columns of a value.
func (w *walker) value(name string) (*value, error) {
	if v, ok := w.done[name]; ok {
		return v, nil
	}
	if t, ok := w.consts[name]; ok {
		numbers, err := floatsOf(t)
		if err != nil {
			return nil, err
		}
		if len(t.Dims) > 2 || len(t.Dims) == 2 && t.Dims[0] != 1 || len(numbers) > columnsMax {
			return nil, refuse("constant %q of shape %v", name, t.Dims)
		}
		v := &value{}
		for _, x := range numbers {
			v.columns = append(v.columns, column{plain: -1, eval: func([]float32) float32 { return x }})
		}
		return v, nil
	}
	n, ok := w.makers[name]
	if !ok {
		return nil, refuse("%q is not made of %q", name, w.matrix)
	}
	if w.depth++; w.depth > depthMax {
		return nil, refuse("more than %d operators before the scores", depthMax)
	}
	v, err := w.apply(n)
	w.depth--
	if err != nil {
		return nil, err
	}
	if len(v.columns) > columnsMax {
		return nil, refuse("%q has %d columns, more than %d", name, len(v.columns), columnsMax)
	}
	w.done[name] = v
	return v, nil
}

// inputs are the columns of all inputs of a node.
func (w *walker) inputs(n *onnx.Node) ([]*value, error) {
	values := make([]*value, len(n.Inputs))
	for i, name := range n.Inputs {
		v, err := w.value(name)
		if err != nil {
			return nil, err
		}
		values[i] = v
	}
	return values, nil
}

// apply is what a node makes.
func (w *walker) apply(n *onnx.Node) (*value, error) {
	switch n.OpType {
	case "Identity", "Dropout", "Neg", "Abs", "Sign", "Log", "Exp", "Sqrt", "IsNaN", "Floor", "Cast":
		return w.unary(n)
	case "Add", "Sub", "Mul", "Div", "Min", "Max", "Greater", "Less", "Equal":
		return w.binary(n)
	case "Where":
		return w.where(n)
	case "Clip":
		return w.clip(n)
	case "Concat":
		return w.concat(n)
	case "Gather":
		return w.gather(n)
	case "Slice":
		return w.slice(n)
	case "Scaler":
		return w.scaler(n)
	case "LabelEncoder":
		return w.labelEncoder(n)
	}
	return nil, refuse("operator %s before the scores", n.OpType)
}

// combine makes a column of others.
func combine(eval func(row []float32) float32, from ...column) column {
	c := column{plain: -1, eval: eval}
	for _, f := range from {
		c.sources = append(c.sources, f.sources...)
	}
	slices.Sort(c.sources)
	c.sources = slices.Compact(c.sources)
	return c
}

// each applies a function to the columns of values, which have as many or one each.
func each(values []*value, f func(c []column) column) (*value, error) {
	width, flat := 1, true
	for _, v := range values {
		if len(v.columns) != 1 {
			if width != 1 && width != len(v.columns) {
				return nil, refuse("values of %d and %d columns", width, len(v.columns))
			}
			width = len(v.columns)
		}
		// Constants have no rows and follow the others.
		flat = flat && (v.flat || constant(v))
	}
	out := &value{columns: make([]column, width), flat: flat}
	for i := range out.columns {
		c := make([]column, len(values))
		for k, v := range values {
			c[k] = v.columns[min(i, len(v.columns)-1)]
		}
		out.columns[i] = f(c)
	}
	return out, nil
}

func constant(v *value) bool {
	return !slices.ContainsFunc(v.columns, func(c column) bool { return len(c.sources) > 0 })
}

func attribute(n *onnx.Node, name string) *onnx.Attribute {
	for i := range n.Attributes {
		if n.Attributes[i].Name == name {
			return &n.Attributes[i]
		}
	}
	return nil
}

func intOf(n *onnx.Node, name string, otherwise int64) int64 {
	if a := attribute(n, name); a != nil {
		return a.Int
	}
	return otherwise
}

func textOf(n *onnx.Node, name, otherwise string) string {
	if a := attribute(n, name); a != nil {
		return string(a.String)
	}
	return otherwise
}

func floatOf(n *onnx.Node, name string, otherwise float32) float32 {
	if a := attribute(n, name); a != nil {
		return a.Float
	}
	return otherwise
}

func floatList(n *onnx.Node, name string) []float32 {
	if a := attribute(n, name); a != nil {
		return a.Floats
	}
	return nil
}

func intList(n *onnx.Node, name string) []int64 {
	if a := attribute(n, name); a != nil {
		return a.Ints
	}
	return nil
}

// floatsOf reads a constant.
func floatsOf(t *onnx.Tensor) ([]float32, error) {
	v, err := t.Value()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoAttribution, err)
	}
	var numbers []float32
	switch v.Datatype {
	case tensor.FP32:
		for b := v.Data; len(b) >= 4; b = b[4:] {
			numbers = append(numbers, math.Float32frombits(binary.LittleEndian.Uint32(b)))
		}
	case tensor.FP64:
		for b := v.Data; len(b) >= 8; b = b[8:] {
			numbers = append(numbers, float32(math.Float64frombits(binary.LittleEndian.Uint64(b))))
		}
	case tensor.Int64:
		for b := v.Data; len(b) >= 8; b = b[8:] {
			numbers = append(numbers, float32(int64(binary.LittleEndian.Uint64(b))))
		}
	case tensor.Bool:
		for _, b := range v.Data {
			numbers = append(numbers, float32(b))
		}
	default:
		return nil, refuse("constant %q of type %s", t.Name, v.Datatype)
	}
	return numbers, nil
}

func (w *walker) constOf(name string) (*onnx.Tensor, []float32, error) {
	t, ok := w.consts[name]
	if !ok {
		return nil, nil, refuse("%q is not constant", name)
	}
	numbers, err := floatsOf(t)
	return t, numbers, err
}
