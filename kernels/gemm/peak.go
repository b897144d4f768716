// SPDX-License-Identifier: Apache-2.0

package gemm

// peakSums is how many multiply-adds an iteration of a peak kernel does.
const peakSums = 12

// PeakF32 does independent f32 multiply-adds in registers for the given number of
// iterations (about 3 ns each) and returns how many floating-point operations that
// was: the ceiling that products are measured against. It is 0 where the CPU level has
// no kernel.
func PeakF32(iterations int) (operations float64) {
	return float64(iterations) * peakSums * 2 * float64(peakF32(iterations))
}

// PeakBF16 is PeakF32 for dot products of bf16.
func PeakBF16(iterations int) (operations float64) {
	return float64(iterations) * peakSums * 4 * float64(peakDots(iterations))
}
