// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package orchestrator

import (
	"io"
	"os"
)

// lock opens the file and locks nothing: this system has no advisory locks, so its users
// see to it that one process uses a state folder.
func lock(path string) (io.Closer, error) { return open(path, os.O_CREATE|os.O_RDWR) }

func lockShared(path string) (io.Closer, error) { return open(path, os.O_RDONLY) }

func open(path string, flag int) (io.Closer, error) {
	f, err := os.OpenFile(path, flag, 0o666)
	if err != nil {
		return nil, err
	}
	return f, nil
}
