// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/modelconfig"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// ErrDecoupled says that a model gives any number of responses and must be run as a
// stream.
var ErrDecoupled = errors.New("model is decoupled: it answers streams only")

// repeatBackend gives one response for each element of its input IN, each after its
// time in DELAY, in milliseconds. The stream ends when all are given and WAIT
// milliseconds have passed since its begin, whichever is later.
type repeatBackend struct{}

var _ engine.Backend = repeatBackend{}

var repeatSignature = engine.Signature{
	Inputs: []engine.TensorSpec{
		{Name: "IN", Datatype: tensor.Int32, Shape: tensor.Shape{-1}},
		{Name: "DELAY", Datatype: tensor.Uint32, Shape: tensor.Shape{-1}},
		{Name: "WAIT", Datatype: tensor.Uint32, Shape: tensor.Shape{1}},
	},
	Outputs: []engine.TensorSpec{
		{Name: "OUT", Datatype: tensor.Int32, Shape: tensor.Shape{1}},
		{Name: "IDX", Datatype: tensor.Uint32, Shape: tensor.Shape{1}},
	},
}

func (repeatBackend) Name() string { return "repeat" }

// NeedsFiles is false: the configuration is all.
func (repeatBackend) NeedsFiles() bool { return false }

func (repeatBackend) Inspect(string, *modelconfig.Config) (engine.Signature, error) {
	return repeatSignature, nil
}

func (repeatBackend) Load(ctx context.Context, _ string, c *modelconfig.Config) (engine.Model, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if c.TransactionPolicy == nil || !c.TransactionPolicy.Decoupled {
		return nil, fmt.Errorf("%w: model '%s' gives many responses to one request: set 'model_transaction_policy { decoupled: true }'",
			engine.ErrInvalidModel, c.Name)
	}
	return repeatModel{}, nil
}

type repeatModel struct{}

func (repeatModel) Signature() engine.Signature { return repeatSignature }

func (repeatModel) NewInstance(engine.Placement) (engine.Instance, error) {
	return &repeatInstance{}, nil
}

func (repeatModel) Close() error { return nil }

type repeatInstance struct{ pause pause }

var _ engine.Streamer = (*repeatInstance)(nil)

func (*repeatInstance) Bind([]tensor.Shape) (*engine.Binding, error) { return nil, ErrDecoupled }

func (*repeatInstance) Run(context.Context, *engine.Binding) error { return ErrDecoupled }

func (*repeatInstance) Close() error { return nil }

// Stream takes IN, DELAY and WAIT in this order.
func (i *repeatInstance) Stream(ctx context.Context, inputs []tensor.Tensor, emit func([]tensor.Tensor) error) error {
	if len(inputs) != len(repeatSignature.Inputs) {
		return fmt.Errorf("%d inputs instead of %d", len(inputs), len(repeatSignature.Inputs))
	}
	values, delays, waits := inputs[0].Data, inputs[1].Data, inputs[2].Data
	if err := checkRepeat(values, delays, waits); err != nil {
		return err
	}
	begin := time.Now()
	out := make([]byte, 4)
	index := make([]byte, 4)
	response := []tensor.Tensor{
		{Name: "OUT", Datatype: tensor.Int32, Shape: tensor.Shape{1}, Data: out},
		{Name: "IDX", Datatype: tensor.Uint32, Shape: tensor.Shape{1}, Data: index},
	}
	for n := 0; n < len(values)/4; n++ {
		if err := i.pause.wait(ctx, millis(delays[4*n:])); err != nil {
			return err
		}
		copy(out, values[4*n:])
		binary.LittleEndian.PutUint32(index, uint32(n))
		if err := emit(response); err != nil {
			return err
		}
	}
	return i.pause.wait(ctx, millis(waits)-time.Since(begin))
}

// checkRepeat refuses inputs that do not belong together and waits that are too
// long.
func checkRepeat(values, delays, waits []byte) error {
	switch {
	case len(values)%4 != 0 || len(delays)%4 != 0:
		return errors.New("inputs 'IN' and 'DELAY' must hold whole elements of 4 bytes")
	case len(values) != len(delays):
		return fmt.Errorf("input 'DELAY' has %d elements, 'IN' has %d: they must be as many", len(delays)/4, len(values)/4)
	case len(waits) != 4:
		return errors.New("input 'WAIT' must have one element")
	}
	total := millis(waits)
	for rest := delays; len(rest) > 0 && total <= delayMax; rest = rest[4:] {
		total += millis(rest)
	}
	if total > delayMax {
		return fmt.Errorf("inputs 'DELAY' and 'WAIT' add up to more than %s", delayMax)
	}
	return nil
}

// millis reads one element of milliseconds.
func millis(data []byte) time.Duration {
	return time.Duration(binary.LittleEndian.Uint32(data)) * time.Millisecond
}
