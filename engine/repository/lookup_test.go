// SPDX-License-Identifier: Apache-2.0

package repository

import (
	"context"
	"runtime"
	"sync"
	"testing"
)

func TestAcquireErrors(t *testing.T) {
	p := newPlace(t)
	p.model("m", "version_policy: { all {} }", 1, 3)
	p.model("idle", "", 1)
	r := p.start(p.options(ModeExplicit))
	p.load(r, "m")
	if _, err := r.UnloadVersion(t.Context(), "m", 3); err != nil {
		t.Fatal(err)
	}
	const unknown = "Request for unknown model: "
	for _, c := range []struct {
		model, version string
		class          error
		text           string
	}{
		{"X", "", ErrUnknownModel, unknown + "'X' is not found"},
		{"idle", "", ErrUnknownModel, unknown + "'idle' is not found"},
		{"m", "9", ErrUnknownVersion, unknown + "'m' version 9 is not found"},
		{"m", "0", ErrUnknownVersion, unknown + "'m' version 0 is not found"},
		{"m", "3", ErrNotReady, unknown + "'m' version 3 is not at ready state"},
		{"m", "03", ErrNotReady, unknown + "'m' version 3 is not at ready state"},
		{"m", "v", ErrBadVersion, "failed to get model version from specified version string 'v' (details: stol), version should be an integral value > 0"},
		{"m", "99999999999999999999", ErrBadVersion, "failed to get model version from specified version string '99999999999999999999' (details: stol), version should be an integral value > 0"},
		{"m", "-1", ErrBadVersion, "invalid model version specified '-1' , version should be an integral value > 0"},
		{"X", "v", ErrBadVersion, "failed to get model version from specified version string 'v' (details: stol), version should be an integral value > 0"},
	} {
		_, err := r.Acquire(c.model, c.version)
		wantError(t, err, c.class, c.text)
	}
	for _, spelled := range []string{"", "1", "01", "+1"} {
		if got := current(t, r, "m", spelled); got != 1 {
			t.Errorf("version %q is %d", spelled, got)
		}
	}
	if err := r.Unload(t.Context(), "m"); err != nil {
		t.Fatal(err)
	}
	_, err := r.Acquire("m", "")
	wantError(t, err, ErrNoVersion, unknown+"'m' has no available versions")
}

func TestAcquireAllocatesNothing(t *testing.T) {
	p := newPlace(t)
	p.model("m", "", 1)
	r := p.start(p.options(ModeNone))
	for _, version := range []string{"", "1"} {
		allocs := testing.AllocsPerRun(1000, func() {
			v, err := r.Acquire("m", version)
			if err != nil {
				t.Fatal(err)
			}
			v.Release()
		})
		if allocs != 0 {
			t.Errorf("version %q: %v allocations", version, allocs)
		}
	}
}

// Versions are swapped while requests hold them: none is closed under a request,
// every lookup succeeds, and all are closed in the end.
func TestAcquireDuringSwaps(t *testing.T) {
	p := newPlace(t)
	p.model("m", "", 1, 2)
	r := p.start(p.options(ModeExplicit))
	p.load(r, "m")
	ctx, stop := context.WithCancel(t.Context())
	var requests sync.WaitGroup
	for range 4 {
		requests.Go(func() {
			for ctx.Err() == nil {
				v, err := r.Acquire("m", "")
				if err != nil {
					t.Errorf("acquire: %v", err)
					return
				}
				if v.Instances[0].(*fakeInstance).closed.Load() {
					t.Error("an acquired version is closed")
				}
				v.Release()
				runtime.Gosched() // or a swap waits for time slices, on a machine of few cores
			}
		})
	}
	for i := range 100 {
		to := int64(1 + i%2)
		if _, err := r.SwapVersion(t.Context(), "m", to, false); err != nil {
			t.Fatal(err)
		}
		if got := current(t, r, "m", ""); got != to {
			t.Fatalf("after the swap to %d, %d answers", to, got)
		}
	}
	stop()
	requests.Wait()
}

func TestRetireAnnouncesOnce(t *testing.T) {
	for range 200 {
		v := &Version{drained: make(chan struct{})}
		if !v.acquire() {
			t.Fatal("a fresh version refuses requests")
		}
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				if v.acquire() {
					v.Release()
				}
			})
		}
		wg.Go(v.retire)
		wg.Wait()
		select {
		case <-v.drained:
			t.Fatal("drained while a request holds the version")
		default:
		}
		if v.InFlight() != 1 {
			t.Fatalf("%d in flight, want 1", v.InFlight())
		}
		v.Release() // a second announcement would close the channel twice
		<-v.drained
		if v.acquire() || v.InFlight() != 0 {
			t.Fatal("a drained version takes requests")
		}
	}
}

// go test -bench Acquire -cpu 1,2 ./engine/repository
func BenchmarkAcquire(b *testing.B) {
	v := &Version{Model: "m", Number: 1, drained: make(chan struct{})}
	var r Repository
	r.snapshot.Store(&snapshot{"m": &routes{current: v, named: map[string]*Version{"1": v}}})
	for _, version := range []string{"", "1"} {
		b.Run("version="+version, func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					held, err := r.Acquire("m", version)
					if err != nil {
						b.Fatal(err)
					}
					held.Release()
				}
			})
		})
	}
}
