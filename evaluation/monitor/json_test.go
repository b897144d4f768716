// SPDX-License-Identifier: Apache-2.0

package monitor

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"testing"
)

// TestJSON writes all reports of a stream, in which much is NaN, and reads some of it back.
func TestJSON(t *testing.T) {
	c := testConfig()
	w := &world{r: rand.New(rand.NewPCG(1, 3))}
	reports, _ := replay(t, c, testReference(t, c), stream(w, 8, func(h int) { w.amountShift = float64(h) / 3 }))
	events, tests := 0, 0
	for _, r := range reports {
		data, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		var got struct {
			Window    string
			Start     int64
			Freshness int64
			Columns   []struct {
				Name       string
				ScoreShift *float64 `json:"score_shift"`
				Missing    *struct{ Threshold *float64 }
			}
			Latency struct {
				P50Micros int64 `json:"p50_micros"`
			}
			Quality *struct {
				Values map[string]*float64
				Low    map[string]*float64
				Tests  []struct{ Name string }
			}
			Events []struct {
				Change string
				Alarm  struct{ Subject, Reason string }
			}
		}
		if err := json.Unmarshal(data, &got); err != nil {
			t.Fatalf("%v\n%s", err, data)
		}
		events += len(got.Events)
		if got.Window != r.Window.String() || got.Start != r.Start || len(got.Columns) != len(r.Columns) || got.Latency.P50Micros != r.Latency.P50Micros {
			t.Errorf("read back: %+v\n%s", got, data)
		}
		if !r.Matured && (got.Columns[0].ScoreShift == nil || got.Columns[0].Missing.Threshold != nil || got.Freshness != r.Freshness.Microseconds()) {
			t.Errorf("columns: %s", data)
		}
		if r.Matured {
			tests += len(got.Quality.Tests)
			if *got.Quality.Values["roc_auc"] != r.Quality.Values[0] || got.Quality.Low["brier"] != nil {
				t.Errorf("quality: %s", data)
			}
		}
		for _, e := range got.Events {
			if e.Change == "" || e.Alarm.Subject == "" || e.Alarm.Reason == "" {
				t.Errorf("event %+v", e)
			}
		}
	}
	if events == 0 || tests == 0 {
		t.Errorf("%d events and %d tests were written", events, tests)
	}
}

// TestJSONRead reads reports back: what was read is written as it was, and what was not
// defined is NaN.
func TestJSONRead(t *testing.T) {
	c := testConfig()
	w := &world{r: rand.New(rand.NewPCG(1, 3))}
	reports, _ := replay(t, c, testReference(t, c), stream(w, 8, func(h int) { w.amountShift = float64(h) / 3 }))
	matured := 0
	for _, r := range reports {
		data, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		var read Report
		if err := json.Unmarshal(data, &read); err != nil {
			t.Fatal(err)
		}
		again, err := json.Marshal(read)
		if err != nil || string(again) != string(data) {
			t.Fatalf("%v: read back as\n%s\nof\n%s", err, again, data)
		}
		if read.Window != r.Window || read.Freshness.Microseconds() != r.Freshness.Microseconds() || len(read.Events) != len(r.Events) {
			t.Errorf("read %+v of %+v", read, r)
		}
		if r.Matured {
			matured++
			if !math.IsNaN(read.Quality.Low.Of("brier")) || [8]float64(read.Quality.Values[:8]) != [8]float64(r.Quality.Values[:8]) {
				t.Errorf("quality %+v, not %+v", read.Quality, r.Quality)
			}
		}
	}
	if matured == 0 {
		t.Error("no window matured")
	}
	var read Report
	for _, bad := range []string{`[]`, `{"window":"soon"}`, `{"columns":[{"mean":"x"}]}`} {
		if err := json.Unmarshal([]byte(bad), &read); err == nil {
			t.Errorf("%s was read", bad)
		}
	}
	if err := json.Unmarshal([]byte(`{"quality":{},"columns":[{"name":"a"}]}`), &read); err != nil || !math.IsNaN(read.Quality.Cost) || !math.IsNaN(read.Quality.Values[0]) || !math.IsNaN(read.Columns[0].Mean) {
		t.Errorf("%v: what is not there was read as %+v", err, read)
	}
}
