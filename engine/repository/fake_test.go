// SPDX-License-Identifier: Apache-2.0

package repository

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/modelconfig"
	"github.com/millrace-ml/millrace/engine/tensor"
)

const fakeConfig = `backend: "fake"
max_batch_size: 4
input [{ name: "X" data_type: TYPE_FP32 dims: [ 2 ] }]
output [{ name: "Y" data_type: TYPE_FP32 dims: [ 2 ] }]
instance_group [{ kind: KIND_CPU count: 1 }]
`

// fakeBackend reads model.bin of a version's folder: "bad" fails to load, "bad run"
// fails to run; anything else works. It counts what is open, and what is wrong.
type fakeBackend struct {
	loads      atomic.Int64
	models     atomic.Int64
	instances  atomic.Int64
	violations atomic.Int64 // closed twice, or in the wrong order

	onLoad func(dir string)            // called at the start of Load, if set
	onMake func()                      // called at each NewInstance, if set
	onRun  func(shapes []tensor.Shape) // called at each Run, if set

	outsideGo bool // makes its instances outside Go code
}

func (b *fakeBackend) Name() string { return "fake" }

func (b *fakeBackend) OutsideGo() bool { return b.outsideGo }

func (b *fakeBackend) Inspect(string, *modelconfig.Config) (engine.Signature, error) {
	spec := func(name string) []engine.TensorSpec {
		return []engine.TensorSpec{{Name: name, Datatype: tensor.FP32, Shape: tensor.Shape{-1, 2}}}
	}
	return engine.Signature{Inputs: spec("X"), Outputs: spec("Y")}, nil
}

func (b *fakeBackend) Load(ctx context.Context, dir string, c *modelconfig.Config) (engine.Model, error) {
	if b.onLoad != nil {
		b.onLoad(dir)
	}
	b.loads.Add(1)
	content, err := os.ReadFile(filepath.Join(dir, "model.bin"))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", engine.ErrInvalidModel, err)
	}
	if string(content) == "bad" {
		return nil, fmt.Errorf("%w: corrupt file", engine.ErrInvalidModel)
	}
	signature, _ := b.Inspect(dir, c)
	b.models.Add(1)
	return &fakeModel{backend: b, signature: signature, failsRun: string(content) == "bad run"}, nil
}

type fakeModel struct {
	backend   *fakeBackend
	signature engine.Signature
	failsRun  bool
	instances atomic.Int64
	closed    atomic.Bool
}

func (m *fakeModel) Signature() engine.Signature { return m.signature }

func (m *fakeModel) NewInstance(engine.Placement) (engine.Instance, error) {
	if m.backend.onMake != nil {
		m.backend.onMake()
	}
	m.instances.Add(1)
	m.backend.instances.Add(1)
	return &fakeInstance{model: m}, nil
}

func (m *fakeModel) Close() error {
	if m.instances.Load() != 0 || m.closed.Swap(true) {
		m.backend.violations.Add(1)
	}
	m.backend.models.Add(-1)
	return nil
}

type fakeInstance struct {
	model  *fakeModel
	closed atomic.Bool
	shapes []tensor.Shape
	bound  engine.Binding
}

func (i *fakeInstance) Bind(shapes []tensor.Shape) (*engine.Binding, error) {
	i.shapes = shapes
	elements, err := shapes[0].Elements()
	if err != nil {
		return nil, err
	}
	i.bound = engine.Binding{Inputs: []tensor.Tensor{{Name: "X", Datatype: tensor.FP32, Shape: shapes[0], Data: make([]byte, 4*elements)}}}
	return &i.bound, nil
}

func (i *fakeInstance) Run(context.Context, *engine.Binding) error {
	if i.model.backend.onRun != nil {
		i.model.backend.onRun(i.shapes)
	}
	if i.model.failsRun {
		return errors.New("cannot run")
	}
	return nil
}

func (i *fakeInstance) Close() error {
	if i.closed.Swap(true) {
		i.model.backend.violations.Add(1)
	}
	i.model.instances.Add(-1)
	i.model.backend.instances.Add(-1)
	return nil
}

// place is a model repository on disk with a fake backend.
type place struct {
	t       *testing.T
	dir     string
	backend *fakeBackend
}

func newPlace(t *testing.T) *place {
	return &place{t: t, dir: t.TempDir(), backend: &fakeBackend{}}
}

// write makes a file of the repository, and its folders.
func (p *place) write(path, content string) {
	p.t.Helper()
	full := filepath.Join(p.dir, path)
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(full, []byte(content), 0o644); err != nil {
		p.t.Fatal(err)
	}
}

// model makes a model with working versions. extra is added to its configuration.
func (p *place) model(name, extra string, versions ...int64) {
	p.t.Helper()
	p.write(name+"/config.pbtxt", fakeConfig+extra)
	for _, v := range versions {
		p.write(fmt.Sprintf("%s/%d/model.bin", name, v), "good")
	}
}

func (p *place) options(mode ControlMode) Options {
	return Options{
		Paths: []string{p.dir}, Mode: mode, Backends: []engine.Backend{p.backend},
		Logger: slog.New(slog.DiscardHandler),
	}
}

// start opens and starts a repository, and at the end of the test closes it and
// checks that everything was given back.
func (p *place) start(opts Options) *Repository {
	p.t.Helper()
	r, err := New(opts)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { p.close(r) })
	if err := r.Start(p.t.Context()); err != nil {
		p.t.Fatal(err)
	}
	return r
}

func (p *place) close(r *Repository) {
	p.t.Helper()
	if err := r.Close(context.Background()); err != nil {
		p.t.Errorf("close: %v", err)
	}
	if m, i, v := p.backend.models.Load(), p.backend.instances.Load(), p.backend.violations.Load(); m != 0 || i != 0 || v != 0 {
		p.t.Errorf("after close: %d models and %d instances open, %d violations", m, i, v)
	}
}

func (p *place) load(r *Repository, name string) {
	p.t.Helper()
	if err := r.Load(p.t.Context(), name, LoadOverride{}); err != nil {
		p.t.Fatal(err)
	}
}

// states is the versions of a model as "1=READY 2=UNAVAILABLE".
func states(r *Repository, name string) string {
	versions, _ := r.Versions(name)
	var all []string
	for _, v := range versions {
		all = append(all, fmt.Sprintf("%d=%s", v.Number, v.State))
	}
	return strings.Join(all, " ")
}

// current is the number of the version that answers.
func current(t *testing.T, r *Repository, name, version string) int64 {
	t.Helper()
	v, err := r.Acquire(name, version)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Release()
	return v.Number
}

func wantError(t *testing.T, err, class error, text string) {
	t.Helper()
	if !errors.Is(err, class) || err.Error() != text {
		t.Errorf("got error %q, want %q of class %q", err, text, class)
	}
}

func wantStates(t *testing.T, r *Repository, name, want string) {
	t.Helper()
	if got := states(r, name); got != want {
		t.Errorf("states of %s: got %q, want %q", name, got, want)
	}
}
