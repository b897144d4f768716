// SPDX-License-Identifier: Apache-2.0

// Package kerneltest is what the tests of all kernels share: running a test once per
// CPU level, slices at every alignment with canaries around them, values that break
// careless arithmetic, and comparisons with an error bound.
package kerneltest

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/millrace-ml/millrace/kernels/cpu"
)

// Levels runs a test once for each level of this machine, each limited to it.
func Levels(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	for _, level := range cpu.Available() {
		t.Run("isa="+level.String(), func(t *testing.T) {
			defer cpu.Limit(level)()
			test(t)
		})
	}
}

// BenchmarkLevels is Levels for benchmarks.
func BenchmarkLevels(b *testing.B, bench func(b *testing.B)) {
	for _, level := range cpu.Available() {
		b.Run("isa="+level.String(), func(b *testing.B) {
			defer cpu.Limit(level)()
			bench(b)
		})
	}
}

// Lengths are 0 to 4 vectors of 64 bytes of elements of the given size, odd tails
// around each, and two long ones.
func Lengths(elementSize int) []int {
	width := 64 / elementSize
	var list []int
	for n := range 2*width + 2 {
		list = append(list, n)
	}
	for n := 3; n <= 4; n++ {
		list = append(list, n*width-1, n*width, n*width+1)
	}
	return append(list, 257, 1000)
}

// Number is an element that Slice can hold.
type Number interface {
	~int8 | ~int16 | ~int32 | ~int64 | ~uint8 | ~uint16 | ~uint32 | ~uint64 | ~float32 | ~float64
}

const canaryBytes = 64

// Slice is n elements between canaries, off elements past a boundary of 64 bytes.
// check fails the test when bytes outside the elements were written.
func Slice[T Number](t testing.TB, n, off int) (elements []T, check func()) {
	var zero T
	size := int(unsafe.Sizeof(zero))
	memory := make([]byte, 64+canaryBytes+off*size+n*size+canaryBytes)
	start := 64 - int(uintptr(unsafe.Pointer(&memory[0]))%64) + canaryBytes + off*size
	end := start + n*size
	for i := range memory {
		memory[i] = canary(i)
	}
	elements = unsafe.Slice((*T)(unsafe.Pointer(&memory[start])), n)[:n:n]
	clear(elements)
	return elements, func() {
		t.Helper()
		for i, b := range memory {
			if (i < start || i >= end) && b != canary(i) {
				t.Errorf("byte %d outside a slice of %d bytes was written", i-start, n*size)
				return
			}
		}
	}
}

func canary(i int) byte { return byte(0xa5 + 31*i) }

// Specials are the values that arithmetic most often gets wrong.
var Specials = []float32{
	0, float32(math.Copysign(0, -1)), 1, -1, 0.5, -0.5, 1.5, 2.5, -2.5,
	float32(math.Inf(1)), float32(math.Inf(-1)), float32(math.NaN()),
	math.SmallestNonzeroFloat32, -math.SmallestNonzeroFloat32, 1e-39, -1e-39,
	math.MaxFloat32, -math.MaxFloat32, 1e-20, 1e20, 88.7, -88.7, -103.9, 127.5, -128.5, 255.5,
	1 << 24, 1<<24 + 2, 2147483648, -2147483904, 65504, 65520, 6.1e-5, 5.9e-8,
}

// Rand is a source whose seed a failing test names.
func Rand(t testing.TB, seed uint64) *rand.Rand {
	t.Helper()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("seed %d", seed)
		}
	})
	return rand.New(rand.NewPCG(seed, 0))
}

// Fill writes normal deviates times scale.
func Fill(r *rand.Rand, x []float32, scale float64) {
	for i := range x {
		x[i] = float32(r.NormFloat64() * scale)
	}
}

// Sprinkle writes special values at random places, about one in every.
func Sprinkle(r *rand.Rand, x []float32, every int) {
	for i := range x {
		if r.IntN(every) == 0 {
			x[i] = Specials[r.IntN(len(Specials))]
		}
	}
}

// Same fails unless got equals want to the bit, with all NaN alike.
func Same[T Number](t testing.TB, what string, got, want []T) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d elements, want %d", what, len(got), len(want))
	}
	for i := range want {
		if bits(got[i]) != bits(want[i]) && (got[i] == got[i] || want[i] == want[i]) {
			t.Fatalf("%s: element %d of %d is %v, want %v", what, i, len(want), got[i], want[i])
		}
	}
}

func bits[T Number](v T) [8]byte {
	var b [8]byte
	switch size := unsafe.Sizeof(v); size {
	case 1:
		b[0] = *(*byte)(unsafe.Pointer(&v))
	case 2:
		binary.LittleEndian.PutUint16(b[:], *(*uint16)(unsafe.Pointer(&v)))
	case 4:
		binary.LittleEndian.PutUint32(b[:], *(*uint32)(unsafe.Pointer(&v)))
	default:
		binary.LittleEndian.PutUint64(b[:], *(*uint64)(unsafe.Pointer(&v)))
	}
	return b
}

// Bound is how far a float may be from its reference: the larger of Rel times the
// reference and Abs. Both bounds are meant to be scaled with the length of what was
// summed by whoever sets them.
type Bound struct{ Rel, Abs float64 }

// Close fails unless every element of got is within bound of want; infinities and NaN
// must be where the reference has them.
func Close(t testing.TB, what string, got, want []float32, bound Bound) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d elements, want %d", what, len(got), len(want))
	}
	for i := range want {
		if err := within(float64(got[i]), float64(want[i]), bound); err != nil {
			t.Fatalf("%s: element %d of %d: %v", what, i, len(want), err)
		}
	}
}

func within(got, want float64, bound Bound) error {
	switch {
	case math.IsNaN(want) && math.IsNaN(got), got == want:
		return nil
	case math.IsNaN(want), math.IsNaN(got), math.IsInf(want, 0), math.IsInf(got, 0):
		return fmt.Errorf("%g, want %g", got, want)
	}
	if off := math.Abs(got - want); off > max(bound.Rel*math.Abs(want), bound.Abs) {
		return fmt.Errorf("%g, want %g: off by %.3g (relative %.3g)", got, want, off, off/math.Abs(want))
	}
	return nil
}
