// SPDX-License-Identifier: Apache-2.0

//go:build purego || !amd64

package quant

func peak(int) int { return 0 }
