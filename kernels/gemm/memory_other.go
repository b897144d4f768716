// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package gemm

// hugeBytes is beyond any size.
const hugeBytes = 1 << 62

func adviseHuge([]byte) {}
