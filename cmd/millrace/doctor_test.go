// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
)

func systemFiles(files map[string]string) fstest.MapFS {
	system := fstest.MapFS{}
	for name, content := range files {
		system[name] = &fstest.MapFile{Data: []byte(content)}
	}
	return system
}

func expectFinding(t *testing.T, got finding, want severity, detail, advice string) {
	t.Helper()
	if got.severity != want || !strings.Contains(got.detail, detail) || !strings.Contains(got.advice, advice) {
		t.Errorf("finding %+v, want %s with %q and %q", got, want, detail, advice)
	}
	if (got.severity == ok) != (got.advice == "") {
		t.Errorf("finding %+v: advice belongs to warnings and failures, and to all of them", got)
	}
}

func TestCheckMemory(t *testing.T) {
	plenty := "MemTotal:  16777216 kB\nMemFree: 1 kB\nMemAvailable:  8388608 kB\n"
	tests := []struct {
		name     string
		files    map[string]string
		severity severity
		detail   string
		advice   string
	}{
		{"plenty", map[string]string{"proc/meminfo": plenty}, ok, "16.0 GiB, 8.0 GiB available", ""},
		{"little", map[string]string{"proc/meminfo": "MemTotal: 1048576 kB\nMemAvailable: 524288 kB\n"}, warn, "0.5 GiB available", "less than 1 GiB"},
		{"own cgroup", map[string]string{"proc/meminfo": plenty, "proc/self/cgroup": "0::/a/b\n",
			"sys/fs/cgroup/a/b/memory.max": "536870912\n"}, warn, "cgroup limit 0.5 GiB", "less than 1 GiB"},
		{"cgroup above", map[string]string{"proc/meminfo": plenty, "proc/self/cgroup": "0::/a/b\n",
			"sys/fs/cgroup/a/b/memory.max": "max\n", "sys/fs/cgroup/a/memory.max": "2147483648\n"}, ok, "cgroup limit 2.0 GiB", ""},
		{"other system", nil, ok, "not known", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			expectFinding(t, checkMemory(systemFiles(test.files)), test.severity, test.detail, test.advice)
		})
	}
}

func TestCheckOpenFiles(t *testing.T) {
	header := "Limit                     Soft Limit           Hard Limit           Units\n"
	low := systemFiles(map[string]string{"proc/self/limits": header + "Max open files            1024                 4096                 files\n"})
	expectFinding(t, checkOpenFiles(low), warn, "at most 1024", "ulimit -n")
	high := systemFiles(map[string]string{"proc/self/limits": header + "Max open files            unlimited            unlimited            files\n"})
	expectFinding(t, checkOpenFiles(high), ok, "at most unlimited", "")
}

func TestParseCPUQuota(t *testing.T) {
	if cores, limited := parseCPUQuota("150000 100000\n"); !limited || cores != 1.5 {
		t.Errorf("quota of 150000 per 100000: %v, %v", cores, limited)
	}
	if _, limited := parseCPUQuota("max 100000\n"); limited {
		t.Error("max was read as a limit")
	}
}

func TestCheckRuntime(t *testing.T) {
	found := checkRuntime(func() (runtimeFacts, error) {
		return runtimeFacts{path: "/lib/libonnxruntime.so", version: "1.30.0"}, nil
	})
	expectFinding(t, found[0], ok, "1.30.0", "")
	expectFinding(t, found[1], ok, "none", "")

	missing := checkRuntime(func() (runtimeFacts, error) { return runtimeFacts{}, errors.New("looked everywhere") })
	expectFinding(t, missing[0], fail, "looked everywhere", "make onnxruntime")
}

func TestCheckPort(t *testing.T) {
	listener, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	taken := uint16(listener.Addr().(*net.TCPAddr).Port)
	expectFinding(t, checkPort("grpc", taken), warn, "address already in use", "--grpc-port")
	expectFinding(t, checkPort("grpc", 0), ok, "free", "")
}

func TestCheckRepository(t *testing.T) {
	folder := t.TempDir()
	expectFinding(t, checkRepository(filepath.Join(folder, "none")), fail, "does not exist", "demo-repository")
	expectFinding(t, checkRepository(folder), warn, "no model folders", "MODEL/VERSION/model.onnx")
	if err := os.MkdirAll(filepath.Join(folder, "ranker", "1"), 0o755); err != nil {
		t.Fatal(err)
	}
	expectFinding(t, checkRepository(folder), ok, "1 model folders", "")
}

func TestReportFindings(t *testing.T) {
	var out bytes.Buffer
	err := reportFindings(&out, []finding{{ok, "cpu", "fast", ""}, {fail, "memory", "none", "buy some"}})
	want := "ok    cpu          fast\nfail  memory       none\n                   -> buy some\n"
	if out.String() != want || err == nil || err.Error() != "1 of 2 checks failed" {
		t.Errorf("report %q, error %v", out.String(), err)
	}
	if err := reportFindings(&out, []finding{{warn, "memory", "little", "buy some"}}); err != nil {
		t.Errorf("a warning failed the report: %v", err)
	}
}
