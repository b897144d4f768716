// SPDX-License-Identifier: Apache-2.0

package onnxrt

import (
	"slices"
	"testing"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/tensor"
)

func TestOutputExtents(t *testing.T) {
	symbols := map[string]extent{"batch": inputExtent(0, 0), "n": inputExtent(1, 2)}
	dims := func(d ...onnx.Dim) *onnx.Type {
		typ := onnx.TensorType(onnx.ElemFloat, d...)
		return &typ
	}
	for name, c := range map[string]struct {
		t       *onnx.Type
		batches bool
		want    []extent
	}{
		"named":             {dims(onnx.Symbol("batch"), onnx.Extent(3), onnx.Symbol("n")), false, []extent{inputExtent(0, 0), fixedExtent(3), inputExtent(1, 2)}},
		"scalar":            {dims(), true, []extent{}},
		"unnamed batch":     {dims(onnx.Unknown(), onnx.Unknown()), true, []extent{inputExtent(0, 0), unknownExtent}},
		"unnamed, no batch": {dims(onnx.Unknown(), onnx.Extent(2)), false, []extent{unknownExtent, fixedExtent(2)}},
		"strange symbol":    {dims(onnx.Symbol("m"), onnx.Symbol("m")), true, []extent{inputExtent(0, 0), unknownExtent}},
		"rank unknown":      {&onnx.Type{Kind: onnx.KindTensor, Elem: onnx.ElemFloat}, true, nil},
	} {
		got := outputExtents(c.t, symbols, c.batches)
		if !slices.Equal(got, c.want) || (got == nil) != (c.want == nil) {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}

// twoInputs has outputs of every degree of knowledge: known, unknown, scalar, BYTES.
func twoInputs() *graph {
	return &graph{
		signature: engine.Signature{
			Inputs: []engine.TensorSpec{
				{Name: "x", Datatype: tensor.FP32, Shape: tensor.Shape{-1, 5}},
				{Name: "k", Datatype: tensor.Int64, Shape: tensor.Shape{-1}, Optional: true},
			},
			Outputs: []engine.TensorSpec{
				{Name: "known", Datatype: tensor.FP16, Shape: tensor.Shape{-1, -1}},
				{Name: "unknown", Datatype: tensor.FP32, Shape: tensor.Shape{-1}},
				{Name: "scalar", Datatype: tensor.FP64, Shape: tensor.Shape{}},
				{Name: "text", Datatype: tensor.Bytes, Shape: tensor.Shape{-1}},
			},
		},
		outputs: [][]extent{{inputExtent(0, 0), inputExtent(1, 0)}, {unknownExtent}, {}, {inputExtent(0, 0)}},
	}
}

func TestLayOut(t *testing.T) {
	g := twoInputs()
	l, err := g.layOut([]tensor.Shape{{7, 5}, {3}}, false)
	if err != nil {
		t.Fatal(err)
	}
	places := slices.Concat(l.inputs, l.outputs)
	sizes := []int{7 * 5 * 4, 3 * 8, 7 * 3 * 2, 0, 8, 0}
	end := 0
	for i, p := range places {
		if p.size != sizes[i] {
			t.Errorf("tensor %d takes %d bytes, want %d", i, p.size, sizes[i])
		}
		if p.offset%tensorAlignment != 0 || p.offset < end {
			t.Errorf("tensor %d is at %d, after one that ends at %d", i, p.offset, end)
		}
		end = p.offset + p.size
	}
	if l.bytes < end {
		t.Errorf("the layout takes %d bytes, less than its end %d", l.bytes, end)
	}
	if s := l.outputs[0].shape; !slices.Equal(s, tensor.Shape{7, 3}) {
		t.Errorf("known output has shape %v", s)
	}
	if s := l.outputs[1].shape; s != nil {
		t.Errorf("unknown output has shape %v", s)
	}
}

func TestDistrustKeepsInputsInPlace(t *testing.T) {
	g := twoInputs()
	shapes := []tensor.Shape{{7, 5}, {3}}
	trusting, err := g.layOut(shapes, false)
	if err != nil {
		t.Fatal(err)
	}
	distrusting, err := g.layOut(shapes, true)
	if err != nil {
		t.Fatal(err)
	}
	for i := range trusting.inputs {
		if trusting.inputs[i].offset != distrusting.inputs[i].offset {
			t.Errorf("input %d moves from %d to %d", i, trusting.inputs[i].offset, distrusting.inputs[i].offset)
		}
	}
	if distrusting.outputs[0].shape != nil || distrusting.outputs[2].shape == nil {
		t.Errorf("with distrust the outputs are %v", distrusting.outputs)
	}
}

func TestInputLeftOut(t *testing.T) {
	l, err := twoInputs().layOut([]tensor.Shape{{7, 5}, nil}, false)
	if err != nil {
		t.Fatal(err)
	}
	if l.inputs[1].shape != nil || l.inputs[1].size != 0 {
		t.Errorf("the input left out is %+v", l.inputs[1])
	}
	if s := l.outputs[0].shape; s != nil {
		t.Errorf("an output that depends on it has shape %v", s)
	}
}
