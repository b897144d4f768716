// SPDX-License-Identifier: Apache-2.0

package groundtruth

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/featurestore/offline"
)

// TestRefused: bad feedback is told apart and does not harm what is beside it.
func TestRefused(t *testing.T) {
	w := newWorld(t, fraud())
	w.clock.at = begin
	for want, f := range map[string]Feedback{
		"name: is required":                {PredictionID: "p", Value: Bool(true)},
		"prediction_id: is required":       {Name: "n", Value: Bool(true)},
		"give one of them":                 {Name: "n", Value: Bool(true), PredictionID: "p", Entity: map[string]string{"a": "b"}},
		"event_time: is required":          {Name: "n", Value: Bool(true), Entity: map[string]string{"a": "b"}},
		"entity.a: is required":            {Name: "n", Value: Bool(true), Entity: map[string]string{"a": ""}, EventTime: 1},
		"value: is required":               {Name: "n", PredictionID: "p"},
		"feedback_id: is required":         {Name: "n", PredictionID: "p", Kind: KindCorrection},
		"NaN is not a finite number":       {Name: "n", PredictionID: "p", Value: Number(math.NaN())},
		"weight: -1":                       {Name: "n", PredictionID: "p", Value: Bool(true), Weight: -1, Weighted: true},
		"weight: +Inf":                     {Name: "n", PredictionID: "p", Value: Bool(true), Weight: math.Inf(1), Weighted: true},
		"is before 1970":                   {Name: "n", PredictionID: "p", Value: Bool(true), EventTime: -1},
		"is 10m0s in the future":           {Name: "n", PredictionID: "p", Value: Bool(true), EventTime: begin + 600*second},
		"in the future, at most":           {Name: "n", PredictionID: "p", Value: Bool(true), EventTime: math.MaxInt64},
		"kind: 9 is none":                  {Name: "n", PredictionID: "p", Value: Bool(true), Kind: 9},
		"unknown type 9":                   {Name: "n", PredictionID: "p", Value: Value{Type: 9}},
		"is not UTF-8":                     {Name: "n\xff", PredictionID: "p", Value: Bool(true)},
		"has 16385 bytes":                  {Name: "n", PredictionID: "p", Value: Text(strings.Repeat("x", TextBytesMax+1))},
		"value: has 257 bytes":             {Name: "n", PredictionID: "p", Value: Class(strings.Repeat("x", NameBytesMax+1))},
		"is a number, and label fraud tak": {Name: "is_fraud", PredictionID: "p", Value: Number(1)},
	} {
		results := w.submit(f, isFraud("good", true))
		if r := results[0]; !errors.Is(r.Err, ErrInvalid) || !strings.Contains(r.Err.Error(), want) || r.Retryable || r.Status != StatusRefused {
			t.Errorf("want %q, got %+v", want, r)
		}
		if r := results[1]; r.Err != nil {
			t.Errorf("%s: the good one: %+v", want, r)
		}
	}
	entity := map[string]string{}
	for n := range EntityKeysMax + 1 {
		entity[fmt.Sprint(n)] = "x"
	}
	if r := w.submit(Feedback{Name: "n", Value: Bool(true), Entity: entity, EventTime: 1})[0]; !errors.Is(r.Err, ErrInvalid) {
		t.Errorf("%+v", r)
	}
	if _, err := w.collector.Submit(t.Context(), make([]Feedback, ItemsMax+1)); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
	if r := w.submit(); len(r) != 0 {
		t.Error(r)
	}
	if s := w.collector.Stats(); s.Accepted != 1 || s.Duplicates != 18 || s.Refused != 20 || s.Seen != 1 {
		t.Errorf("%+v", s)
	}
}

// TestRepeats: the same again counts once, also after a restart, and something else under
// the same id is refused unless it is a correction.
func TestRepeats(t *testing.T) {
	w := newWorld(t)
	first := Feedback{ID: "f", PredictionID: "p", Name: "n", Value: Bool(true)}
	other := first
	other.Value = Bool(false)
	moved := first
	moved.PredictionID, moved.Kind = "q", KindCorrection
	correction := other
	correction.Kind = KindCorrection
	expect := func(what string, f Feedback, status Status, err error) {
		t.Helper()
		w.clock.at += second // a time that is not given makes no difference
		if r := w.submit(f)[0]; r.Status != status || !errors.Is(r.Err, err) || r.FeedbackID != "f" {
			t.Errorf("%s: %+v", what, r)
		}
	}
	restart := func() {
		w.close()
		w.open()
	}
	expect("first", first, StatusAccepted, nil)
	for range 2 {
		expect("again", first, StatusDuplicate, nil)
		expect("other", other, StatusRefused, ErrConflict)
		expect("moved", moved, StatusRefused, ErrConflict)
		restart()
	}
	expect("correction", correction, StatusAccepted, nil)
	for range 2 {
		expect("correction again", correction, StatusDuplicate, nil)
		expect("first once more", first, StatusDuplicate, nil)
		expect("other", other, StatusRefused, ErrConflict)
		restart()
	}
	back := first
	back.Kind, back.Reason = KindCorrection, "it was right"
	expect("back", back, StatusAccepted, nil)
	expect("correction late", correction, StatusDuplicate, nil)
	found, truncated, err := w.collector.Find(t.Context(), Find{FeedbackID: "f"})
	if err != nil || truncated || len(found) != 3 || found[0].Value != Bool(true) || found[1].Value != Bool(false) || found[2].Reason != "it was right" {
		t.Errorf("%v, %t, %+v", err, truncated, found)
	}
}

// TestRepeatsInBatch, without ids.
func TestRepeatsInBatch(t *testing.T) {
	w := newWorld(t)
	f := Feedback{PredictionID: "p", Name: "n", Value: Bool(true)}
	r := w.submit(f, f, isFraud("p", true), f)
	if r[0].Status != StatusAccepted || r[1].Status != StatusDuplicate || r[2].Status != StatusAccepted || r[3].Status != StatusDuplicate ||
		r[0].FeedbackID == "" || r[0].FeedbackID != r[3].FeedbackID || r[0].FeedbackID == r[2].FeedbackID {
		t.Errorf("%+v", r)
	}
}

// TestForgottenIDs: repeats of what was forgotten change no label.
func TestForgottenIDs(t *testing.T) {
	w := newWorld(t)
	var err error
	w.collector, err = OpenCollector(t.Context(), Options{Log: w.log, SeenMax: 4, Now: w.clock.now})
	w.check(err)
	w.predict(w.payment("p", ""))
	w.clock.at += second
	old := isFraud("p", true)
	old.EventTime = w.clock.at
	w.accept(old)
	before := w.join(JoinOptions{Label: fraud()})["p"].Label
	for n := range 10 {
		w.accept(isFraud(fmt.Sprint(n), true))
	}
	if s := w.collector.Stats(); s.Seen > 4 {
		t.Errorf("%+v", s)
	}
	w.clock.at += second
	w.accept(old)
	after := w.join(JoinOptions{Label: fraud()})["p"].Label
	after.Known = before.Known // it alone says that the newest version came later
	if before != after {
		t.Errorf("before %+v, after %+v", before, after)
	}
}

// TestFullLog: what the log does not take is to be sent again, also the repeats of it, and
// nothing is reported as stored that is not.
func TestFullLog(t *testing.T) {
	c := clock{begin}
	log, err := offline.Open(t.Context(), offline.Options{Dir: t.TempDir(), Now: c.now, CompactEvery: -1, QueueRecords: 20, GroupWait: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	collector, err := OpenCollector(t.Context(), Options{Log: log, Now: c.now})
	if err != nil {
		t.Fatal(err)
	}
	filler, err := log.Declare(offline.Schema{Stream: "filler"})
	if err != nil {
		t.Fatal(err)
	}
	for n := range 15 {
		if err := filler.Append(t.Context(), &offline.Record{ID: fmt.Sprint(n), EventTime: begin}); err != nil {
			t.Fatal(err)
		}
	}
	var items []Feedback
	for n := range 10 {
		items = append(items, isFraud(fmt.Sprint("p", n%9), true))
	}
	results, err := collector.Submit(t.Context(), items)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range results {
		if !errors.Is(r.Err, ErrUnavailable) || !r.Retryable || r.Status != StatusRefused {
			t.Errorf("item %d: %+v", i, r)
		}
	}
	if err := log.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if results, err = collector.Submit(t.Context(), items); err != nil || results[0].Status != StatusAccepted || results[9].Status != StatusDuplicate {
		t.Errorf("%v, %+v", err, results)
	}
	if s := collector.Stats(); s.Failed != 10 || s.Accepted != 9 || s.Duplicates != 1 {
		t.Errorf("%+v", s)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	if results, err = collector.Submit(t.Context(), []Feedback{isFraud("later", true)}); err != nil || !results[0].Retryable {
		t.Errorf("%v, %+v", err, results)
	}
}

// TestHugeBatch: as much text as a batch may have goes into the log in pieces.
func TestHugeBatch(t *testing.T) {
	w := newWorld(t)
	items := make([]Feedback, 2000)
	for i := range items {
		items[i] = Feedback{PredictionID: fmt.Sprint(i), Name: "why", Kind: KindUser, Value: Text(strings.Repeat("x", TextBytesMax))}
	}
	w.accept(items...)
	found, _, err := w.collector.Find(t.Context(), Find{PredictionID: "1999"})
	if err != nil || len(found) != 1 || len(found[0].Value.Text) != TextBytesMax {
		t.Errorf("%v, %d", err, len(found))
	}
}

// TestFind has bounds.
func TestFind(t *testing.T) {
	w := newWorld(t)
	var items []Feedback
	for n := range FoundMax + 5 {
		items = append(items, Feedback{ID: fmt.Sprint(n), PredictionID: "p", Name: "n", Value: Number(float64(n))})
	}
	w.accept(items...)
	found, truncated, err := w.collector.Find(t.Context(), Find{PredictionID: "p"})
	if err != nil || !truncated || len(found) != FoundMax || found[0].Value.Number != 5 {
		t.Errorf("%v, %t, %d", err, truncated, len(found))
	}
	if found, _, err = w.collector.Find(t.Context(), Find{PredictionID: "p", AsOf: w.clock.at - 1}); err != nil || len(found) != 0 {
		t.Errorf("%v, %d", err, len(found))
	}
	for _, q := range []Find{{}, {PredictionID: "p", FeedbackID: "f"}, {PredictionID: "p", From: 5, To: 1}} {
		if _, _, err := w.collector.Find(t.Context(), q); !errors.Is(err, ErrInvalid) {
			t.Errorf("%+v: %v", q, err)
		}
	}
}

// TestAtOnce: many submit the same and different feedback while joins are read.
func TestAtOnce(t *testing.T) {
	w := newWorld(t)
	var all []prediction
	for n := range 50 {
		all = append(all, w.payment(fmt.Sprint("p", n), "ann"))
	}
	w.predict(all...)
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for n := range 50 {
				if results, err := w.collector.Submit(context.Background(), []Feedback{isFraud(fmt.Sprint("p", n), true)}); err != nil || results[0].Err != nil {
					t.Error(err, results)
				}
				w.collector.Stats()
			}
		})
	}
	f := w.follow(LiveOptions{Label: fraud()})
	for range 5 {
		f.poll()
		w.join(JoinOptions{Label: fraud()})
	}
	group.Wait()
	f.poll()
	if s := w.collector.Stats(); s.Accepted != 50 || s.Duplicates != 150 || len(f.rows) != 50 {
		t.Errorf("%+v, %d rows", s, len(f.rows))
	}
}

// TestCollectorOptions that are wrong.
func TestCollectorOptions(t *testing.T) {
	_, err := OpenCollector(t.Context(), Options{FutureMax: -1, SeenMax: 1, SeenAge: -1})
	for _, want := range []string{"log: must", "future max", "seen max", "seen age"} {
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q: %v", want, err)
		}
	}
}
