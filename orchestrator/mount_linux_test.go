// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// mountSmall makes a folder a file system of some bytes; it needs the right to mount.
func mountSmall(dir string, bytes int) error {
	return unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", bytes))
}

func unmount(dir string) error { return unix.Unmount(dir, unix.MNT_DETACH) }
