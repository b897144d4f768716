// SPDX-License-Identifier: Apache-2.0

package onnxrt_test

import (
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/modelconfig"
	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/onnxrt/onnxrttest"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// writeModel writes what was built into a folder of its own, the version's folder.
func writeModel(t testing.TB, b *onnx.Builder) string {
	t.Helper()
	m, err := b.Model()
	if err != nil {
		t.Fatal(err)
	}
	return write(t, m)
}

func write(t testing.TB, m *onnx.Model) string {
	t.Helper()
	data, err := m.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return writeFile(t, "model.onnx", data)
}

func writeFile(t testing.TB, name string, data []byte) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// onCPU is a placement on one core.
func onCPU(rowsMax int) engine.Placement {
	return engine.Placement{Kind: modelconfig.KindCPU, Threads: 1, MaxBatchSize: rowsMax}
}

// loadModel loads a model and closes it when the test ends.
func loadModel(t testing.TB, dir string, config *modelconfig.Config) engine.Model {
	t.Helper()
	m, err := onnxrttest.Backend(t).Load(t.Context(), dir, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// newInstance makes an instance and closes it when the test ends.
func newInstance(t testing.TB, m engine.Model, placement engine.Placement) engine.Instance {
	t.Helper()
	in, err := m.NewInstance(placement)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := in.Close(); err != nil {
			t.Error(err)
		}
	})
	return in
}

// instanceOf loads a model for batches of up to rowsMax rows and makes one instance.
func instanceOf(t testing.TB, b *onnx.Builder, rowsMax int) engine.Instance {
	t.Helper()
	config := &modelconfig.Config{Name: "m", MaxBatchSize: int32(rowsMax)}
	return newInstance(t, loadModel(t, writeModel(t, b), config), onCPU(rowsMax))
}

// run binds, fills and runs. The outputs are valid until the instance's next Bind.
func run(t testing.TB, in engine.Instance, inputs ...tensor.Tensor) []tensor.Tensor {
	t.Helper()
	outputs, err := tryRun(t, in, inputs...)
	if err != nil {
		t.Fatal(err)
	}
	return outputs
}

func tryRun(t testing.TB, in engine.Instance, inputs ...tensor.Tensor) ([]tensor.Tensor, error) {
	t.Helper()
	shapes := make([]tensor.Shape, len(inputs))
	for i := range inputs {
		shapes[i] = inputs[i].Shape
	}
	b, err := in.Bind(shapes)
	if err != nil {
		return nil, err
	}
	for i := range inputs {
		if inputs[i].Datatype == tensor.Bytes {
			b.Inputs[i].Data = append(b.Inputs[i].Data, inputs[i].Data...)
		} else if n := copy(b.Inputs[i].Data, inputs[i].Data); n != len(inputs[i].Data) || n != len(b.Inputs[i].Data) {
			t.Fatalf("input %d has room for %d bytes, want %d", i, len(b.Inputs[i].Data), len(inputs[i].Data))
		}
	}
	if err := in.Run(t.Context(), b); err != nil {
		return nil, err
	}
	return b.Outputs, nil
}

func fp32(values []float32, shape ...int64) tensor.Tensor {
	var data []byte
	for _, v := range values {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(v))
	}
	return tensor.Tensor{Datatype: tensor.FP32, Shape: append(tensor.Shape{}, shape...), Data: data}
}

func text(elements []string, shape ...int64) tensor.Tensor {
	var data []byte
	for _, e := range elements {
		data = tensor.AppendBytes(data, []byte(e))
	}
	return tensor.Tensor{Datatype: tensor.Bytes, Shape: shape, Data: data}
}

func floats(data []byte) []float32 {
	values := make([]float32, len(data)/4)
	for i := range values {
		values[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
	}
	return values
}

func int64s(data []byte) []int64 {
	values := make([]int64, len(data)/8)
	for i := range values {
		values[i] = int64(binary.LittleEndian.Uint64(data[8*i:]))
	}
	return values
}

// denseModel is y = x W + b with W[i][j] = i - j and b[j] = j, over a batch.
func denseModel(in, out int64) *onnx.Builder {
	weights := make([]float32, in*out)
	bias := make([]float32, out)
	for j := range out {
		bias[j] = float32(j)
		for i := range in {
			weights[i*out+j] = float32(i - j)
		}
	}
	b := onnx.NewBuilder("dense")
	b.Input("x", tensor.FP32, onnx.Symbol("batch"), onnx.Extent(in))
	b.Initializer(onnx.TensorOf("w", weights, in, out))
	b.Initializer(onnx.TensorOf("b", bias, out))
	b.Node("Gemm", []string{"x", "w", "b"}, []string{"y"})
	b.Output("y", tensor.FP32, onnx.Symbol("batch"), onnx.Extent(out))
	return b
}

// dense computes what denseModel gives for one row.
func dense(row []float32, out int) []float32 {
	y := make([]float32, out)
	for j := range y {
		y[j] = float32(j)
		for i, x := range row {
			y[j] += x * float32(i-j)
		}
	}
	return y
}

// identityModel gives its input back, whatever its shape within the given dims.
func identityModel(datatype tensor.Datatype, dims ...onnx.Dim) *onnx.Builder {
	b := onnx.NewBuilder("identity")
	b.Input("x", datatype, dims...)
	b.Node("Identity", []string{"x"}, []string{"y"})
	b.Output("y", datatype, dims...)
	return b
}
