// SPDX-License-Identifier: Apache-2.0

package repository

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

func TestPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlace(t)
		p.model("m", "", 1)
		opts := p.options(ModePoll)
		opts.PollInterval = time.Minute
		r := p.start(opts)
		nextPoll := func() {
			<-time.After(time.Minute)
			synctest.Wait()
		}

		p.write("m/2/model.bin", "good")
		synctest.Wait()
		wantStates(t, r, "m", "1=READY")
		nextPoll()
		wantStates(t, r, "m", "1=UNAVAILABLE 2=READY")

		loads := p.backend.loads.Load()
		nextPoll()
		if p.backend.loads.Load() != loads {
			t.Error("loaded again without a change")
		}

		p.write("m/2/model.bin", "bad")
		nextPoll()
		wantStates(t, r, "m", "1=UNAVAILABLE 2=READY")
		loads = p.backend.loads.Load()
		nextPoll()
		if p.backend.loads.Load() != loads {
			t.Error("a broken update was tried again without a change")
		}
		p.write("m/2/model.bin", "repaired")
		nextPoll()
		if p.backend.loads.Load() != loads+1 || r.Models()[0].Fault != "" {
			t.Errorf("the repair was not loaded: %+v", r.Models()[0])
		}

		p.write("m/config.pbtxt", "backend: {{")
		nextPoll()
		if current(t, r, "m", "") != 2 || r.Models()[0].Fault == "" {
			t.Error("a broken configuration stopped the model, or was not seen")
		}

		p.model("late", "", 1)
		nextPoll()
		wantStates(t, r, "late", "1=READY")
		gone := filepath.Join(t.TempDir(), "gone")
		if err := os.Rename(filepath.Join(p.dir, "late"), gone); err != nil {
			t.Fatal(err)
		}
		nextPoll()
		wantStates(t, r, "late", "")
		if err := os.Rename(gone, filepath.Join(p.dir, "late")); err != nil {
			t.Fatal(err)
		}
		nextPoll()
		wantStates(t, r, "late", "1=READY")
	})
}

func TestPollKeepsModelsOfUnreadableRepository(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlace(t)
		p.model("m", "", 1)
		opts := p.options(ModePoll)
		r := p.start(opts)
		away := p.dir + "-away"
		if err := os.Rename(p.dir, away); err != nil {
			t.Fatal(err)
		}
		<-time.After(defaultPollInterval)
		synctest.Wait()
		wantStates(t, r, "m", "1=READY")
		if err := os.Rename(away, p.dir); err != nil {
			t.Fatal(err)
		}
	})
}

func TestPollRecoversFromFailedStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlace(t)
		p.model("m", "")
		p.write("m/1/model.bin", "bad")
		r := p.start(p.options(ModePoll))
		if r.Ready() {
			t.Fatal("ready with a broken model")
		}
		p.write("m/1/model.bin", "good")
		<-time.After(defaultPollInterval)
		synctest.Wait()
		if !r.Ready() {
			t.Errorf("not ready after the repair: %v", r.InitialErrors())
		}
	})
}

// An alias keeps the record of a model that was removed; the same files put back are
// loaded all the same.
func TestPollLoadsWhatComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlace(t)
		p.model("m", "", 1)
		r := p.start(p.options(ModePoll))
		if err := r.SetAlias(t.Context(), "m", "champion", 1); err != nil {
			t.Fatal(err)
		}
		home, away := filepath.Join(p.dir, "m"), filepath.Join(t.TempDir(), "away")
		for _, move := range []struct{ from, to, want string }{
			{home, away, "1=UNAVAILABLE"},
			{away, home, "1=READY"},
		} {
			if err := os.Rename(move.from, move.to); err != nil {
				t.Fatal(err)
			}
			<-time.After(defaultPollInterval)
			synctest.Wait()
			wantStates(t, r, "m", move.want)
		}
		if current(t, r, "m", "champion") != 1 {
			t.Error("the alias does not lead to the version that came back")
		}
	})
}
