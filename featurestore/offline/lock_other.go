// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package offline

import (
	"io"
	"os"
)

// Lock opens the file and locks nothing: this system has no advisory locks, so its
// users see to it that one process opens a log.
func (osFS) Lock(name string) (io.Closer, error) {
	return os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o666)
}
