// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package command

import "os/exec"

// Process groups are of Unix; elsewhere the program alone is ended.
func group(*exec.Cmd)    {}
func endGroup(*exec.Cmd) {}
