// SPDX-License-Identifier: Apache-2.0

package dataset

import "golang.org/x/sys/unix"

// newSlab asks the system for memory, in large pages if it has them: spreading writes to
// some hundred blocks at once, which small pages make slow, and fresh memory comes with
// one fault for 2 MiB instead of 512. The collector does not see it, so it does not let
// the heap grow by as much again. nil if there is none.
func newSlab(bytes int, large bool) []byte {
	b, err := unix.Mmap(-1, 0, bytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil
	}
	if large {
		_ = unix.Madvise(b, unix.MADV_HUGEPAGE) // a wish: small pages do as well
	}
	return b
}

// freeSlab gives memory back.
func freeSlab(b []byte) { _ = unix.Munmap(b) } // which fails for what is no slab alone
