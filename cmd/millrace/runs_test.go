// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/training/runs"
)

// logOfRuns writes two finished runs and a failed one, and returns the state folder and
// the ids.
func logOfRuns(t *testing.T) (state string, ids []string) {
	t.Helper()
	state = t.TempDir()
	store, err := runs.Open(t.Context(), filepath.Join(state, runs.File))
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(err)
	for i, depth := range []int{6, 8} {
		w, err := store.Start(t.Context(), runs.Run{Experiment: "fraud", Name: "trees\tdeep", Method: "trees", Parameters: map[string]any{"max_depth": depth, "rate": 0.1}})
		check(err)
		for step := range 100 {
			check(w.LogMetrics(t.Context(), step, map[string]float64{"valid_loss": 1 / float64(step+1)}))
		}
		lower, upper := 0.81, 0.89
		check(w.Finish(t.Context(), runs.Result{
			Metrics:  map[string]runs.Metric{"roc_auc": {Value: 0.85 + float64(i)/100, Lower: &lower, Upper: &upper}},
			Artifact: runs.Artifact{Path: "models/fraud/1", Digest: "sha256:abc"},
		}))
		ids = append(ids, w.ID())
	}
	w, err := store.Start(t.Context(), runs.Run{Experiment: "other", Method: "linear"})
	check(err)
	check(w.Fail(t.Context(), errors.New("labels of one class"), runs.Result{}))
	check(store.Close())
	return state, append(ids, w.ID())
}

func TestRuns(t *testing.T) {
	state, ids := logOfRuns(t)
	run := func(args ...string) string {
		t.Helper()
		status, stdout, stderr := runCommand(t, "", append(append([]string{"runs"}, args...), "--state", state)...)
		if status != exitOK {
			t.Fatalf("%v: status %d: %s", args, status, stderr)
		}
		return stdout
	}
	has := func(output string, lines ...string) {
		t.Helper()
		words := strings.Join(strings.Fields(output), " ")
		for _, line := range lines {
			if !strings.Contains(words, line) {
				t.Errorf("%q is not in\n%s", line, output)
			}
		}
	}
	list := run("list")
	has(list, "EXPERIMENT METHOD NAME roc_auc", "finished fraud trees trees deep 0.86", "failed other linear -")
	if lines := strings.Split(strings.TrimSpace(list), "\n"); len(lines) != 4 || !strings.HasPrefix(lines[1], ids[2]) {
		t.Errorf("the newest is not first:\n%s", list)
	}
	best := run("list", "--sort", "metrics.roc_auc", "--where", "params.max_depth > 2", "--limit", "1", "--columns", "params.max_depth")
	has(best, "NAME roc_auc params.max_depth", "0.86 8")
	if strings.Contains(best, ids[0]) {
		t.Errorf("more than the best:\n%s", best)
	}
	has(run("list", "--experiment", "none"), "no runs")
	var answer []runs.Run
	if err := json.Unmarshal([]byte(run("list", "--status", "failed", "--json")), &answer); err != nil || len(answer) != 1 || answer[0].ID != ids[2] {
		t.Errorf("JSON: %v %+v", err, answer)
	}
	has(run("show", ids[0]), "status finished", "artefact models/fraud/1 sha256:abc", "max_depth 6", "roc_auc 0.85 (0.81 to 0.89)", "valid_loss 1 0.01 0.01 1 0 to 99 ▆▃▂▂▂▁")
	has(run("show", ids[2]), "labels of one class")
	has(run("compare", ids[0], ids[1]), ids[0]+" "+ids[1], "params.max_depth 6 8", "metrics.roc_auc 0.85 (0.81 to 0.89) 0.86 (0.81 to 0.89)")
	if text := run("compare", ids[0], ids[1]); strings.Contains(text, "rate") {
		t.Errorf("what does not differ is shown:\n%s", text)
	}
	has(run("delete", ids[0]), "deleted 1 run")
	if text := run("list"); strings.Contains(text, ids[0]) {
		t.Errorf("a deleted run:\n%s", text)
	}
}

func TestRunsMistakes(t *testing.T) {
	state, ids := logOfRuns(t)
	for _, c := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{"list", "--state", t.TempDir()}, exitFailure, "there is no log of experiments"},
		{[]string{"list", "--state", state, "--store", "x"}, exitUsage, "not both"},
		{[]string{"list", "--state", state, "--where", "auc > 1"}, exitUsage, `no field "auc"`},
		{[]string{"list", "--state", state, "--sort", "auc"}, exitUsage, "metrics.NAME"},
		{[]string{"list", "--state", state, "--status", "done"}, exitUsage, "no status"},
		{[]string{"show", "--state", state, "01"}, exitFailure, "several ids"},
		{[]string{"show", "--state", state, "7Z"}, exitFailure, "no such run"},
		{[]string{"compare", "--state", state, ids[0]}, exitUsage, "between 2 and 50"},
	} {
		status, _, stderr := runCommand(t, "", append([]string{"runs"}, c.args...)...)
		if status != c.status || !strings.Contains(stderr, c.want) {
			t.Errorf("%v: status %d: %s", c.args, status, stderr)
		}
	}
}
