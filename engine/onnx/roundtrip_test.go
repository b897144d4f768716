// SPDX-License-Identifier: Apache-2.0

package onnx_test

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// everything is a model with each part that the package keeps.
func everything() *onnx.Model {
	sequence := onnx.TensorType(onnx.ElemFloat, onnx.Unknown())
	sparse := onnx.SparseTensor{
		Values:  onnx.TensorOf("sparse", []float32{1, 2}, 2),
		Indices: onnx.TensorOf("", []int64{0, 5}, 2),
		Dims:    []int64{3, 3},
	}
	body := &onnx.Graph{
		Name:    "body",
		Nodes:   []onnx.Node{{OpType: "Relu", Inputs: []string{"x"}, Outputs: []string{"inner"}}},
		Outputs: []onnx.ValueInfo{{Name: "inner", Type: onnx.TensorType(onnx.ElemFloat)}},
	}
	attributes := []onnx.Attribute{
		onnx.FloatAttribute("f", 0),
		onnx.IntAttribute("i", 0),
		onnx.StringAttribute("s", ""),
		onnx.TensorAttribute("t", onnx.TensorOf("", []bool{true, false}, 2)),
		onnx.GraphAttribute("g", body),
		onnx.FloatsAttribute("floats", 1, -2.5),
		onnx.IntsAttribute("ints", -1, 1<<62),
		onnx.StringsAttribute("strings", "a", "", "c"),
		{Name: "tensors", Type: onnx.AttributeTensors, Tensors: []onnx.Tensor{onnx.TensorOf("", []int8{-1}), onnx.TensorOf("", []float64{2}, 1)}},
		{Name: "graphs", Type: onnx.AttributeGraphs, Graphs: []onnx.Graph{{Name: "a"}, {Name: "b"}}},
		{Name: "sparse", Type: onnx.AttributeSparseTensor, SparseTensor: &sparse},
		{Name: "sparses", Type: onnx.AttributeSparseTensors, SparseTensors: []onnx.SparseTensor{sparse}},
		{Name: "type", Type: onnx.AttributeTypeProto, TypeProto: &onnx.Type{Kind: onnx.KindOptional, Of: &sequence}},
		{Name: "types", Type: onnx.AttributeTypeProtos, TypeProtos: []onnx.Type{{Kind: onnx.KindOpaque, Opaque: "o"}}},
		{Name: "ref", Type: onnx.AttributeInt, Ref: "outer"},
	}
	return &onnx.Model{
		IRVersion: 8, ProducerName: "p", ProducerVersion: "1", Domain: "d", ModelVersion: -3, Doc: "doc",
		Opsets:   []onnx.OpsetImport{{Version: 17}, {Domain: "ai.onnx.ml", Version: 3}},
		Metadata: []onnx.Property{{Key: "k", Value: "v"}, {Key: "k"}},
		Graph: &onnx.Graph{
			Name: "main", Doc: "about",
			Nodes: []onnx.Node{
				{Name: "n", OpType: "Op", Domain: "d", Overload: "o", Inputs: []string{"x", "", "w"}, Outputs: []string{"y"}, Attributes: attributes},
			},
			Initializers: []onnx.Tensor{
				onnx.TensorOf("w", []float32{1, 2, 3, 4}, 2, 2),
				onnx.TensorOf("empty", []int32{}, 0),
				{Name: "typed", Dims: []int64{2}, Elem: onnx.ElemInt16, Int32s: []int32{-1, 7}},
				{Name: "words", Dims: []int64{2}, Elem: onnx.ElemString, Strings: [][]byte{[]byte("a"), {}}},
				{Name: "doubles", Dims: []int64{1}, Elem: onnx.ElemDouble, Doubles: []float64{0.1}},
				{Name: "longs", Dims: []int64{1}, Elem: onnx.ElemInt64, Int64s: []int64{-9}},
				{Name: "unsigned", Dims: []int64{1}, Elem: onnx.ElemUint64, Uint64s: []uint64{1 << 63}},
				{Name: "floats", Elem: onnx.ElemFloat, Floats: []float32{3}},
				{Name: "outside", Dims: []int64{4}, Elem: onnx.ElemFloat, External: &onnx.External{Location: "w.bin", Offset: 8, Length: 16}},
				{Name: "rest", Dims: []int64{4}, Elem: onnx.ElemFloat, External: &onnx.External{Location: "w.bin", Length: -1}},
			},
			SparseInitializers: []onnx.SparseTensor{sparse},
			Inputs: []onnx.ValueInfo{
				{Name: "x", Type: onnx.TensorType(onnx.ElemFloat, onnx.Symbol("batch"), onnx.Extent(0), onnx.Unknown())},
				{Name: "s", Type: onnx.Type{Kind: onnx.KindSequence, Of: &sequence}},
				{Name: "m", Type: onnx.Type{Kind: onnx.KindMap, Elem: onnx.ElemInt64, Of: &sequence}},
				{Name: "unranked", Type: onnx.Type{Kind: onnx.KindTensor, Elem: onnx.ElemBool}},
				{Name: "sp", Type: onnx.Type{Kind: onnx.KindSparseTensor, Elem: onnx.ElemFloat, Ranked: true}},
			},
			Outputs:    []onnx.ValueInfo{{Name: "y", Type: onnx.TensorType(onnx.ElemFloat)}},
			ValueInfos: []onnx.ValueInfo{{Name: "z"}},
		},
		Functions: []onnx.Function{{
			Name: "F", Domain: "own", Overload: "o", Inputs: []string{"a"}, Outputs: []string{"b"}, Attributes: []string{"alpha"},
			Defaults: []onnx.Attribute{onnx.IntAttribute("beta", 2)},
			Nodes:    []onnx.Node{{OpType: "Relu", Inputs: []string{"a"}, Outputs: []string{"b"}}},
			Opsets:   []onnx.OpsetImport{{Version: 17}},
		}},
	}
}

func marshal(t *testing.T, m *onnx.Model) []byte {
	t.Helper()
	data, err := m.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestRoundTrip(t *testing.T) {
	want := everything()
	data := marshal(t, want)
	got, err := onnx.Parse(data, onnx.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if again := marshal(t, got); !bytes.Equal(again, data) {
		t.Error("writing the model read gives other bytes")
	}
}

func TestBuilder(t *testing.T) {
	b := onnx.NewBuilder("linear")
	b.Opset("ai.onnx", 13)
	b.Opset("ai.onnx.ml", 3)
	b.Metadata("purpose", "test")
	b.Input("x", tensor.FP32, onnx.Symbol("batch"), onnx.Extent(2))
	b.Initializer(onnx.TensorOf("w", []float32{1, 2}, 2, 1))
	b.Node("MatMul", []string{"x", "w"}, []string{"xw"})
	b.DomainNode("ai.onnx.ml", "Scaler", []string{"xw"}, []string{"y"}, onnx.FloatsAttribute("offset", 0), onnx.FloatsAttribute("scale", 2))
	b.Output("y", tensor.FP32, onnx.Symbol("batch"), onnx.Extent(1))
	data, err := b.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	m, err := onnx.Parse(data, onnx.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if m.IRVersion != 8 || m.Opset("") != 13 || m.Opset("ai.onnx.ml") != 3 || m.Metadata[0].Value != "test" {
		t.Errorf("model is %+v", m)
	}
	shape, ranked := m.Inputs()[0].Type.Shape()
	if !ranked || shape.String() != "[-1,2]" || m.Outputs()[0].Type.String() != "tensor(float)[batch,1]" {
		t.Errorf("input is %v, output %s", shape, m.Outputs()[0].Type.String())
	}
	scaler := &m.Graph.Nodes[1]
	if scaler.Domain != "ai.onnx.ml" || scaler.Attribute("scale").Floats[0] != 2 || scaler.Attribute("none") != nil {
		t.Errorf("node is %+v", scaler)
	}
}

func TestBuilderFaults(t *testing.T) {
	for want, build := range map[string]func(b *onnx.Builder){
		"need 12":            func(b *onnx.Builder) { b.Initializer(onnx.TensorOf("w", []float32{1, 2}, 3)) },
		"no opset":           func(b *onnx.Builder) { b.DomainNode("ai.onnx.ml", "Scaler", nil, []string{"y"}) },
		"is not defined":     func(b *onnx.Builder) { b.Output("y", tensor.FP32) },
		"has no element":     func(b *onnx.Builder) { b.Input("x", tensor.Invalid) },
		`"x" is defined twi`: func(b *onnx.Builder) { b.Input("x", tensor.FP32); b.Input("x", tensor.FP32) },
	} {
		b := onnx.NewBuilder("faulty")
		build(b)
		if _, err := b.Marshal(); !errors.Is(err, onnx.ErrInvalidGraph) || !strings.Contains(err.Error(), want) {
			t.Errorf("got error %v, want %q", err, want)
		}
	}
}

func TestDatatypesRoundTrip(t *testing.T) {
	for d := tensor.Bool; d <= tensor.BF16; d++ {
		if back := onnx.ElemTypeOf(d).Datatype(); back != d {
			t.Errorf("%s comes back as %s", d, back)
		}
	}
	if e := onnx.ElemTypeOf(tensor.Invalid); e != onnx.ElemUndefined {
		t.Errorf("invalid datatype is %s", e)
	}
	for _, e := range []onnx.ElemType{onnx.ElemFloat8E4M3FN, onnx.ElemInt4, onnx.ElemComplex64, onnx.ElemUndefined, 99, -1} {
		if d := e.Datatype(); d != tensor.Invalid {
			t.Errorf("%s has datatype %s", e, d)
		}
	}
}
