// SPDX-License-Identifier: Apache-2.0

package table

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/featurestore/offline"
	"github.com/millrace-ml/millrace/labeling/groundtruth"
)

func textRow() groundtruth.Row {
	return groundtruth.Row{
		PredictionID: "p,1", Time: 1_700_000_000_000_000, Arrival: 1_700_000_000_500_000, Decision: "card", Answer: "say \"no\"\n<b>", ModelVersion: 3,
		Score: 0.25, Propensity: math.NaN(), Facts: `{"amount":5}`,
		Extra: []offline.Value{offline.Float64(math.Inf(1)), {}, offline.String("é")},
		Label: groundtruth.Label{Status: groundtruth.Observed, Value: groundtruth.Bool(true), Time: 1_700_000_001_000_000, Known: 1_700_000_002_000_000, Source: "a", Weight: 1, Mature: true, Candidates: 1},
	}
}

var textColumns = []offline.Column{{Name: "far", Type: offline.TypeFloat64}, {Name: "none", Type: offline.TypeInt64}, {Name: "word", Type: offline.TypeString}}

func TestJSONLines(t *testing.T) {
	var out bytes.Buffer
	w, err := NewJSONLines(&out, textColumns)
	if err != nil {
		t.Fatal(err)
	}
	row := textRow()
	for range 2 {
		if err := w.WriteRow(&row); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	var got map[string]any
	if err := json.Unmarshal([]byte(lines[0]), &got); err != nil || len(lines) != 2 || lines[0] != lines[1] {
		t.Fatalf("%v: %s", err, out.String())
	}
	want := map[string]any{
		"prediction_id": "p,1", "time": "2023-11-14T22:13:20Z", "arrival_time": "2023-11-14T22:13:20.5Z", "decision": "card", "answer": "say \"no\"\n<b>",
		"model_version": 3.0, "degraded": false, "facts": `{"amount":5}`, "score": 0.25, "label_status": "observed", "label_type": "bool", "label_number": 1.0,
		"label_time": "2023-11-14T22:13:21Z", "label_known": "2023-11-14T22:13:22Z", "label_source": "a", "weight": 1.0, "mature": true, "censored": false,
		"contradicted": false, "candidates": 1.0, "far": nil, "word": "é",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestCSV(t *testing.T) {
	var out bytes.Buffer
	w, err := NewCSV(&out, textColumns)
	if err != nil {
		t.Fatal(err)
	}
	row := textRow()
	if err := w.WriteRow(&row); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(&out).ReadAll()
	if err != nil || len(rows) != 2 {
		t.Fatal(rows, err)
	}
	got := map[string]string{}
	for i, name := range rows[0] {
		got[name] = rows[1][i]
	}
	for name, want := range map[string]string{"prediction_id": "p,1", "time": "2023-11-14T22:13:20Z", "answer": "say \"no\"\n<b>", "propensity": "", "far": "+Inf", "none": "", "word": "é", "label_number": "1"} {
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
	if _, err := NewCSV(&out, []offline.Column{{Name: "blob", Type: offline.TypeBytes}}); err == nil {
		t.Error("bytes in CSV")
	}
	if _, err := NewJSONLines(&out, []offline.Column{{Name: "score", Type: offline.TypeFloat64}}); err == nil {
		t.Error("a column twice")
	}
}
