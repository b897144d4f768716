// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package runs

import (
	"os/exec"
	"testing"
)

func unprivileged(*testing.T, *exec.Cmd, string) {}
