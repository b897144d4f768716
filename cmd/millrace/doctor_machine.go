// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io/fs"
	"math"
	"path"
	"runtime"
	"strconv"
	"strings"

	"github.com/klauspost/cpuid/v2"

	"github.com/millrace-ml/millrace/kernels/cpu"
)

// Below these a server works, but not well.
const (
	memoryBytesLow = 1 << 30
	openFilesLow   = 4096
)

func checkProcessor() finding {
	f := finding{severity: ok, subject: "cpu", detail: cpuid.CPU.BrandName}
	if f.detail == "" {
		f.detail = runtime.GOARCH
	}
	var found []string
	for _, feature := range []cpuid.FeatureID{cpuid.AVX2, cpuid.AVX512F, cpuid.AVX512VNNI, cpuid.AVX512BF16, cpuid.AMXINT8, cpuid.ASIMD, cpuid.SVE} {
		if cpuid.CPU.Supports(feature) {
			found = append(found, feature.String())
		}
	}
	if level := cpuid.CPU.X64Level(); level > 0 {
		f.detail += fmt.Sprintf(", x86-64-v%d", level)
	}
	f.detail += ", " + strings.Join(found, " ") + "; kernels at level " + cpu.Active().String()
	if cpu.Active() < cpu.Machine() {
		f.severity, f.advice = warn, fmt.Sprintf("%s lowers the level from %s: unset it", cpu.EnvLevel, cpu.Machine())
	}
	if runtime.GOARCH == "amd64" && !cpuid.CPU.Supports(cpuid.AVX2, cpuid.FMA3) {
		f.severity, f.advice = warn, "without AVX2 and FMA models run several times slower; is the virtual machine hiding them?"
	}
	return f
}

// checkCores compares the cores the scheduler uses with those the process may use.
func checkCores(system fs.FS) finding {
	usable, threads := runtime.NumCPU(), runtime.GOMAXPROCS(0)
	f := finding{severity: ok, subject: "cores", detail: fmt.Sprintf("%d usable by this process, GOMAXPROCS %d", usable, threads)}
	limit := float64(usable)
	if quota, limited := cgroupMinimum(system, "cpu.max", parseCPUQuota); limited {
		f.detail += fmt.Sprintf(", cgroup limit %.3g", quota)
		limit = min(limit, quota)
	}
	switch {
	case float64(threads) > math.Max(2, math.Ceil(limit)):
		f.severity, f.advice = warn, "GOMAXPROCS is above what the process may use: it will be throttled; unset it"
	case float64(threads) < math.Floor(limit):
		f.severity, f.advice = warn, "GOMAXPROCS is below what the process may use: cores stay idle; unset it"
	}
	return f
}

// parseCPUQuota reads cgroup's "QUOTA PERIOD" as a number of cores.
func parseCPUQuota(text string) (float64, bool) {
	var quota, period float64
	if n, _ := fmt.Sscan(text, &quota, &period); n != 2 || period <= 0 {
		return 0, false // "max PERIOD": no limit
	}
	return quota / period, true
}

func checkMemory(system fs.FS) finding {
	f := finding{severity: ok, subject: "memory"}
	total, totalKnown := memoryField(system, "MemTotal:")
	available, availableKnown := memoryField(system, "MemAvailable:")
	if !totalKnown || !availableKnown {
		f.detail = "not known on this system"
		return f
	}
	f.detail = fmt.Sprintf("%s, %s available", gibibytes(total), gibibytes(available))
	if limit, limited := cgroupMinimum(system, "memory.max", parseBytes); limited && limit < total {
		f.detail += ", cgroup limit " + gibibytes(limit)
		available = min(available, limit)
	}
	if available < memoryBytesLow {
		f.severity, f.advice = warn, "less than 1 GiB is left for models and their arenas"
	}
	return f
}

func parseBytes(text string) (float64, bool) {
	n, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	return n, err == nil
}

func gibibytes(n float64) string { return fmt.Sprintf("%.1f GiB", n/(1<<30)) }

// usableMemory is the machine's memory, or what the cgroup leaves of it, in bytes.
func usableMemory(system fs.FS) (float64, bool) {
	total, known := memoryField(system, "MemTotal:")
	if limit, limited := cgroupMinimum(system, "memory.max", parseBytes); limited && limit < total {
		return limit, true
	}
	return total, known
}

// memoryField reads a line of /proc/meminfo, such as "MemTotal: 16384 kB", in bytes.
func memoryField(system fs.FS, name string) (float64, bool) {
	fields := lineFields(system, "proc/meminfo", name)
	if len(fields) == 0 {
		return 0, false
	}
	kibibytes, known := parseBytes(fields[0])
	return kibibytes * 1024, known
}

func checkOpenFiles(system fs.FS) finding {
	f := finding{severity: ok, subject: "open files"}
	fields := lineFields(system, "proc/self/limits", "Max open files")
	if len(fields) == 0 {
		f.detail = "limit not known on this system"
		return f
	}
	f.detail = "at most " + fields[0]
	if limit, known := parseBytes(fields[0]); known && limit < openFilesLow {
		f.severity, f.advice = warn, fmt.Sprintf("each connection takes one: raise it with ulimit -n %d or LimitNOFILE=", 16*openFilesLow)
	}
	return f
}

// lineFields returns the fields after a prefix on the file's first line that has it.
func lineFields(system fs.FS, name, prefix string) []string {
	content, err := fs.ReadFile(system, name)
	if err != nil {
		return nil
	}
	scanner := bufio.NewScanner(bytes.NewReader(content))
	for scanner.Scan() {
		if rest, found := strings.CutPrefix(scanner.Text(), prefix); found {
			return strings.Fields(rest)
		}
	}
	return nil
}

// cgroupMinimum is the tightest value of a control file (version 2) among the
// process's own cgroup and those above it, and whether any sets one.
func cgroupMinimum(system fs.FS, file string, parse func(string) (float64, bool)) (tightest float64, limited bool) {
	tightest = math.Inf(1)
	group := "/"
	if fields := lineFields(system, "proc/self/cgroup", "0::"); len(fields) > 0 {
		group = path.Clean("/" + fields[0])
	}
	for ; ; group = path.Dir(group) {
		content, err := fs.ReadFile(system, path.Join("sys/fs/cgroup", group, file))
		if err == nil {
			if value, set := parse(string(content)); set {
				tightest, limited = min(tightest, value), true
			}
		}
		if group == "/" {
			return tightest, limited
		}
	}
}
