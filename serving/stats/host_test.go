// SPDX-License-Identifier: Apache-2.0

package stats

import (
	"math"
	"testing"
	"testing/fstest"
)

func TestHost(t *testing.T) {
	proc := fstest.MapFS{
		"stat":    {Data: []byte("cpu  10 0 10 70 10 0 0 0 5 5\ncpu0 1 2 3\n")},
		"meminfo": {Data: []byte("MemTotal:       1000 kB\nMemFree: 1 kB\nMemAvailable:    400 kB\nHugePages_Total:       0\n")},
	}
	h := newHost(proc)
	proc["stat"].Data = []byte("cpu  40 0 40 100 20 0 0 0 5 5\n") // 60 busy and 40 idle ticks later
	for range 2 {                                                 // the second time no tick has passed
		if got, err := h.utilization(); err != nil || math.Abs(got-0.6) > 1e-9 {
			t.Errorf("utilization is %v, %v; want 0.6", got, err)
		}
	}
	if got, err := readMemory(proc); err != nil || got != (memory{1000 << 10, 400 << 10}) {
		t.Errorf("memory is %+v, %v", got, err)
	}
}

func TestHostBadFiles(t *testing.T) {
	for _, stat := range []string{"", "cpu", "cpu 1 2 3 4 5 6 7", "cpu 1 2 x 4 5 6 7 8", "intr 1 2 3 4 5 6 7 8"} {
		if got, err := readCPUTicks(fstest.MapFS{"stat": {Data: []byte(stat)}}); err == nil {
			t.Errorf("ticks of %q are %+v, want an error", stat, got)
		}
	}
	for _, meminfo := range []string{"", "MemAvailable: 4 kB\n", "MemTotal: 4 kB\nMemAvailable: 5 kB\n", "MemTotal: x kB\n"} {
		if got, err := readMemory(fstest.MapFS{"meminfo": {Data: []byte(meminfo)}}); err == nil {
			t.Errorf("memory of %q is %+v, want an error", meminfo, got)
		}
	}
}
