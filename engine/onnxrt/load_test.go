// SPDX-License-Identifier: Apache-2.0

package onnxrt_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/modelconfig"
	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/onnxrt"
	"github.com/millrace-ml/millrace/engine/onnxrt/onnxrttest"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// inspect reads a signature. It works without the library.
func inspect(dir string, config *modelconfig.Config) (engine.Signature, error) {
	return onnxrt.NewBackend(onnxrt.Options{}).Inspect(dir, config)
}

func TestInspect(t *testing.T) {
	b := onnx.NewBuilder("two")
	b.Input("ids", tensor.Int64, onnx.Symbol("batch"), onnx.Unknown())
	b.Input("x", tensor.FP16, onnx.Extent(1), onnx.Extent(4))
	b.Node("Identity", []string{"ids"}, []string{"out"})
	b.Node("Identity", []string{"x"}, []string{"half"})
	b.Output("out", tensor.Int64, onnx.Symbol("batch"), onnx.Unknown())
	b.Output("half", tensor.FP16, onnx.Extent(1), onnx.Extent(4))
	got, err := inspect(writeModel(t, b), &modelconfig.Config{})
	if err != nil {
		t.Fatal(err)
	}
	want := []engine.TensorSpec{
		{Name: "ids", Datatype: tensor.Int64, Shape: tensor.Shape{-1, -1}},
		{Name: "x", Datatype: tensor.FP16, Shape: tensor.Shape{1, 4}},
		{Name: "out", Datatype: tensor.Int64, Shape: tensor.Shape{-1, -1}},
		{Name: "half", Datatype: tensor.FP16, Shape: tensor.Shape{1, 4}},
	}
	for i, spec := range slices.Concat(got.Inputs, got.Outputs) {
		if i >= len(want) || spec.Name != want[i].Name || spec.Datatype != want[i].Datatype || !slices.Equal(spec.Shape, want[i].Shape) || spec.Optional {
			t.Errorf("tensor %d is %+v", i, spec)
		}
	}
}

// classifier is what an exporter of classifiers writes: labels, and probabilities
// as a sequence of maps.
func classifier(t testing.TB) *onnx.Model {
	t.Helper()
	b := onnx.NewBuilder("classifier")
	b.Opset("ai.onnx.ml", 3)
	b.Input("x", tensor.FP32, onnx.Unknown(), onnx.Extent(2))
	b.Node("ArgMax", []string{"x"}, []string{"label"}, onnx.IntAttribute("axis", 1), onnx.IntAttribute("keepdims", 0))
	b.DomainNode("ai.onnx.ml", "ZipMap", []string{"x"}, []string{"probabilities"}, onnx.IntsAttribute("classlabels_int64s", 0, 1))
	b.Output("label", tensor.Int64, onnx.Unknown())
	m, err := b.Model()
	if err != nil {
		t.Fatal(err)
	}
	element := onnx.TensorType(onnx.ElemFloat)
	m.Graph.Outputs = append(m.Graph.Outputs, onnx.ValueInfo{Name: "probabilities", Type: onnx.Type{
		Kind: onnx.KindSequence, Of: &onnx.Type{Kind: onnx.KindMap, Elem: onnx.ElemInt64, Of: &element},
	}})
	return m
}

func TestMapsAreLeftOut(t *testing.T) {
	onnxrttest.Runtime(t)
	opts := onnxrttest.Options(t)
	var log bytes.Buffer
	opts.Logger = slog.New(slog.NewTextHandler(&log, nil))
	m, err := onnxrt.NewBackend(opts).Load(t.Context(), write(t, classifier(t)), &modelconfig.Config{Name: "fraud", MaxBatchSize: 4})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if !strings.Contains(log.String(), "zipmap=False") || !strings.Contains(log.String(), "model=fraud") {
		t.Errorf("logged %q", log.String())
	}
	outputs := run(t, newInstance(t, m, onCPU(4)), fp32([]float32{1, 2, 4, 3}, 2, 2))
	if len(outputs) != 1 || !slices.Equal(int64s(outputs[0].Data), []int64{1, 0}) {
		t.Errorf("got %v", outputs)
	}
}

func TestNoOutputCanBeServed(t *testing.T) {
	m := classifier(t)
	m.Graph.Outputs = m.Graph.Outputs[1:]
	_, err := inspect(write(t, m), &modelconfig.Config{})
	if !errors.Is(err, engine.ErrInvalidModel) || !strings.Contains(err.Error(), `output "probabilities" is seq(map(int64,tensor(float)`) || !strings.Contains(err.Error(), "zipmap=False") {
		t.Errorf("got error %v", err)
	}
}

func TestUnrankedNeedsConfiguration(t *testing.T) {
	m, err := denseModel(6, 3).Model()
	if err != nil {
		t.Fatal(err)
	}
	m.Graph.Outputs[0].Type = onnx.Type{Kind: onnx.KindTensor, Elem: onnx.ElemFloat}
	dir := write(t, m)
	if _, err := inspect(dir, &modelconfig.Config{}); !errors.Is(err, engine.ErrInvalidModel) || !strings.Contains(err.Error(), `output "y": the model file does not say how many dimensions`) {
		t.Errorf("got error %v", err)
	}
	config := &modelconfig.Config{MaxBatchSize: 4, Output: []modelconfig.Output{{Name: "y", Dims: []int64{3}}}}
	loaded := loadModel(t, dir, config)
	if got := loaded.Signature().Outputs[0].Shape; !slices.Equal(got, tensor.Shape{-1, 3}) {
		t.Errorf("shape is %v, want that of the configuration", got)
	}
	checkDense(t, newInstance(t, loaded, onCPU(4)), 3, 1)
}

func TestModelFilesThatAreRefused(t *testing.T) {
	dense := writeModel(t, denseModel(6, 3))
	content, err := os.ReadFile(filepath.Join(dense, "model.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		dir    string
		config modelconfig.Config
		want   string
	}{
		"missing":           {dir: t.TempDir(), want: "no such file"},
		"empty":             {dir: writeFile(t, "model.onnx", nil), want: "graph"},
		"truncated":         {dir: writeFile(t, "model.onnx", content[:len(content)/2]), want: "corrupt"},
		"garbage":           {dir: writeFile(t, "model.onnx", bytes.Repeat([]byte{0xff, 1}, 500)), want: "corrupt"},
		"leaves the folder": {dir: dense, config: modelconfig.Config{DefaultModelFilename: "../model.onnx"}, want: "leaves the version's folder"},
		"other name":        {dir: dense, config: modelconfig.Config{DefaultModelFilename: "net.onnx"}, want: "net.onnx"},
		"no default": {dir: dense, config: modelconfig.Config{Input: []modelconfig.Input{{Name: "x", Optional: true}}},
			want: `input "x" is optional in the configuration, but the model has no default`},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := inspect(c.dir, &c.config); !errors.Is(err, engine.ErrInvalidModel) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got error %v, want %q", err, c.want)
			}
		})
	}
}

func TestHalfOfUnknownShapeIsRefused(t *testing.T) {
	b := onnx.NewBuilder("half")
	b.Input("x", tensor.FP16, onnx.Symbol("n"))
	b.Node("Unique", []string{"x"}, []string{"y"})
	b.Output("y", tensor.FP16, onnx.Unknown())
	if _, err := inspect(writeModel(t, b), &modelconfig.Config{}); !errors.Is(err, engine.ErrInvalidModel) || !strings.Contains(err.Error(), "cast the output to FP32") {
		t.Errorf("got error %v", err)
	}
}

// externalModel keeps its weights in a file of the given name.
func externalModel(t *testing.T, location string) string {
	t.Helper()
	m, err := denseModel(6, 3).Model()
	if err != nil {
		t.Fatal(err)
	}
	w := &m.Graph.Initializers[0]
	weights := w.Raw
	w.Raw, w.External = nil, &onnx.External{Location: location, Length: int64(len(weights))}
	dir := write(t, m)
	if err := os.WriteFile(filepath.Join(dir, "weights.bin"), weights, 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestExternalData(t *testing.T) {
	dir := externalModel(t, "weights.bin")
	checkDense(t, newInstance(t, loadModel(t, dir, &modelconfig.Config{MaxBatchSize: 4}), onCPU(4)), 2, 3)
	for _, location := range []string{"../weights.bin", filepath.Join(dir, "weights.bin"), "absent.bin"} {
		_, err := onnxrttest.Backend(t).Load(t.Context(), externalModel(t, location), &modelconfig.Config{})
		if !errors.Is(err, engine.ErrInvalidModel) || !strings.Contains(err.Error(), `"w"`) {
			t.Errorf("external data at %s: got error %v", location, err)
		}
	}
}

func TestModelInAFolder(t *testing.T) {
	dir := t.TempDir()
	if err := os.Rename(externalModel(t, "weights.bin"), filepath.Join(dir, "model.onnx")); err != nil {
		t.Fatal(err)
	}
	checkDense(t, newInstance(t, loadModel(t, dir, &modelconfig.Config{MaxBatchSize: 4}), onCPU(4)), 2, 3)
}

func TestLibraryRefusesModel(t *testing.T) {
	b := onnx.NewBuilder("unknown")
	b.Input("x", tensor.FP32, onnx.Extent(1))
	b.Node("NoSuchOperator", []string{"x"}, []string{"y"})
	b.Output("y", tensor.FP32, onnx.Extent(1))
	m := loadModel(t, writeModel(t, b), &modelconfig.Config{})
	_, err := m.NewInstance(onCPU(0))
	if !errors.Is(err, engine.ErrInvalidModel) || !strings.Contains(err.Error(), "onnx runtime error ") || !strings.Contains(err.Error(), "NoSuchOperator") {
		t.Errorf("got error %v", err)
	}
}

func TestGPUIsUnavailable(t *testing.T) {
	if gpus := onnxrttest.Runtime(t).GPUs(); len(gpus) > 0 {
		t.Skipf("this machine has GPUs %v", gpus)
	}
	m := loadModel(t, writeModel(t, denseModel(6, 3)), &modelconfig.Config{})
	_, err := m.NewInstance(engine.Placement{Kind: modelconfig.KindGPU, MaxBatchSize: 4})
	if !errors.Is(err, engine.ErrUnavailable) || !strings.Contains(err.Error(), "no CUDA execution provider") || !strings.Contains(err.Error(), "use KIND_CPU") {
		t.Errorf("got error %v", err)
	}
}

func TestSessionSettings(t *testing.T) {
	parameters := map[string]modelconfig.Parameter{
		"execution_mode":                         {StringValue: "1"},
		"inter_op_thread_count":                  {StringValue: "2"},
		"intra_op_thread_count":                  {StringValue: "2"},
		"enable_mem_arena":                       {StringValue: "0"},
		"enable_mem_pattern":                     {StringValue: "0"},
		"session.intra_op.allow_spinning":        {StringValue: "1"},
		"session.set_denormal_as_zero":           {StringValue: "1"},
		"optimization.enable_gelu_approximation": {StringValue: "0"},
	}
	dir := writeModel(t, denseModel(6, 3))
	for level := range int32(4) {
		config := &modelconfig.Config{
			MaxBatchSize: 4,
			Parameters:   parameters,
			Optimization: &modelconfig.Optimization{Graph: &modelconfig.GraphOptimization{Level: level - 1}},
		}
		checkDense(t, newInstance(t, loadModel(t, dir, config), onCPU(4)), 4, 1)
	}
}

func TestLoadReportsBadSettings(t *testing.T) {
	config := &modelconfig.Config{Name: "m", Parameters: map[string]modelconfig.Parameter{"enable_mem_arena": {StringValue: "perhaps"}}}
	_, err := onnxrttest.Backend(t).Load(t.Context(), writeModel(t, denseModel(6, 3)), config)
	if !errors.Is(err, engine.ErrInvalidModel) || !strings.Contains(err.Error(), `parameter enable_mem_arena is "perhaps"`) {
		t.Errorf("got error %v", err)
	}
}

func TestLoadHeedsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := onnxrttest.Backend(t).Load(ctx, writeModel(t, denseModel(6, 3)), &modelconfig.Config{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got error %v, want %v", err, context.Canceled)
	}
}

func TestRuntime(t *testing.T) {
	rt := onnxrttest.Runtime(t)
	if !strings.HasPrefix(rt.Version(), "1.") || !strings.Contains(rt.Library(), "libonnxruntime") {
		t.Errorf("version %q of library %q", rt.Version(), rt.Library())
	}
	if !slices.Contains(rt.Providers(), "CPUExecutionProvider") {
		t.Errorf("providers are %v", rt.Providers())
	}
	again, err := onnxrt.Open(onnxrttest.Options(t))
	if err != nil || again != rt {
		t.Errorf("a second Open gave %v, %v", again, err)
	}
	if _, err := onnxrt.Open(onnxrt.Options{Library: filepath.Join(t.TempDir(), "other.so")}); !errors.Is(err, engine.ErrUnavailable) || !strings.Contains(err.Error(), "already runs") {
		t.Errorf("Open of another library: got error %v", err)
	}
}
