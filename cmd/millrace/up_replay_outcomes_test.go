// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/labeling/groundtruth"
)

// payment is what a replay's source says of an event.
type payment struct {
	at    int64
	fraud bool
}

func replayedPayments(t *testing.T, s *definition.Source) map[int64]payment {
	t.Helper()
	f, err := openFeed(t.Context(), s, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	all := map[int64]payment{}
	for {
		more, err := f.next()
		if err != nil {
			t.Fatal(err)
		}
		if !more {
			return all
		}
		all[f.column(s.ID).Ints[f.row]] = payment{f.time(), f.column(s.Field("is_fraud")).Number(f.row) != 0}
	}
}

// checkOutcomes holds the labels of what a replay decided, stopped in the middle or not,
// to its source: every fraud is told once, when it becomes known, and nothing else is.
func checkOutcomes(t *testing.T, dir string) {
	t.Helper()
	p, err := loadProject(dir)
	if err != nil {
		t.Fatal(err)
	}
	catalog, policies, err := p.catalog()
	if err != nil {
		t.Fatal(err)
	}
	labels, err := p.labels(policies)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(p.State, "replay.json"))
	if err != nil {
		t.Fatal(err)
	}
	var last replayed
	if err := json.Unmarshal(data, &last); err != nil {
		t.Fatal(err)
	}
	source := catalog.Source(p.Replay.Source)
	known := replayedPayments(t, source)
	log, err := openLog(t.Context(), p.State, p)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	rows, err := groundtruth.Join(t.Context(), groundtruth.JoinOptions{Log: log, Label: labels[0], AsOf: last.At.UnixMicro() + 1})
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	after, counts := source.Fields[source.Field("is_fraud")].KnownAfter.Microseconds(), map[string]int{}
	for rows.Next() {
		r := rows.Row()
		var facts struct {
			ID int64 `json:"transaction_id"`
		}
		if err := json.Unmarshal([]byte(r.Facts), &facts); err != nil {
			t.Fatal(err)
		}
		e, wanted := known[facts.ID], groundtruth.Pending
		due := e.at + after
		switch {
		case e.fraud && due <= last.At.UnixMicro():
			wanted = groundtruth.Observed
		case r.Label.Mature:
			wanted = groundtruth.Silent
		}
		counts[wanted.String()]++
		if r.Label.Status != wanted || r.Label.Candidates > 1 {
			t.Errorf("payment %d, fraud %v, at %v: label %+v, want %v", facts.ID, e.fraud, time.UnixMicro(e.at).UTC(), r.Label, wanted)
		}
		if wanted == groundtruth.Observed && (r.Label.Value != groundtruth.Bool(true) || r.Label.Source != "chargeback" || r.Label.Time != due) {
			t.Errorf("payment %d: label %+v", facts.ID, r.Label)
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	if counts["observed"] == 0 || counts["silent"] == 0 || counts["pending"] == 0 {
		t.Errorf("labels by status: %v", counts)
	}
}

// TestOutcomesByEntity: where the facts of a decision do not name the event, and so a
// restart could not find its prediction, outcomes name the entity and the time.
func TestOutcomesByEntity(t *testing.T) {
	dir := copyExample(t, append([]string{"      transaction_id: {type: int64, required: true}", "      note: string",
		"    idempotency: {field: transaction_id, ttl: 24h}\n", "", "    event: payments ", "    # event: payments ",
		"    silence: negative ", "    match: {entity: [customer_id], within: 1s}\n    silence: negative "}, smallWorld...)...)
	p, err := loadProject(dir)
	if err != nil {
		t.Fatal(err)
	}
	catalog, policies, err := p.catalog()
	if err != nil {
		t.Fatal(err)
	}
	labels, err := p.labels(policies)
	if err != nil {
		t.Fatal(err)
	}
	r := &replay{options: p.Replay, catalog: catalog, source: catalog.Source("payments"), decision: policies[0], start: time.Unix(1, 0)}
	o := newReplayOutcomes(r, labels, nil)
	if o == nil || len(o.specs) != 1 || o.specs[0].source != "chargeback" || o.named(&o.specs[0]) {
		t.Fatalf("%+v", o)
	}
	s := r.source
	f := &feed{source: s}
	f.batch.Rows, f.batch.Columns = 2, make([]column.Column, len(s.Fields))
	for i := range s.Fields {
		f.batch.Columns[i] = column.Column{Name: s.Fields[i].Name, Type: s.Fields[i].Type, Ints: []int64{7, 8}, Numbers: []float64{0, 1}}
	}
	late := s.Field("is_fraud")
	for f.row = range 2 { // the first is none, which silence says too
		o.add(late, f, 1000)
	}
	if len(o.waiting) != 1 {
		t.Fatalf("%d outcomes wait", len(o.waiting))
	}
	o.mu.Lock()
	told := o.targetLocked(&o.waiting[0])
	o.mu.Unlock()
	item := o.waiting[0].item
	if !told || item.PredictionId != "" || item.Entity["customer_id"] != "8" || item.EventTime != 8 || !item.Value.GetBool() {
		t.Errorf("%v", item)
	}
	if o.position() > 1000 {
		t.Errorf("position %d is beyond what waits", o.position())
	}
}

// TestReplayResumesOutcomes: what was not acknowledged is told again by the next start.
func TestReplayResumesOutcomes(t *testing.T) {
	r := &replay{source: &definition.Source{Name: "s"}, progress: filepath.Join(t.TempDir(), "replay.json"), start: time.Unix(100, 0)}
	r.outcomes = &replayOutcomes{replay: r, until: 300e6}
	r.outcomes.mu.sent = map[int]int64{4: 200e6}
	if err := r.save(250e6); err != nil {
		t.Fatal(err)
	}
	again := &replay{source: r.source, progress: r.progress}
	if err := again.place(t.Context()); err != nil || again.start.Unix() != 250 || again.labelsFrom() != 200e6 || !again.resumed {
		t.Errorf("%v: starts at %v, labels from %d", err, again.start, again.labelsFrom())
	}
	r.outcomes.acknowledged(4)
	if err := r.save(250e6); err != nil {
		t.Fatal(err)
	}
	if err := again.place(t.Context()); err != nil || again.labelsFrom() != 250e6 {
		t.Errorf("%v: labels from %d", err, again.labelsFrom())
	}
	if err := os.WriteFile(r.progress, []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := again.place(t.Context()); err == nil {
		t.Error("a file of something else is taken for progress")
	}
}
