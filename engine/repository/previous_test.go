// SPDX-License-Identifier: Apache-2.0

package repository

import (
	"strings"
	"testing"
)

// previousPlace is a repository that keeps previous versions.
func previousPlace(t *testing.T, extra string, versions ...int64) (*place, *Repository) {
	p := newPlace(t)
	p.model("m", extra, versions...)
	opts := p.options(ModeExplicit)
	opts.KeepPrevious = true
	r := p.start(opts)
	p.load(r, "m")
	return p, r
}

// wantVersions checks the states, the current version and the previous one. What leaves
// may do so after the load that replaced it.
func wantVersions(t *testing.T, r *Repository, want string, now, before int64) {
	t.Helper()
	if got := strings.ReplaceAll(states(r, "m"), "UNLOADING", "UNAVAILABLE"); got != want {
		t.Errorf("states: got %q, want %q", got, want)
	}
	if got := current(t, r, "m", ""); got != now || r.Previous("m") != before {
		t.Errorf("version %d is current and %d was before, want %d and %d", got, r.Previous("m"), now, before)
	}
}

func TestPreviousIsKeptOverSwaps(t *testing.T) {
	p, r := previousPlace(t, "", 1, 2, 3)
	swap := func(number int64) {
		t.Helper()
		if _, err := r.SwapVersion(t.Context(), "m", number, false); err != nil {
			t.Fatal(err)
		}
	}
	wantVersions(t, r, "3=READY", 3, 0)
	swap(1)
	wantVersions(t, r, "1=READY 3=READY", 1, 3)
	swap(2) // and 3 goes
	wantVersions(t, r, "1=READY 2=READY 3=UNAVAILABLE", 2, 1)
	swap(2) // nothing is replaced
	wantVersions(t, r, "1=READY 2=READY 3=UNAVAILABLE", 2, 1)
	if _, err := r.Rollback(t.Context(), "m"); err != nil {
		t.Fatal(err)
	}
	wantVersions(t, r, "1=READY 2=READY 3=UNAVAILABLE", 1, 2)
	swap(3) // the one that the policy prefers
	wantVersions(t, r, "1=READY 2=UNAVAILABLE 3=READY", 3, 1)
	if err := r.SetAlias(t.Context(), "m", "champion", 1); err != nil {
		t.Fatal(err)
	}
	swap(2) // the alias keeps 1 too
	wantVersions(t, r, "1=READY 2=READY 3=READY", 2, 3)
	if got := p.backend.models.Load(); got != 3 {
		t.Errorf("%d models are open", got)
	}
	if _, err := r.UnloadVersion(t.Context(), "m", 3); err != nil {
		t.Fatal(err)
	}
	wantVersions(t, r, "1=READY 2=READY 3=UNAVAILABLE", 2, 0)
}

func TestPreviousIsKeptOverLoads(t *testing.T) {
	p, r := previousPlace(t, "", 1)
	for _, step := range []struct {
		file, states string
		now, before  int64
	}{
		{"2", "1=READY 2=READY", 2, 1},
		{"", "1=READY 2=READY", 2, 1}, // nothing new
		{"3", "1=UNAVAILABLE 2=READY 3=READY", 3, 2},
	} {
		if step.file != "" {
			p.write("m/"+step.file+"/model.bin", "good")
		}
		p.load(r, "m")
		wantVersions(t, r, step.states, step.now, step.before)
	}
	p.write("m/4/model.bin", "bad")
	if err := r.Load(t.Context(), "m", LoadOverride{}); err == nil {
		t.Error("a version that cannot be opened was loaded")
	}
	wantVersions(t, r, "1=UNAVAILABLE 2=READY 3=READY 4=UNAVAILABLE", 3, 2)
	// Without the current version, the one before is better than none.
	if _, err := r.UnloadVersion(t.Context(), "m", 3); err != nil {
		t.Fatal(err)
	}
	if got := current(t, r, "m", ""); got != 2 {
		t.Errorf("version %d is current, want 2", got)
	}
	if err := r.Unload(t.Context(), "m"); err != nil {
		t.Fatal(err)
	}
	if r.Previous("m") != 0 || strings.Contains(states(r, "m"), "READY") {
		t.Errorf("after the unload: %s, previous %d", states(r, "m"), r.Previous("m"))
	}
}

// A version that is asked for by name stays, though it was kept as the previous one.
func TestPreviousThatIsLoadedStays(t *testing.T) {
	_, r := previousPlace(t, "", 1, 2, 3)
	for _, number := range []int64{2, 1} {
		if _, err := r.SwapVersion(t.Context(), "m", number, false); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.LoadVersion(t.Context(), "m", 2); err != nil {
		t.Fatal(err)
	}
	if _, err := r.SwapVersion(t.Context(), "m", 3, false); err != nil {
		t.Fatal(err)
	}
	wantVersions(t, r, "1=READY 2=READY 3=READY", 3, 1)
}

// A pipeline that promotes each night keeps the version before; a year of nights must not
// keep a year of versions in memory.
func TestKeptVersionsDoNotPileUp(t *testing.T) {
	for _, keepPrevious := range []bool{false, true} {
		p := newPlace(t)
		p.model("m", "", 1, 2, 3, 4)
		opts := p.options(ModeExplicit)
		opts.KeepPrevious = keepPrevious
		r := p.start(opts)
		p.load(r, "m")
		for _, step := range []struct {
			to   int64
			want string
		}{
			{1, "1=READY 4=READY"},
			{2, "1=READY 2=READY 4=UNAVAILABLE"},
			{3, "1=UNAVAILABLE 2=READY 3=READY 4=UNAVAILABLE"},
			{2, "1=UNAVAILABLE 2=READY 3=READY 4=UNAVAILABLE"},
		} {
			if _, err := r.LoadVersion(t.Context(), "m", step.to); err != nil { // as a canary does
				t.Fatal(err)
			}
			if _, err := r.SwapVersion(t.Context(), "m", step.to, true); err != nil {
				t.Fatal(err)
			}
			if got := strings.ReplaceAll(states(r, "m"), "UNLOADING", "UNAVAILABLE"); got != step.want {
				t.Errorf("previous kept: %v; after the swap to %d: got %q, want %q", keepPrevious, step.to, got, step.want)
			}
		}
		if _, err := r.Rollback(t.Context(), "m"); err != nil {
			t.Fatal(err)
		}
		if got := current(t, r, "m", ""); got != 3 {
			t.Errorf("version %d is current after the rollback, want 3", got)
		}
	}
}
