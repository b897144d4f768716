// SPDX-License-Identifier: Apache-2.0

//go:build unix

package command

import (
	"os/exec"
	"syscall"
)

// group makes a program the head of a process group of its own, which is killed whole:
// what it has started would hold cores and files for long.
func group(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}

// endGroup kills what a program that ended has left.
func endGroup(cmd *exec.Cmd) {
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // most often there is nobody left
}
