// SPDX-License-Identifier: Apache-2.0

package repository

import (
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/millrace-ml/millrace/engine"
)

func labelled(file string) string {
	return strings.Replace(fakeConfig, `name: "Y"`, `name: "Y" label_filename: "`+file+`"`, 1)
}

func TestLabels(t *testing.T) {
	p := newPlace(t)
	p.write("m/config.pbtxt", labelled("labels.txt"))
	p.write("m/labels.txt", "cat\r\nbig dog\nbird")
	p.write("m/1/model.bin", "good")
	p.write("absent/config.pbtxt", labelled("labels.txt"))
	p.write("absent/1/model.bin", "good")
	r := p.start(p.options(ModeNone))
	v, err := r.Acquire("m", "")
	if err != nil {
		t.Fatal(err)
	}
	defer v.Release()
	if want := []string{"cat", "big dog", "bird"}; !slices.Equal(v.Labels["Y"], want) {
		t.Errorf("labels %q, want %q", v.Labels["Y"], want)
	}
	err = r.InitialErrors()["absent"]
	if !errors.Is(err, engine.ErrInvalidModel) || !strings.Contains(err.Error(), `labels of output "Y"`) {
		t.Errorf("a missing label file: %v", err)
	}
}

func TestChangesAreTold(t *testing.T) {
	p := newPlace(t)
	p.model("m", "", 1)
	var changes atomic.Int64
	opts := p.options(ModeExplicit)
	opts.OnChange = func() { changes.Add(1) }
	r := p.start(opts)
	expect := func(want int64, after string) {
		t.Helper()
		if got := changes.Load(); got != want {
			t.Errorf("%d changes after %s, want %d", got, after, want)
		}
	}
	expect(0, "start without models")
	p.load(r, "m")
	expect(1, "load")
	if err := r.Unload(t.Context(), "m"); err != nil {
		t.Fatal(err)
	}
	expect(2, "unload")
	p.close(r)
	expect(3, "close")
}
