// SPDX-License-Identifier: Apache-2.0

package zoo_test

import (
	"context"
	"encoding/binary"
	"math"
	"path/filepath"
	"testing"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/modelconfig"
	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/onnx/zoo"
	"github.com/millrace-ml/millrace/engine/onnxrt/onnxrttest"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// ONNX Runtime and Predict must agree on what a network computes.
func TestPredictAgreesWithRuntime(t *testing.T) {
	for _, c := range []struct {
		name  string
		model *onnx.Model
		shape tensor.Shape
		want  func([]float32) []float64
	}{
		{"small", zoo.SmallMLP().Model(), tensor.Shape{1, 32}, zoo.SmallMLP().Predict},
		{"middle", zoo.MiddleMLP().Model(), tensor.Shape{1, 256}, zoo.MiddleMLP().Predict},
		{"convnet", zoo.NewConvNet(4).Model(), tensor.Shape{1, 1, 28, 28}, zoo.NewConvNet(4).Predict},
	} {
		t.Run(c.name, func(t *testing.T) {
			n, err := c.shape.Elements()
			if err != nil {
				t.Fatal(err)
			}
			row := make([]float32, n)
			for i := range row {
				row[i] = float32(i*37%101)/50 - 1
			}
			got, want := run(t, c.model, c.shape, row), c.want(row)
			if len(got) != len(want) {
				t.Fatalf("%d outputs, want %d", len(got), len(want))
			}
			for i := range want {
				if math.Abs(float64(got[i])-want[i]) > 1e-5*math.Abs(want[i]) {
					t.Errorf("output %d is %v, want %v", i, got[i], want[i])
				}
			}
		})
	}
}

// run executes a model of one FP32 input and output on ONNX Runtime.
func run(t *testing.T, m *onnx.Model, shape tensor.Shape, row []float32) []float32 {
	t.Helper()
	backend := onnxrttest.Backend(t)
	repository := t.TempDir()
	if err := zoo.Write(repository, "network", 1, m); err != nil {
		t.Fatal(err)
	}
	config := &modelconfig.Config{Name: "network", Backend: backend.Name(), MaxBatchSize: 1}
	model, err := backend.Load(context.Background(), filepath.Join(repository, "network", "1"), config)
	if err != nil {
		t.Fatal(err)
	}
	defer model.Close()
	instance, err := model.NewInstance(engine.Placement{Kind: modelconfig.KindCPU, Threads: 1, MaxBatchSize: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer instance.Close()
	binding, err := instance.Bind([]tensor.Shape{shape})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := binary.Encode(binding.Inputs[0].Data, binary.LittleEndian, row); err != nil {
		t.Fatal(err)
	}
	if err := instance.Run(context.Background(), binding); err != nil {
		t.Fatal(err)
	}
	output := make([]float32, len(binding.Outputs[0].Data)/4)
	if _, err := binary.Decode(binding.Outputs[0].Data, binary.LittleEndian, output); err != nil {
		t.Fatal(err)
	}
	return output
}
