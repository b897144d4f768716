// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/engine/tensor"
)

func decodeJSON(t *testing.T, text string) any {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return value
}

func TestElementRoundTrip(t *testing.T) {
	tests := []struct {
		datatype tensor.Datatype
		text     string
		raw      []byte
	}{
		{tensor.Bool, "true", []byte{1}},
		{tensor.Bool, "false", []byte{0}},
		{tensor.Int8, "-128", []byte{0x80}},
		{tensor.Uint8, "255", []byte{0xff}},
		{tensor.Int16, "-2", []byte{0xfe, 0xff}},
		{tensor.Uint16, "258", []byte{2, 1}},
		{tensor.Int32, "-1", []byte{0xff, 0xff, 0xff, 0xff}},
		{tensor.Uint32, "4294967295", []byte{0xff, 0xff, 0xff, 0xff}},
		{tensor.Int64, "-9223372036854775808", []byte{0, 0, 0, 0, 0, 0, 0, 0x80}},
		{tensor.Uint64, "18446744073709551615", bytes.Repeat([]byte{0xff}, 8)},
		{tensor.FP16, "1.5", []byte{0x00, 0x3e}},
		{tensor.BF16, "-2", []byte{0x00, 0xc0}},
		{tensor.FP32, "0.1", []byte{0xcd, 0xcc, 0xcc, 0x3d}},
		{tensor.FP32, `"-Infinity"`, []byte{0, 0, 0x80, 0xff}},
		{tensor.FP64, "0.1", []byte{0x9a, 0x99, 0x99, 0x99, 0x99, 0x99, 0xb9, 0x3f}},
		{tensor.Bytes, `"a\"b"`, []byte("\x03\x00\x00\x00a\"b")},
		{tensor.Bytes, `{"b64":"/w=="}`, []byte("\x01\x00\x00\x00\xff")},
	}
	for _, test := range tests {
		raw, err := appendElement(nil, test.datatype, decodeJSON(t, test.text))
		if err != nil || !bytes.Equal(raw, test.raw) {
			t.Errorf("%s %s: raw % x, %v, want % x", test.datatype, test.text, raw, err, test.raw)
			continue
		}
		text, rest, err := appendElementJSON(nil, test.datatype, append(raw, 7))
		if err != nil || string(text) != test.text || !bytes.Equal(rest, []byte{7}) {
			t.Errorf("%s % x: JSON %s, rest % x, %v, want %s", test.datatype, raw, text, rest, err, test.text)
		}
	}
}

func TestElementErrors(t *testing.T) {
	tests := []struct {
		datatype tensor.Datatype
		text     string
		want     string
	}{
		{tensor.Int8, "128", "128 is not a INT8"},
		{tensor.Uint8, "-1", "-1 is not a UINT8"},
		{tensor.Int32, "1.5", "1.5 is not a INT32"},
		{tensor.Int32, `"1"`, `"1" is not a INT32`},
		{tensor.Bool, "1", "1 is not a BOOL"},
		{tensor.FP32, `"one"`, `"one" is not a FP32`},
		{tensor.FP64, "1e999", "1e999 is not a FP64"},
		{tensor.Bytes, "1", "1 is not a BYTES"},
		{tensor.Bytes, `{"b64":"?"}`, "b64: illegal base64"},
		{tensor.Bytes, `{"b64":"", "x":1}`, "is not a BYTES"},
		{tensor.Invalid, "1", "datatype INVALID has no elements"},
	}
	for _, test := range tests {
		_, err := appendElement(nil, test.datatype, decodeJSON(t, test.text))
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s %s: error %v, want %q", test.datatype, test.text, err, test.want)
		}
	}
	for _, datatype := range []tensor.Datatype{tensor.Int32, tensor.Bytes, tensor.Invalid} {
		if _, _, err := appendElementJSON(nil, datatype, []byte{9, 0, 0}); err == nil {
			t.Errorf("%s: three bytes were read as an element", datatype)
		}
	}
}

// TestHalfFloats takes every 16-bit pattern to float32 and back.
func TestHalfFloats(t *testing.T) {
	formats := []struct {
		name  string
		bits  func(float32) uint16
		value func(uint16) float32
	}{{"FP16", fp16Bits, tensor.FP16ToFloat32}, {"BF16", bf16Bits, bf16Value}}
	for _, format := range formats {
		for i := range 1 << 16 {
			pattern := uint16(i)
			value := format.value(pattern)
			back := format.bits(value)
			if value != value {
				if again := format.value(back); again == again {
					t.Fatalf("%s %#04x: NaN became %v", format.name, pattern, again)
				}
			} else if back != pattern {
				t.Fatalf("%s %#04x: %v came back as %#04x", format.name, pattern, value, back)
			}
		}
	}
}

// TestHalfFloatRounding checks values between two neighbours: the nearer one is
// taken, and of two as near the one with an even pattern.
func TestHalfFloatRounding(t *testing.T) {
	tests := []struct {
		value      float32
		fp16, bf16 uint16
	}{
		{1 + 0x1p-11, 0x3c00, 0x3f80},          // FP16 tie, down to even
		{1 + 3*0x1p-11, 0x3c02, 0x3f80},        // FP16 tie, up to even
		{1 + 0x1p-8, 0x3c04, 0x3f80},           // BF16 tie, down to even
		{1 + 3*0x1p-8, 0x3c0c, 0x3f82},         // BF16 tie, up to even
		{65519, 0x7bff, 0x4780},                // largest finite FP16
		{65520, 0x7c00, 0x4780},                // rounds to infinity
		{0x1p-25, 0, 0x3300},                   // FP16 tie with zero
		{1.0001 * 0x1p-25, 1, 0x3300},          // nearer the smallest subnormal
		{0x1p-14 - 0x1p-26, 0x0400, 0x3880},    // rounds up to the smallest normal
		{math.MaxFloat32, 0x7c00, 0x7f80},      // both infinite
		{-math.MaxFloat32, 0xfc00, 0xff80},     // and negative
		{float32(math.Inf(1)), 0x7c00, 0x7f80}, // infinite already
	}
	for _, test := range tests {
		if got := fp16Bits(test.value); got != test.fp16 {
			t.Errorf("fp16Bits(%v) = %#04x, want %#04x", test.value, got, test.fp16)
		}
		if got := bf16Bits(test.value); got != test.bf16 {
			t.Errorf("bf16Bits(%v) = %#04x, want %#04x", test.value, got, test.bf16)
		}
	}
}
