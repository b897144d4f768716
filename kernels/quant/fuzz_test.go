// SPDX-License-Identifier: Apache-2.0

package quant

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/millrace-ml/millrace/kernels/cpu"
	"github.com/millrace-ml/millrace/kernels/kerneltest"
)

// FuzzGemm holds products of any shape to the sums of the operands before packing.
func FuzzGemm(f *testing.F) {
	f.Add(uint8(1), uint8(4), uint8(32), uint8(0), uint64(1))
	f.Add(uint8(15), uint8(33), uint8(65), uint8(7), uint64(2))
	f.Fuzz(func(t *testing.T, m, k, n, flags uint8, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 0))
		sh := shape{int(m % 32), int(k % 80), int(n % 80), flags&1 != 0, int(flags >> 4)}
		levels := cpu.Available()
		defer cpu.Limit(levels[int(flags>>1)%len(levels)])()
		var s Scratch
		zeros := min(int(flags>>3&1), sh.n)
		if flags&4 != 0 {
			testSums(t, newProblem[uint8, int8](t, r, sh, zeros), r, &s)
		} else {
			testSums(t, newProblem[int8, uint8](t, r, sh, zeros), r, &s)
		}
	})
}

// FuzzConvert holds quantisation at every level to the reference, for any bits.
func FuzzConvert(f *testing.F) {
	f.Add([]byte("seventy bytes and some more, so that there is more than one vector of floats"), uint32(0x3c000000), uint8(3))
	f.Fuzz(func(t *testing.T, data []byte, scaleBits uint32, zero uint8) {
		x := make([]float32, min(len(data), 1<<10)/4)
		for i := range x {
			x[i] = math.Float32frombits(uint32(data[4*i]) | uint32(data[4*i+1])<<8 | uint32(data[4*i+2])<<16 | uint32(data[4*i+3])<<24)
		}
		scale := math.Float32frombits(scaleBits)
		want, real := make([]uint8, len(x)), make([]float32, len(x))
		quantizeGeneric(want, x, scale, zero, 0)
		dequantizeGeneric(real, want, scale, zero, 0)
		wantLo, wantHi := rangeGeneric(x)
		for _, level := range cpu.Available() {
			undo := cpu.Limit(level)
			got, back := make([]uint8, len(x)), make([]float32, len(x))
			QuantizeU8(got, x, scale, zero)
			DequantizeU8(back, got, scale, zero)
			lo, hi := Range(x)
			undo()
			kerneltest.Same(t, level.String(), got, want)
			kerneltest.Same(t, level.String(), back, real)
			if lo != wantLo || hi != wantHi {
				t.Errorf("%s: range %g to %g, want %g to %g", level, lo, hi, wantLo, wantHi)
			}
		}
	})
}
