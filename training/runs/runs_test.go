// SPDX-License-Identifier: Apache-2.0

package runs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func openTest(t testing.TB) *store {
	t.Helper()
	s, err := Open(t.Context(), filepath.Join(t.TempDir(), "state #1", File))
	must(t, err)
	t.Cleanup(func() { must(t, s.Close()) })
	return s.(*store)
}

// add writes a finished run and returns its id.
func add(t testing.TB, s Store, r Run) string {
	t.Helper()
	w, err := s.Start(t.Context(), r)
	must(t, err)
	must(t, w.Finish(t.Context(), Result{Metrics: r.Metrics}))
	return w.ID()
}

// stores runs a test on SQLite, and on PostgreSQL where the machine has it.
func stores(t *testing.T, test func(*testing.T, Store)) {
	t.Run("sqlite", func(t *testing.T) { test(t, openTest(t)) })
	t.Run("postgres", func(t *testing.T) {
		if testing.Short() {
			t.Skip("starts a server")
		}
		s, err := Open(t.Context(), startPostgres(t))
		must(t, err)
		t.Cleanup(func() { must(t, s.Close()) })
		test(t, s)
	})
}

func TestStore(t *testing.T) {
	stores(t, func(t *testing.T, s Store) {
		t.Run("round trip", func(t *testing.T) { checkRoundTrip(t, s) })
		t.Run("fail", func(t *testing.T) { checkFail(t, s) })
		t.Run("pages", func(t *testing.T) { checkPages(t, s) })
		t.Run("filters", func(t *testing.T) { checkFilters(t, s) })
		t.Run("thin", func(t *testing.T) { checkThin(t, s) })
		t.Run("compare and delete", func(t *testing.T) { checkCompareDelete(t, s) })
	})
}

func checkRoundTrip(t *testing.T, s Store) {
	given := Run{
		Experiment: "fraud", Name: "trees, deep", Parent: "01P", Method: "trees", Seed: math.MaxUint64,
		Parameters: map[string]any{"depth": int64(6), "rate": 0.1, "booster": "gbdt", "early": true, "big": uint64(math.MaxUint64)},
		Tags:       map[string]string{"team": "risk"}, Versions: map[string]string{"go": "1.26"},
		DataHash: "sha256:aa", CodeHash: "sha256:bb", GitCommit: "abc", Manifest: json.RawMessage(`{"a": [1, "2"]}`),
	}
	w, err := s.Start(t.Context(), given)
	must(t, err)
	for step := range 3 {
		must(t, w.LogMetrics(t.Context(), step, map[string]float64{"loss": 1 / float64(step+1), "odd": math.NaN()}))
	}
	must(t, w.LogMetrics(t.Context(), 1, map[string]float64{"loss": 99})) // not above the last step
	running, err := s.Get(t.Context(), strings.ToLower(w.ID()[:20]))
	must(t, err)
	if running.Status != Running || !running.Ended.IsZero() || len(running.Curves["loss"]) != 3 {
		t.Errorf("while it runs: %+v", running)
	}
	lower, upper := 0.8, 0.9
	must(t, w.Finish(t.Context(), Result{
		Metrics:    map[string]Metric{"auc": {0.85, &lower, &upper}, "broken": {Value: math.NaN()}},
		Artifact:   Artifact{"models/fraud/1", "sha256:cc"},
		Parameters: map[string]any{"trees": int64(100)},
	}))
	if err := w.Finish(t.Context(), Result{}); err == nil {
		t.Error("a run was finished twice")
	}
	got, err := s.Get(t.Context(), w.ID())
	must(t, err)
	if got.Status != Finished || got.Ended.Before(got.Started) || time.Since(got.Started) > time.Minute {
		t.Errorf("finished: %+v", got)
	}
	if m := got.Metrics["auc"]; m.Value != 0.85 || *m.Lower != 0.8 || *m.Upper != 0.9 || !math.IsNaN(got.Metrics["broken"].Value) {
		t.Errorf("metrics %+v", got.Metrics)
	}
	if c := got.Curves["loss"]; !reflect.DeepEqual(c, []Point{{0, 1}, {1, 0.5}, {2, 1.0 / 3}}) || !math.IsNaN(got.Curves["odd"][1].Value) {
		t.Errorf("curves %v", got.Curves)
	}
	want := given
	want.Parameters["trees"] = int64(100)
	want.ID, want.Status, want.Started, want.Ended, want.Metrics, want.Curves = got.ID, Finished, got.Started, got.Ended, got.Metrics, got.Curves
	want.Artifact = Artifact{"models/fraud/1", "sha256:cc"}
	if !reflect.DeepEqual(*got, want) {
		t.Errorf("got  %+v\nwant %+v", *got, want)
	}
}

func checkFail(t *testing.T, s Store) {
	w, err := s.Start(t.Context(), Run{Experiment: "failing"})
	must(t, err)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	must(t, w.Fail(ended, errors.New("the loss is NaN at step 3\x00 "+strings.Repeat("é", errorMax)), Result{}))
	list, err := s.List(t.Context(), Query{Experiment: "failing", Status: Failed})
	must(t, err)
	if len(list) != 1 || !strings.HasPrefix(list[0].Error, "the loss is NaN at step 3 é") || len(list[0].Error) > errorMax+50 {
		t.Errorf("failed runs: %d", len(list))
	}
}

// checkPages walks through pages and expects each run once, in order, ties included.
func checkPages(t *testing.T, s Store) {
	var ids []string
	for i := range 23 {
		r := Run{Experiment: "pages", Started: time.UnixMilli(1_700_000_000_000 + int64(i)), Parameters: map[string]any{"i": i}}
		if i > 0 { // the first has no metric
			r.Metrics = map[string]Metric{"score": {Value: float64(i % 4)}}
		}
		ids = append(ids, add(t, s, r))
	}
	for _, q := range []Query{{}, {Ascending: true}, {OrderBy: "metrics.score"}, {OrderBy: "metrics.score", Ascending: true}, {OrderBy: "params.i"}} {
		q.Experiment, q.Limit = "pages", 5
		var seen []Run
		for {
			page, err := s.List(t.Context(), q)
			must(t, err)
			seen = append(seen, page...)
			if len(page) < q.Limit {
				break
			}
			q.After = page[len(page)-1].ID
		}
		want := 23
		if q.OrderBy == "metrics.score" {
			want = 22
		}
		if len(seen) != want {
			t.Fatalf("%+v: %d runs; want %d", q, len(seen), want)
		}
		sorted := slices.IsSortedFunc(seen, func(a, b Run) int {
			sign := -1
			if q.Ascending {
				sign = 1
			}
			if q.OrderBy == "metrics.score" {
				if d := a.Metrics["score"].Value - b.Metrics["score"].Value; d != 0 {
					return sign * int(d)
				}
			}
			return sign * strings.Compare(a.ID, b.ID)
		})
		if !sorted {
			t.Errorf("%+v: not in order", q)
		}
	}
	if seen, err := s.List(t.Context(), Query{Experiment: "pages", Ascending: true}); err != nil || seen[0].ID != ids[0] {
		t.Errorf("the first is %v, %v", seen, err)
	}
}

// checkFilters holds what the database finds to conditions written in Go.
func checkFilters(t *testing.T, s Store) {
	all := map[string]Run{}
	for i := range 60 {
		r := Run{
			Experiment: "filters", Method: []string{"trees", "linear"}[i%2], Seed: uint64(i % 5), Name: fmt.Sprintf("it's %d", i),
			Parameters: map[string]any{"depth": i % 7, "kind": []string{"a", "b", "c"}[i%3], "flag": i%4 == 0},
			Tags:       map[string]string{"n": fmt.Sprint(i)},
		}
		if i%3 > 0 {
			r.Metrics = map[string]Metric{"auc": {Value: float64(i) / 60}, "f1 (macro)": {Value: -float64(i)}}
		}
		all[add(t, s, r)] = r
	}
	auc := func(r Run) float64 { return r.Metrics["auc"].Value }
	has := func(r Run) bool { return r.Metrics != nil }
	for text, want := range map[string]func(Run) bool{
		"metrics.auc > 0.8":                                   func(r Run) bool { return has(r) && auc(r) > 0.8 },
		"metrics.auc != 0.5":                                  func(r Run) bool { return has(r) && auc(r) != 0.5 },
		"not metrics.auc > 0.5":                               func(r Run) bool { return !has(r) || auc(r) <= 0.5 },
		"metrics.auc >= .25 and params.depth = 6":             func(r Run) bool { return has(r) && auc(r) >= 0.25 && r.Parameters["depth"] == 6 },
		"params.depth < 2 or params.depth > 5":                func(r Run) bool { d := r.Parameters["depth"].(int); return d < 2 || d > 5 },
		"params.kind = 'a' OR params.kind == \"b\"":           func(r Run) bool { return r.Parameters["kind"] != "c" },
		"params.kind in ('a', 'c') and method = 'linear'":     func(r Run) bool { return r.Parameters["kind"] != "b" && r.Method == "linear" },
		"parameters.depth in (1, 2, 3)":                       func(r Run) bool { d := r.Parameters["depth"].(int); return d >= 1 && d <= 3 },
		"params.flag = true and not (seed = 1 or seed >= 3)":  func(r Run) bool { return r.Parameters["flag"] == true && r.Seed != 1 && r.Seed < 3 },
		"metrics.`f1 (macro)` > -1e1":                         func(r Run) bool { return has(r) && r.Metrics["f1 (macro)"].Value > -10 },
		"name = 'it''s 7' or tags.n = '8'":                    func(r Run) bool { return r.Name == "it's 7" || r.Tags["n"] == "8" },
		"method='trees' and params.depth=3 or metrics.auc<.1": func(r Run) bool { return r.Method == "trees" && r.Parameters["depth"] == 3 || has(r) && auc(r) < .1 },
	} {
		list, err := s.List(t.Context(), Query{Experiment: "filters", Where: text, Limit: 100})
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		found := map[string]bool{}
		for _, r := range list {
			found[r.ID] = true
		}
		for id, r := range all {
			if found[id] != want(r) {
				t.Errorf("%s: found %t for %+v", text, found[id], r)
			}
		}
	}
	for tag, want := range map[string]int{"n": 60, "n=8": 1, "m": 0} {
		list, err := s.List(t.Context(), Query{Experiment: "filters", Tag: tag, Limit: 100})
		if must(t, err); len(list) != want {
			t.Errorf("tag %s: %d runs; want %d", tag, len(list), want)
		}
	}
}

// checkThin writes more points than a curve has, and expects it to span all steps.
func checkThin(t *testing.T, s Store) {
	w, err := s.Start(t.Context(), Run{Experiment: "thin"})
	must(t, err)
	const steps = 3*CurvePointsMax/2 + 1
	// One call for each step would take long on a server; the points go through the same thinning.
	c := &curve{stride: 1}
	w.curves["loss"] = c
	for step := range CurvePointsMax - 1 {
		c.points, c.last = append(c.points, Point{step, float64(step)}), step
	}
	for step := CurvePointsMax - 1; step < steps; step += 16 {
		must(t, w.LogMetrics(t.Context(), step, map[string]float64{"loss": float64(step)}))
	}
	must(t, w.Finish(t.Context(), Result{}))
	r, err := s.Get(t.Context(), w.ID())
	must(t, err)
	points := r.Curves["loss"]
	if len(points) >= CurvePointsMax || len(points) < CurvePointsMax/2 || points[0].Step != 0 || points[len(points)-1].Step < steps-32 {
		t.Errorf("%d points from %v to %v", len(points), points[0], points[len(points)-1])
	}
	if !reflect.DeepEqual(points, c.points) {
		t.Error("what is stored is not what the recorder holds")
	}
}

func checkCompareDelete(t *testing.T, s Store) {
	a := add(t, s, Run{Experiment: "compare", Parameters: map[string]any{"depth": 6, "rate": 0.1}, Metrics: map[string]Metric{"auc": {Value: 0.8}}})
	b := add(t, s, Run{Experiment: "compare", Parameters: map[string]any{"depth": 8, "rate": 0.1, "l2": 1.0}, Metrics: map[string]Metric{"auc": {Value: 0.8}, "ap": {Value: 0.5}}})
	c, err := Compare(t.Context(), s, a, b)
	must(t, err)
	if want := []Difference{{"depth", []any{int64(6), int64(8)}}, {"l2", []any{nil, int64(1)}}}; !reflect.DeepEqual(c.Parameters, want) {
		t.Errorf("parameters %v; want %v", c.Parameters, want)
	}
	if len(c.Metrics) != 2 || c.Metrics[0].Name != "ap" || c.Metrics[0].Values[0] != nil || c.Metrics[1].Values[1].(*Metric).Value != 0.8 || len(c.Fields) != 0 {
		t.Errorf("metrics %v, fields %v", c.Metrics, c.Fields)
	}
	must(t, s.Delete(t.Context(), a))
	if _, err := s.Get(t.Context(), a); !errors.Is(err, ErrNotFound) {
		t.Errorf("a deleted run: %v", err)
	}
	w, err := s.Start(t.Context(), Run{Experiment: "compare"})
	must(t, err)
	if err := s.Delete(t.Context(), w.ID()); err == nil || !strings.Contains(err.Error(), "is running") {
		t.Errorf("deletion of a running run: %v", err)
	}
	must(t, w.Finish(t.Context(), Result{}))
}

func TestRefused(t *testing.T) {
	s := openTest(t)
	many := map[string]any{}
	for i := range FactsMax + 1 {
		many[fmt.Sprint(i)] = i
	}
	for name, r := range map[string]Run{
		"experiment has no name": {},
		"1001 parameters":        {Experiment: "e", Parameters: many},
		"\"x\": NaN":             {Experiment: "e", Parameters: map[string]any{"x": math.NaN()}},
		"of type []int":          {Experiment: "e", Parameters: map[string]any{"x": []int{1}}},
		"name has 5000 bytes":    {Experiment: "e", Name: strings.Repeat("x", 5000)},
		"zero byte":              {Experiment: "e", Tags: map[string]string{"a": "\x00"}},
		"is not JSON":            {Experiment: "e", Manifest: json.RawMessage(`{`)},
	} {
		if _, err := s.Start(t.Context(), r); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("want %q, got %v", name, err)
		}
	}
	if list, err := s.List(t.Context(), Query{}); err != nil || len(list) != 0 {
		t.Errorf("refused runs left something: %v %v", list, err)
	}
	for want, q := range map[string]Query{
		"no status": {Status: "done"}, "limit": {Limit: LimitMax + 1}, "order by": {OrderBy: "auc"}, "after": {After: "01X"}, "where a number": {Where: "metrics.a >"},
	} {
		if want == "where a number" {
			want = "it ends where a number"
		}
		if _, err := s.List(t.Context(), q); !errors.Is(err, ErrQuery) || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v", q, err)
		}
	}
	w, err := s.Start(t.Context(), Run{Experiment: "e"})
	must(t, err)
	wide := map[string]float64{}
	for i := range CurvesMax + 1 {
		wide[fmt.Sprint(i)] = 1
	}
	if err := w.LogMetrics(t.Context(), 0, wide); !errors.Is(err, ErrBound) {
		t.Errorf("too many curves: %v", err)
	}
	must(t, w.Finish(t.Context(), Result{}))
}

func TestNewerVersionIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), File)
	s, err := Open(t.Context(), path)
	must(t, err)
	must(t, s.(*store).transact(t.Context(), func(tx executor) error {
		_, err := tx.exec(t.Context(), `PRAGMA user_version = 99`)
		return err
	}))
	must(t, s.Close())
	if _, err := Open(t.Context(), path); !errors.Is(err, ErrVersion) {
		t.Errorf("got %v", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	for _, place := range []string{"", dir, "postgres://u:secret@h:port/d", "postgres://u:secret@127.0.0.1:1/d"} {
		_, err := Open(t.Context(), place)
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", place, err)
		}
	}
}

func TestIDs(t *testing.T) {
	at := time.UnixMilli(1_469_918_176_385)
	if id := newID(at); len(id) != idLength || id[:10] != "01ARYZ6S41" { // the example of the ULID specification
		t.Errorf("id %s", id)
	}
	if a, b := newID(at), newID(at); a == b {
		t.Error("two equal ids")
	}
	if a, b := newID(at), newID(at.Add(time.Millisecond)); a >= b {
		t.Errorf("%s is not before %s", a, b)
	}
}
