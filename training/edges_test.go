// SPDX-License-Identifier: Apache-2.0

package training

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/training/learn"
	"github.com/millrace-ml/millrace/training/split"
)

// lines writes a file of JSON lines.
func lines(t *testing.T, rows []string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "train.jsonl")
	if err := os.WriteFile(path, []byte(strings.Join(rows, "\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestCategoriesAreThoseOfRequests: a request has 32-bit numbers, and no text is an empty
// one in it.
func TestCategoriesAreThoseOfRequests(t *testing.T) {
	var rows []string
	for i := range 40 {
		text := []string{`"a"`, `""`, `null`, `"b"`}[i%4]
		rows = append(rows, `{"kind": `+text+`, "code": `+strconv.Itoa(16_777_216+i%3)+`, "ratio": `+[]string{"-0.0", "0.1", "0.10000000001"}[i%3]+`, "yes": `+strconv.Itoa(i/7%2)+`}`)
	}
	s := specOf(t, func(s *Spec) {
		s.Label, s.Time, s.Carry, s.Exclude, s.Categorical = "yes", "", nil, nil, []string{"code", "ratio"}
	})
	d, err := Read(context.Background(), s, lines(t, rows))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range d.Table.Features {
		want := map[string][]string{"kind": {"a", "b"}, "code": {"16777216", "16777218"}, "ratio": {"0", "0.1"}}[f.Name]
		if !slices.Equal(f.Categories, want) {
			t.Errorf("%s has the categories %q, want %q", f.Name, f.Categories, want)
		}
	}
	if len(d.Warnings) != 1 || !strings.Contains(d.Warnings[0], "code") {
		t.Errorf("warnings %q", d.Warnings)
	}
	built(t, optionsOf(s, d.Path))
}

// TestFeaturesMayHaveAnyName: names of the graph's own values make way for users' ones.
func TestFeaturesMayHaveAnyName(t *testing.T) {
	c := payments(400)
	c.header = []string{"time", "customer", "codes", "Gather", "channel", "fraud"}
	c.header[4] = "features"
	built(t, optionsOf(specOf(t, nil), c.write(t)))
	c.header[4] = "codes_2"
	built(t, optionsOf(specOf(t, nil), c.write(t)))
	for _, name := range []string{LabelName, ProbabilitiesName} {
		c.header[2] = name
		if _, err := Build(context.Background(), optionsOf(specOf(t, nil), c.write(t))); !errors.Is(err, ErrSpec) || !strings.Contains(err.Error(), name+" has the name of an output") {
			t.Errorf("%s: %v", name, err)
		}
	}
	twice := specOf(t, func(s *Spec) { s.Features = []string{"codes_2", "Gather", "Gather"} })
	if _, err := Build(context.Background(), optionsOf(twice, c.write(t))); !errors.Is(err, ErrSpec) || !strings.Contains(err.Error(), "Gather is listed twice") {
		t.Errorf("%v", err)
	}
}

// TestCalibrationIsOfTheRowsAsTheyAre: weights of classes do not bend probabilities that
// were calibrated.
func TestCalibrationIsOfTheRowsAsTheyAre(t *testing.T) {
	mean := Metric{Name: "mean", Higher: true, Compute: func(t *learn.Table, p []float32) (float64, error) {
		sum := 0.0
		for i, x := range p {
			sum += float64(x - t.Labels[i])
		}
		return sum / float64(len(p)), nil
	}}
	o := optionsOf(specOf(t, func(s *Spec) {
		s.ClassWeights.Balanced, s.Time, s.Exclude, s.Calibrate.Method = true, "", []string{"time", "customer"}, "platt"
	}), payments(4000).write(t))
	o.Metrics = append(o.Metrics, mean)
	for _, c := range built(t, o).Candidates {
		if d := c.Metrics["mean"]; !(math.Abs(d) < 0.04) {
			t.Errorf("%s: predictions exceed labels by %v on average", c.Name, d)
		}
	}
}

func TestGroupsAndTimesStayTogether(t *testing.T) {
	groups := specOf(t, func(s *Spec) {
		s.Group, s.Split, s.Calibrate.Method, s.Final.Valid = "customer", &split.Plan{Method: split.MethodGroup}, "platt", 0.2
	})
	times := specOf(t, func(s *Spec) { s.Calibrate.Method, s.Final.Valid = "platt", 0.2 })
	shared := payments(900)
	for i, row := range shared.rows { // few times, each of many rows
		row[0] = "2026-01-" + strconv.Itoa(10+i/90) + "T00:00:00Z"
	}
	for name, s := range map[string]*Spec{"groups": groups, "times": times} {
		b := &builder{Options: optionsOf(s, shared.write(t))}
		if err := b.prepare(context.Background()); err != nil {
			t.Fatal(err)
		}
		for i := range b.folds {
			f := b.partsOf(&b.folds[i])
			seen := map[int64]int{}
			for i, part := range []*learn.Table{f.train, f.valid, f.calibrate, f.test} {
				for row := range part.Rows() {
					key := part.Times[row]
					if name == "groups" {
						key = int64(part.Groups[row])
					}
					if before, ok := seen[key]; ok && before != i {
						t.Fatalf("%s: %d is in parts %d and %d", name, key, before, i)
					}
					seen[key] = i
				}
			}
		}
	}
	one := payments(50)
	one.set("time", "2026-01-01T00:00:00Z")
	if _, err := Build(context.Background(), optionsOf(specOf(t, nil), one.write(t))); !errors.Is(err, learn.ErrData) || !strings.Contains(err.Error(), "one time or group") {
		t.Errorf("rows of one time: %v", err)
	}
}

// TestLastLabel: a stream's baseline follows the labels, and is never chosen.
func TestLastLabel(t *testing.T) {
	c := payments(600)
	for i, row := range c.rows {
		row[0], row[5] = strconv.Itoa(i), strconv.Itoa(i/20%2)
	}
	plan, err := split.Parse([]byte("{method: prequential, train: 200 rows, test: 100 rows}"))
	if err != nil {
		t.Fatal(err)
	}
	r := built(t, optionsOf(specOf(t, func(s *Spec) { s.Split = plan }), c.write(t)))
	i := slices.IndexFunc(r.Candidates, func(c CandidateScore) bool { return c.Name == baselineLast })
	if i < 0 || !(r.Candidates[i].Metrics["roc_auc"] > 0.9) || r.Chosen == baselineLast || len(r.Warnings) == 0 {
		t.Errorf("chose %s of %+v; warnings %q", r.Chosen, r.Candidates, r.Warnings)
	}
}

// TestFilesThatCostTooMuch: small files do not take all memory or the stack.
func TestFilesThatCostTooMuch(t *testing.T) {
	var bomb strings.Builder
	bomb.WriteString("x0: &a0 [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]\n")
	for i := 1; i < 10; i++ {
		list := strings.Repeat("*a"+strconv.Itoa(i-1)+", ", 9) + "*a" + strconv.Itoa(i-1)
		bomb.WriteString("x" + strconv.Itoa(i) + ": &a" + strconv.Itoa(i) + " [" + list + "]\n")
	}
	for name, text := range map[string]string{
		"aliases":    bomb.String() + "trainings: {a: {label: x, metrics: *a9}}\n",
		"redefined":  "a: &a [1]\nb: &a [2]\ntrainings: {a: {label: x}}\n",
		"nested":     "trainings: {a: {label: x, metrics: " + strings.Repeat("[", 200_000) + strings.Repeat("]", 200_000) + "}}",
		"in a block": "trainings:\n  a:\n    metrics:\n      " + strings.Repeat("- ", 100_000) + "1\n",
	} {
		if _, err := Parse("training.yaml", []byte(text)); !errors.Is(err, ErrSpec) || len(err.Error()) > 500 {
			t.Errorf("%s: %.300v", name, err)
		}
	}
	shared := "trainings:\n  a: &a {label: x, features: &f [p, q]}\n  b: {label: y, features: *f}\n"
	specs, err := Parse("training.yaml", []byte(shared))
	if err != nil || len(specs["b"].Features) != 2 {
		t.Errorf("a shared list: %+v, %v", specs["b"], err)
	}
}

// TestColumnsThatCannotBeLearnt: texts without a value, and labels that 32 bits do not hold.
func TestColumnsThatCannotBeLearnt(t *testing.T) {
	var rows []string
	for i := range 60 {
		rows = append(rows, `{"text": "", "x": `+strconv.Itoa(i%7)+`, "yes": `+strconv.Itoa(i%2)+`, "far": `+strconv.Itoa(1_000_000_000+i)+`}`)
	}
	path := lines(t, rows)
	for name, test := range map[string]struct {
		change func(*Spec)
		text   string
	}{
		"empty texts": {func(s *Spec) { s.Label, s.Features = "yes", []string{"x", "text"} }, "text has no value in any row"},
		"far labels": {func(s *Spec) {
			s.Task, s.Label, s.Features, s.Metric, s.Candidates = "regression", "far", []string{"x"}, "rmse", nil
		}, "subtract a constant"},
	} {
		s := specOf(t, func(s *Spec) {
			s.Time, s.Carry, s.Exclude = "", nil, nil
			test.change(s)
		})
		if _, err := Build(context.Background(), optionsOf(s, path)); !errors.Is(err, learn.ErrData) || !strings.Contains(err.Error(), test.text) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestStagedFoldersOfTheDeadAreRemoved(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	for name, age := range map[string]time.Duration{".staged-old": 2 * stagedFor, ".staged-new": time.Minute, "1": 2 * stagedFor, "notes": 2 * stagedFor} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.Mkdir(path, 0o755), os.Chtimes(path, now.Add(-age), now.Add(-age))); err != nil {
			t.Fatal(err)
		}
	}
	if err := RemoveStaged(dir, now); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 3 || entries[0].Name() != ".staged-new" {
		t.Errorf("left %v, %v", entries, err)
	}
}
