// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"context"
	"fmt"
	"time"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/modelconfig"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// Bounds of the memory of one input.
const (
	inputBytesMax = 1 << 31
	keepBytesMax  = 16 << 20 // kept from one run to the next
)

// identityBackend answers each output with the input at the same position.
// Parameter execute_delay_ms is how long a run takes.
type identityBackend struct{}

var _ engine.Backend = identityBackend{}

func (identityBackend) Name() string { return "identity" }

// NeedsFiles is false: the configuration is all.
func (identityBackend) NeedsFiles() bool { return false }

func (identityBackend) Inspect(_ string, c *modelconfig.Config) (engine.Signature, error) {
	return configSignature(c), nil
}

func (identityBackend) Load(ctx context.Context, _ string, c *modelconfig.Config) (engine.Model, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m, err := newIdentity(c)
	if err != nil {
		return nil, err
	}
	return m, nil
}

type identityModel struct {
	signature engine.Signature
	delay     time.Duration
}

func newIdentity(c *modelconfig.Config) (*identityModel, error) {
	delay, err := configDelay(c)
	if err != nil {
		return nil, err
	}
	m := &identityModel{signature: configSignature(c), delay: delay}
	if len(m.signature.Outputs) > len(m.signature.Inputs) {
		return nil, fmt.Errorf("%w: model '%s' has %d inputs and %d outputs, each output takes an input",
			engine.ErrInvalidModel, c.Name, len(m.signature.Inputs), len(m.signature.Outputs))
	}
	for i, out := range m.signature.Outputs {
		if in := m.signature.Inputs[i]; in.Datatype != out.Datatype || !out.Shape.Matches(in.Shape) {
			return nil, fmt.Errorf("%w: model '%s': output '%s' (%s %s) must be as input '%s' (%s %s), which it answers",
				engine.ErrInvalidModel, c.Name, out.Name, out.Datatype, out.Shape, in.Name, in.Datatype, in.Shape)
		}
	}
	return m, nil
}

func (m *identityModel) Signature() engine.Signature { return m.signature }

func (m *identityModel) NewInstance(engine.Placement) (engine.Instance, error) {
	return m.newInstance(), nil
}

func (m *identityModel) newInstance() *identityInstance {
	i := &identityInstance{model: m}
	for _, in := range m.signature.Inputs {
		i.binding.Inputs = append(i.binding.Inputs, tensor.Tensor{Name: in.Name, Datatype: in.Datatype})
	}
	for _, out := range m.signature.Outputs {
		i.binding.Outputs = append(i.binding.Outputs, tensor.Tensor{Name: out.Name, Datatype: out.Datatype})
	}
	return i
}

func (m *identityModel) Close() error { return nil }

// identityInstance keeps the memory of its inputs; outputs are views of it.
type identityInstance struct {
	model   *identityModel
	binding engine.Binding
	pause   pause
}

func (i *identityInstance) Bind(shapes []tensor.Shape) (*engine.Binding, error) {
	if len(shapes) != len(i.binding.Inputs) {
		return nil, fmt.Errorf("%d shapes for %d inputs", len(shapes), len(i.binding.Inputs))
	}
	for n, shape := range shapes {
		in := &i.binding.Inputs[n]
		if shape == nil {
			return nil, fmt.Errorf("input '%s': %w", in.Name, errMissingInput)
		}
		if err := bindInput(in, shape); err != nil {
			return nil, fmt.Errorf("input '%s': %w", in.Name, err)
		}
	}
	return &i.binding, nil
}

// bindInput gives an input its shape and memory, reusing what it has.
func bindInput(in *tensor.Tensor, shape tensor.Shape) error {
	elements, err := shape.Elements()
	if err != nil {
		return err
	}
	size := int64(in.Datatype.Size())
	if size > 0 && elements > inputBytesMax/size {
		return fmt.Errorf("shape %v of %s takes more than %d bytes", shape, in.Datatype, int64(inputBytesMax))
	}
	in.Shape = append(in.Shape[:0], shape...)
	need := int(elements * size)
	if cap(in.Data) < need || (cap(in.Data) > keepBytesMax && need <= keepBytesMax) {
		in.Data = make([]byte, need)
	}
	in.Data = in.Data[:need]
	return nil
}

func (i *identityInstance) Run(ctx context.Context, b *engine.Binding) error {
	if err := i.pause.wait(ctx, i.model.delay); err != nil {
		return err
	}
	for n := range b.Outputs {
		b.Outputs[n].Shape = b.Inputs[n].Shape
		b.Outputs[n].Data = b.Inputs[n].Data
	}
	return nil
}

func (i *identityInstance) Close() error { return nil }
