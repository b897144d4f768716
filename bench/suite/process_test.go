// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"os/exec"
	"strings"
	"testing"
)

func TestParseResident(t *testing.T) {
	got, err := parseResident("status", "Name:\tmillrace\nVmHWM:\t  9999 kB\nVmRSS:\t   1234 kB\nThreads:\t7\n")
	if err != nil || got != 1234<<10 {
		t.Errorf("resident memory is %d, %v", got, err)
	}
	for _, text := range []string{"", "VmRSS:\n", "VmRSS: many kB\n"} {
		if got, err := parseResident("status", text); err == nil {
			t.Errorf("%q gives %d", text, got)
		}
	}
}

func TestTailKeepsTheEnd(t *testing.T) {
	var log tail
	for range 1000 {
		if n, err := log.Write([]byte("a line of the log\n")); n != 18 || err != nil {
			t.Fatal(n, err)
		}
	}
	if _, err := log.Write([]byte("the end\n")); err != nil {
		t.Fatal(err)
	}
	if got := log.String(); len(got) > logTailBytes || !strings.HasSuffix(got, "log\nthe end") {
		t.Errorf("%d bytes are kept, ending in %q", len(got), got[max(0, len(got)-20):])
	}
}

func TestServerThatEndsIsReported(t *testing.T) {
	binary, err := exec.LookPath("false")
	if err != nil {
		t.Skip(err)
	}
	b := &bench{Options: Options{Binary: binary}}
	if _, err := b.start(t.Context(), "serve"); err == nil || !strings.Contains(err.Error(), "ended before it was ready") {
		t.Errorf("the start gave %v", err)
	}
	if err := b.stopProcesses(); err == nil || !strings.Contains(err.Error(), "ended on its own") {
		t.Errorf("the stop gave %v", err)
	}
}

func TestWorstAllocations(t *testing.T) {
	output := `goos: linux
BenchmarkCodecToResponse/rows=1-2     1000   900 ns/op   32 B/op   1 allocs/op
BenchmarkCodecToResponse/rows=8-2     1000   900 ns/op   64 B/op   3 allocs/op
PASS`
	if got, err := worstAllocations(output); err != nil || got != 3 {
		t.Errorf("the worst is %g, %v, want 3", got, err)
	}
	if got, err := worstAllocations("PASS"); err == nil {
		t.Errorf("no benchmark gives %g", got)
	}
}
