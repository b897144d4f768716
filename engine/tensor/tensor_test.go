// SPDX-License-Identifier: Apache-2.0

package tensor

import (
	"errors"
	"math"
	"testing"
)

func TestDatatypesKeepTheirNames(t *testing.T) {
	for d := Bool; d <= BF16; d++ {
		if got := ParseDatatype(d.String()); got != d {
			t.Errorf("%s is read back as %s", d, got)
		}
		if (d.Size() == 0) != (d == Bytes) {
			t.Errorf("%s has elements of %d bytes", d, d.Size())
		}
	}
	for _, name := range []string{"", "fp32", "INVALID", "STRING"} {
		if got := ParseDatatype(name); got != Invalid {
			t.Errorf("%q is read as %s", name, got)
		}
	}
}

func TestShapes(t *testing.T) {
	if n, err := (Shape{2, 0, 3}).Elements(); n != 0 || err != nil {
		t.Errorf("an empty shape has %d elements, %v", n, err)
	}
	if n, err := (Shape{}).Elements(); n != 1 || err != nil {
		t.Errorf("a scalar has %d elements, %v", n, err)
	}
	if _, err := (Shape{math.MaxInt64, 2}).Elements(); !errors.Is(err, ErrShapeTooLarge) {
		t.Errorf("an overflow: %v", err)
	}
	if _, err := (Shape{2, -1}).Elements(); err == nil {
		t.Error("an open extent has a number of elements")
	}
	open := Shape{-1, 16}
	for _, c := range []struct {
		concrete Shape
		want     bool
	}{{Shape{3, 16}, true}, {Shape{3, 15}, false}, {Shape{3}, false}, {Shape{3, 16, 1}, false}} {
		if got := open.Matches(c.concrete); got != c.want {
			t.Errorf("%s fits %s: %t", c.concrete, open, got)
		}
	}
	if open.Known() || !(Shape{1}).Known() || open.String() != "[-1,16]" {
		t.Errorf("%s: known %t", open, open.Known())
	}
}

func TestBytes(t *testing.T) {
	data := AppendBytes(AppendBytes(nil, []byte("ab")), nil)
	first, rest, err := NextBytes(data)
	if string(first) != "ab" || err != nil {
		t.Fatalf("first element %q, %v", first, err)
	}
	if second, rest, err := NextBytes(rest); len(second) != 0 || len(rest) != 0 || err != nil {
		t.Errorf("second element %q, %d bytes left, %v", second, len(rest), err)
	}
	if n, err := SkipBytes(data, 1); n != 6 || err != nil {
		t.Errorf("the first element takes %d bytes, %v", n, err)
	}
	for _, cut := range [][]byte{nil, data[:3], data[:5], {0xff, 0xff, 0xff, 0xff, 1}} {
		if _, _, err := NextBytes(cut); !errors.Is(err, ErrBytesTruncated) {
			t.Errorf("% x: %v", cut, err)
		}
	}
	if _, err := SkipBytes(data, 3); !errors.Is(err, ErrBytesTruncated) {
		t.Errorf("a third element: %v", err)
	}
}

func TestFP16(t *testing.T) {
	for bits, want := range map[uint16]float32{
		0x0000: 0, 0x3c00: 1, 0xc000: -2, 0x7bff: 65504, 0x0001: 0x1p-24, 0x03ff: 1023 * 0x1p-24, 0x0400: 0x1p-14,
		0x7c00: float32(math.Inf(1)), 0xfc00: float32(math.Inf(-1)),
	} {
		if got := FP16ToFloat32(bits); got != want {
			t.Errorf("%#04x is %v, want %v", bits, got, want)
		}
	}
	if got := FP16ToFloat32(0x8000); got != 0 || !math.Signbit(float64(got)) {
		t.Errorf("negative zero is %v", got)
	}
	if got := FP16ToFloat32(0x7e00); got == got {
		t.Errorf("NaN is %v", got)
	}
}
