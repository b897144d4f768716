// SPDX-License-Identifier: Apache-2.0

package repository

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/engine"
)

func TestVersionPolicies(t *testing.T) {
	for policy, want := range map[string]string{
		"":                           "10=READY",
		"version_policy: { all {} }": "2=READY 3=READY 10=READY",
		"version_policy: { latest { num_versions: 2 } }":      "3=READY 10=READY",
		"version_policy: { specific { versions: [ 2, 7 ] } }": "2=READY",
	} {
		p := newPlace(t)
		p.model("m", policy, 2, 3, 10)
		p.write("m/011/model.bin", "bad") // a leading zero makes it no version
		p.write("m/notes/readme", "text")
		r := p.start(p.options(ModeNone))
		wantStates(t, r, "m", want)
	}
}

func TestStartReportsFailures(t *testing.T) {
	p := newPlace(t)
	p.model("good", "", 1)
	p.model("broken", "")
	p.write("broken/1/model.bin", "bad")
	p.write(".git/1/model.bin", "not a model")
	r := p.start(p.options(ModeNone))
	failed := r.InitialErrors()
	if len(failed) != 1 || r.Ready() {
		t.Fatalf("initial errors %v, ready %v", failed, r.Ready())
	}
	wantError(t, failed["broken"], ErrLoadFailed,
		"load failed for model 'broken': version 1 is at UNAVAILABLE state: Invalid argument: invalid model: corrupt file;\n")
	if !errors.Is(failed["broken"], engine.ErrInvalidModel) {
		t.Error("the cause is lost")
	}
	if current(t, r, "good", "") != 1 {
		t.Error("the good model does not serve")
	}
}

func TestExplicitStart(t *testing.T) {
	p := newPlace(t)
	p.model("a", "", 1)
	p.model("b", "", 1)
	opts := p.options(ModeExplicit)
	opts.LoadModels = []string{"b"}
	r := p.start(opts)
	if !r.Ready() {
		t.Error("not ready")
	}
	index, err := r.Index(false)
	if want := "[{a   } {b 1 READY }]"; err != nil || fmt.Sprint(index) != want {
		t.Errorf("index %v %v, want %s", index, err, want)
	}
	if index, _ := r.Index(true); len(index) != 1 {
		t.Errorf("ready index %v", index)
	}
	same := &place{t: t, dir: p.dir, backend: &fakeBackend{}}
	opts = same.options(ModeExplicit)
	opts.LoadModels = []string{"*"}
	if all := same.start(opts); current(t, all, "a", "") != 1 || current(t, all, "b", "") != 1 {
		t.Error("* does not load all")
	}
}

func TestControlModes(t *testing.T) {
	for _, mode := range []ControlMode{ModeNone, ModePoll} {
		p := newPlace(t)
		p.model("m", "", 1)
		r := p.start(p.options(mode))
		const text = "explicit model load / unload is not allowed if polling is enabled"
		wantError(t, r.Load(t.Context(), "m", LoadOverride{}), ErrControlMode, text)
		wantError(t, r.Unload(t.Context(), "m"), ErrControlMode, text)
	}
}

func TestLoadErrors(t *testing.T) {
	p := newPlace(t)
	p.write("syntax/config.pbtxt", "backend: {{")
	p.write("other/config.pbtxt", `backend: "absent"`)
	p.model("empty", "")
	r := p.start(p.options(ModeExplicit))
	for _, c := range []struct {
		name  string
		class error
		text  string
	}{
		{"nowhere", ErrPoll, "failed to load 'nowhere', failed to poll from model repository"},
		{"syntax", ErrPoll, "failed to load 'syntax', failed to poll from model repository"},
		{"other", ErrLoadFailed, "load failed for model 'other': invalid model: no backend 'absent' in this server; set 'backend' to one of: fake\n"},
		{"empty", ErrLoadFailed, "load failed for model 'empty': at least one version must be available under the version policy of model 'empty'\n"},
		{"", ErrInvalidName, "Model name cannot be empty. Please enter a valid name to deploy."},
		{"../m", ErrInvalidName, "invalid model name '../m', model name must not contain path traversal characters"},
	} {
		wantError(t, r.Load(t.Context(), c.name, LoadOverride{}), c.class, c.text)
	}
	if err := r.Unload(t.Context(), "nowhere"); err != nil {
		t.Errorf("unload of an unknown model: %v", err)
	}
	for _, m := range r.Models() {
		if m.Name == "nowhere" {
			t.Error("a name sent by a client is kept")
		}
		if m.Fault == "" {
			t.Errorf("model %s has no fault", m.Name)
		}
	}
}

func TestFailedLoadLeavesOld(t *testing.T) {
	p := newPlace(t)
	p.model("m", "version_policy: { all {} }", 1)
	r := p.start(p.options(ModeExplicit))
	p.load(r, "m")
	p.write("m/1/model.bin", "bad")
	p.write("m/2/model.bin", "good")
	err := r.Load(t.Context(), "m", LoadOverride{})
	if !errors.Is(err, ErrLoadFailed) {
		t.Fatalf("got %v", err)
	}
	wantStates(t, r, "m", "1=READY 2=UNAVAILABLE") // all or nothing
	if models := r.Models(); models[0].Fault == "" {
		t.Error("the fault is not shown")
	}
	p.write("m/1/model.bin", "good again")
	p.load(r, "m")
	wantStates(t, r, "m", "1=READY 2=READY")
	if models := r.Models(); models[0].Fault != "" || models[0].Previous != 1 {
		t.Errorf("after the repair: %+v", models[0])
	}
}

func TestUnchangedVersionsStay(t *testing.T) {
	p := newPlace(t)
	p.model("m", "version_policy: { all {} }", 1)
	r := p.start(p.options(ModeExplicit))
	p.load(r, "m")
	first, err := r.Acquire("m", "1")
	if err != nil {
		t.Fatal(err)
	}
	defer first.Release()
	p.load(r, "m")
	p.write("m/2/model.bin", "good")
	p.load(r, "m")
	again, err := r.Acquire("m", "1")
	if err != nil {
		t.Fatal(err)
	}
	defer again.Release()
	if again != first || p.backend.loads.Load() != 2 {
		t.Errorf("version 1 was opened again: %d loads", p.backend.loads.Load())
	}
}

func TestUnloadDrains(t *testing.T) {
	p := newPlace(t)
	p.model("m", "", 1)
	attached := &attachment{}
	opts := p.options(ModeExplicit)
	opts.Attach = func(*Version) (Attachment, error) { return attached, nil }
	r := p.start(opts)
	p.load(r, "m")
	v, err := r.Acquire("m", "")
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Unload(t.Context(), "m"); err != nil {
		t.Fatal(err)
	}
	wantStates(t, r, "m", "1=UNLOADING")
	if attached.closes != 0 || p.backend.models.Load() != 1 {
		t.Error("closed under a request")
	}
	v.Release()
	<-v.released
	wantStates(t, r, "m", "1=UNAVAILABLE")
	if attached.closes != 1 || p.backend.models.Load() != 0 {
		t.Errorf("%d closes of the attachment, %d models", attached.closes, p.backend.models.Load())
	}
	index, _ := r.Index(false)
	if want := "[{m 1 UNAVAILABLE unloaded}]"; fmt.Sprint(index) != want {
		t.Errorf("index %v, want %s", index, want)
	}
}

type attachment struct{ closes int }

func (a *attachment) Close() { a.closes++ }

func TestAttachFailureFailsLoad(t *testing.T) {
	p := newPlace(t)
	p.model("m", "", 1)
	opts := p.options(ModeNone)
	opts.Attach = func(*Version) (Attachment, error) { return nil, errors.New("no batcher") }
	r := p.start(opts)
	if err := r.InitialErrors()["m"]; err == nil || !strings.Contains(err.Error(), "Internal: attach: no batcher") {
		t.Errorf("got %v", err)
	}
}

func TestDuplicateModel(t *testing.T) {
	p, other := newPlace(t), newPlace(t)
	p.model("m", "", 1)
	other.model("m", "", 1)
	opts := p.options(ModeNone)
	opts.Paths = append(opts.Paths, other.dir)
	r := p.start(opts)
	if !errors.Is(r.InitialErrors()["m"], ErrDuplicate) {
		t.Errorf("initial errors %v", r.InitialErrors())
	}
	index, _ := r.Index(false)
	if want := "[{m  UNAVAILABLE model appears in two or more repositories}]"; fmt.Sprint(index) != want {
		t.Errorf("index %v, want %s", index, want)
	}
}

func TestLinks(t *testing.T) {
	p, outside := newPlace(t), newPlace(t)
	outside.model("m", "", 1)
	outside.write("secret", "good")
	link := func(target, path string) {
		t.Helper()
		if err := os.Symlink(target, filepath.Join(p.dir, path)); err != nil {
			t.Fatal(err)
		}
	}
	link(filepath.Join(outside.dir, "m"), "linked")
	p.model("inner", "")
	p.write("inner/data/model.bin", "good")
	link("data", "inner/1")
	p.model("leaving", "", 1)
	link(filepath.Join(outside.dir, "secret"), "leaving/1/more.bin")
	r := p.start(p.options(ModeNone))
	if current(t, r, "linked", "") != 1 || current(t, r, "inner", "") != 1 {
		t.Error("a linked folder does not serve")
	}
	err := r.InitialErrors()["leaving"]
	if !errors.Is(err, ErrPoll) || !strings.Contains(fault(err), "1/more.bin cannot be used; a link must not lead out") {
		t.Errorf("a link out of the model: %v (%s)", err, fault(err))
	}
}

func TestCloseCancelsLoads(t *testing.T) {
	p := newPlace(t)
	p.model("m", "", 1)
	loading, finish := make(chan struct{}), make(chan struct{})
	p.backend.onLoad = func(string) { close(loading); <-finish }
	r := p.start(p.options(ModeExplicit))
	result := make(chan error)
	go func() { result <- r.Load(context.Background(), "m", LoadOverride{}) }()
	<-loading
	wantStates(t, r, "m", "1=LOADING")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Close(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("close with an ended context: %v", err)
	}
	close(finish)
	if err := <-result; !errors.Is(err, ErrClosed) {
		t.Errorf("load during close: %v", err)
	}
	if _, err := r.Acquire("m", ""); !errors.Is(err, ErrClosed) {
		t.Errorf("acquire after close: %v", err)
	}
	if err := r.Load(t.Context(), "m", LoadOverride{}); !errors.Is(err, ErrClosed) {
		t.Errorf("load after close: %v", err)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	_, err := New(Options{LoadModels: []string{"m"}, LoadThreads: -1, Mode: ModePoll})
	for _, want := range []string{"no model repository", "load threads", "explicit control mode", "no backends"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not tell of %q", err, want)
		}
	}
	if _, err := New(Options{Paths: []string{"/nonexistent"}, Backends: []engine.Backend{&fakeBackend{}}}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing folder: %v", err)
	}
}
