// SPDX-License-Identifier: Apache-2.0

package onnxrt_test

import (
	"math"
	"slices"
	"testing"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/modelconfig"
	"github.com/millrace-ml/millrace/engine/onnx/zoo"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// plainInput is zeros for an input, two rows and three of any other unknown extent.
// As text a zero is something that models may read as a number.
func plainInput(t *testing.T, spec engine.TensorSpec) tensor.Tensor {
	t.Helper()
	x := tensor.Tensor{Name: spec.Name, Datatype: spec.Datatype, Shape: slices.Clone(spec.Shape)}
	for axis, extent := range x.Shape {
		if extent < 0 {
			x.Shape[axis] = 3
			if axis == 0 {
				x.Shape[axis] = 2
			}
		}
	}
	n, err := x.Shape.Elements()
	if err != nil {
		t.Fatal(err)
	}
	x.Data = make([]byte, int(n)*x.Datatype.Size())
	if x.Datatype == tensor.Bytes {
		for range n {
			x.Data = tensor.AppendBytes(x.Data, []byte("0"))
		}
	}
	return x
}

func TestEveryModelOfTheZooRuns(t *testing.T) {
	for _, entry := range zoo.Catalog() {
		t.Run(entry.Name, func(t *testing.T) {
			config, err := modelconfig.ParseText([]byte(entry.Config))
			if err != nil {
				t.Fatal(err)
			}
			m := loadModel(t, write(t, entry.Versions[0]()), config)
			in := newInstance(t, m, onCPU(int(config.MaxBatchSize)))
			var inputs []tensor.Tensor
			for _, spec := range m.Signature().Inputs {
				inputs = append(inputs, plainInput(t, spec))
			}
			outputs := run(t, in, inputs...)
			for i, spec := range m.Signature().Outputs {
				if got := outputs[i]; got.Name != spec.Name || got.Datatype != spec.Datatype || !spec.Shape.Matches(got.Shape) {
					t.Errorf("output %s is %v %v, want %v %v", got.Name, got.Datatype, got.Shape, spec.Datatype, spec.Shape)
				}
			}
		})
	}
}

func TestNetworkMatchesItsReference(t *testing.T) {
	network := zoo.MiddleMLP()
	m := loadModel(t, write(t, network.Model()), &modelconfig.Config{MaxBatchSize: 16})
	in := newInstance(t, m, onCPU(16))
	width := network.InputWidth()
	x := rowsOf(16, width, 1)
	got := slices.Clone(floats(run(t, in, fp32(x, 16, int64(width)))[0].Data))
	for r := range 16 {
		row := x[r*width : (r+1)*width]
		want := network.Predict(row)[0]
		if math.Abs(float64(got[r])-want) > 1e-5 {
			t.Errorf("row %d of a batch: got %v, want %v", r, got[r], want)
		}
		alone := floats(run(t, in, fp32(row, 1, int64(width)))[0].Data)[0]
		if math.Abs(float64(alone)-want) > 1e-5 {
			t.Errorf("row %d alone: got %v, want %v", r, alone, want)
		}
	}
}
