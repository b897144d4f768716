// SPDX-License-Identifier: Apache-2.0

package runs

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// generate writes finished runs with 10 parameters and 5 metrics each, many in one
// transaction, since each of its own would take minutes.
func generate(t testing.TB, s *store, runs int) {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	const part = 5000
	for from := 0; from < runs; from += part {
		must(t, s.transact(t.Context(), func(tx executor) error {
			for i := from; i < min(from+part, runs); i++ {
				if err := generateRun(t, tx, s, i, rng); err != nil {
					return err
				}
			}
			return nil
		}))
	}
}

func generateRun(t testing.TB, tx executor, s *store, i int, rng *rand.Rand) error {
	parameters := map[string]any{"max_depth": rng.IntN(10) + 1, "learning_rate": rng.Float64(), "booster": []string{"gbdt", "dart"}[rng.IntN(2)], "early_stopping": rng.IntN(2) == 0}
	for p := range 6 {
		parameters[fmt.Sprintf("parameter_%d", p)] = rng.Float64()
	}
	metrics := map[string]Metric{}
	for _, name := range []string{"roc_auc", "average_precision", "log_loss", "brier", "precision@100"} {
		metrics[name] = Metric{Value: rng.Float64()}
	}
	facts, err := factsOf(parameters, metrics, nil)
	if err != nil {
		return err
	}
	status := Finished
	if i%50 == 0 {
		status = Failed
	}
	started := time.UnixMilli(1_700_000_000_000 + int64(i)*1000)
	var n int64
	err = tx.each(t.Context(), func(row scanner) error { return row.Scan(&n) },
		`INSERT INTO runs (id, experiment, name, status, started, ended, parent, method, seed, data_hash, code_hash, git_commit, artifact_path, artifact_digest, error, owner, heartbeat, parameters, metrics, tags, versions)
		VALUES (?, ?, ?, ?, ?, ?, '', ?, ?, 'sha256:0', 'sha256:1', '', '', '', '', '', ?, ?, ?, '{}', '{}') RETURNING n`,
		newID(started), fmt.Sprintf("experiment-%d", i%7), fmt.Sprintf("run %d", i), string(status), started.UnixMicro(), started.UnixMicro()+1_000_000,
		[]string{"trees", "linear", "neural"}[i%3], int64(i), started.UnixMicro(), toJSON(parameters), toJSON(metrics))
	if err != nil {
		return err
	}
	return s.insertFacts(t.Context(), tx, n, facts)
}

// listings are what people ask of a long log.
var listings = map[string]Query{
	"newest":              {},
	"best":                {OrderBy: "metrics.average_precision"},
	"best-of-experiment":  {Experiment: "experiment-3", OrderBy: "metrics.average_precision"},
	"filter-loose":        {Where: "metrics.roc_auc > 0.2 and params.max_depth >= 3", OrderBy: "metrics.average_precision"},
	"filter-tight":        {Where: "metrics.roc_auc > 0.99 and params.max_depth = 6 and params.booster = 'dart'"},
	"filter-nothing":      {Where: "metrics.roc_auc > 2"},
	"filter-or":           {Where: "metrics.roc_auc > 0.999 or metrics.brier < 0.001", OrderBy: "metrics.log_loss", Ascending: true},
	"filter-not":          {Where: "not params.booster = 'dart' and not metrics.roc_auc < 0.9999"},
	"filter-sort-nothing": {Where: "params.max_depth = 6 and metrics.roc_auc > 0.99 and metrics.brier > 0.99", OrderBy: "metrics.average_precision"},
	"failed":              {Status: Failed, OrderBy: "metrics.average_precision"},
}

// BenchmarkList lists 50 of 100,000 runs, with parameters and metrics:
//
//	go test -run - -bench List -benchtime 5x ./training/runs
func BenchmarkList(b *testing.B) {
	const runs = 100_000
	s := openTest(b)
	generate(b, s, runs)
	for name, q := range listings {
		b.Run(fmt.Sprintf("runs=%d/query=%s", runs, name), func(b *testing.B) {
			var found int
			for b.Loop() {
				list, err := s.List(b.Context(), q)
				must(b, err)
				found = len(list)
			}
			b.ReportMetric(float64(found), "found")
		})
	}
}

// BenchmarkWrite starts a run, logs 10 steps of 2 metrics and finishes it.
func BenchmarkWrite(b *testing.B) {
	s := openTest(b)
	for b.Loop() {
		w, err := s.Start(b.Context(), Run{Experiment: "e", Parameters: map[string]any{"a": 1, "b": 2}})
		must(b, err)
		for step := range 10 {
			must(b, w.LogMetrics(b.Context(), step, map[string]float64{"train": 1, "valid": 2}))
		}
		must(b, w.Finish(b.Context(), Result{Metrics: map[string]Metric{"auc": {Value: 1}}}))
	}
}

// TestListings has the benchmark's queries find what a small log has.
func TestListings(t *testing.T) {
	s := openTest(t)
	generate(t, s, 300)
	for name, q := range listings {
		list, err := s.List(t.Context(), q)
		must(t, err)
		for _, r := range list {
			if len(r.Parameters) != 10 || len(r.Metrics) != 5 {
				t.Fatalf("%s: %+v", name, r)
			}
		}
		if name == "best" && (len(list) != LimitDefault || list[0].Metrics["average_precision"].Value < list[49].Metrics["average_precision"].Value) {
			t.Errorf("best: %d runs", len(list))
		}
	}
}
