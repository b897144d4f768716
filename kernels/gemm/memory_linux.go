// SPDX-License-Identifier: Apache-2.0

package gemm

import "syscall"

// hugeBytes is the size of a huge page on amd64 and of most on arm64.
const hugeBytes = 2 << 20

// adviseHuge asks for huge pages under memory that begins at one. That it is refused
// does no harm.
func adviseHuge(memory []byte) {
	_ = syscall.Madvise(memory[:len(memory)/hugeBytes*hugeBytes], syscall.MADV_HUGEPAGE)
}
