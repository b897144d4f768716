// SPDX-License-Identifier: Apache-2.0

package onnxrt_test

import (
	"fmt"
	"os"
	"runtime/debug"
	"testing"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/modelconfig"
	"github.com/millrace-ml/millrace/engine/onnx/zoo"
	"github.com/millrace-ml/millrace/engine/onnxrt/onnxrttest"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// residentBytes is the process's resident memory of its own, the Go heap's free pages
// given back first so that its pace of collection does not blur the rest. Pages of
// files, such as the library's, come and go as the whole machine needs memory.
func residentBytes(t *testing.T) int {
	t.Helper()
	debug.FreeOSMemory()
	data, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Skip("this system does not tell a process its resident memory: ", err)
	}
	var total, resident, ofFiles int
	if _, err := fmt.Sscan(string(data), &total, &resident, &ofFiles); err != nil {
		t.Fatal(err)
	}
	return (resident - ofFiles) * os.Getpagesize()
}

func loadRunUnload(t *testing.T, backend engine.Backend, dir string) {
	t.Helper()
	m, err := backend.Load(t.Context(), dir, &modelconfig.Config{MaxBatchSize: 64})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		in, err := m.NewInstance(onCPU(64))
		if err != nil {
			t.Fatal(err)
		}
		run(t, in, fp32(rowsOf(64, 256, 1), 64, 256))
		if err := in.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
}

// A model of one megabyte is loaded and unloaded; what one cycle leaves behind
// would show up sixtyfold.
func TestUnloadGivesMemoryBack(t *testing.T) {
	backend := onnxrttest.Backend(t)
	dir := write(t, zoo.MiddleMLP().Model())
	for range 20 {
		loadRunUnload(t, backend, dir)
	}
	before := residentBytes(t)
	for range 60 {
		loadRunUnload(t, backend, dir)
	}
	after := residentBytes(t)
	if limit := before + 16<<20; after > limit {
		t.Errorf("resident memory grew from %d to %d bytes over 60 load cycles, want at most %d", before, after, limit)
	}
}

func TestSteadyRunsKeepMemory(t *testing.T) {
	in := instanceOf(t, denseModel(256, 64), 64)
	runs := func(n int) {
		for i := range n {
			b, err := in.Bind([]tensor.Shape{{int64(1 + i%64), 256}})
			if err != nil {
				t.Fatal(err)
			}
			if err := in.Run(t.Context(), b); err != nil {
				t.Fatal(err)
			}
		}
	}
	runs(1000)
	before := residentBytes(t)
	runs(10000)
	after := residentBytes(t)
	// A hundred bytes left behind by each run would pass this.
	if after > before+1<<20 {
		t.Errorf("resident memory grew from %d to %d bytes over 10000 runs", before, after)
	}
}
