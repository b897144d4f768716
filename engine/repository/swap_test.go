// SPDX-License-Identifier: Apache-2.0

package repository

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func stepNames(steps []Step) string {
	var names []string
	for _, s := range steps {
		names = append(names, s.Name)
	}
	return strings.Join(names, " ")
}

func TestSwapAndRollback(t *testing.T) {
	p := newPlace(t)
	p.model("m", "", 1, 2)
	r := p.start(p.options(ModeNone)) // choosing a version by hand goes in every mode
	result, err := r.SwapVersion(t.Context(), "m", 1, false)
	if err != nil {
		t.Fatal(err)
	}
	const steps = "configure load instances warmup attach flip drain release"
	if result.From != 2 || result.To != 1 || stepNames(result.Steps) != steps {
		t.Errorf("swap %+v", result)
	}
	wantStates(t, r, "m", "1=READY 2=UNAVAILABLE")
	if result, err = r.Rollback(t.Context(), "m"); err != nil || result.To != 2 {
		t.Fatalf("rollback %+v %v", result, err)
	}
	wantStates(t, r, "m", "1=UNAVAILABLE 2=READY")
	if _, err = r.SwapVersion(t.Context(), "m", 1, true); err != nil {
		t.Fatal(err)
	}
	wantStates(t, r, "m", "1=READY 2=READY")
	if current(t, r, "m", "") != 1 || current(t, r, "m", "2") != 2 {
		t.Error("the old version is not kept beside the new one")
	}
	if result, err = r.SwapVersion(t.Context(), "m", 2, true); err != nil || stepNames(result.Steps) != "open flip" {
		t.Errorf("swap between ready versions: %+v %v", result, err)
	}
}

func TestFailedSwapLeavesOld(t *testing.T) {
	p := newPlace(t)
	p.model("m", "", 2)
	p.write("m/1/model.bin", "bad")
	r := p.start(p.options(ModeNone))
	if _, err := r.SwapVersion(t.Context(), "m", 1, false); !errors.Is(err, ErrLoadFailed) {
		t.Errorf("got %v", err)
	}
	_, err := r.SwapVersion(t.Context(), "m", 9, false)
	wantError(t, err, ErrUnknownVersion, "Request for unknown model: 'm' version 9 is not found")
	_, err = r.Rollback(t.Context(), "m")
	wantError(t, err, ErrNoPrevious, "model 'm' has no previous version to roll back to")
	if current(t, r, "m", "") != 2 {
		t.Error("the old version does not serve")
	}
}

func TestSwapWaitsNoLongerThanItsContext(t *testing.T) {
	p := newPlace(t)
	p.model("m", "", 1, 2)
	ctx, cancel := context.WithCancel(t.Context())
	opts := p.options(ModeNone)
	opts.Attach = func(v *Version) (Attachment, error) {
		if v.Number == 1 {
			cancel() // at the last step before the flip
		}
		return nil, nil
	}
	r := p.start(opts)
	held, err := r.Acquire("m", "")
	if err != nil {
		t.Fatal(err)
	}
	result, err := r.SwapVersion(ctx, "m", 1, false)
	if err == nil && current(t, r, "m", "") != 1 {
		t.Error("the swap did not take place")
	}
	last := result.Steps[len(result.Steps)-1]
	if err != nil || last.Name != "drain" || last.Detail != "version 2: 1 requests still run" {
		t.Errorf("last step %+v, error %v", last, err)
	}
	held.Release()
}

func TestPinnedVersionOutlivesReload(t *testing.T) {
	p := newPlace(t)
	p.model("m", "", 1, 2)
	r := p.start(p.options(ModeExplicit))
	p.load(r, "m")
	if _, err := r.SwapVersion(t.Context(), "m", 1, false); err != nil {
		t.Fatal(err)
	}
	p.write("m/3/model.bin", "good")
	p.load(r, "m")
	wantStates(t, r, "m", "1=READY 2=UNAVAILABLE 3=READY")
	if current(t, r, "m", "") != 1 {
		t.Error("a reload moved the current version")
	}
	if _, err := r.SwapVersion(t.Context(), "m", 3, false); err != nil {
		t.Fatal(err)
	}
	p.write("m/4/model.bin", "good")
	p.load(r, "m")
	if current(t, r, "m", "") != 4 {
		t.Error("a swap to the preferred version did not end the pin")
	}
}

func TestLoadVersionMovesNoTraffic(t *testing.T) {
	p := newPlace(t)
	p.model("m", "version_policy: { specific { versions: [ 1 ] } }", 1, 2)
	r := p.start(p.options(ModeNone))
	if steps, err := r.LoadVersion(t.Context(), "m", 2); err != nil || !strings.HasPrefix(stepNames(steps), "configure load") {
		t.Fatalf("%v %v", steps, err)
	}
	if current(t, r, "m", "") != 1 || current(t, r, "m", "2") != 2 {
		t.Error("version 2 is not beside version 1")
	}
	if steps, err := r.UnloadVersion(t.Context(), "m", 1); err != nil || stepNames(steps) != "flip drain release" {
		t.Fatalf("%v %v", steps, err)
	}
	if current(t, r, "m", "") != 2 || p.backend.models.Load() != 1 {
		t.Error("version 2 did not take over")
	}
	_, err := r.UnloadVersion(t.Context(), "m", 1)
	wantError(t, err, ErrNotReady, "Request for unknown model: 'm' version 1 is not at ready state")
}

func TestAliases(t *testing.T) {
	p := newPlace(t)
	p.model("m", "version_policy: { latest { num_versions: 2 } }", 1, 2)
	r := p.start(p.options(ModeExplicit))
	p.load(r, "m")
	if err := r.SetAlias(t.Context(), "m", "champion", 1); err != nil {
		t.Fatal(err)
	}
	if current(t, r, "m", "champion") != 1 {
		t.Error("the alias does not lead to its version")
	}
	p.write("m/3/model.bin", "good")
	p.load(r, "m") // the policy leaves version 1 out now, the alias keeps it
	wantStates(t, r, "m", "1=READY 2=READY 3=READY")
	if _, err := r.UnloadVersion(t.Context(), "m", 1); err != nil {
		t.Fatal(err)
	}
	_, err := r.Acquire("m", "champion")
	wantError(t, err, ErrNotReady, "Request for unknown model: 'm' version 1 is not at ready state")
	if err := r.SetAlias(t.Context(), "m", "champion", 0); err != nil {
		t.Fatal(err)
	}
	if aliases, err := r.Aliases("m"); err != nil || len(aliases) != 0 {
		t.Errorf("aliases %v %v", aliases, err)
	}
	if _, err := r.Acquire("m", "champion"); !errors.Is(err, ErrBadVersion) {
		t.Errorf("a removed alias: %v", err)
	}
	for _, bad := range []string{"", "1", "-1", "a b", strings.Repeat("a", 65)} {
		if err := r.SetAlias(t.Context(), "m", bad, 2); !errors.Is(err, ErrInvalidName) {
			t.Errorf("alias %q: %v", bad, err)
		}
	}
	if err := r.SetAlias(t.Context(), "m", "next", 9); !errors.Is(err, ErrUnknownVersion) {
		t.Errorf("alias of an unknown version: %v", err)
	}
}

func TestChoicesSurviveRestart(t *testing.T) {
	p := newPlace(t)
	p.model("m", "", 1, 2, 3)
	opts := p.options(ModeNone)
	opts.StateFile = filepath.Join(t.TempDir(), "state.json")
	r := p.start(opts)
	if _, err := r.SwapVersion(t.Context(), "m", 2, false); err != nil {
		t.Fatal(err)
	}
	if _, err := r.LoadVersion(t.Context(), "m", 1); err != nil {
		t.Fatal(err)
	}
	if err := r.SetAlias(t.Context(), "m", "shadow", 1); err != nil {
		t.Fatal(err)
	}
	p.close(r)

	again := p.start(opts)
	if current(t, again, "m", "") != 2 || current(t, again, "m", "shadow") != 1 {
		t.Error("the pin or the alias is lost")
	}
	wantStates(t, again, "m", "1=READY 2=READY 3=READY")
	if left, _ := filepath.Glob(opts.StateFile + ".*"); len(left) > 0 {
		t.Errorf("files left behind: %v", left)
	}
}

func TestDamagedStateFileIsRefused(t *testing.T) {
	p := newPlace(t)
	opts := p.options(ModeNone)
	opts.StateFile = filepath.Join(t.TempDir(), "state.json")
	for _, content := range []string{
		"{", `{"format":2}`, `{"format":1,"other":1}`, `{"format":1,"models":{"../m":{}}}`,
		`{"format":1,"models":{"m":{"pinned":-1}}}`, `{"format":1,"models":{"m":{"aliases":{"1":1}}}}`,
	} {
		if err := os.WriteFile(opts.StateFile, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := New(opts); err == nil || !strings.Contains(err.Error(), opts.StateFile) {
			t.Errorf("%s: got %v", content, err)
		}
	}
}

func TestStateThatCannotBeWritten(t *testing.T) {
	p := newPlace(t)
	p.model("m", "", 1, 2)
	opts := p.options(ModeNone)
	opts.StateFile = filepath.Join(t.TempDir(), "absent", "state.json")
	r := p.start(opts)
	_, err := r.SwapVersion(t.Context(), "m", 1, false)
	if err == nil || !strings.Contains(err.Error(), "took effect but will not survive a restart") || current(t, r, "m", "") != 1 {
		t.Errorf("got %v", err)
	}
}

func TestOperationsOnOneModelAreOrdered(t *testing.T) {
	p := newPlace(t)
	p.model("m", "", 1, 2)
	loading, finish := make(chan struct{}), make(chan struct{})
	r := p.start(p.options(ModeNone))
	p.backend.onLoad = func(string) { loading <- struct{}{}; <-finish }
	done := make(chan error)
	go func() {
		_, err := r.SwapVersion(context.Background(), "m", 1, false)
		done <- err
	}()
	<-loading
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.LoadVersion(ended, "m", 1); !errors.Is(err, context.Canceled) {
		t.Errorf("a second operation did not wait: %v", err)
	}
	close(finish)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if versions, _ := r.Versions("m"); !slices.ContainsFunc(versions, func(v VersionInfo) bool { return v.Current && v.Number == 1 }) {
		t.Errorf("versions %+v", versions)
	}
}
