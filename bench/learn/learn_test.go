// SPDX-License-Identifier: Apache-2.0

package learn

import (
	"encoding/json"
	"os"
	"slices"
	"testing"

	"github.com/millrace-ml/millrace/training/learn"
)

// chooseEnv asks for the choice of parameters, which takes ten minutes of two cores.
const chooseEnv = "MILLRACE_BENCH_CHOOSE"

// MILLRACE_BENCH_CHOOSE=1 go test -count=1 -v -timeout 2h -run Choose ./bench/learn
func TestChoose(t *testing.T) {
	if os.Getenv(chooseEnv) == "" {
		t.Skipf("takes ten minutes of two cores; %s=1 asks for it", chooseEnv)
	}
	l := NewLab(Options{Folder: t.TempDir(), Source: "../..", Data: "../../../shared/data", Progress: func(text string) { t.Log(text) }})
	chosen, err := Choose(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.MarshalIndent(chosen, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("chosen.json", append(text, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}

// What was chosen is there, was tried, and was the best of what was tried.
func TestChosenIsTheBestTried(t *testing.T) {
	list, err := loadCandidates()
	if err != nil {
		t.Fatal(err)
	}
	chosen, err := loadChosen()
	if err != nil {
		t.Fatal(err)
	}
	if len(chosen.Tried) != len(list) || !slices.Equal(chosen.Splits, validationStarts) {
		t.Fatalf("chosen.json has %d candidates on %v, candidates.yaml has %d: choose again, see Choose", len(chosen.Tried), chosen.Splits, len(list))
	}
	sums := map[string]float64{}
	for i, tried := range chosen.Tried {
		if tried.Name != list[i].Name || tried.Family != list[i].Family {
			t.Errorf("chosen.json has %q where candidates.yaml has %q: choose again, see Choose", tried.Name, list[i].Name)
		}
		sums[tried.Name] = tried.Sum
	}
	for _, tried := range chosen.Tried {
		if tried.Sum > sums[chosen.Best] || tried.Sum > sums[chosen.Families[tried.Family]] {
			t.Errorf("%s (%v) is better than what was chosen", tried.Name, tried.Sum)
		}
	}
}

// No split that is reported has days of one that parameters were chosen on, but for the
// first, whose training days the last choice was judged by: the protocol has it so.
func TestSplitsAreApart(t *testing.T) {
	if validationStarts[len(validationStarts)-1] >= testStarts[0] || singleStart[0] != testStarts[0] {
		t.Error(validationStarts, testStarts, singleStart)
	}
}

// Labels in features are those of rows before.
func TestLagsLookBack(t *testing.T) {
	table := &learn.Table{Labels: make([]float32, 3*halfHours)}
	for i := range table.Labels {
		table.Labels[i] = float32(i % 2)
	}
	earlier := slices.Clone(table.Labels)
	addLags(table)
	before := make([][]float32, len(table.Values))
	for f, values := range table.Values {
		before[f] = slices.Clone(values)
	}
	const at = 100
	changed := &learn.Table{Labels: earlier}
	for i := at; i < len(earlier); i++ {
		changed.Labels[i] = 1 - changed.Labels[i]
	}
	addLags(changed)
	for f := range before {
		if !slices.Equal(before[f][:at+1], changed.Values[f][:at+1]) {
			t.Errorf("feature %s of the rows up to %d changes with labels from there on", table.Features[f].Name, at)
		}
	}
	if table.Values[0][at] != table.Labels[at-1] || table.Values[len(table.Values)-1][at] != 0.5 {
		t.Errorf("row %d: %v, the share of rises %v", at, table.Values[0][at], table.Values[len(table.Values)-1][at])
	}
}

func TestCachedPipelineIsCached(t *testing.T) {
	if text := manyTasks(12); len(text) < 100 {
		t.Error(text)
	}
	n, err := cachedTasks([]byte(`{"status":"succeeded","tasks":[{"task":"a","status":"cached"},{"task":"b","status":"succeeded"}]}`))
	if n != 1 || err != nil {
		t.Errorf("%d cached tasks, %v", n, err)
	}
	if _, err := checkRun([]byte(`{"status":"failed","tasks":[{"task":"a","status":"failed"}]}`)); err == nil {
		t.Error("a failed run is not refused")
	}
}
