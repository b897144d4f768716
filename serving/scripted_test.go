// SPDX-License-Identifier: Apache-2.0

package serving

import (
	"context"
	"errors"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/modelconfig"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// scriptedBackend runs a function of the test on inputs of fixed shape.
type scriptedBackend struct {
	signature engine.Signature
	run       func(b *engine.Binding) error
}

func (s *scriptedBackend) Name() string { return "scripted" }

func (s *scriptedBackend) Inspect(string, *modelconfig.Config) (engine.Signature, error) {
	return s.signature, nil
}

func (s *scriptedBackend) Load(context.Context, string, *modelconfig.Config) (engine.Model, error) {
	return s, nil
}

func (s *scriptedBackend) Signature() engine.Signature { return s.signature }
func (s *scriptedBackend) Close() error                { return nil }

func (s *scriptedBackend) NewInstance(engine.Placement) (engine.Instance, error) {
	i := &scriptedInstance{backend: s}
	for _, in := range s.signature.Inputs {
		i.binding.Inputs = append(i.binding.Inputs, tensor.Tensor{Name: in.Name, Datatype: in.Datatype})
	}
	for _, out := range s.signature.Outputs {
		i.binding.Outputs = append(i.binding.Outputs, tensor.Tensor{Name: out.Name, Datatype: out.Datatype})
	}
	return i, nil
}

type scriptedInstance struct {
	backend *scriptedBackend
	binding engine.Binding
}

// Bind prepares inputs of the given shapes; nil leaves an optional one out.
func (i *scriptedInstance) Bind(shapes []tensor.Shape) (*engine.Binding, error) {
	for n, shape := range shapes {
		in := &i.binding.Inputs[n]
		in.Shape, in.Data = append(in.Shape[:0], shape...), in.Data[:0]
		if shape == nil {
			in.Shape = nil
			continue
		}
		elements, err := shape.Elements()
		if err != nil {
			return nil, err
		}
		size := int(elements) * in.Datatype.Size()
		if cap(in.Data) < size {
			in.Data = make([]byte, size)
		}
		in.Data = in.Data[:size]
	}
	return &i.binding, nil
}

// Run gives each output the shape and the memory of the input of its index, unless
// the test's function gives it others.
func (i *scriptedInstance) Run(_ context.Context, b *engine.Binding) error {
	for n := range min(len(b.Inputs), len(b.Outputs)) {
		b.Outputs[n].Shape, b.Outputs[n].Data = b.Inputs[n].Shape, b.Inputs[n].Data
	}
	return i.backend.run(b)
}

func (i *scriptedInstance) Close() error { return nil }

// streamingBackend is a scripted backend of decoupled models.
type streamingBackend struct {
	scriptedBackend
	stream func(ctx context.Context, inputs []tensor.Tensor, emit func([]tensor.Tensor) error) error
}

func (s *streamingBackend) Load(context.Context, string, *modelconfig.Config) (engine.Model, error) {
	return s, nil
}

func (s *streamingBackend) NewInstance(engine.Placement) (engine.Instance, error) {
	return streamingInstance{s}, nil
}

// streamingInstance cannot run batches.
type streamingInstance struct{ backend *streamingBackend }

func (streamingInstance) Bind([]tensor.Shape) (*engine.Binding, error) {
	return nil, errors.New("decoupled models take no batches")
}

func (streamingInstance) Run(context.Context, *engine.Binding) error {
	return errors.New("decoupled models take no batches")
}
func (streamingInstance) Close() error { return nil }

func (i streamingInstance) Stream(ctx context.Context, inputs []tensor.Tensor, emit func([]tensor.Tensor) error) error {
	return i.backend.stream(ctx, inputs, emit)
}

// withBackend serves every model of the repository with one backend.
func withBackend(b engine.Backend) func(*Options) {
	return func(o *Options) { o.Repository.Backends = []engine.Backend{b} }
}

// signatureOf has FP32 inputs and outputs of one shape.
func signatureOf(shape tensor.Shape, inputs, outputs []string) engine.Signature {
	specs := func(names []string) (all []engine.TensorSpec) {
		for _, name := range names {
			all = append(all, engine.TensorSpec{Name: name, Datatype: tensor.FP32, Shape: shape})
		}
		return all
	}
	return engine.Signature{Inputs: specs(inputs), Outputs: specs(outputs)}
}
