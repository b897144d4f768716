// SPDX-License-Identifier: Apache-2.0

package monitor

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/source"
)

// TestReferenceFile makes a reference of a Parquet file and of the same predictions.
func TestReferenceFile(t *testing.T) {
	c := testConfig()
	w := &world{r: rand.New(rand.NewPCG(1, 2))}
	b := column.Batch{Columns: []column.Column{
		{Name: "amount", Type: column.Float64}, {Name: "age", Type: column.Float64}, {Name: "country", Type: column.String},
		{Name: "score", Type: column.Float64}, {Name: "is_fraud", Type: column.Bool},
	}}
	var predictions []Prediction
	var labels []float64
	for i := range 300 {
		p, label := w.next(day0)
		if i%10 == 0 {
			label = math.NaN()
		}
		if i%10 == 1 {
			p.Score = math.NaN() // such as an answer of the fallback, whose label came
		}
		predictions, labels = append(predictions, p), append(labels, label)
		for k, v := range []float64{p.Numbers[0], p.Numbers[1], 0, p.Score, label} {
			if k != 2 {
				b.Columns[k].AppendNumber(v)
			}
		}
		b.Columns[2].AppendText(p.Texts[0])
		b.Rows++
	}
	path := filepath.Join(t.TempDir(), "reference.parquet")
	var columns []source.ParquetColumn
	for _, column := range b.Columns {
		columns = append(columns, source.ParquetColumn{Name: column.Name, Type: column.Type})
	}
	out, err := source.NewParquetWriter(path, columns, source.WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := out.Write(&b); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := ReferenceFile(t.Context(), c, path, "score", "is_fraud")
	if err != nil {
		t.Fatal(err)
	}
	want, err := ReferenceOf(c, predictions, labels)
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(got.Scores, got.Labels) != fmt.Sprint(want.Scores, want.Labels) || len(got.Labels) != 240 {
		t.Errorf("%d labels of the file, %d of the predictions", len(got.Labels), len(want.Labels))
	}
	m, sd := got.Profile.Numbers[1].Moments()
	if wm, wsd := want.Profile.Numbers[1].Moments(); m != wm || sd != wsd || fmt.Sprint(got.Profile.Texts[0].Counts()) != fmt.Sprint(want.Profile.Texts[0].Counts()) {
		t.Errorf("profiles differ: mean %v and %v", m, wm)
	}
	if m, err := New(c, got); err != nil || m.reference.calibration == nil {
		t.Error(err)
	}
	if _, err := ReferenceFile(t.Context(), c, path, "score", "none"); !errors.Is(err, ErrConfig) {
		t.Errorf("a label that is not there: %v", err)
	}
}

// TestPerEntity has customers whose payments are all alike, so that rows are not independent:
// windows alarm until one row of each is tested.
func TestPerEntity(t *testing.T) {
	raised := map[bool]int{}
	for _, per := range []bool{false, true} {
		c := Config{Name: "entities", Windows: []Duration{Duration(time.Hour)}, Columns: []Column{{Name: "amount"}}, PerEntity: per, EffectMin: 1e-9}
		r := rand.New(rand.NewPCG(3, 3))
		hours := func(from, count int) (list []Prediction) {
			for h := range count {
				for customer := range 80 {
					level := r.NormFloat64()
					for k := range 8 {
						list = append(list, Prediction{ID: fmt.Sprint(from+h, " ", customer, " ", k), Entity: fmt.Sprint(from+h, " ", customer),
							Time: day0 + int64(from+h)*hour + int64(customer*8+k), Numbers: []float64{level + r.NormFloat64()/10}, Score: math.NaN()})
					}
				}
			}
			return list
		}
		ref, err := ReferenceOf(c, hours(-10, 5), nil)
		if err != nil {
			t.Fatal(err)
		}
		var events []Logged
		for _, p := range hours(0, 30) {
			events = append(events, Logged{Prediction: &p})
		}
		_, tested := replay(t, c, ref, events)
		for _, f := range tested.Fired {
			if f.Subject == "drift:1h:amount" {
				raised[per] = f.Windows
			}
		}
	}
	if raised[false] < 6 || raised[true] > 3 {
		t.Errorf("of 29 windows %d alarm as they are, %d with one row of each entity", raised[false], raised[true])
	}
}

func TestBacktestEnds(t *testing.T) {
	c := testConfig()
	ref := testReference(t, c)
	count := 0
	next := func() (Logged, bool, error) { count++; return Logged{}, count < 5, nil }
	tested, err := Backtest(t.Context(), c, ref, next, nil)
	if err != nil || tested.Rejected != 4 || !errors.Is(tested.FirstRejected, ErrEvent) {
		t.Errorf("empty events: %+v, %v", tested, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Backtest(ctx, c, ref, next, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end of its context: %v", err)
	}
	broken := errors.New("the log is broken")
	if _, err := Backtest(t.Context(), c, ref, func() (Logged, bool, error) { return Logged{}, false, broken }, nil); !errors.Is(err, broken) {
		t.Errorf("an error of the log: %v", err)
	}
}

// TestReferenceWithMoreRowsThanItsSample: what is beyond the sample is not part of it, whether
// it was cut before or not.
func TestReferenceWithMoreRowsThanItsSample(t *testing.T) {
	c := Config{Name: "m", Columns: []Column{{Name: "x"}}, SampleRows: 50, RowsMin: 50}
	predictions := make([]Prediction, 300) // the sample has 200
	for i := range predictions {
		predictions[i] = Prediction{ID: strconv.Itoa(i), Time: int64(i + 1), Numbers: []float64{float64(i)}, Score: float64(i) / 300}
	}
	r, err := ReferenceOf(c, predictions, nil)
	if err != nil {
		t.Fatal(err)
	}
	m, err := New(c, r)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range m.reference.sample {
		if len(row.Numbers) != 2 || row.Time == 0 {
			t.Fatalf("a row of the sample is %+v", row)
		}
	}
	if n := len(m.reference.sample); n != 200 {
		t.Errorf("the sample has %d rows", n)
	}
}
