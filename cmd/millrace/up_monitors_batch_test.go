// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/evaluation/monitor"
)

// TestFactOf wants the same of a fact as of parsed JSON, whichever way it is read.
func TestFactOf(t *testing.T) {
	for _, object := range []string{
		`{}`, ``, `null`, `[1]`, `{"a":1}`, `{"a":"x","b":"y"}`, `{"b":"y","a":"x"}`, `{"a":""}`, `{"a":null,"b":2}`,
		`{"a":true,"b":-1.5e+30}`, `{"b":"a","a":7}`, `{"b":"quote \" and , }","a":"z"}`, `{"a":"tab\tand \u00e9"}`, `{"a":"Zürich"}`,
		`{ "a" : "x" , "b" : 1 }`, `{"b":{"a":1},"a":2}`, `{"b":[1,2],"a":"x"}`, `{"aa":1}`, `{"a\u0061":1,"a":3}`,
		`{"b":`, `{"b"`,
	} {
		var facts map[string]json.RawMessage
		_ = json.Unmarshal([]byte(object), &facts) // then there are no facts
		for _, name := range []string{"a", "b", "aa"} {
			if got, want := factOf(object, name), factText(facts[name]); got != want {
				t.Errorf("fact %s of %s is %q, not %q", name, object, got, want)
			}
		}
	}
}

// TestWatchBatch wants predictions as they were added, also after what they were read from
// is used for the next ones.
func TestWatchBatch(t *testing.T) {
	var b watchBatch
	for range 2 {
		b.reset()
		memory := []byte("id-000")
		numbers, texts := []float64{0, math.Pi}, []string{"", ""}
		for i := range watchRecords {
			for j := range 3 {
				memory[3+j] = byte('0' + i>>(4*j)&15)
			}
			id := string(memory)
			numbers[0], texts[0], texts[1] = float64(i), id[3:], strings.Repeat("long", i%40)
			b.add(&monitor.Prediction{ID: id, Arrival: int64(watchRecords - i), Numbers: numbers, Texts: texts, Slices: texts[:1], Decision: "approve"})
			clear(texts)
		}
		b.sort()
		for k, e := range b.events {
			i := watchRecords - 1 - k
			id := "id-" + string([]byte{byte('0' + i&15), byte('0' + i>>4&15), byte('0' + i>>8&15)})
			want := monitor.Prediction{ID: id, Arrival: int64(watchRecords - i), Numbers: []float64{float64(i), math.Pi},
				Texts: []string{id[3:], strings.Repeat("long", i%40)}, Slices: []string{id[3:]}, Decision: "approve"}
			if !reflect.DeepEqual(*e.prediction, want) {
				t.Fatalf("prediction %d is %+v, not %+v", i, *e.prediction, want)
			}
		}
	}
}
