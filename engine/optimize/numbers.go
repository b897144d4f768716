// SPDX-License-Identifier: Apache-2.0

package optimize

import (
	"encoding/binary"
	"math"

	"github.com/millrace-ml/millrace/engine/onnx"
)

// floatsOf are the elements of a constant of type float; false for other types and
// constants without data.
func floatsOf(t *onnx.Tensor) ([]float32, bool) {
	if t.Elem != onnx.ElemFloat {
		return nil, false
	}
	v, err := t.Value()
	if err != nil {
		return nil, false
	}
	return decodeFloats(v.Data), true
}

func decodeFloats(data []byte) []float32 {
	list := make([]float32, len(data)/4)
	for i := range list {
		list[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
	}
	return list
}

func finite(list []float32) bool {
	for _, x := range list {
		if !isFinite(float64(x)) {
			return false
		}
	}
	return true
}

func isFinite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// transpose turns [rows, columns] into [columns, rows].
func transpose(list []float32, rows, columns int) []float32 {
	out := make([]float32, len(list))
	for i := range rows {
		for j := range columns {
			out[j*rows+i] = list[i*columns+j]
		}
	}
	return out
}

// roundBF16 rounds to the nearest bfloat16, ties to even.
func roundBF16(x float32) uint16 {
	bits := math.Float32bits(x)
	return uint16((bits + 0x7fff + bits>>16&1) >> 16)
}

func widenBF16(x uint16) float32 { return math.Float32frombits(uint32(x) << 16) }

// quantizeWeights makes 8-bit integers of [rows, columns] weights, symmetric about 0,
// with a scale for each column or one for all. largest is the largest integer.
func quantizeWeights(w []float32, columns int, perTensor bool, largest float64) (q []int8, scales []float32) {
	peaks := make([]float64, columns)
	for i, x := range w {
		at := i % columns
		if perTensor {
			at = 0
		}
		peaks[at] = max(peaks[at], math.Abs(float64(x)))
	}
	if perTensor {
		peaks = peaks[:1]
	}
	scales = make([]float32, len(peaks))
	for j, peak := range peaks {
		// A column of zeros may have any scale; one too small for a float has none.
		if scales[j] = float32(peak / largest); scales[j] < smallestScale {
			scales[j] = 1
		}
	}
	q = make([]int8, len(w))
	for i, x := range w {
		scaled := math.RoundToEven(float64(x) / float64(scales[i%columns%len(scales)]))
		q[i] = int8(max(-largest, min(largest, scaled)))
	}
	return q, scales
}

// smallestScale keeps scales, and their products, in the range of normal floats.
const smallestScale = 1e-18

// affine is how a float is written as an 8-bit integer: x / scale + zero.
type affine struct {
	scale float32
	// zero is from 0 to 255, or 128 less for signed integers.
	zero   int
	signed bool
}

// affineOf covers a range, extended to hold 0, with 256 steps.
func affineOf(low, high float64, signed bool) affine {
	low, high = min(low, 0), max(high, 0)
	a := affine{scale: float32((high - low) / 255), signed: signed}
	if a.scale < smallestScale {
		a.scale = 1
	}
	a.zero = int(max(0, min(255, math.RoundToEven(-low/float64(a.scale)))))
	if signed {
		a.zero -= 128
	}
	return a
}

// within makes all 256 steps lie between two bounds, by smaller steps where needed. It
// reports false where 0, which one of the steps is, does not.
func (a affine) within(low, high float32) (affine, bool) {
	if !(low <= 0 && high >= 0) || a.scale > math.MaxFloat32/256 {
		return a, false
	}
	first, last := 0, 255
	if a.signed {
		first, last = -128, 127
	}
	if low == 0 {
		a.zero = first
	}
	if high == 0 {
		a.zero = last
	}
	down, up := float32(first-a.zero), float32(last-a.zero)
	if down < 0 {
		a.scale = min(a.scale, low/down)
	}
	if up > 0 {
		a.scale = min(a.scale, high/up)
	}
	for down*a.scale < low || up*a.scale > high {
		a.scale = math.Nextafter32(a.scale, 0)
	}
	return a, a.scale >= smallestScale
}

// relativeError is the root mean square of the differences relative to that of the
// values. Values that are all 0 have no error where they stay so, else one of 1.
func relativeError(values, changed []float32) float64 {
	power, loss := 0.0, 0.0
	for i, x := range values {
		d := float64(x) - float64(changed[i])
		power += float64(x) * float64(x)
		loss += d * d
	}
	if power == 0 {
		return min(1, loss)
	}
	return math.Sqrt(loss / power)
}
