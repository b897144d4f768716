// SPDX-License-Identifier: Apache-2.0

package auto_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/auto"
	"github.com/millrace-ml/millrace/engine/modelconfig"
	"github.com/millrace-ml/millrace/engine/native"
	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/onnx/zoo"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// other stands for ONNX Runtime.
type other struct{ err error }

func (other) Name() string { return "other" }

func (other) Inspect(string, *modelconfig.Config) (engine.Signature, error) {
	return engine.Signature{Outputs: []engine.TensorSpec{{Name: "other"}}}, nil
}

func (o other) Load(context.Context, string, *modelconfig.Config) (engine.Model, error) {
	return nil, o.err
}

func write(t *testing.T, m *onnx.Model) (dir string) {
	t.Helper()
	dir = t.TempDir()
	content, err := m.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "model.onnx"), content, 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

func uncovered(t *testing.T) *onnx.Model {
	t.Helper()
	b := onnx.NewBuilder("strange")
	b.Opset("com.example", 1)
	b.Input("x", tensor.FP32, onnx.Symbol("n"))
	b.Output("y", tensor.FP32, onnx.Symbol("n"))
	b.DomainNode("com.example", "Unheard", []string{"x"}, []string{"y"})
	m, err := b.Model()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func quiet(o other, gpus bool) *auto.Backend {
	return &auto.Backend{Native: native.Backend{}, Other: o, GPUs: gpus, Logger: slog.New(slog.DiscardHandler)}
}

func TestCoveredIsNative(t *testing.T) {
	dir, config := write(t, zoo.SmallMLP().Model()), &modelconfig.Config{Name: "m"}
	picked, err := quiet(other{}, false).Resolve(t.Context(), dir, config)
	if err != nil || picked.Name() != modelconfig.BackendNative {
		t.Fatalf("picked %v, error %v", picked, err)
	}
	// The model is open already: its file is not needed any more.
	if err := os.Remove(filepath.Join(dir, "model.onnx")); err != nil {
		t.Fatal(err)
	}
	signature, err := picked.Inspect(dir, config)
	if err != nil || len(signature.Inputs) != 1 || signature.Inputs[0].Name != "input" {
		t.Errorf("signature %v, error %v", signature, err)
	}
	model, err := picked.Load(t.Context(), dir, config)
	if err != nil || len(model.Signature().Outputs) != 1 {
		t.Errorf("model %v, error %v", model, err)
	}
}

func TestUncoveredIsOther(t *testing.T) {
	dir, config := write(t, uncovered(t)), &modelconfig.Config{Name: "m"}
	missing := errors.Join(engine.ErrUnavailable, errors.New("no library"))
	b := quiet(other{missing}, false)
	picked, err := b.Resolve(t.Context(), dir, config)
	if err != nil || picked.Name() != "other" {
		t.Fatalf("picked %v, error %v", picked, err)
	}
	if signature, err := b.Inspect(dir, config); err != nil || signature.Outputs[0].Name != "other" {
		t.Errorf("signature %v, error %v", signature, err)
	}
	_, err = b.Load(t.Context(), dir, config)
	if !errors.Is(err, engine.ErrUnavailable) || !strings.Contains(err.Error(), "com.example:Unheard") {
		t.Errorf("the error does not say what is missing on both sides: %v", err)
	}
}

func TestGPUs(t *testing.T) {
	dir := write(t, zoo.SmallMLP().Model())
	group := func(kinds ...modelconfig.InstanceKind) *modelconfig.Config {
		c := &modelconfig.Config{Name: "m"}
		for _, kind := range kinds {
			c.InstanceGroup = append(c.InstanceGroup, modelconfig.InstanceGroup{Kind: kind})
		}
		return c
	}
	for name, c := range map[string]struct {
		config *modelconfig.Config
		gpus   bool
		want   string
	}{
		"no GPU":                        {group(), false, "native"},
		"GPU, nothing said":             {group(), true, "other"},
		"GPU, auto":                     {group(modelconfig.KindAuto), true, "other"},
		"GPU, on the CPU":               {group(modelconfig.KindCPU), true, "native"},
		"no GPU, but asked for":         {group(modelconfig.KindGPU), false, "other"},
		"GPU, one instance asks for it": {group(modelconfig.KindCPU, modelconfig.KindGPU), true, "other"},
	} {
		picked, err := quiet(other{}, c.gpus).Resolve(t.Context(), dir, c.config)
		if err != nil || picked.Name() != c.want {
			t.Errorf("%s: picked %v, error %v, want %s", name, picked, err, c.want)
		}
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := quiet(other{}, false).Resolve(ctx, write(t, zoo.SmallMLP().Model()), &modelconfig.Config{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}
