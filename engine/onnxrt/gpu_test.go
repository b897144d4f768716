// SPDX-License-Identifier: Apache-2.0

package onnxrt_test

import (
	"math"
	"slices"
	"sync"
	"testing"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/modelconfig"
	"github.com/millrace-ml/millrace/engine/onnx/zoo"
	"github.com/millrace-ml/millrace/engine/onnxrt/onnxrttest"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// onGPU places instances on the machine's first GPU, and skips where there is none
// or the library is not built for it.
func onGPU(t testing.TB, rowsMax int) engine.Placement {
	t.Helper()
	gpus := onnxrttest.Runtime(t).GPUs()
	if len(gpus) == 0 {
		t.Skip("no GPU that this ONNX Runtime library can use")
	}
	return engine.Placement{Kind: modelconfig.KindGPU, GPU: gpus[0], Threads: 1, MaxBatchSize: rowsMax}
}

// gpuTolerance allows for the CUDA provider's matrix products in TF32, which keep 10
// bits of each factor.
const gpuTolerance = 2e-3

// TestNetworkOnGPU runs different rows in batches of different sizes on several
// instances at once, each with answers of its own.
func TestNetworkOnGPU(t *testing.T) {
	placement := onGPU(t, 64)
	network := zoo.MiddleMLP()
	m := loadModel(t, write(t, network.Model()), &modelconfig.Config{MaxBatchSize: 64})
	var running sync.WaitGroup
	for seed := range 3 {
		in := newInstance(t, m, placement)
		running.Go(func() {
			for round := range 20 {
				checkNetwork(t, in, network, 1+(7*round+seed)%64, seed*100+round)
			}
		})
	}
	running.Wait()
}

func checkNetwork(t *testing.T, in engine.Instance, network *zoo.MLP, rows, seed int) {
	width := network.InputWidth()
	x := rowsOf(rows, width, seed)
	outputs, err := tryRun(t, in, fp32(x, int64(rows), int64(width)))
	if err != nil {
		t.Error(err)
		return
	}
	got := slices.Clone(floats(outputs[0].Data))
	for r := range rows {
		if want := network.Predict(x[r*width : (r+1)*width])[0]; math.Abs(float64(got[r])-want) > gpuTolerance {
			t.Errorf("row %d of %d: got %v, want %v", r, rows, got[r], want)
		}
	}
}

// TestEveryModelOfTheZooRunsOnGPU: what a GPU cannot do, the CPU does in its place.
func TestEveryModelOfTheZooRunsOnGPU(t *testing.T) {
	placement := onGPU(t, 0)
	for _, entry := range zoo.Catalog() {
		t.Run(entry.Name, func(t *testing.T) {
			config, err := modelconfig.ParseText([]byte(entry.Config))
			if err != nil {
				t.Fatal(err)
			}
			m := loadModel(t, write(t, entry.Versions[0]()), config)
			placement.MaxBatchSize = int(config.MaxBatchSize)
			var inputs []tensor.Tensor
			for _, spec := range m.Signature().Inputs {
				inputs = append(inputs, plainInput(t, spec))
			}
			got := run(t, newInstance(t, m, placement), inputs...)
			want := run(t, newInstance(t, m, onCPU(placement.MaxBatchSize)), inputs...)
			for i := range want {
				compareOutputs(t, got[i], want[i])
			}
		})
	}
}

func compareOutputs(t *testing.T, got, want tensor.Tensor) {
	t.Helper()
	if got.Name != want.Name || got.Datatype != want.Datatype || !slices.Equal(got.Shape, want.Shape) {
		t.Fatalf("got %s %v %v, want %s %v %v", got.Name, got.Datatype, got.Shape, want.Name, want.Datatype, want.Shape)
	}
	if want.Datatype != tensor.FP32 {
		if !slices.Equal(got.Data, want.Data) {
			t.Errorf("output %s differs", want.Name)
		}
		return
	}
	expected := floats(want.Data)
	for i, v := range floats(got.Data) {
		if math.Abs(float64(v-expected[i])) > gpuTolerance {
			t.Errorf("output %s, element %d: got %v, want %v", want.Name, i, v, expected[i])
		}
	}
}
