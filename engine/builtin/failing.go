// SPDX-License-Identifier: Apache-2.0

package builtin

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/modelconfig"
)

// defaultMessage is what a failing model says when it is not told what to say.
const defaultMessage = "the model fails as its configuration asks"

// failingBackend is identity with faults. Parameter fail_on says when: load, warmup
// or run (the default); message says what the error reads; fail_every n lets only
// every n-th run after warm-up fail.
type failingBackend struct{}

var _ engine.Backend = failingBackend{}

func (failingBackend) Name() string { return "failing" }

// NeedsFiles is false: the configuration is all.
func (failingBackend) NeedsFiles() bool { return false }

func (failingBackend) Inspect(_ string, c *modelconfig.Config) (engine.Signature, error) {
	return configSignature(c), nil
}

func (failingBackend) Load(ctx context.Context, _ string, c *modelconfig.Config) (engine.Model, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	identity, err := newIdentity(c)
	if err != nil {
		return nil, err
	}
	m := &failingModel{identityModel: identity, message: defaultMessage, on: "run"}
	if p, ok := c.Parameters["message"]; ok {
		m.message = p.StringValue
	}
	if p, ok := c.Parameters["fail_on"]; ok {
		m.on = p.StringValue
	}
	if m.every, err = c.IntParameter("fail_every", 1); err != nil {
		return nil, err
	}
	if err := m.check(c.Name); err != nil {
		return nil, err
	}
	return m, nil
}

type failingModel struct {
	*identityModel
	on      string
	message string
	every   int
	runs    atomic.Int64 // after warm-up
}

// check refuses parameters that mean nothing, and fails a model that is to fail its
// load.
func (m *failingModel) check(name string) error {
	switch {
	case m.on == "load":
		return fmt.Errorf("%w: %s", engine.ErrInvalidModel, m.message)
	case m.on != "warmup" && m.on != "run":
		return fmt.Errorf("%w: parameter 'fail_on' of model '%s' is %q, it must be load, warmup or run", engine.ErrInvalidModel, name, m.on)
	case m.every < 1:
		return fmt.Errorf("%w: parameter 'fail_every' of model '%s' is %d, it must be at least 1", engine.ErrInvalidModel, name, m.every)
	}
	return nil
}

func (m *failingModel) NewInstance(engine.Placement) (engine.Instance, error) {
	return &failingInstance{identityInstance: m.newInstance(), model: m}, nil
}

// failingInstance learns from WarmedUp when runs begin to be requests.
type failingInstance struct {
	*identityInstance
	model  *failingModel
	serves bool
}

// WarmedUp says that the next run is a request.
func (i *failingInstance) WarmedUp() { i.serves = true }

func (i *failingInstance) Run(ctx context.Context, b *engine.Binding) error {
	if i.fails() {
		return errors.New(i.model.message)
	}
	return i.identityInstance.Run(ctx, b)
}

func (i *failingInstance) fails() bool {
	if !i.serves {
		return i.model.on == "warmup"
	}
	return i.model.on == "run" && i.model.runs.Add(1)%int64(i.model.every) == 0
}
