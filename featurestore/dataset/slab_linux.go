// SPDX-License-Identifier: Apache-2.0

package dataset

import "golang.org/x/sys/unix"

// newSlab asks the system for memory that the collector does not see, so that it does not
// let the heap grow by as much again; nil if there is none. Large pages are not asked for:
// they save faults, but where memory is in pieces the system takes longer to find them.
func newSlab(bytes int) []byte {
	b, err := unix.Mmap(-1, 0, bytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil
	}
	return b
}

// freeSlab gives memory back.
func freeSlab(b []byte) { _ = unix.Munmap(b) } // which fails for what is no slab alone
