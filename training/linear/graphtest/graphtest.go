// SPDX-License-Identifier: Apache-2.0

// Package graphtest runs exported graphs in tests, on the engine of this project and on
// ONNX Runtime where it is installed, so that a test can hold both to what the trainer
// itself predicts.
package graphtest

import (
	"context"
	"encoding/binary"
	"errors"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/modelconfig"
	"github.com/millrace-ml/millrace/engine/native"
	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/onnxrt/onnxrttest"
	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/training/learn"
)

// Columns makes a matrix, row after row, of columns.
func Columns(values [][]float32) []float32 {
	if len(values) == 0 {
		return nil
	}
	matrix := make([]float32, 0, len(values)*len(values[0]))
	for row := range values[0] {
		for _, column := range values {
			matrix = append(matrix, column[row])
		}
	}
	return matrix
}

// Run builds a graph over an FP32 input [rows, len(features)], runs it on each engine that
// there is, and gives the output of each, by its name. Export adds the nodes and returns
// the output, of shape [rows, outputs].
func Run(t *testing.T, features []learn.Feature, outputs int, matrix []float32, export func(g *learn.Graph) (string, error)) map[string][]float32 {
	t.Helper()
	model := build(t, features, outputs, export)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "model.onnx"), model, 0o644); err != nil {
		t.Fatal(err)
	}
	width := max(len(features), 1)
	answers := map[string][]float32{"native": answer(t, native.Backend{}, dir, width, matrix)}
	t.Run("onnxruntime", func(t *testing.T) {
		answers["onnxruntime"] = answer(t, onnxrttest.Backend(t), dir, width, matrix)
	})
	return answers
}

func build(t *testing.T, features []learn.Feature, outputs int, export func(g *learn.Graph) (string, error)) []byte {
	t.Helper()
	b := onnx.NewBuilder("exported")
	b.Opset(learn.DomainML, learn.OpsetML)
	b.Input(learn.MatrixName, tensor.FP32, onnx.Symbol("rows"), onnx.Extent(int64(max(len(features), 1))))
	g := learn.NewGraph(b, learn.MatrixName, features)
	name, err := export(g)
	if err != nil {
		t.Fatal(err)
	}
	b.Output(name, tensor.FP32, onnx.Symbol("rows"), onnx.Extent(int64(outputs)))
	model, err := b.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return model
}

func answer(t *testing.T, backend engine.Backend, dir string, width int, matrix []float32) []float32 {
	t.Helper()
	m, err := backend.Load(context.Background(), dir, &modelconfig.Config{Name: "exported", Backend: backend.Name()})
	if err != nil {
		t.Fatal(err)
	}
	in, err := m.NewInstance(engine.Placement{Kind: modelconfig.KindCPU, Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(in.Close(), m.Close()); err != nil {
			t.Error(err)
		}
	})
	binding, err := in.Bind([]tensor.Shape{{int64(len(matrix) / width), int64(width)}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := binary.Encode(binding.Inputs[0].Data, binary.LittleEndian, matrix); err != nil {
		t.Fatal(err)
	}
	if err := in.Run(context.Background(), binding); err != nil {
		t.Fatal(err)
	}
	output := make([]float32, len(binding.Outputs[0].Data)/4)
	if _, err := binary.Decode(binding.Outputs[0].Data, binary.LittleEndian, output); err != nil {
		t.Fatal(err)
	}
	return output
}

// Equal holds the output of each engine to want: each value within bound, which may
// depend on its place. NaN equals NaN only.
func Equal(t *testing.T, answers map[string][]float32, want []float32, bound func(i int) float64) {
	t.Helper()
	for name, got := range answers {
		if len(got) != len(want) {
			t.Errorf("%s gives %d values, want %d", name, len(got), len(want))
			continue
		}
		wrong := 0
		for i := range want {
			same := got[i] == want[i] || (got[i] != got[i] && want[i] != want[i])
			if difference := math.Abs(float64(got[i]) - float64(want[i])); same || difference <= bound(i) {
				continue
			}
			if wrong++; wrong <= 5 {
				t.Errorf("%s: value %d is %v, want %v", name, i, got[i], want[i])
			}
		}
		if wrong > 5 {
			t.Errorf("%s: %d of %d values are wrong", name, wrong, len(want))
		}
	}
}
