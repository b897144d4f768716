// SPDX-License-Identifier: Apache-2.0

//go:build !purego

package vec

import "github.com/millrace-ml/millrace/kernels/cpu"

// hashInt64s hashes the 8 bytes of each integer; there are some.
func hashInt64s(dst []uint64, src []int64, seed uint64) {
	if cpu.Active() >= cpu.AVX512 {
		hashInt64sAVX512(&dst[0], &src[0], len(dst), hashStart(seed))
		return
	}
	hashInt64sGeneric(dst, src, seed)
}
