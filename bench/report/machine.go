// SPDX-License-Identifier: Apache-2.0

package report

import (
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/klauspost/cpuid/v2"
)

// Machine is where a benchmark ran.
type Machine struct {
	CPU string `json:"cpu"`
	// Cores are those of the machine, UsableCores those this process may use.
	Cores       int    `json:"cores"`
	UsableCores int    `json:"usable_cores"`
	System      string `json:"system"`
	Kernel      string `json:"kernel,omitempty"`
	Go          string `json:"go"`
}

// ThisMachine describes the machine that this process runs on.
func ThisMachine() Machine {
	return Machine{
		CPU:         cpuid.CPU.BrandName,
		Cores:       runtime.NumCPU(),
		UsableCores: runtime.GOMAXPROCS(0),
		System:      runtime.GOOS + "/" + runtime.GOARCH,
		Kernel:      kernel(),
		Go:          runtime.Version(),
	}
}

// Commit is the commit that this program was built from, as the build recorded it,
// else that of the working folder; "unknown" without either. A "+" marks changes
// that are not committed.
func Commit() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		if commit := builtFrom(info.Settings); commit != "" {
			return commit
		}
	}
	out, err := exec.Command("git", "rev-parse", "HEAD").Output()
	if err != nil {
		return "unknown"
	}
	commit := strings.TrimSpace(string(out))
	if changes, err := exec.Command("git", "status", "--porcelain").Output(); err == nil && len(changes) > 0 {
		commit += "+"
	}
	return commit
}

func builtFrom(settings []debug.BuildSetting) (commit string) {
	changed := ""
	for _, s := range settings {
		switch {
		case s.Key == "vcs.revision":
			commit = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			changed = "+"
		}
	}
	if commit == "" {
		return ""
	}
	return commit + changed
}
