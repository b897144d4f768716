// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/featurestore"
	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/offline"
	"github.com/millrace-ml/millrace/featurestore/plan"
)

func TestFeaturesDataset(t *testing.T) {
	s := newShop(t)
	dataset := "dataset --service fraud --labels source:payments --label is_fraud --output DIR/train.parquet" + withDefinitions
	s.has(s.must(dataset+" --from 2025-04-01T06:00:00Z --status"), "DIR/train.parquet: 2 rows, 4 features,", "manifest: DIR/train.parquet.manifest.json",
		"1 of 3 rows were left out:", "1 outside from and to", "payments 3 0 0")
	s.has(s.must("dataset check DIR/train.parquet.manifest.json"+withDefinitions), "as it was made")
	s.write("payments.csv", shopPayments+"4,2025-04-10T00:00:00Z,8,20,false\n")
	status, stdout, stderr := s.run("dataset check DIR/train.parquet.manifest.json --no-definitions --json")
	if status != exitFailure || !strings.Contains(stdout, "payments.csv") || !strings.Contains(stderr, "1 difference") {
		t.Errorf("check after a change: status %d\n%s%s", status, stdout, stderr)
	}

	s.write("labels.csv", "customer_id,paid_at,amount,chargeback\n7,2025-04-01T18:00:00Z,5,1\n8,2025-04-10T18:00:00Z,5,0\n9,2025-04-10T18:00:00Z,5,\n")
	s.must("materialize" + withState)
	s.has(s.must("dataset --service fraud --labels DIR/labels.csv --label chargeback --column at=paid_at --no-inputs --log DIR/state --output DIR/own.parquet"+withDefinitions),
		"DIR/own.parquet: 2 rows, 4 features,", "1 label is null", "(labels) 3 0 0", "payments 0 0 4", "profiles 0 0 1")
}

func TestFeaturesLog(t *testing.T) {
	s := newShop(t)
	s.must("materialize" + withState)
	s.has(s.must("log stats --state DIR/state"), "segments not in partitions yet 1", "Parquet partitions 0", "source.profiles")
	var state logState
	if err := json.Unmarshal([]byte(s.must("log compact --state DIR/state --json")), &state); err != nil {
		t.Fatal(err)
	}
	// Three payments, a profile, and a mark for each source.
	if state.LagRecords != 0 || state.PartitionRows != 6 || state.Next != 7 || state.Durable != 6 || len(state.Streams) != 3 {
		t.Errorf("after a compaction: %+v", state)
	}
	s.has(s.must("log repair --state DIR/state"), "nothing is damaged")
	s.has(s.must("materialize"+withState), "payments 0 3 0 0 0 0")
}

// TestFeaturesLogRepair damages the first batch of the log's segment.
func TestFeaturesLogRepair(t *testing.T) {
	s := newShop(t)
	s.must("materialize" + withState)
	segments, err := filepath.Glob(s.path("state/log/segment-*"))
	if err != nil || len(segments) == 0 {
		t.Fatal("no segment", err)
	}
	damaged := false
	for _, name := range segments {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if i := strings.Index(string(data), "FMR1\x02"); i >= 0 {
			data[i+24] ^= 0xff
			damaged = true
			s.write("state/log/"+filepath.Base(name), string(data))
			break
		}
	}
	if !damaged {
		t.Fatal("no segment has a batch")
	}
	status, _, stderr := s.run("log stats --state DIR/state")
	if status != exitFailure || !strings.Contains(stderr, "event log is corrupt") || !strings.Contains(stderr, "millrace features log repair saves what is sound") {
		t.Errorf("a damaged log: status %d: %s", status, stderr)
	}
	status, stdout, stderr := s.run("log repair --state DIR/state")
	if status != exitFailure || !strings.Contains(stdout, "damaged") || !strings.Contains(stderr, "records were lost") {
		t.Errorf("repair: status %d\n%s%s", status, stdout, stderr)
	}
	s.has(s.must("log repair --state DIR/state"), "nothing is damaged")
	s.must("materialize --full" + withState)
	s.has(s.must("get fraud --entity customer_id=7 --fact amount=3 --fact at=2025-04-01T18:00:00Z"+withState), "spending__payments_1d 2 present 2025-04-01T12:00:00Z")
}

// TestFeaturesVerify logs what a store serves, one vector of three falsely.
func TestFeaturesVerify(t *testing.T) {
	s := newShop(t)
	s.must("materialize" + withState)
	s.has(s.must("verify"+withState), "0 vectors, 0 computed again, 0 of them differ")
	s.logVectors(false)
	s.has(s.must("verify"+withState), "2 vectors, 2 computed again, 0 of them differ", "fraud spending__mean_3650d 2 0 0 0 0 0")
	s.logVectors(true)
	status, stdout, stderr := s.run("verify" + withState)
	if status != exitFailure || !strings.Contains(stderr, "1 of 4 vectors are not what the log says they should have been") {
		t.Errorf("a false vector: status %d\n%s%s", status, stdout, stderr)
	}
	s.has(stdout, "fraud spending__mean_3650d 4 1 0 0 0 1")
}

// logVectors serves two vectors and logs them; a false one has a mean that is 1 too high.
func (s *shop) logVectors(wrong bool) {
	s.t.Helper()
	ctx := s.t.Context()
	c, err := definition.Load(s.path("features.yaml"))
	if err != nil {
		s.t.Fatal(err)
	}
	store, err := featurestore.Open(ctx, featurestore.Options{Dir: s.path("state"), Catalog: c})
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() {
		if err := store.Close(); err != nil {
			s.t.Error(err)
		}
	}()
	stream, err := store.Log().Declare(offline.Schema{Stream: "served", Columns: plan.VectorColumns()})
	if err != nil {
		s.t.Fatal(err)
	}
	a, err := store.Service("fraud")
	if err != nil {
		s.t.Fatal(err)
	}
	in := &plan.Inputs{Rows: 2, Keys: []column.Column{{Type: column.Int64, Ints: []int64{7, 8}}}, Request: []column.Column{
		{Type: column.Float64, Numbers: []float64{1, 2}}, {Type: column.Timestamp, Ints: []int64{0, 0}, Nulls: []bool{true, true}}}}
	out := &plan.Vectors{WantSequences: true}
	if err := store.Read(ctx, a, in, out); err != nil {
		s.t.Fatal(err)
	}
	if wrong {
		out.Row(1)[2]++
	}
	log := a.NewVectorLog()
	for row := range out.Rows {
		now := store.Now()
		record := offline.Record{ID: fmt.Sprintf("d-%v-%d", wrong, row), EventTime: now, ArrivalTime: now, Values: log.Values(in, out, row)}
		if err := stream.AppendSync(ctx, &record); err != nil {
			s.t.Fatal(err)
		}
	}
}

func TestFeaturesHistory(t *testing.T) {
	s := newShop(t)
	out := s.must("history spending --entity customer_id=7 --from 2025-01-01" + withDefinitions)
	s.has(out, "AT payments_1d payments_3650d mean_1d mean_3650d 2025-04-01T00:00:00Z 1 1 10 10 2025-04-01T12:00:00Z 2 2 15 15")
	s.has(s.must("history profile --entity customer_id=7"+withDefinitions), `AT country 2025-04-01T06:00:00Z "fr"`)
	var moments []moment
	out = s.must("history fraud --entity customer_id=7 --fact amount=4 --from 2025-04-01T05:00:00Z --to 2025-04-01T07:00:00Z --step 1h --json" + withDefinitions)
	if err := json.Unmarshal([]byte(out), &moments); err != nil || len(moments) != 2 || moments[0].Values[3] != (readValue{Name: "profile__country", Value: "unknown", Status: "not found"}) ||
		moments[1].Values[3] != (readValue{Name: "profile__country", Value: "fr", Status: "present"}) || moments[1].Values[0].Value != 4.0 || moments[1].Values[1].Value != 1.0 {
		t.Errorf("JSON: %v: %s", err, out)
	}
	s.must("materialize" + withState)
	again := s.must("history spending --entity customer_id=7 --from 2025-01-01 --log DIR/state --no-inputs" + withDefinitions)
	if first := s.must("history spending --entity customer_id=7 --from 2025-01-01" + withDefinitions); again != first {
		t.Errorf("from the log:\n%s\nfrom the inputs:\n%s", again, first)
	}
	s.has(s.must("history spending --entity customer_id=9"+withDefinitions), "no events of the entity in this time")
	for _, test := range []struct{ line, text string }{
		{"history shops --entity customer_id=7", `"shops": no feature service, view or lookup is called that`},
		{"history spending", "--entity customer_id=VALUE is missing: it is of type int64"},
		{"history spending --entity customer_id=7 --step 1d", "--step needs --from"},
		{"history spending --entity customer_id=7 --from 2025-01-02 --to 2025-01-01", "--from is not before --to"},
		{"history spending --entity customer_id=7 --from 2025-01-01 --step 1s", "more than 10000 moments; narrow --from and --to, or give a longer --step"},
		{"history fraud --entity customer_id=7 --fact amount=1 --fact at=2025-01-01", "--fact at: there is no such name; known: amount"},
	} {
		if status, _, stderr := s.run(test.line + withDefinitions); status != exitUsage || !strings.Contains(stderr, test.text) {
			t.Errorf("%s: status %d; %q is not in\n%s", test.line, status, test.text, stderr)
		}
	}
}

// TestFeaturesGuide runs the definitions of the guide, and the commands that need no server.
func TestFeaturesGuide(t *testing.T) {
	guide, err := os.ReadFile(moduleRoot + "/docs/guides/features.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(guide), "```yaml\n")
	text, _, _ = strings.Cut(text, "```\n")
	s := &shop{t, t.TempDir()}
	s.write("features.yaml", text)
	says := func(line, output string) {
		t.Helper()
		if !strings.Contains(string(guide), line) {
			t.Fatalf("the guide does not say %q", line)
		}
		for _, line := range strings.SplitAfter(strings.TrimRight(output, "\n"), "\n") {
			if !strings.Contains(string(guide), line) {
				t.Errorf("the guide does not have the line %q", line)
			}
		}
	}
	summary, _, _ := strings.Cut(s.must("validate DIR/features.yaml"), "\n")
	says("millrace features validate\n", strings.ReplaceAll(summary, "DIR/", ""))
	generate := "demo-payments payments.parquet --days 60 --start 2026-01-05"
	says("millrace "+generate+"\n", "")
	if status, _, stderr := runCommand(t, "", strings.Fields(strings.Replace(generate, "payments.parquet", s.path("payments.parquet"), 1))...); status != exitOK {
		t.Fatalf("demo-payments: status %d: %s", status, stderr)
	}
	says("millrace features materialize\n", s.must("materialize"+withState))
	read := "--entity customer_id=1 --entity terminal_id=10 --fact amount=57.5"
	first, _, _ := strings.Cut(s.must("get fraud "+read+" --fact event_timestamp=2026-03-01T12:00:00Z"+withState), "customer__mean_amount_7d")
	says("millrace features get fraud "+read, first)
	says("dataset --service fraud --labels source:payments --label is_fraud", "")
	made, _, _ := strings.Cut(s.must("dataset --service fraud --labels source:payments --label is_fraud --from 2026-02-05 --output DIR/train.parquet"+withDefinitions), "\n\nSOURCE")
	says("--from 2026-02-05 --output train.parquet\n", strings.ReplaceAll(made, "DIR/", ""))
	says("dataset check train.parquet.manifest.json\n", s.must("dataset check DIR/train.parquet.manifest.json"+withDefinitions))
	s.must("history customer --entity customer_id=1 --from 2026-02-01 --to 2026-02-03" + withDefinitions)
}
