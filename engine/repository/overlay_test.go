// SPDX-License-Identifier: Apache-2.0

package repository

import (
	"errors"
	"os"
	"strings"
	"testing"
)

const fakeJSON = `{"backend":"fake","max_batch_size":"16",
	"input":[{"name":"X","data_type":"TYPE_FP32","dims":[2]}],
	"output":[{"name":"Y","data_type":"TYPE_FP32","dims":[2]}],
	"instance_group":[{"kind":"KIND_CPU","count":1}]}`

func TestConfigOverride(t *testing.T) {
	p := newPlace(t)
	p.model("m", "", 1)
	r := p.start(p.options(ModeExplicit))
	batch := func() int32 {
		v, err := r.Acquire("m", "")
		if err != nil {
			t.Fatal(err)
		}
		defer v.Release()
		return v.Config.MaxBatchSize
	}
	if err := r.Load(t.Context(), "m", LoadOverride{ConfigJSON: fakeJSON}); err != nil || batch() != 16 {
		t.Fatalf("error %v, batch %d", err, batch())
	}
	err := r.Load(t.Context(), "m", LoadOverride{ConfigJSON: `{"max_batch_size":`})
	wantError(t, err, ErrPoll, "failed to load 'm', failed to poll from model repository")
	if batch() != 16 {
		t.Error("a bad override replaced what served")
	}
	p.load(r, "m")
	if batch() != 4 {
		t.Error("a load without the override did not go back to the file")
	}
}

func TestFileOverrideLivesAsLongAsItsVersion(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	folders := func() int {
		entries, err := os.ReadDir(os.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	p := newPlace(t)
	r := p.start(p.options(ModeExplicit))
	override := LoadOverride{ConfigJSON: fakeJSON, Files: map[string][]byte{"1/model.bin": []byte("good")}}
	if err := r.Load(t.Context(), "sent", override); err != nil {
		t.Fatal(err)
	}
	if folders() != 1 || current(t, r, "sent", "1") != 1 {
		t.Errorf("%d folders", folders())
	}
	if index, _ := r.Index(true); len(index) != 1 || index[0].Name != "sent" {
		t.Errorf("index %v", index)
	}
	v, _ := r.Acquire("sent", "")
	v.Release()
	if err := r.Unload(t.Context(), "sent"); err != nil {
		t.Fatal(err)
	}
	<-v.released
	if folders() != 0 || len(r.Models()) != 0 {
		t.Errorf("%d folders and models %v are left", folders(), r.Models())
	}
	override.Files["1/model.bin"] = []byte("bad")
	if err := r.Load(t.Context(), "sent", override); !errors.Is(err, ErrLoadFailed) {
		t.Errorf("got %v", err)
	}
	if folders() != 0 {
		t.Error("a failed load leaves its files")
	}
}

func TestBadFileOverrides(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	p := newPlace(t)
	r := p.start(p.options(ModeExplicit))
	for _, path := range []string{"../escape", "/abs", "1/../../escape", "", ".", "1//model.bin", "1/" + strings.Repeat("x", 256)} {
		err := r.Load(t.Context(), "m", LoadOverride{ConfigJSON: fakeJSON, Files: map[string][]byte{path: nil}})
		wantError(t, err, ErrPoll, "failed to load 'm', failed to poll from model repository")
	}
	err := r.Load(t.Context(), "m", LoadOverride{Files: map[string][]byte{"1/model.bin": nil}})
	if !errors.Is(err, ErrPoll) || !strings.Contains(fault(err), "send it as the parameter 'config'") {
		t.Errorf("files without a configuration: %v", err)
	}
	if entries, _ := os.ReadDir(os.TempDir()); len(entries) != 0 {
		t.Errorf("left behind: %v", entries)
	}
}
