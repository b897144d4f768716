// SPDX-License-Identifier: Apache-2.0

package repository

import (
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/millrace-ml/millrace/engine/tensor"
)

// threadNice is the nice value of the calling thread.
func threadNice(t *testing.T) int {
	t.Helper()
	raw, err := unix.Getpriority(unix.PRIO_PROCESS, unix.Gettid())
	if err != nil {
		t.Fatal(err)
	}
	return 20 - raw // the system call answers 20 minus the value
}

func TestLoadingYieldsToServing(t *testing.T) {
	base := threadNice(t)
	p := newPlace(t)
	p.backend.outsideGo = true
	var making, running atomic.Int64
	p.backend.onMake = func() { making.Store(int64(threadNice(t))) }
	p.backend.onRun = func([]tensor.Shape) { running.Store(int64(threadNice(t))) }
	p.model("m", `parameters: { key: "intra_op_thread_count" value: { string_value: "1" } }`, 1, 2)
	p.model("threads", `parameters: { key: "intra_op_thread_count" value: { string_value: "2" } }`, 1)
	r := p.start(p.options(ModeExplicit))
	expect := func(what string, wantMaking int) {
		t.Helper()
		if got := making.Load(); got != int64(wantMaking) {
			t.Errorf("%s: instances are made at nice %d, want %d", what, got, wantMaking)
		}
		if got := running.Load(); got != int64(base) {
			t.Errorf("%s: warm-up, which is Go code too, runs at nice %d, want %d", what, got, base)
		}
	}
	p.load(r, "m")
	expect("with nothing to yield to", base)
	if _, err := r.SwapVersion(t.Context(), "m", 1, false); err != nil {
		t.Fatal(err)
	}
	expect("beside serving", max(base, backgroundNice)) // the tests may be at low priority themselves
	p.backend.outsideGo = false
	if _, err := r.SwapVersion(t.Context(), "m", 2, false); err != nil {
		t.Fatal(err)
	}
	expect("in Go code", base)
	p.backend.outsideGo = true
	p.load(r, "threads") // threads made by its load must not inherit the priority
	expect("with threads of its own", base)
	if got := threadNice(t); got != base {
		t.Errorf("the caller's thread has nice %d", got)
	}
}
