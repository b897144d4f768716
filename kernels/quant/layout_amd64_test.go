// SPDX-License-Identifier: Apache-2.0

//go:build !purego

package quant

import (
	"testing"
	"unsafe"
)

// TestTileLayout holds the struct to the offsets in _gen/internal/quantgen.
func TestTileLayout(t *testing.T) {
	var x tile
	for i, c := range []struct{ got, want uintptr }{
		{unsafe.Offsetof(x.steps), 0}, {unsafe.Offsetof(x.a), 8}, {unsafe.Offsetof(x.lda), 16},
		{unsafe.Offsetof(x.b), 24}, {unsafe.Offsetof(x.columns), 32}, {unsafe.Offsetof(x.out), 40},
		{unsafe.Offsetof(x.outStride), 48}, {unsafe.Offsetof(x.kind), 56}, {unsafe.Offsetof(x.correct), 64},
		{unsafe.Offsetof(x.bias32), 72}, {unsafe.Offsetof(x.zeros), 80}, {unsafe.Offsetof(x.sums), 88},
		{unsafe.Offsetof(x.wScale), 96}, {unsafe.Offsetof(x.wStep), 104}, {unsafe.Offsetof(x.bias), 112},
		{unsafe.Offsetof(x.minusZero), 120}, {unsafe.Offsetof(x.aScale), 124}, {unsafe.Offsetof(x.outScale), 128},
		{unsafe.Offsetof(x.outInvert), 132}, {unsafe.Offsetof(x.lo), 136}, {unsafe.Offsetof(x.hi), 140},
		{unsafe.Offsetof(x.outZero), 144}, {unsafe.Offsetof(x.flip), 148}, {unsafe.Offsetof(x.outByte), 152},
	} {
		if c.got != c.want {
			t.Errorf("field %d of a tile is at %d, want %d", i, c.got, c.want)
		}
	}
}
