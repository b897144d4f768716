// SPDX-License-Identifier: Apache-2.0

//go:build purego || !amd64

package vec

func hashInt64s(dst []uint64, src []int64, seed uint64) { hashInt64sGeneric(dst, src, seed) }
