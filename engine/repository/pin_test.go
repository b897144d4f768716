// SPDX-License-Identifier: Apache-2.0

package repository

import (
	"errors"
	"path/filepath"
	"testing"
)

// TestPin: a version that is added does not serve after a restart, until a swap, or until
// the pin is taken away while nothing runs.
func TestPin(t *testing.T) {
	p := newPlace(t)
	p.model("m", "", 1)
	opts := p.options(ModeExplicit)
	opts.LoadModels, opts.StateFile = []string{"*"}, filepath.Join(t.TempDir(), "models.json")
	serves := func(want int64) *Repository {
		t.Helper()
		r := p.start(opts)
		if got := current(t, r, "m", ""); got != want {
			t.Errorf("version %d serves, want %d", got, want)
		}
		return r
	}
	r := serves(1)
	if number, err := r.Pin(t.Context(), "m"); number != 1 || err != nil {
		t.Fatalf("%d, %v", number, err)
	}
	if _, err := r.Pin(t.Context(), "other"); !errors.Is(err, ErrUnknownModel) {
		t.Errorf("a model that is not there: %v", err)
	}
	p.close(r)
	p.model("m", "", 1, 2)
	p.close(serves(1))
	for range 2 {
		if err := Unpin(opts.StateFile, "m"); err != nil {
			t.Fatal(err)
		}
	}
	serves(2)
	if err := Unpin(filepath.Join(t.TempDir(), "none"), "m"); err != nil {
		t.Error(err)
	}
}
