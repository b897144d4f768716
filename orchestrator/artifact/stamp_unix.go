// SPDX-License-Identifier: Apache-2.0

//go:build unix

package artifact

import (
	"os"

	"golang.org/x/sys/unix"
)

func stampOf(path string) (stamp, error) {
	var s unix.Stat_t
	if err := unix.Stat(path, &s); err != nil {
		return stamp{}, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	return stamp{Size: s.Size, Mtime: s.Mtim.Nano(), Ctime: s.Ctim.Nano(), Inode: uint64(s.Ino), Device: uint64(s.Dev)}, nil //nolint:unconvert // the types differ between systems
}
