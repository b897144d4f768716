// SPDX-License-Identifier: Apache-2.0

// Package optest runs single operators in tests, without a graph around them.
package optest

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"testing"
	"unsafe"

	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// Node is an operator under test. Version 0 is 18, or 3 outside the standard domain.
type Node struct {
	Domain, Name string
	Version      int64
	Attributes   []onnx.Attribute
	Outputs      int // 0 is 1
}

// Of is a value of elements, whose shape is that of a list where none is given. A single
// extent of -1 is a scalar.
func Of[T op.Element](datatype tensor.Datatype, list []T, shape ...int64) *op.Value {
	v := &op.Value{Type: datatype, Shape: shapeOf(len(list), shape)}
	v.Data = op.AlignedBytes(len(list) * datatype.Size())
	if len(list) > 0 {
		copy(v.Data, unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(list))), len(v.Data)))
	}
	return v
}

func shapeOf(n int, shape []int64) tensor.Shape {
	switch {
	case len(shape) == 0:
		return tensor.Shape{int64(n)}
	case len(shape) == 1 && shape[0] < 0:
		return tensor.Shape{}
	}
	return slices.Clone(tensor.Shape(shape))
}

// Floats is a value of FP32.
func Floats(list []float32, shape ...int64) *op.Value { return Of(tensor.FP32, list, shape...) }

// Ints is a value of INT64.
func Ints(list []int64, shape ...int64) *op.Value { return Of(tensor.Int64, list, shape...) }

// Texts is a value of BYTES.
func Texts(list []string, shape ...int64) *op.Value {
	v := &op.Value{Type: tensor.Bytes, Shape: shapeOf(len(list), shape)}
	for _, text := range list {
		v.Strings = append(v.Strings, []byte(text))
	}
	return v
}

// Known is a value whose contents are known before the run.
func Known(v *op.Value) *op.Value {
	v.Const = true
	return v
}

// Build finds the definition of a node and builds it.
func Build(definitions []op.Definition, n Node, inputs ...*op.Value) (op.Operator, error) {
	if n.Version == 0 {
		if n.Version = 18; n.Domain != "" {
			n.Version = 3
		}
	}
	node := &op.Node{Node: &onnx.Node{OpType: n.Name, Domain: n.Domain, Attributes: n.Attributes}, Version: n.Version}
	for i, v := range inputs {
		name := ""
		node.Const = append(node.Const, nil)
		if v != nil {
			name = fmt.Sprintf("in%d", i)
			if v.Const {
				node.Const[i] = v
			}
		}
		node.Inputs = append(node.Inputs, name)
	}
	for i := range max(1, n.Outputs) {
		node.Outputs = append(node.Outputs, fmt.Sprintf("out%d", i))
	}
	for i := range definitions {
		d := &definitions[i]
		if d.Name == n.Name && d.Domain == n.Domain && n.Version >= d.Since && (d.Until == 0 || n.Version <= d.Until) {
			o, err := d.Build(node)
			if err == nil {
				err = node.Err()
			}
			return o, err
		}
	}
	return nil, fmt.Errorf("no operator %q of version %d", n.Name, n.Version)
}

// Run runs a node and gives its outputs. Every output starts as rubbish, which a run must
// write over.
func Run(definitions []op.Definition, n Node, inputs ...*op.Value) ([]*op.Value, error) {
	o, err := Build(definitions, n, inputs...)
	if err != nil {
		return nil, err
	}
	outputs := make([]*op.Value, max(1, n.Outputs))
	for i := range outputs {
		outputs[i] = &op.Value{Name: fmt.Sprintf("out%d", i)}
	}
	if err := o.Infer(inputs, outputs); err != nil {
		return nil, err
	}
	_, once := o.(op.ShapeOnly)
	once = once || !slices.ContainsFunc(inputs, func(v *op.Value) bool { return v != nil && !v.Const })
	for _, v := range outputs {
		v.Allocate()
		for i := range v.Data {
			if once { // in memory of its own, which is all zeros
				break
			}
			v.Data[i] = 0xa5
		}
	}
	if view, is := o.(op.Viewer); is && view.View() {
		outputs[0].Data, outputs[0].Strings = inputs[0].Data, inputs[0].Strings
		return outputs, nil
	}
	run, err := o.Bind(inputs, outputs, &op.Scratch{})
	if err != nil || run == nil {
		return outputs, err
	}
	return outputs, run()
}

// Want runs a node and compares its first output.
func Want(t *testing.T, definitions []op.Definition, n Node, want *op.Value, inputs ...*op.Value) {
	t.Helper()
	outputs, err := Run(definitions, n, inputs...)
	if err != nil {
		t.Error(err)
		return
	}
	Equal(t, outputs[0], want)
}

// Equal compares values: floats to 1e-6 of themselves, where NaN is NaN, all else exactly.
func Equal(t *testing.T, got, want *op.Value) {
	t.Helper()
	if got.Type != want.Type || !slices.Equal(got.Shape, want.Shape) {
		t.Errorf("%s%v, want %s%v", got.Type, got.Shape, want.Type, want.Shape)
		return
	}
	switch got.Type {
	case tensor.FP32:
		for i, x := range op.Floats(got) {
			if y := op.Floats(want)[i]; !near(float64(x), float64(y)) {
				t.Errorf("element %d is %g, want %g", i, x, y)
			}
		}
	case tensor.FP64:
		for i, x := range op.As[float64](got) {
			if y := op.As[float64](want)[i]; !near(x, y) {
				t.Errorf("element %d is %g, want %g", i, x, y)
			}
		}
	case tensor.Bytes:
		if !slices.EqualFunc(got.Strings, want.Strings, bytes.Equal) {
			t.Errorf("%q, want %q", got.Strings, want.Strings)
		}
	default:
		if !bytes.Equal(got.Data, want.Data) {
			t.Errorf("bytes % x, want % x", got.Data, want.Data)
		}
	}
}

func near(x, y float64) bool {
	return x == y || (math.IsNaN(x) && math.IsNaN(y)) || math.Abs(x-y) <= 1e-6*math.Abs(y)
}

// Rowwise is what an operator says of its inputs, the first of which carry rows.
func Rowwise(t *testing.T, definitions []op.Definition, n Node, carries []bool, inputs ...*op.Value) bool {
	t.Helper()
	o, err := Build(definitions, n, inputs...)
	if err != nil {
		t.Fatal(err)
	}
	r, ok := o.(op.Rowwiser)
	return ok && r.Rowwise(inputs, carries)
}
