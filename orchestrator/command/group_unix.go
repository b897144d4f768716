// SPDX-License-Identifier: Apache-2.0

//go:build unix

package command

import (
	"os/exec"
	"syscall"
	"time"
)

// group gives the program a process group, which is asked to end with the context, and
// killed a while later unless stop is called.
func group(cmd *exec.Cmd, grace time.Duration) (stop func()) {
	timer := time.AfterFunc(1<<62, func() { killGroup(cmd) })
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	endWithUs(cmd.SysProcAttr)
	cmd.Cancel = func() error {
		timer.Reset(grace)
		return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
	}
	return func() { timer.Stop() }
}

// killGroup ends what the program left running.
func killGroup(cmd *exec.Cmd) {
	if cmd.Process != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // mostly there is nothing left
	}
}
