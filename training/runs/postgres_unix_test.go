// SPDX-License-Identifier: Apache-2.0

//go:build unix

package runs

import (
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// unprivileged runs a program as nobody if this is the superuser, whom PostgreSQL
// refuses to serve.
func unprivileged(t *testing.T, cmd *exec.Cmd, dir string) {
	t.Helper()
	if os.Getuid() != 0 {
		return
	}
	const nobody = 65534
	must(t, os.Chown(dir, nobody, nobody))
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
}
