// SPDX-License-Identifier: Apache-2.0

package table

import (
	"bytes"
	"errors"
	"math"
	"testing"

	"github.com/parquet-go/parquet-go"

	"github.com/millrace-ml/millrace/featurestore/offline"
	"github.com/millrace-ml/millrace/labeling/groundtruth"
)

// read is a row as somebody else's program sees it.
type read struct {
	PredictionID string    `parquet:"prediction_id,optional"`
	Time         int64     `parquet:"time,optional,timestamp(microsecond)"`
	Score        *float64  `parquet:"score,optional"`
	Status       string    `parquet:"label_status,optional"`
	Number       *float64  `parquet:"label_number,optional"`
	Text         *string   `parquet:"label_text,optional"`
	LabelTime    *int64    `parquet:"label_time,optional,timestamp(microsecond)"`
	Weight       float64   `parquet:"weight,optional"`
	Mature       bool      `parquet:"mature,optional"`
	Censored     bool      `parquet:"censored,optional"`
	Candidates   int64     `parquet:"candidates,optional"`
	Vector       []byte    `parquet:"features_vector,optional"`
	Embedding    []float32 `parquet:"embedding,optional,list"`
	Count        *int64    `parquet:"count,optional"`
}

func TestTable(t *testing.T) {
	extra := []offline.Column{{Name: "features_vector", Type: offline.TypeBytes}, {Name: "embedding", Type: offline.TypeFloat32List}, {Name: "count", Type: offline.TypeInt64}}
	var file bytes.Buffer
	w, err := NewWriter(&file, extra)
	if err != nil {
		t.Fatal(err)
	}
	fraud := groundtruth.Row{PredictionID: "p", Time: 5, Score: 0.25, Propensity: 1, Extra: []offline.Value{offline.Bytes([]byte("abc")), offline.Float32List([]float32{1, 2}), offline.Int64(-3)},
		Label: groundtruth.Label{Status: groundtruth.Observed, Value: groundtruth.Bool(true), Time: 7, Weight: 2, Candidates: 3, Mature: true}}
	pending := groundtruth.Row{PredictionID: "q", Time: 6, Score: math.NaN(), Propensity: math.NaN(), Extra: make([]offline.Value, 3)}
	class := groundtruth.Row{PredictionID: "r", Time: 7, Extra: []offline.Value{{}, offline.Float32List(nil), {}},
		Label: groundtruth.Label{Status: groundtruth.Observed, Value: groundtruth.Class("cat")}}
	for _, r := range []groundtruth.Row{fraud, pending, class} {
		if err := w.WriteRow(&r); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.WriteRow(&groundtruth.Row{}); !errors.Is(err, groundtruth.ErrInvalid) {
		t.Error(err)
	}
	if err := w.WriteRow(&groundtruth.Row{Extra: []offline.Value{offline.Bool(true), {}, {}}}); !errors.Is(err, groundtruth.ErrInvalid) {
		t.Error(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); !errors.Is(err, groundtruth.ErrClosed) {
		t.Error(err)
	}
	rows, err := parquet.Read[read](bytes.NewReader(file.Bytes()), int64(file.Len()))
	if err != nil || len(rows) != 3 {
		t.Fatal(err, rows)
	}
	a, b, c := rows[0], rows[1], rows[2]
	if a.PredictionID != "p" || a.Time != 5 || *a.Score != 0.25 || a.Status != "observed" || *a.Number != 1 || a.Text != nil || *a.LabelTime != 7 || a.Weight != 2 ||
		!a.Mature || a.Censored || a.Candidates != 3 || string(a.Vector) != "abc" || len(a.Embedding) != 2 || a.Embedding[1] != 2 || *a.Count != -3 {
		t.Errorf("%+v", a)
	}
	if b.Score != nil || b.Status != "pending" || b.Number != nil || b.LabelTime != nil || !b.Censored || b.Vector != nil || b.Embedding != nil || b.Count != nil {
		t.Errorf("%+v", b)
	}
	if c.Number != nil || c.Text == nil || *c.Text != "cat" {
		t.Errorf("%+v", c)
	}
}

func TestWrongColumns(t *testing.T) {
	for _, c := range []offline.Column{{Name: "score", Type: offline.TypeFloat64}, {Name: "x", Type: 99}} {
		if _, err := NewWriter(new(bytes.Buffer), []offline.Column{c}); !errors.Is(err, groundtruth.ErrInvalid) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
