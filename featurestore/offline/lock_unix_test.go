// SPDX-License-Identifier: Apache-2.0

//go:build unix

package offline

import (
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// A lock that was closed can be taken although a process that is being started has the open
// file too, as between fork and exec.
func TestLockIsNotKeptByAChild(t *testing.T) {
	name := filepath.Join(t.TempDir(), lockName)
	held, err := osFS{}.Lock(name)
	must(t, err)
	shared, err := unix.Dup(int(held.(fileLock).Fd()))
	must(t, err)
	defer unix.Close(shared)
	must(t, held.Close())
	again, err := osFS{}.Lock(name)
	must(t, err)
	must(t, again.Close())
}
