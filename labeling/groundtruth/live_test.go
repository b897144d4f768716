// SPDX-License-Identifier: Apache-2.0

package groundtruth

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/featurestore/offline"
)

func (w *world) payment(id, customer string) prediction {
	return prediction{id: id, decision: "payment", model: "m", customer: customer, time: w.clock.at, arrival: w.clock.at}
}

func isFraud(id string, v bool) Feedback {
	return Feedback{PredictionID: id, Name: "is_fraud", Value: Bool(v), Source: "analyst"}
}

// TestLiveRow: what is handed out has the prediction's details, as Join has them.
func TestLiveRow(t *testing.T) {
	w := newWorld(t, fraud())
	columns := []string{"embedding", "features_vector"}
	f := w.follow(LiveOptions{Label: fraud(), Columns: columns})
	w.predict(w.payment("p", "ann"))
	w.accept(isFraud("p", true))
	if n := f.poll(); n != 1 {
		t.Fatalf("%d rows", n)
	}
	live, joined := f.rows["p"], w.join(JoinOptions{Label: fraud(), Columns: columns})["p"]
	if a, b := fmt.Sprintf("%+v", live), fmt.Sprintf("%+v", joined); a != b {
		t.Errorf("live\n%s\njoin\n%s", a, b)
	}
	if live.Score != 0.25 || live.Propensity != 0.5 || live.ModelVersion != 3 || live.Arm != "b" || len(live.Extra) != 2 ||
		live.Extra[0].Float32List()[1] != 2 || string(live.Extra[1].Bytes()) != "pvector" || live.Label.Value != Bool(true) {
		t.Errorf("%+v", live)
	}
}

// TestLateOutcomes: one that comes after the negative by silence turns it around; one that
// comes after Late shows in Join alone, and is counted and listed.
func TestLateOutcomes(t *testing.T) {
	w := newWorld(t, fraud())
	f := w.follow(LiveOptions{Label: fraud(), Late: 50 * time.Second, OrphanAge: 10 * time.Second})
	at := w.clock.at
	w.predict(w.payment("p", ""), w.payment("q", ""))
	f.poll()
	w.clock.at = at + 100*second
	if n := f.poll(); n != 0 {
		t.Fatalf("%d rows at the end of the window, which is not over", n)
	}
	w.clock.at++
	if n := f.poll(); n != 2 || f.rows["p"].Label.Status != Silent || !f.rows["p"].Label.Mature {
		t.Fatalf("%d rows, %+v", n, f.rows["p"].Label)
	}
	late := isFraud("p", true)
	late.EventTime = at + 50*second
	w.accept(late)
	if n := f.poll(); n != 1 || f.rows["p"].Label.Status != Observed || f.rows["p"].Label.Value != Bool(true) {
		t.Fatalf("%d rows, %+v", n, f.rows["p"].Label)
	}
	w.clock.at = at + 151*second
	f.poll()
	if s := f.live.Stats(); s.Predictions != 0 || s.Forgotten != 2 {
		t.Fatalf("%+v", s)
	}
	late = isFraud("q", true)
	late.ID, late.EventTime = "too late", at+50*second
	w.accept(late)
	f.poll()
	w.clock.at += 11 * second
	f.poll()
	if s := f.live.Stats(); s.Unmatched != 1 || s.Orphans != 0 || f.live.Unmatched()[0].FeedbackID != "too late" || f.live.Unmatched()[0].PredictionID != "q" {
		t.Errorf("%+v, %+v", s, f.live.Unmatched())
	}
	if l := w.join(JoinOptions{Label: fraud()})["q"].Label; l.Status != Observed {
		t.Errorf("%+v", l)
	}
	if l := w.join(JoinOptions{Label: fraud(), AsOf: at + 120*second})["q"].Label; l.Status != Silent {
		t.Errorf("as of then: %+v", l)
	}
}

// TestPriorities: chargeback over analyst, however old; newest within one; withdrawn.
func TestPriorities(t *testing.T) {
	label := fraud()
	label.Sources = label.Sources[:3] // strangers do not count
	w := newWorld(t, label)
	f := w.follow(LiveOptions{Label: label})
	w.predict(w.payment("p", ""))
	say := func(id, source string, v Value, kind Kind) Label {
		w.clock.at += second
		w.accept(Feedback{ID: id, PredictionID: "p", Name: "is_fraud", Value: v, Source: source, Kind: kind})
		f.poll()
		got, want := f.rows["p"].Label, w.join(JoinOptions{Label: label})["p"].Label
		if got != want {
			t.Fatalf("after %s: live %+v, join %+v", id, got, want)
		}
		return got
	}
	if l := say("c", "chargeback", Bool(true), 0); l.Source != "chargeback" || l.Contradicted {
		t.Errorf("%+v", l)
	}
	if l := say("a", "analyst", Bool(false), 0); l.Source != "chargeback" || !l.Contradicted || l.Candidates != 2 {
		t.Errorf("%+v", l)
	}
	if l := say("s", "stranger", Bool(false), 0); l.Candidates != 2 {
		t.Errorf("%+v", l)
	}
	if l := say("c", "chargeback", Value{}, KindCorrection); l.Source != "analyst" || l.Value != Bool(false) || l.Contradicted {
		t.Errorf("%+v", l)
	}
	if l := say("u", "customer", Bool(true), 0); l.Source != "customer" || !l.Contradicted {
		t.Errorf("%+v", l)
	}
	if s := f.live.Stats(); s.Contradicted != 2 {
		t.Errorf("%+v", s)
	}
}

// TestBounds: predictions, orphans and files are bounded, and what goes is counted.
func TestBounds(t *testing.T) {
	w := newWorld(t, fraud())
	f := w.follow(LiveOptions{Label: fraud(), PredictionsMax: 100, OrphansMax: 50})
	f.live.spill.fileBytes, f.live.spill.bufferBytes = 2000, 500
	var all []prediction
	for n := range 300 {
		p := w.payment(fmt.Sprint("p", n), "ann")
		p.time += int64(n)
		all = append(all, p)
	}
	w.predict(all...)
	var items []Feedback
	for n := range 300 {
		items = append(items, isFraud(fmt.Sprint("p", n), true))
	}
	w.accept(items...)
	f.poll()
	s := f.live.Stats()
	if s.Predictions != 100 || s.Displaced != 200 || s.Joined != 100 || s.Unmatched != 150 || s.Orphans != 50 || len(f.rows) != 100 {
		t.Errorf("%+v, %d rows", s, len(f.rows))
	}
	f.live.spill.max = 5000
	w.clock.at += 99 * second
	all = all[:0]
	for n := range 200 {
		all = append(all, w.payment(fmt.Sprint("q", n), ""))
	}
	w.predict(all...)
	f.poll()
	if s := f.live.Stats(); s.SpillBytes > 10_000 || s.SpillBytes <= 0 {
		t.Errorf("%+v", s)
	}
	w.clock.at += 1000 * second
	f.poll()
	w.clock.at += 5000 * second
	f.poll()
	s = f.live.Stats()
	files, err := os.ReadDir(f.options.Dir)
	if err != nil || len(files) > 1 || s.Predictions != 0 || s.Orphans != 0 || len(f.live.heads) != 0 || len(f.live.orphans.byTarget) != 0 {
		t.Errorf("%v, %d files, %+v, %d entities", err, len(files), s, len(f.live.heads))
	}
}

// TestManyUnmatched lists the last thousand.
func TestManyUnmatched(t *testing.T) {
	w := newWorld(t, fraud())
	f := w.follow(LiveOptions{Label: fraud(), OrphanAge: time.Second})
	var items []Feedback
	for n := range 1500 {
		o := isFraud("nobody", true)
		o.ID = fmt.Sprint(n)
		items = append(items, o)
	}
	w.accept(items...)
	f.poll()
	w.clock.at += 2 * second
	f.poll()
	all := f.live.Unmatched()
	if len(all) != unmatchedMax || all[0].FeedbackID != "500" || all[999].FeedbackID != "1499" || f.live.Stats().Unmatched != 1500 {
		t.Errorf("%d, first %+v", len(all), all[0])
	}
}

// TestOrphansOutliveFiles: what waits is still there when the file it was first in has gone.
func TestOrphansOutliveFiles(t *testing.T) {
	w := newWorld(t, fraud())
	f := w.follow(LiveOptions{Label: fraud(), OrphanAge: 10 * time.Second})
	f.live.spill.fileBytes, f.live.spill.bufferBytes = 100, 50
	for n := range 6 {
		o := isFraud("p", true)
		o.ID = fmt.Sprint(n)
		w.accept(o)
		f.poll()
		w.clock.at += 8 * second
	}
	w.predict(w.payment("p", ""))
	f.poll()
	if l := f.rows["p"].Label; l.Candidates != 6 || f.live.Stats().Displaced != 0 {
		t.Errorf("%+v, %+v", l, f.live.Stats())
	}
}

// TestBrokenJoin: after an error of the visitor nothing is handed out before the join is
// opened again, where it was.
func TestBrokenJoin(t *testing.T) {
	w := newWorld(t, fraud())
	f := w.follow(LiveOptions{Label: fraud()})
	w.predict(w.payment("p", ""))
	f.poll()
	w.accept(isFraud("p", true))
	full := errors.New("full")
	if err := f.live.Poll(t.Context(), func(*Row) error { return full }); !errors.Is(err, full) {
		t.Fatal(err)
	}
	if err := f.live.Poll(t.Context(), func(*Row) error { return nil }); !errors.Is(err, full) {
		t.Fatal(err)
	}
	f.reopen()
	if n := f.poll(); n != 1 || f.rows["p"].Label.Status != Observed {
		t.Errorf("%d rows, %+v", n, f.rows["p"])
	}
	f.reopen()
	if n := f.poll(); n != 0 {
		t.Errorf("%d rows again", n)
	}
}

// TestWrongOptions of joins.
func TestWrongOptions(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	if _, err := OpenLive(ctx, LiveOptions{Late: -1, OrphansMax: -1}); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
	if _, err := OpenLive(ctx, LiveOptions{Log: w.log, Label: fraud(), Dir: t.TempDir(), Resume: Position{Sequence: 9}}); !errors.Is(err, offline.ErrUnknownSequence) {
		t.Error(err)
	}
	for _, o := range []JoinOptions{{}, {Log: w.log}, {Log: w.log, Label: &Definition{}}, {Log: w.log, Label: fraud(), From: 2, To: 1},
		{Log: w.log, Label: fraud(), Columns: []string{"nothing"}}, {Log: w.log, Label: fraud(), HeldMax: -1}} {
		if _, err := Join(ctx, o); !errors.Is(err, ErrInvalid) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	w.predict(w.payment("p", "ann"))
	w.accept(isFraud("p", true), isFraud("q", true))
	rows, err := Join(ctx, JoinOptions{Log: w.log, Label: fraud(), HeldMax: 1, Now: w.clock.now})
	w.check(err)
	if rows.Next() || !errors.Is(rows.Err(), ErrTooMany) {
		t.Error(rows.Err())
	}
	w.check(rows.Close())
	w.check(rows.Close())
}

type countWriter struct{ n int }

func (c *countWriter) WriteRow(r *Row) error {
	if c.n++; c.n > 1 {
		return errors.New("disk full")
	}
	return nil
}

// TestExport ends with the writer's error, and says of which row.
func TestExport(t *testing.T) {
	w := newWorld(t)
	w.predict(w.payment("p", ""))
	if n, err := Export(t.Context(), JoinOptions{Log: w.log, Label: fraud(), Now: w.clock.now}, new(countWriter)); n != 1 || err != nil {
		t.Error(n, err)
	}
	w.predict(w.payment("q", ""))
	n, err := Export(t.Context(), JoinOptions{Log: w.log, Label: fraud(), Now: w.clock.now}, new(countWriter))
	if n != 1 || err == nil || err.Error() != `row of prediction "q": disk full` {
		t.Error(n, err)
	}
}
