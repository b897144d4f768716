// SPDX-License-Identifier: Apache-2.0

package training

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/engine/native"
	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/training/learn"
	"github.com/millrace-ml/millrace/training/runs"
)

// table is a CSV file in the making.
type table struct {
	header []string
	rows   [][]string
}

func (c *table) write(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "train.csv")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w := csv.NewWriter(f)
	if err := errors.Join(w.Write(c.header), w.WriteAll(c.rows), f.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

func (c *table) set(column, value string) {
	i := slices.Index(c.header, column)
	for _, row := range c.rows {
		row[i] = value
	}
}

// payments are rows whose risk depends on amount, hour and channel; some hours are missing.
func payments(rows int) *table {
	r := rand.New(rand.NewPCG(1, 2))
	c := &table{header: []string{"time", "customer", "amount", "hour", "channel", "fraud"}}
	for i := range rows {
		amount, hour := math.Exp(3+r.NormFloat64()), r.IntN(24)
		channel := []string{"web", "pos", "atm"}[r.IntN(3)]
		z := -3 + amount/40
		if channel == "web" {
			z++
		}
		if hour < 6 {
			z += 1.5
		}
		fraud := "0"
		if r.Float64() < 1/(1+math.Exp(-z)) {
			fraud = "1"
		}
		hourText := strconv.Itoa(hour)
		if r.IntN(10) == 0 {
			hourText = ""
		}
		c.rows = append(c.rows, []string{
			fmt.Sprintf("2026-01-%02dT%02d:%02d:00Z", 1+i*28/rows, i%24, i%60), strconv.Itoa(r.IntN(50)),
			strconv.FormatFloat(amount, 'f', 2, 64), hourText, channel, fraud,
		})
	}
	return c
}

var rocAUC = Metric{Name: "roc_auc", Higher: true, Compute: func(t *learn.Table, p []float32) (float64, error) {
	if t.Task != learn.Binary {
		return math.NaN(), nil
	}
	auc, positives := areaUnderCurve(p, t.Labels)
	if positives == 0 || positives == len(p) {
		return math.NaN(), nil
	}
	return auc, nil
}}

var squaredError = Metric{Name: "rmse", Compute: func(t *learn.Table, p []float32) (float64, error) {
	sum := 0.0
	if t.Task == learn.Multiclass {
		return math.NaN(), nil
	}
	for i, label := range t.Labels {
		sum += math.Pow(float64(label-p[i]), 2)
	}
	return math.Sqrt(sum / float64(len(p))), nil
}}

var accuracy = Metric{Name: "accuracy", Higher: true, Compute: func(t *learn.Table, p []float32) (float64, error) {
	right, n := 0.0, t.Outputs()
	if t.Task != learn.Multiclass {
		return math.NaN(), nil
	}
	for row, label := range t.Labels {
		z := p[row*n : (row+1)*n]
		if float32(slices.Index(z, slices.Max(z))) == label {
			right++
		}
	}
	return right / float64(t.Rows()), nil
}}

func specOf(t *testing.T, change func(*Spec)) *Spec {
	t.Helper()
	s := &Spec{Name: "fraud", Label: "fraud", Time: "time", Carry: []string{"customer"}, Exclude: []string{"customer"}, Metric: "roc_auc"}
	s.Candidates = []Candidate{
		{Method: "logistic"}, {Method: "trees", Parameters: learn.Values{"trees": 30, "max_depth": 3}},
	}
	if change != nil {
		change(s)
	}
	s.EnsureDefaults()
	if err := s.Validate(); err != nil {
		t.Fatal(err)
	}
	return s
}

func optionsOf(s *Spec, data string) Options {
	return Options{Spec: s, Data: data, Metrics: []Metric{rocAUC, squaredError, accuracy}, Backend: native.Backend{}, Version: "test"}
}

func built(t *testing.T, o Options) *Result {
	t.Helper()
	r, err := Build(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestBuild(t *testing.T) {
	o := optionsOf(specOf(t, func(s *Spec) { s.Rule = "amount > 100" }), payments(4000).write(t))
	o.Output = filepath.Join(t.TempDir(), "models", "fraud")
	r := built(t, o)
	var names []string
	best := 0.0
	for _, c := range r.Candidates {
		if c.Error != "" {
			t.Errorf("%s: %s", c.Name, c.Error)
		}
		names = append(names, c.Name)
		best = max(best, c.Metrics["roc_auc"])
	}
	if want := []string{baselineConstant, baselineTree, baselineRule, "logistic", "trees"}; !slices.Equal(names, want) {
		t.Errorf("candidates %v, want %v", names, want)
	}
	if r.Value != best || best < 0.75 || len(r.Warnings) > 0 {
		t.Errorf("chose %s with %v; the best is %v; warnings %q", r.Chosen, r.Value, best, r.Warnings)
	}
	if r.Candidates[0].Metrics["roc_auc"] != 0.5 {
		t.Errorf("the constant has %v", r.Candidates[0].Metrics)
	}
	for _, name := range []string{modelFile, ManifestFile, CardMarkdown, CardHTML} {
		if info, err := os.Stat(filepath.Join(r.Path, name)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	if second := built(t, o); filepath.Base(r.Path) != "1" || filepath.Base(second.Path) != "2" || r.SHA256 != second.SHA256 {
		t.Errorf("versions %s, %s with hashes %s, %s", r.Path, second.Path, r.SHA256, second.SHA256)
	}
	entries, err := os.ReadDir(o.Output)
	if err != nil || len(entries) != 2 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

func TestReproduce(t *testing.T) {
	data := payments(1500)
	o := optionsOf(specOf(t, func(s *Spec) { s.Seed, s.Calibrate.Method = 7, "isotonic" }), data.write(t))
	o.Output = t.TempDir()
	r := built(t, o)
	m, err := ReadManifest(filepath.Join(r.Path, ManifestFile))
	if err != nil {
		t.Fatal(err)
	}
	for _, workers := range []int{1, 3} {
		again, err := Reproduce(context.Background(), m, Options{Backend: native.Backend{}, Version: "test", Workers: workers})
		if err != nil || again.SHA256 != r.SHA256 {
			t.Errorf("%d workers: %v, %v", workers, again, err)
		}
	}
	data.rows[3][2] = "1.23"
	if _, err := Reproduce(context.Background(), m, Options{Backend: native.Backend{}, Data: data.write(t)}); !errors.Is(err, ErrManifest) {
		t.Errorf("other data: %v", err)
	}
	path := filepath.Join(r.Path, ManifestFile)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(text), `"seed": 7`, `"seed": 8`, 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadManifest(path); !errors.Is(err, ErrManifest) {
		t.Errorf("a changed manifest: %v", err)
	}
}

// TestServedForm checks what a client sees: inputs, outputs and the signature.
func TestServedForm(t *testing.T) {
	for name, test := range map[string]struct {
		change  func(*Spec)
		inputs  []string
		outputs []string
	}{
		"texts":      {nil, []string{"amount", "hour", "channel"}, []string{LabelName, ProbabilitiesName}},
		"numbers":    {func(s *Spec) { s.Features = []string{"amount", "hour"} }, []string{InputName}, []string{LabelName, ProbabilitiesName}},
		"categories": {func(s *Spec) { s.Features, s.Categorical = []string{"amount", "hour"}, []string{"hour"} }, []string{InputName}, []string{LabelName, ProbabilitiesName}},
		"classes": {func(s *Spec) {
			s.Task, s.Label, s.Features, s.Metric = "multiclass", "channel", []string{"amount", "hour"}, "accuracy"
		}, []string{InputName}, []string{LabelName, ProbabilitiesName}},
		"regression": {func(s *Spec) {
			s.Task, s.Label, s.Features, s.Metric = "regression", "amount", []string{"hour", "fraud"}, "rmse"
			s.Candidates[0].Method = "linear"
		}, []string{InputName}, []string{PredictionName}},
	} {
		t.Run(name, func(t *testing.T) {
			o := optionsOf(specOf(t, test.change), payments(1000).write(t))
			o.Output = t.TempDir()
			r := built(t, o)
			m, err := onnx.ReadFile(filepath.Join(r.Path, modelFile), onnx.ReadOptions{})
			if err != nil {
				t.Fatal(err)
			}
			var inputs, outputs []string
			for _, in := range m.Graph.Inputs {
				inputs = append(inputs, in.Name)
			}
			for _, out := range m.Graph.Outputs {
				outputs = append(outputs, out.Name)
			}
			if !slices.Equal(inputs, test.inputs) || !slices.Equal(outputs, test.outputs) {
				t.Errorf("inputs %v, outputs %v", inputs, outputs)
			}
			s, err := ReadSignature(m)
			if err != nil || s == nil || s.Task != o.Spec.Task || s.Label != o.Spec.Label {
				t.Errorf("signature %+v, %v", s, err)
			}
		})
	}
}

func TestSearchIsResumed(t *testing.T) {
	store, err := runs.Open(context.Background(), filepath.Join(t.TempDir(), runs.File))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	data := payments(800).write(t)
	search := func(trials int) (*Result, int) {
		fits := 0
		o := optionsOf(specOf(t, func(s *Spec) {
			s.Candidates = []Candidate{{Method: "trees", Parameters: learn.Values{"trees": 5}, Search: &Search{Trials: trials}}}
		}), data)
		o.Runs = store
		o.Progress = func(phase string, _, _ int) {
			if strings.HasPrefix(phase, "search") {
				fits++
			}
		}
		return built(t, o), fits
	}
	if _, fits := search(3); fits != 3 {
		t.Fatalf("%d trials", fits)
	}
	r, fits := search(5)
	if fits != 2 {
		t.Errorf("%d trials after 3 of 5 had been made", fits)
	}
	if r.Run == "" || r.Candidates[2].Trials != 5 {
		t.Errorf("run %q, %d trials", r.Run, r.Candidates[2].Trials)
	}
	run, err := store.Get(context.Background(), r.Run)
	if err != nil || run.Status != runs.Finished || run.Metrics["roc_auc"].Value != r.Value {
		t.Errorf("logged %+v, %v", run, err)
	}
}

func TestPredictionsAreWritten(t *testing.T) {
	o := optionsOf(specOf(t, nil), payments(500).write(t))
	o.Predictions = filepath.Join(t.TempDir(), "predictions.parquet")
	built(t, o)
	s := specOf(t, func(s *Spec) { s.Label, s.Time, s.Carry, s.Exclude = "label", "time", nil, nil })
	d, err := Read(context.Background(), s, o.Predictions)
	if err != nil {
		t.Fatal(err)
	}
	if d.Table.Rows() != 100 { // the last fifth
		t.Errorf("%d rows", d.Table.Rows())
	}
	for _, name := range []string{"fold", "customer", "score_trees", "score_baseline_constant"} {
		if !slices.ContainsFunc(d.Table.Features, func(f learn.Feature) bool { return f.Name == name }) {
			t.Errorf("there is no column %s", name)
		}
	}
}

func TestRefusals(t *testing.T) {
	change := func(f func(*table)) *table {
		c := payments(600)
		f(c)
		return c
	}
	for name, test := range map[string]struct {
		data   *table
		change func(*Spec)
		want   error
		text   string
	}{
		"missing column":    {payments(50), func(s *Spec) { s.Features = []string{"nothing"} }, ErrSpec, `no column "nothing"`},
		"missing label":     {payments(50), func(s *Spec) { s.Label = "truth" }, ErrSpec, `no column "truth"`},
		"one class":         {change(func(c *table) { c.set("fraud", "0") }), nil, learn.ErrData, "nothing to tell apart"},
		"no label in a row": {change(func(c *table) { c.rows[6][5] = "" }), nil, learn.ErrData, "row 7 has no label"},
		"all missing":       {change(func(c *table) { c.set("hour", "") }), func(s *Spec) { s.Categorical = nil; s.Features = []string{"amount", "hour"} }, nil, ""},
		"leak": {change(func(c *table) {
			for _, row := range c.rows {
				row[3] = row[5]
			}
		}), func(s *Spec) { s.Features = []string{"amount", "hour"} }, learn.ErrData, "hour alone tells the label"},
		"label as feature": {payments(50), func(s *Spec) { s.Features = []string{"amount", "fraud"} }, ErrSpec, "listed as a feature"},
		"unknown metric":   {payments(50), func(s *Spec) { s.Metric = "gini" }, ErrSpec, `"gini"`},
		"no rows":          {&table{header: payments(1).header}, nil, nil, ""},
		"three classes":    {change(func(c *table) { c.rows[0][5] = "2" }), nil, learn.ErrData, "3 classes"},
		"class in no test": {change(func(c *table) {
			for _, row := range c.rows[400:] {
				row[5] = "0"
			}
		}), nil, learn.ErrData, "not defined on any fold"},
	} {
		t.Run(name, func(t *testing.T) {
			o := optionsOf(specOf(t, test.change), test.data.write(t))
			o.Output = filepath.Join(t.TempDir(), "m")
			_, err := Build(context.Background(), o)
			if err == nil || test.want != nil && !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.text) {
				t.Fatalf("%v", err)
			}
			if entries, _ := os.ReadDir(o.Output); len(entries) > 0 {
				t.Errorf("left %v", entries)
			}
		})
	}
}

func TestTrustedFeature(t *testing.T) {
	c := payments(600)
	for _, row := range c.rows {
		row[3] = row[5]
	}
	r := built(t, optionsOf(specOf(t, func(s *Spec) { s.Trust = []string{"hour"} }), c.write(t)))
	if r.Value < 0.99 {
		t.Errorf("value %v", r.Value)
	}
}

func TestSpecs(t *testing.T) {
	good := `
trainings:
  fraud:
    label: fraud
    class_weights: balanced
    monotone: {amount: 1}
    split: {method: time, test: 7d}
    candidates:
      - {method: logistic, parameters: {l2: 0.5}}
      - {name: deep, method: trees, parameters: {max_depth: 8}, search: {trials: 10, time: 2m, space: {learning_rate: {float: [0.01, 0.3], log: true}}}}
`
	specs, err := Parse("training.yaml", []byte(good))
	if err != nil {
		t.Fatal(err)
	}
	s := specs["fraud"]
	if s.Metric != "average_precision" || !s.ClassWeights.Balanced || s.Candidates[0].Name != "logistic" || s.Candidates[1].Search.Parallel != 1 {
		t.Errorf("%+v", s)
	}
	for text, want := range map[string]string{
		"trainings: {a: {}}":                                                                "trainings.a.label: is missing",
		"trainings: {a: {label: x, lable: y}}":                                              "lable",
		"trainings: {a: {label: x, task: guess}}":                                           `no task "guess"`,
		"trainings: {a: {label: x, candidates: [{method: magic}]}}":                         `no method "magic"`,
		"trainings: {a: {label: x, candidates: [{method: trees, parameters: {depth: 1}}]}}": `no parameter "depth"`,
		"trainings: {a: {label: x, candidates: [{method: trees}, {method: trees}]}}":        "is taken",
		"trainings: {a: {label: x, candidates: [{method: trees, search: {trials: 0}}]}}":    "trials is 0",
		"trainings: {a: {label: x, calibrate: {method: guess}}}":                            `"guess" is none of`,
		"trainings: {a: {label: x, final: {valid: 0.9}}}":                                   "final.valid",
		"trainings: {a: {label: x, class_weights: {a: -1}}}":                                "class_weights.a",
		"trainings: {a: {label: x, task: regression, candidates: [{method: logistic}]}}":    "does not learn",
		"trainings: {}": "nothing under trainings",
		"trainings: {a: {label: x, candidates: [{method: last_label}]}}": "cannot be served",
		"trainings: [": "training.yaml",
		"trainings: {a: {label: x, candidates: [{name: baseline_constant, method: logistic}]}}": "is taken",
	} {
		if _, err := Parse("training.yaml", []byte(text)); !errors.Is(err, ErrSpec) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	o := optionsOf(specOf(t, nil), payments(500).write(t))
	o.Output = t.TempDir()
	o.Progress = func(phase string, _, _ int) {
		if strings.HasPrefix(phase, "trees") {
			cancel()
		}
	}
	if _, err := Build(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if entries, _ := os.ReadDir(o.Output); len(entries) > 0 {
		t.Errorf("left %v", entries)
	}
}
