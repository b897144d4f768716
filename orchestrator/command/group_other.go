// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package command

import (
	"io"
	"os"
	"os/exec"
	"time"
)

// group leaves it at killing the program itself: this system has no process groups.
func group(*exec.Cmd, time.Duration) (stop func()) { return func() {} }

func killGroup(*exec.Cmd) {}

// endCopy leaves it at closing the pipe: this system's pipes have no deadlines.
func endCopy(*os.File, io.Writer, <-chan struct{}) {}
