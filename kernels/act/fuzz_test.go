// SPDX-License-Identifier: Apache-2.0

package act

import (
	"encoding/binary"
	"math"
	"testing"

	"github.com/millrace-ml/millrace/kernels/cpu"
	"github.com/millrace-ml/millrace/kernels/kerneltest"
)

// floats are at most 80 numbers of any bits.
func floats(data []byte) []float32 {
	x := make([]float32, min(len(data)/4, 80))
	for i := range x {
		x[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
	}
	return x
}

func seeds(f *testing.F) {
	f.Add([]byte{})
	var all []byte
	for _, x := range kerneltest.Specials {
		all = binary.LittleEndian.AppendUint32(all, math.Float32bits(x))
	}
	f.Add(all)
}

// FuzzMaps holds every map at every level to its formula.
func FuzzMaps(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		src := floats(data)
		dst, want := make([]float32, len(src)), make([]float32, len(src))
		for _, e := range elements {
			for i, x := range src {
				want[i] = float32(e.truth(float64(x)))
			}
			for _, level := range cpu.Available() {
				undo := cpu.Limit(level)
				e.apply(dst, src)
				undo()
				kerneltest.Close(t, e.name, dst, want, kerneltest.Bound{Rel: e.bound.Rel + 1.2e-7, Abs: e.bound.Abs})
			}
		}
	})
}

// FuzzRows holds softmax and normalisation at every level to their references, on rows
// of small numbers around a common one.
func FuzzRows(f *testing.F) {
	f.Add([]byte{1, 2, 3, 4, 5, 6, 7}, uint8(3), int16(0))
	f.Add(make([]byte, 200), uint8(66), int16(-3000))
	f.Fuzz(func(t *testing.T, data []byte, width uint8, around int16) {
		cols := max(int(width), 1)
		rows := min(len(data), 600) / cols
		src, dst := make([]float32, rows*cols), make([]float32, rows*cols)
		for i := range src {
			src[i] = float32(around) + float32(int8(data[i]))/8
		}
		for _, level := range cpu.Available() {
			undo := cpu.Limit(level)
			Softmax(dst, src, rows, cols)
			holdSoftmax(t, dst, src, rows, cols)
			LogSoftmax(dst, src, rows, cols)
			holdLogSoftmax(t, dst, src, rows, cols)
			holdNorm(t, "fuzzed", dst, src, rows, cols, float64(cols)/16)
			undo()
		}
	})
}
