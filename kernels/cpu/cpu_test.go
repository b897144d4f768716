// SPDX-License-Identifier: Apache-2.0

package cpu_test

import (
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/millrace-ml/millrace/kernels/cpu"
)

func TestParse(t *testing.T) {
	for _, level := range []cpu.Level{cpu.Generic, cpu.NEON, cpu.AVX2, cpu.AVX512, cpu.VNNI, cpu.BF16} {
		if got, err := cpu.Parse(level.String()); err != nil || got != level {
			t.Errorf("%s: %v, %v", level, got, err)
		}
	}
	if _, err := cpu.Parse("avx9"); err == nil || !strings.Contains(err.Error(), "avx512vnni") {
		t.Errorf("an unknown level: %v", err)
	}
}

func TestLimit(t *testing.T) {
	before := cpu.Active()
	undo := cpu.Limit(cpu.Generic)
	if cpu.Active() != cpu.Generic {
		t.Errorf("limited to generic, active is %s", cpu.Active())
	}
	undo()
	if cpu.Active() != before {
		t.Errorf("after undo %s, before %s", cpu.Active(), before)
	}
	defer cpu.Limit(cpu.BF16)()
	if cpu.Active() > cpu.Machine() {
		t.Errorf("limit raised the level to %s on a machine of %s", cpu.Active(), cpu.Machine())
	}
}

func TestAvailable(t *testing.T) {
	levels := cpu.Available()
	if levels[0] != cpu.Generic || levels[len(levels)-1] != cpu.Machine() || !slices.IsSorted(levels) {
		t.Errorf("levels %v of a machine of level %s", levels, cpu.Machine())
	}
}

// The environment is read once, so each case is a process of its own.
func TestEnvironment(t *testing.T) {
	if name := os.Getenv("CPU_TEST_CHILD"); name != "" {
		if err := cpu.Problem(); err != nil {
			t.Fatalf("problem: %v", err)
		}
		if cpu.Active().String() != name {
			t.Fatalf("problem: active is %s", cpu.Active())
		}
		return
	}
	child := func(env, want string) string {
		cmd := exec.Command(os.Args[0], "-test.run=^TestEnvironment$")
		cmd.Env = append(os.Environ(), cpu.EnvLevel+"="+env, "CPU_TEST_CHILD="+want)
		out, err := cmd.CombinedOutput()
		if errors.Is(err, syscall.ENOEXEC) {
			t.Skip("this process runs under an emulator that cannot start another")
		}
		return string(out)
	}
	for _, level := range cpu.Available() {
		if out := child(level.String(), level.String()); strings.Contains(out, "problem") {
			t.Errorf("%s: %s", level, out)
		}
	}
	if out := child("avx9", "generic"); !strings.Contains(out, "is not a CPU level") {
		t.Errorf("an unknown level was taken: %s", out)
	}
}
