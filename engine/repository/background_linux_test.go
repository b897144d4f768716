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
	var loading, running atomic.Int64
	p.backend.onLoad = func(string) { loading.Store(int64(threadNice(t))) }
	p.backend.onRun = func([]tensor.Shape) { running.Store(int64(threadNice(t))) }
	p.model("m", `parameters: { key: "intra_op_thread_count" value: { string_value: "1" } }`, 1, 2)
	p.model("threads", `parameters: { key: "intra_op_thread_count" value: { string_value: "2" } }`, 1)
	r := p.start(p.options(ModeExplicit))
	p.load(r, "m")
	if got := loading.Load(); got != int64(base) {
		t.Errorf("nice %d with nothing to yield to, want %d", got, base)
	}
	if _, err := r.SwapVersion(t.Context(), "m", 1, false); err != nil {
		t.Fatal(err)
	}
	if load, run := loading.Load(), running.Load(); load != backgroundNice || run != backgroundNice {
		t.Errorf("nice %d and %d beside serving, want %d", load, run, backgroundNice)
	}
	p.load(r, "threads") // threads made by its load must not inherit the priority
	if load, run := loading.Load(), running.Load(); load != int64(base) || run != backgroundNice {
		t.Errorf("with threads of its own: nice %d and %d, want %d and %d", load, run, base, backgroundNice)
	}
	if got := threadNice(t); got != base {
		t.Errorf("the caller's thread has nice %d", got)
	}
}
