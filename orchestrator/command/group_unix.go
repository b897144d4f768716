// SPDX-License-Identifier: Apache-2.0

//go:build unix

package command

import (
	"errors"
	"io"
	"os"
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

// pipeBytes is what a pipe holds at most.
const pipeBytes = 64 << 10

// endCopy ends the copy of a pipe that somebody still writes to. What is in the pipe by now
// is copied: the program may have said it.
func endCopy(read *os.File, output io.Writer, copied <-chan struct{}) {
	pipe, err := read.SyscallConn()
	if err != nil || read.SetReadDeadline(time.Now()) != nil {
		return
	}
	<-copied
	_ = pipe.Control(func(fd uintptr) { // which knows no deadline
		text := make([]byte, pipeBytes)
		n, err := syscall.Read(int(fd), text)
		for errors.Is(err, syscall.EINTR) {
			n, err = syscall.Read(int(fd), text)
		}
		if n > 0 {
			_, _ = output.Write(text[:n])
		}
	})
}
