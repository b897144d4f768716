// SPDX-License-Identifier: Apache-2.0

package stats

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

var (
	descUtilization = prometheus.NewDesc("nv_cpu_utilization", "CPU utilization of the machine since the last scrape, from 0 to 1", nil, nil)
	descMemoryTotal = prometheus.NewDesc("nv_cpu_memory_total_bytes", "Memory of the machine in bytes", nil, nil)
	descMemoryUsed  = prometheus.NewDesc("nv_cpu_memory_used_bytes", "Memory of the machine in use in bytes", nil, nil)
)

// errProcFormat reports a file of /proc that is not as Linux writes it.
var errProcFormat = errors.New("unexpected format")

// host reads the machine's load from the files of /proc. Where they cannot be read,
// as on other systems than Linux, its metrics are left out.
type host struct {
	proc fs.FS

	mu struct {
		sync.Mutex
		last        cpuTicks
		utilization float64
	}
}

// newHost starts the first interval of the utilization.
func newHost(proc fs.FS) *host {
	h := &host{proc: proc}
	h.mu.last, _ = readCPUTicks(proc) // zero is as good a start: the time of boot
	return h
}

func (h *host) collect(ch chan<- prometheus.Metric) {
	if utilization, err := h.utilization(); err == nil {
		send(ch, descUtilization, prometheus.GaugeValue, utilization)
	}
	if m, err := readMemory(h.proc); err == nil {
		send(ch, descMemoryTotal, prometheus.GaugeValue, float64(m.total))
		send(ch, descMemoryUsed, prometheus.GaugeValue, float64(m.total-m.available))
	}
}

// utilization is the busy share of the time since the last call, or what it was
// then where no tick has passed.
func (h *host) utilization() (float64, error) {
	now, err := readCPUTicks(h.proc)
	if err != nil {
		return 0, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	last := h.mu.last
	if now.total > last.total && now.idle >= last.idle {
		idle := float64(now.idle-last.idle) / float64(now.total-last.total)
		h.mu.utilization = max(1-idle, 0)
		h.mu.last = now
	}
	return h.mu.utilization, nil
}

// cpuTicks is the time of all processors since boot.
type cpuTicks struct{ idle, total uint64 }

// The fields of the first line of /proc/stat that make up the whole time, after
// its name. Those that follow are parts of user and nice.
const (
	tickIdle   = 3
	tickIOWait = 4
	tickFields = 8
)

func readCPUTicks(proc fs.FS) (cpuTicks, error) {
	head, err := readHead(proc, "stat")
	if err != nil {
		return cpuTicks{}, err
	}
	line, _, _ := bytes.Cut(head, []byte("\n"))
	fields := strings.Fields(string(line))
	if len(fields) < 1+tickFields || fields[0] != "cpu" {
		return cpuTicks{}, fmt.Errorf("stat: %w", errProcFormat)
	}
	var t cpuTicks
	for i, field := range fields[1 : 1+tickFields] {
		n, err := strconv.ParseUint(field, 10, 64)
		if err != nil {
			return cpuTicks{}, fmt.Errorf("stat: %w", err)
		}
		t.total += n
		if i == tickIdle || i == tickIOWait {
			t.idle += n
		}
	}
	return t, nil
}

// memory is the machine's memory in bytes.
type memory struct{ total, available uint64 }

func readMemory(proc fs.FS) (memory, error) {
	head, err := readHead(proc, "meminfo")
	if err != nil {
		return memory{}, err
	}
	var m memory
	for line := range strings.Lines(string(head)) {
		name, value, _ := strings.Cut(line, ":")
		kilobytes, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		switch {
		case err != nil:
		case name == "MemTotal":
			m.total = kilobytes << 10
		case name == "MemAvailable":
			m.available = kilobytes << 10
		}
	}
	if m.total == 0 || m.available > m.total {
		return memory{}, fmt.Errorf("meminfo: %w", errProcFormat)
	}
	return m, nil
}

// readHead reads the start of a file, which has all that is looked for.
func readHead(proc fs.FS, name string) ([]byte, error) {
	f, err := proc.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	const headBytes = 4096
	return io.ReadAll(io.LimitReader(f, headBytes))
}
