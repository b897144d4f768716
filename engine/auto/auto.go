// SPDX-License-Identifier: Apache-2.0

// Package auto is the backend that picks another one for each model: the native engine
// where it covers the model, else ONNX Runtime.
package auto

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/modelconfig"
)

// Backend picks between two others. Its fields do not change after it is in use.
type Backend struct {
	// Native runs what it covers, on the CPU. Other runs everything else.
	Native, Other engine.Backend
	// GPUs says that the machine has some, on which Other runs models whose
	// configuration does not keep them on the CPU.
	GPUs bool
	// Logger tells why a model is not run natively; nil is slog.Default.
	Logger *slog.Logger
}

var _ interface {
	engine.Backend
	engine.Resolver
} = (*Backend)(nil)

// Name implements engine.Backend.
func (b *Backend) Name() string { return modelconfig.BackendAuto }

// Resolve implements engine.Resolver. The native engine opens the model to find out
// whether it covers it; the backend that is returned then already holds it.
func (b *Backend) Resolve(ctx context.Context, dir string, config *modelconfig.Config) (engine.Backend, error) {
	if b.wantsGPU(config) {
		return b.Other, nil
	}
	model, err := b.Native.Load(ctx, dir, config)
	if err == nil {
		return &opened{b.Native, model}, nil
	}
	if ctx.Err() != nil {
		return nil, err
	}
	logger := b.Logger
	if logger == nil {
		logger = slog.Default()
	}
	logger.Info("not run by the native backend", "model", config.Name, "reason", err)
	return &fallback{b.Other, err}, nil
}

// wantsGPU reports whether an instance may go to a GPU.
func (b *Backend) wantsGPU(config *modelconfig.Config) bool {
	onCPU := func(g modelconfig.InstanceGroup) bool { return g.Kind == modelconfig.KindCPU }
	if len(config.InstanceGroup) == 0 {
		return b.GPUs
	}
	asked := slices.ContainsFunc(config.InstanceGroup, func(g modelconfig.InstanceGroup) bool { return g.Kind == modelconfig.KindGPU })
	return asked || b.GPUs && !slices.ContainsFunc(config.InstanceGroup, onCPU)
}

// Inspect implements engine.Backend, for callers that do not resolve.
func (b *Backend) Inspect(dir string, config *modelconfig.Config) (engine.Signature, error) {
	picked, err := b.Resolve(context.Background(), dir, config)
	if err != nil {
		return engine.Signature{}, err
	}
	return picked.Inspect(dir, config)
}

// Load implements engine.Backend, for callers that do not resolve.
func (b *Backend) Load(ctx context.Context, dir string, config *modelconfig.Config) (engine.Model, error) {
	picked, err := b.Resolve(ctx, dir, config)
	if err != nil {
		return nil, err
	}
	return picked.Load(ctx, dir, config)
}

// opened is the native backend with a model that it has already loaded.
type opened struct {
	engine.Backend
	model engine.Model
}

func (o *opened) Inspect(string, *modelconfig.Config) (engine.Signature, error) {
	return o.model.Signature(), nil
}

func (o *opened) Load(context.Context, string, *modelconfig.Config) (engine.Model, error) {
	return o.model, nil
}

// fallback is the other backend. Where it cannot run the model either, its error says
// why the native one did not.
type fallback struct {
	engine.Backend
	reason error
}

// OutsideGo implements engine.Foreign as the other backend does.
func (f *fallback) OutsideGo() bool {
	other, ok := f.Backend.(engine.Foreign)
	return ok && other.OutsideGo()
}

func (f *fallback) Load(ctx context.Context, dir string, config *modelconfig.Config) (engine.Model, error) {
	model, err := f.Backend.Load(ctx, dir, config)
	if errors.Is(err, engine.ErrUnavailable) {
		return nil, fmt.Errorf("%w; the native backend does not run the model: %w", err, f.reason)
	}
	return model, err
}
