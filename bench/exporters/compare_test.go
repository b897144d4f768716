// SPDX-License-Identifier: Apache-2.0

package exporters

import (
	"encoding/json"
	"math"
	"testing"
)

// TestCompare checks what the other tests rest on: that a wrong answer is noticed.
func TestCompare(t *testing.T) {
	floats := caseOutput{Datatype: "FP32", Absolute: 1e-7, Values: elements{numbers: []number{0, 1000}}}
	labels := caseOutput{Datatype: "INT64", Values: elements{numbers: []number{3}}}
	names := caseOutput{Datatype: "BYTES", Values: elements{strings: []string{"fraud"}}}
	for _, c := range []struct {
		name string
		want caseOutput
		got  elements
		ok   bool
	}{
		{"equal", floats, elements{numbers: []number{0, 1000}}, true},
		{"within the bounds", floats, elements{numbers: []number{0.9e-7, 1000.009}}, true},
		{"absolute error", floats, elements{numbers: []number{1.1e-7, 1000}}, false},
		{"relative error", floats, elements{numbers: []number{0, 1000.011}}, false},
		{"not a number", floats, elements{numbers: []number{0, number(math.NaN())}}, false},
		{"label", labels, elements{numbers: []number{3}}, true},
		{"other label", labels, elements{numbers: []number{4}}, false},
		{"string", names, elements{strings: []string{"fraud"}}, true},
		{"other string", names, elements{strings: []string{"fair"}}, false},
	} {
		if err := c.want.compare(c.got, 1); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestFirstAnswers(t *testing.T) {
	var bits firstAnswers
	first := []number{0.1, 2}
	if err := bits.compare("m", first); err != nil {
		t.Error(err)
	}
	if err := bits.compare("m", []number{0.1, 2}); err != nil {
		t.Error(err)
	}
	if bits.compare("m", []number{0.1, number(math.Nextafter(2, 3))}) == nil {
		t.Error("the last bit of an answer is not compared")
	}
}

func TestElements(t *testing.T) {
	for datatype, text := range map[string]string{
		"FP32": "[0.1,null,-2.5]", "FP64": "[0.1,null]", "INT64": "[-7,9007199254740991]", "INT32": "[-7]", "BYTES": `["","old town"]`,
	} {
		var e, again elements
		if err := json.Unmarshal([]byte(text), &e); err != nil {
			t.Fatal(err)
		}
		raw := e.encode(datatype, 0, e.count())
		if err := again.decode(datatype, raw); err != nil || again.count() != e.count() {
			t.Errorf("%s: %d of %d elements, %v", datatype, again.count(), e.count(), err)
			continue
		}
		if round := again.encode(datatype, 0, again.count()); string(round) != string(raw) {
			t.Errorf("%s: %x became %x", datatype, raw, round)
		}
		if again.decode(datatype, raw[:len(raw)-1]) == nil {
			t.Errorf("%s: half an element is decoded", datatype)
		}
	}
}
