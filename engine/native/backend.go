// SPDX-License-Identifier: Apache-2.0

package native

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/internal/modelfile"
	"github.com/millrace-ml/millrace/engine/modelconfig"
	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/onnx/rewrite"
)

// ErrNotCovered says that a model is in order, but has operators or types that this
// backend does not run.
var ErrNotCovered = op.ErrNotCovered

// externalBytesMax bounds the weights that are outside the model file.
const externalBytesMax = 1 << 36

// Backend opens ONNX models.
type Backend struct{}

var _ engine.Backend = Backend{}

// Name implements engine.Backend.
func (Backend) Name() string { return modelconfig.BackendNative }

// Inspect reads a model's signature. Whether the model is covered is found by Load.
func (Backend) Inspect(dir string, config *modelconfig.Config) (engine.Signature, error) {
	file, err := modelfile.Find(dir, config)
	if err != nil {
		return engine.Signature{}, err
	}
	m, err := read(file, onnx.ReadOptions{SkipTensorData: true})
	if err != nil {
		return engine.Signature{}, err
	}
	s, err := signatureOf(m, config)
	if err != nil {
		return engine.Signature{}, fmt.Errorf("%w: %s: %w", engine.ErrInvalidModel, file, err)
	}
	return s, nil
}

// read reads a model file without the maps that classifiers of some exporters end in:
// the tensors inside them are served instead.
func read(file string, options onnx.ReadOptions) (*onnx.Model, error) {
	m, err := onnx.ReadFile(file, options)
	if err == nil {
		err = m.Check()
	}
	if err == nil {
		m, _, err = rewrite.Apply(m, rewrite.Options{Fusions: rewrite.None, Standard: true, DropZipMap: true})
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", engine.ErrInvalidModel, err)
	}
	return m, nil
}

func signatureOf(m *onnx.Model, config *modelconfig.Config) (engine.Signature, error) {
	inputs, err := modelfile.Inputs(m, config)
	if err != nil {
		return engine.Signature{}, err
	}
	outputs, left, err := modelfile.Outputs(m, config)
	if err != nil {
		return engine.Signature{}, err
	}
	if len(left) > 0 {
		return engine.Signature{}, op.NotCovered("%s", left[0])
	}
	s := engine.Signature{Inputs: inputs}
	for _, out := range outputs {
		s.Outputs = append(s.Outputs, out.TensorSpec)
	}
	return s, nil
}

// Load reads the model, rewrites its graph and packs its weights. Errors wrap
// engine.ErrInvalidModel, and ErrNotCovered where another backend may run the model.
func (Backend) Load(ctx context.Context, dir string, config *modelconfig.Config) (engine.Model, error) {
	m, err := open(ctx, dir, config)
	if err != nil {
		return nil, err
	}
	return m, nil
}

func open(ctx context.Context, dir string, config *modelconfig.Config) (*model, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	file, err := modelfile.Find(dir, config)
	if err != nil {
		return nil, err
	}
	graph, err := read(file, onnx.ReadOptions{})
	if err != nil {
		return nil, err
	}
	p, err := programOf(graph, file, config)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", engine.ErrInvalidModel, file, err)
	}
	return &model{program: p, file: file}, nil
}

func programOf(graph *onnx.Model, file string, config *modelconfig.Config) (*program, error) {
	if err := graph.LoadExternal(filepath.Dir(file), externalBytesMax); err != nil {
		return nil, err
	}
	s, err := signatureOf(graph, config)
	if err != nil {
		return nil, err
	}
	return newProgram(graph, s)
}

// model is an opened model.
type model struct {
	program *program
	file    string
}

var _ engine.Model = (*model)(nil)

func (m *model) Signature() engine.Signature { return m.program.signature }

// NewInstance implements engine.Model.
func (m *model) NewInstance(placement engine.Placement) (engine.Instance, error) {
	if placement.Kind == modelconfig.KindGPU {
		return nil, fmt.Errorf("%w: %s: the native backend runs on the CPU only: give instance_group kind KIND_CPU or backend onnxruntime",
			engine.ErrUnavailable, m.file)
	}
	in, err := newInstance(m.program, placement)
	if err != nil {
		return nil, fmt.Errorf("%w: load %s: %w", engine.ErrInvalidModel, m.file, err)
	}
	return in, nil
}

func (m *model) Close() error { return nil }
