// SPDX-License-Identifier: Apache-2.0

package native_test

import (
	"encoding/binary"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/modelconfig"
	"github.com/millrace-ml/millrace/engine/native"
	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// load writes a model to a folder and opens it.
func load(t *testing.T, b *onnx.Builder) (engine.Model, error) {
	t.Helper()
	data, err := b.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "model.onnx"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	return native.Backend{}.Load(t.Context(), dir, &modelconfig.Config{})
}

// result runs a model with one input and one output, for which it gives the bytes.
func result(t *testing.T, b *onnx.Builder, shape tensor.Shape, input []byte) []byte {
	t.Helper()
	m, err := load(t, b)
	if err != nil {
		t.Fatal(err)
	}
	in, err := m.NewInstance(engine.Placement{})
	if err != nil {
		t.Fatal(err)
	}
	binding, err := in.Bind([]tensor.Shape{shape})
	if err != nil {
		t.Fatal(err)
	}
	binding.Inputs[0].Data = append(binding.Inputs[0].Data[:0], input...)
	if err := in.Run(t.Context(), binding); err != nil {
		t.Fatal(err)
	}
	return slices.Clone(binding.Outputs[0].Data)
}

// encode gives numbers as the bytes of a tensor.
func encode(t *testing.T, numbers any) []byte {
	t.Helper()
	data, err := binary.Append(nil, binary.LittleEndian, numbers)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func extents(list ...int64) (dims []onnx.Dim) {
	for _, d := range list {
		dims = append(dims, onnx.Extent(d))
	}
	return dims
}

// Before opset 11 the bounds of Clip are attributes, also of FP64.
func TestClipBoundsOfFP64(t *testing.T) {
	b := onnx.NewBuilder("clip")
	b.Opset("", 7)
	b.Input("x", tensor.FP64, extents(4)...)
	b.Node("Clip", []string{"x"}, []string{"y"}, onnx.FloatAttribute("min", -1), onnx.FloatAttribute("max", 2))
	b.Output("y", tensor.FP64, extents(4)...)
	got := result(t, b, tensor.Shape{4}, encode(t, []float64{-5, 0.5, 3, math.Inf(1)}))
	if want := encode(t, []float64{-1, 0.5, 2, 2}); !slices.Equal(got, want) {
		t.Errorf("%x, want %x", got, want)
	}
}

// Lines along an axis of an array without elements may have an extent.
func TestSoftmaxOfNothing(t *testing.T) {
	for _, name := range []string{"Softmax", "LogSoftmax", "Hardmax"} {
		b := onnx.NewBuilder("softmax")
		b.Input("x", tensor.FP32, extents(3, 0)...)
		b.Node(name, []string{"x"}, []string{"y"}, onnx.IntAttribute("axis", 0))
		b.Output("y", tensor.FP32, extents(3, 0)...)
		if got := result(t, b, tensor.Shape{3, 0}, nil); len(got) != 0 {
			t.Errorf("%s gives %x", name, got)
		}
	}
}

// Lists of two types beside each other must not be mistaken for one another.
func TestLabelEncoderWithListsOfTwoTypes(t *testing.T) {
	b := onnx.NewBuilder("labels")
	b.Opset("ai.onnx.ml", 2)
	b.Input("x", tensor.Int64, extents(3)...)
	b.DomainNode("ai.onnx.ml", "LabelEncoder", []string{"x"}, []string{"y"},
		onnx.IntsAttribute("keys_int64s", 1, 2, 3), onnx.IntsAttribute("values_int64s", 4, 5, 6), onnx.StringsAttribute("values_strings", "a"))
	b.Output("y", tensor.Bytes, extents(3)...)
	if _, err := load(t, b); err == nil {
		t.Error("3 keys for 1 value are taken")
	}
}

// Weights whose zero point is known only in the run are not weights without one.
func TestQLinearMatMulWithZeroPointOfTheRun(t *testing.T) {
	b := onnx.NewBuilder("zero")
	b.Opset("", 17)
	b.Input("x", tensor.Uint8, extents(1, 2)...)
	b.Input("zero", tensor.Uint8)
	for _, c := range []onnx.Tensor{
		onnx.TensorOf("scale", []float32{1}), onnx.TensorOf("none", []uint8{0}), onnx.TensorOf("w", []uint8{1, 2, 3, 4}, 2, 2),
	} {
		b.Initializer(c)
	}
	b.Node("QLinearMatMul", []string{"x", "scale", "none", "w", "scale", "zero", "scale", "none"}, []string{"y"})
	b.Output("y", tensor.Uint8, extents(1, 2)...)
	if _, err := load(t, b); !errors.Is(err, native.ErrNotCovered) {
		t.Errorf("%v, want %v", err, native.ErrNotCovered)
	}
}

// Models whose shapes are absurd are refused before memory is taken for them.
func TestAbsurdShapes(t *testing.T) {
	for name, build := range map[string]func(b *onnx.Builder){
		"products of nothing": func(b *onnx.Builder) {
			b.Input("x", tensor.FP32, extents(1<<17, 1, 1, 0)...)
			b.Input("z", tensor.FP32, extents(1, 1<<17, 0, 1)...)
			b.Node("MatMul", []string{"x", "z"}, []string{"y"})
			b.Output("y", tensor.FP32, extents(1<<17, 1<<17, 1, 1)...)
		},
		"texts of the run": func(b *onnx.Builder) {
			b.Input("x", tensor.Bytes, extents(1)...)
			b.Initializer(onnx.TensorOf("shape", []int64{1 << 33}, 1))
			b.Node("Expand", []string{"x", "shape"}, []string{"y"})
			b.Output("y", tensor.Bytes, extents(1<<33)...)
		},
		"texts that are known": func(b *onnx.Builder) {
			b.Input("x", tensor.Bytes, extents(1)...)
			b.Initializer(onnx.Tensor{Name: "text", Elem: onnx.ElemString, Strings: [][]byte{[]byte("a")}, Dims: []int64{1}})
			b.Initializer(onnx.TensorOf("shape", []int64{1 << 27}, 1))
			b.Node("Expand", []string{"text", "shape"}, []string{"z"})
			b.Node("Concat", []string{"x", "z"}, []string{"y"}, onnx.IntAttribute("axis", 0))
			b.Output("y", tensor.Bytes, extents(1<<27+1)...)
		},
		"weights without rows": func(b *onnx.Builder) {
			b.Input("x", tensor.Uint8, extents(1, 0)...)
			b.Initializer(onnx.TensorOf("w", []uint8{}, 0, 1<<33))
			b.Node("MatMulInteger", []string{"x", "w"}, []string{"y"})
			b.Output("y", tensor.Int32, extents(1, 1<<33)...)
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := onnx.NewBuilder("absurd")
			build(b)
			if _, err := load(t, b); !errors.Is(err, native.ErrNotCovered) {
				t.Errorf("%v, want %v", err, native.ErrNotCovered)
			}
		})
	}
}

// Texts are read as numbers without memory of their own, in every way the standard has.
func TestCastOfTexts(t *testing.T) {
	b := onnx.NewBuilder("cast")
	b.Input("x", tensor.Bytes, extents(6)...)
	b.Node("Cast", []string{"x"}, []string{"y"}, onnx.IntAttribute("to", 1))
	b.Output("y", tensor.FP32, extents(6)...)
	m, err := load(t, b)
	if err != nil {
		t.Fatal(err)
	}
	in, err := m.NewInstance(engine.Placement{})
	if err != nil {
		t.Fatal(err)
	}
	binding, err := in.Bind([]tensor.Shape{{6}})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"1.5", "-INF", "+inf", "2E3", "0.1234567890123456789012345678901234567890", "Infinity"} {
		binding.Inputs[0].Data = tensor.AppendBytes(binding.Inputs[0].Data, []byte(text))
	}
	if n := testing.AllocsPerRun(5, func() { err = in.Run(t.Context(), binding) }); n != 0 || err != nil {
		t.Errorf("%g allocations a run: %v", n, err)
	}
	inf := float32(math.Inf(1))
	if want := encode(t, []float32{1.5, -inf, inf, 2000, 0.12345679, inf}); !slices.Equal(binding.Outputs[0].Data, want) {
		t.Errorf("%x, want %x", binding.Outputs[0].Data, want)
	}
}

// A scale with as many elements as a row is no scale of rows where it lies along others.
func TestLayerNormWithScaleOfOtherShape(t *testing.T) {
	b := onnx.NewBuilder("norm")
	b.Input("x", tensor.FP32, extents(2, 2)...)
	b.Initializer(onnx.TensorOf("scale", []float32{1, 2}, 2, 1))
	b.Node("LayerNormalization", []string{"x", "scale"}, []string{"y"})
	b.Output("y", tensor.FP32, extents(2, 2)...)
	if _, err := load(t, b); !errors.Is(err, native.ErrNotCovered) {
		t.Errorf("%v, want %v", err, native.ErrNotCovered)
	}
}

// A view in the middle of a model does not keep its rows from being split.
func TestExplainCountsPartsOfModelsWithViews(t *testing.T) {
	b := onnx.NewBuilder("views")
	b.Input("x", tensor.FP32, onnx.Symbol("n"), onnx.Extent(64))
	b.Initializer(onnx.TensorOf("shape", []int64{0, 8, 8}, 3))
	b.Node("Tan", []string{"x"}, []string{"a"})
	b.Node("Reshape", []string{"a", "shape"}, []string{"b"})
	b.Node("Softmax", []string{"b"}, []string{"y"})
	b.Output("y", tensor.FP32, onnx.Symbol("n"), onnx.Extent(8), onnx.Extent(8))
	data, err := b.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "model.onnx"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	e, err := native.Explain(t.Context(), dir, &modelconfig.Config{}, 1<<14, 2)
	if err != nil || e.Parts != 2 {
		t.Errorf("%d parts, want 2: %v", e.Parts, err)
	}
}
