// SPDX-License-Identifier: Apache-2.0

package quant

import "unsafe"

// gemmGeneric is the reference: one output after the other.
func gemmGeneric(j *job) {
	for i := range j.m {
		row := j.a[i*j.lda : i*j.lda+j.w.k]
		rowSum := int32(0)
		for _, x := range row {
			rowSum += int32(x ^ j.aFlip)
		}
		out := unsafe.Add(j.out, i*j.outStride)
		for col := range j.w.n {
			sum := j.w.dot(row, j.aFlip, col) - int32(j.aZero)*j.w.correction[col]
			if j.w.zeros != nil {
				sum -= rowSum * j.w.zeros[col]
			}
			j.finish(out, col, sum)
		}
	}
}

// dot is the sum of the products of a row with a column, both without zero points.
func (p *Packed) dot(row []uint8, flip uint8, col int) int32 {
	if p.k == 0 {
		return 0
	}
	const step = panelColumns * depthStep
	column := p.data[col/panelColumns*p.depth*panelColumns+col%panelColumns*depthStep:]
	sum := int32(0)
	for i, x := range row {
		sum += int32(x^flip) * int32(column[i/depthStep*step+i%depthStep])
	}
	return sum
}

// finish stores the output of one column from its sum.
func (j *job) finish(out unsafe.Pointer, col int, sum int32) {
	if j.kind == sums {
		*(*int32)(unsafe.Add(out, 4*col)) = sum
		return
	}
	if j.bias32 != nil {
		sum += j.bias32[col]
	}
	scale, bias := j.aScale*j.wScale[min(col, len(j.wScale)-1)], float32(0)
	if j.bias != nil {
		bias = j.bias[col]
	}
	if j.kind == bytes {
		scale /= j.outScale
		bias *= 1 / j.outScale
	}
	y := float32(float32(sum)*scale) + bias
	if j.kind == bytes {
		*(*uint8)(unsafe.Add(out, col)) = roundByte(y, j.lo, j.hi, j.outZero) ^ j.flip
		return
	}
	// Unlike min and max, comparisons leave NaN and the sign of zero as they are.
	if y < j.lo {
		y = j.lo
	}
	if y > j.hi {
		y = j.hi
	}
	*(*float32)(unsafe.Add(out, 4*col)) = y
}
