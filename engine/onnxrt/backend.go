// SPDX-License-Identifier: Apache-2.0

package onnxrt

import (
	"context"
	"fmt"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/internal/modelfile"
	"github.com/millrace-ml/millrace/engine/modelconfig"
)

// BackendName is the backend's name in config.pbtxt.
const BackendName = "onnxruntime"

// Backend opens ONNX models.
type Backend struct {
	opts Options
}

var _ engine.Backend = (*Backend)(nil)

// NewBackend makes the backend. The library is opened when the first model loads,
// so that a server without it can serve models of other backends.
func NewBackend(opts Options) *Backend {
	return &Backend{opts: opts}
}

// Name implements engine.Backend.
func (b *Backend) Name() string { return BackendName }

// OutsideGo implements engine.Foreign: the library reads models and optimises graphs.
func (b *Backend) OutsideGo() bool { return true }

// Inspect reads a model's signature from its file. It does not need the library.
// Outputs that cannot be served are left out; Load logs them.
func (b *Backend) Inspect(dir string, config *modelconfig.Config) (engine.Signature, error) {
	file, err := modelfile.Find(dir, config)
	if err != nil {
		return engine.Signature{}, err
	}
	g, err := readGraph(file, config)
	if err != nil {
		return engine.Signature{}, err
	}
	return g.signature, nil
}

// Load checks the model file and its external data. The library reads it when the
// first instance is made, which ctx cannot interrupt.
func (b *Backend) Load(ctx context.Context, dir string, config *modelconfig.Config) (engine.Model, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if _, err := Open(b.opts); err != nil {
		return nil, err
	}
	file, err := modelfile.Find(dir, config)
	if err != nil {
		return nil, err
	}
	g, err := readGraph(file, config)
	if err != nil {
		return nil, err
	}
	s, err := readSettings(config)
	if err != nil {
		return nil, fmt.Errorf("model %q: %w", config.Name, err)
	}
	for _, reason := range g.left {
		b.opts.logger().Warn("model output left out", "model", config.Name, "reason", reason)
	}
	return newModel(file, g, s), nil
}
