// SPDX-License-Identifier: Apache-2.0

package quant

// PeakVNNI runs n rounds of VPDPBUSD on registers and returns the operations done, two
// for each product; the rate is the ceiling of the 8-bit products of one core. It
// returns 0 where the active CPU level has no such instruction.
func PeakVNNI(n int) (operations int) { return peak(n) }
