// SPDX-License-Identifier: Apache-2.0

package serving

import (
	"context"

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

// Bind gives each output the shape and the memory of the input of its index.
func (i *scriptedInstance) Bind(shapes []tensor.Shape) (*engine.Binding, error) {
	for n, shape := range shapes {
		in := &i.binding.Inputs[n]
		elements, err := shape.Elements()
		if err != nil {
			return nil, err
		}
		size := int(elements) * in.Datatype.Size()
		if cap(in.Data) < size {
			in.Data = make([]byte, size)
		}
		in.Shape, in.Data = append(in.Shape[:0], shape...), in.Data[:size]
		if n < len(i.binding.Outputs) {
			i.binding.Outputs[n].Shape, i.binding.Outputs[n].Data = in.Shape, in.Data
		}
	}
	return &i.binding, nil
}

func (i *scriptedInstance) Run(_ context.Context, b *engine.Binding) error { return i.backend.run(b) }
func (i *scriptedInstance) Close() error                                   { return nil }
