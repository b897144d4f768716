// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/engine/tensor"
)

// decodeJSON decodes text the way flags and files are.
func decodeJSON(t *testing.T, text string) any {
	t.Helper()
	var value any
	if err := decodeStrict(strings.NewReader(text), &value); err != nil {
		t.Fatal(err)
	}
	return value
}

func TestElementRoundTrip(t *testing.T) {
	for _, c := range []struct {
		datatype tensor.Datatype
		text     string
	}{
		{tensor.Bool, "[true,false]"},
		{tensor.Uint64, "[18446744073709551615]"},
		{tensor.Int64, "[-9223372036854775808]"},
		{tensor.FP32, `[0.1,"NaN","-Infinity"]`},
		{tensor.BF16, "[1.5]"},
		{tensor.Bytes, `["plain","",{"b64":"/w=="}]`},
	} {
		_, values, err := flatten(decodeJSON(t, c.text))
		if err != nil {
			t.Fatal(err)
		}
		raw, err := encodeElements(c.datatype, values)
		if err != nil {
			t.Errorf("%s of %s: %v", c.text, c.datatype, err)
			continue
		}
		if text, more, err := decodeElements(c.datatype, raw, -1); err != nil || more || string(text) != c.text {
			t.Errorf("%s of %s came back as %s, %t, %v", c.text, c.datatype, text, more, err)
		}
	}
}

func TestElementsAreCutShort(t *testing.T) {
	words := tensor.AppendBytes(tensor.AppendBytes(nil, []byte("a")), []byte("b"))
	for _, c := range []struct {
		datatype tensor.Datatype
		raw      []byte
		want     string
	}{{tensor.Int8, []byte{1, 2, 3}, "[1]"}, {tensor.Bytes, words, `["a"]`}} {
		if text, more, err := decodeElements(c.datatype, c.raw, 1); err != nil || !more || string(text) != c.want {
			t.Errorf("%s: %s, %t, %v; want %s and more", c.datatype, text, more, err, c.want)
		}
	}
}

func TestElementErrors(t *testing.T) {
	for _, c := range []struct {
		datatype tensor.Datatype
		text     string
		want     string
	}{
		{tensor.Uint8, "[1,300]", "element 1"},
		{tensor.Int32, "[1.5]", "element 0"},
		{tensor.Bytes, "[1]", "BYTES take a string"},
		{tensor.Bytes, `[{"b64":"?"}]`, "element 0: b64"},
		{tensor.Bytes, `[{"other":"x"}]`, "BYTES take a string"},
	} {
		_, values, err := flatten(decodeJSON(t, c.text))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := encodeElements(c.datatype, values); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s of %s: %v, want %q", c.text, c.datatype, err, c.want)
		}
	}
}
