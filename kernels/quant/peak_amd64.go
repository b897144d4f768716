// SPDX-License-Identifier: Apache-2.0

//go:build !purego

package quant

import "github.com/millrace-ml/millrace/kernels/cpu"

func peak(n int) int {
	if cpu.Active() < cpu.VNNI {
		return 0
	}
	peakVNNI(n)
	// One instruction of the 16 in a round multiplies 64 pairs and adds them.
	return n * 16 * 64 * 2
}
