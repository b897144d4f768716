// SPDX-License-Identifier: Apache-2.0

package evaluation

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/evaluation/gate"
	"github.com/millrace-ml/millrace/evaluation/metric"
	"github.com/millrace-ml/millrace/evaluation/report"
)

// obviousAUC counts the pairs.
func obviousAUC(scores []float64, labels []bool) float64 {
	won, pairs := 0., 0.
	for i, positive := range labels {
		for j := range labels {
			if positive && !labels[j] {
				pairs++
				if scores[i] > scores[j] {
					won++
				} else if scores[i] == scores[j] {
					won += 0.5
				}
			}
		}
	}
	return won / pairs
}

// TestEvaluatesAgainstChampion goes from files to a verdict, and checks numbers against
// those computed from the formula that made the data.
func TestEvaluatesAgainstChampion(t *testing.T) {
	w := newWorld(t, 1500)
	o := w.options()
	o.NoLatency = false
	o.Spec.Gates = []gate.Gate{
		gateOf("roc_auc", func(g *gate.Gate) { g.AtLeast = number(0.8) }),
		gateOf("roc_auc", func(g *gate.Gate) { g.Better = true }),
		gateOf("average_precision", func(g *gate.Gate) { g.NotWorseThan = number(0.01) }),
		gateOf("roc_auc", func(g *gate.Gate) { g.EverySlice, g.NotWorseThan = true, number(0.2) }),
		gateOf("roc_auc", func(g *gate.Gate) { g.Slice, g.LowAtLeast = "channel=web", number(0.7) }),
		gateOf("roc_auc", func(g *gate.Gate) { g.BeatsBaselines = true }),
		gateOf("model_bytes", func(g *gate.Gate) { g.AtMost = number(10000) }),
		gateOf("latency_p99_micros", func(g *gate.Gate) { g.AtMost = number(1e9) }),
		gateOf("", func(g *gate.Gate) { g.Leakage = "none" }),
	}
	r := evaluate(t, o)
	if r.Verdict != report.Pass {
		t.Errorf("the verdict is %s: %+v", r.Verdict, r.Gates)
	}
	rows := payments(2, 1500, r.Data.From.UTC())
	var scores, old []float64
	var labels []bool
	for _, p := range rows {
		scores, old, labels = append(scores, p.score), append(old, p.old), append(labels, p.fraud)
	}
	auc := metricNamed(t, r.Metrics, "roc_auc")
	for what, pair := range map[string][2]float64{
		"model": {*auc.Value.Value, obviousAUC(scores, labels)}, "champion": {*auc.Against.Value, obviousAUC(old, labels)},
		"difference": {*auc.Difference.Value, obviousAUC(scores, labels) - obviousAUC(old, labels)},
	} {
		if math.Abs(pair[0]-pair[1]) > 1e-4 { // the models compute in 32 bits, which makes ties
			t.Errorf("ROC AUC of the %s is %v, want %v", what, pair[0], pair[1])
		}
	}
	if !(*auc.Value.Low < *auc.Value.Value && *auc.Value.Value < *auc.Value.High) || auc.Value.Level != 0.95 {
		t.Errorf("the interval is %+v", auc.Value)
	}
	if r.Data.Rows != 1500 || r.Data.Clusters == 0 || r.Data.Positives == 0 || r.Data.SHA256 == "" || r.Model.SHA256 == "" ||
		r.Model.Version != "2" || r.Against.Version != "1" || r.Model.Latency == nil || r.Model.Latency.RowP50Micros <= 0 || r.Model.Latency.RowsPerSecond <= 0 {
		t.Errorf("what was evaluated is %+v of %+v", r.Data, r.Model)
	}
	for _, name := range []string{"paired_bootstrap", "delong", "mcnemar"} {
		at := slices.IndexFunc(r.Tests, func(x report.Test) bool { return x.Name == name && x.Slice == "" })
		if at < 0 || r.Tests[at].P == nil || *r.Tests[at].P > 0.05 {
			t.Errorf("the test %s did not tell a good model from a poor one: %+v", name, r.Tests)
		}
	}
	if len(r.Plots.ROC) != 2 || len(r.Plots.PrecisionRecall) != 2 || len(r.Plots.Reliability) != 2 || r.Plots.Confusion == nil || len(r.Plots.Scores) != 2 {
		t.Errorf("plots are missing: %+v", r.Plots)
	}
}

func TestSlicesAreSortedByRegret(t *testing.T) {
	w := newWorld(t, 1500)
	r := evaluate(t, w.options())
	last, names, adjusted := math.Inf(1), map[string]report.Slice{}, 0
	for _, s := range r.Slices {
		names[s.Name] = s
		if s.Skipped != "" {
			last = math.Inf(-1)
			continue
		}
		regret := -*s.Metrics[0].Difference.Value
		if regret > last {
			t.Errorf("slice %s has a regret of %v after %v", s.Name, regret, last)
		}
		last = regret
	}
	for _, name := range []string{"channel=web", "channel=pos", "channel=atm", "amount > 1"} {
		if names[name].Rows == 0 {
			t.Errorf("no slice %s", name)
		}
	}
	if n := names["channel=web"].Rows + names["channel=pos"].Rows + names["channel=atm"].Rows; n != 1500 {
		t.Errorf("the channels have %d rows of 1500", n)
	}
	bins, crosses := 0, 0
	for name, s := range names {
		switch {
		case strings.Contains(name, " and night in ["):
			crosses++
		case strings.HasPrefix(name, "amount in ["):
			bins++
			if s.Rows < 400 || s.Rows > 600 {
				t.Errorf("%s has %d rows, a third of 1500 is 500", name, s.Rows)
			}
		}
	}
	if bins != 3 || crosses == 0 {
		t.Errorf("%d bins and %d crosses", bins, crosses)
	}
	for _, x := range r.Tests {
		if x.Slice != "" && x.Adjusted != nil {
			adjusted++
			if *x.Adjusted < *x.P {
				t.Errorf("adjusted %v under %v", *x.Adjusted, *x.P)
			}
		}
	}
	if adjusted == 0 {
		t.Error("no test of a slice is adjusted")
	}
}

// TestSameWithAnyWorkers is V3.
func TestSameWithAnyWorkers(t *testing.T) {
	w := newWorld(t, 600)
	var first *report.Report
	for _, workers := range []int{1, 3} {
		o := w.options()
		o.Workers = workers
		r := evaluate(t, o)
		if first == nil {
			first = r
		} else if !reflect.DeepEqual(first, r) {
			t.Errorf("%d workers give another report", workers)
		}
	}
}

// TestColumnsInPlaceOfModels gives the same numbers by columns of scores as by models.
func TestColumnsInPlaceOfModels(t *testing.T) {
	w := newWorld(t, 600)
	byModel := evaluate(t, w.options())
	o := w.options()
	o.Spec.Model, o.Spec.Against, o.Spec.Score, o.Spec.AgainstScore = "", "", "score", "old"
	byColumn := evaluate(t, o)
	for i, m := range byModel.Metrics {
		if a, b := *m.Value.Value, *byColumn.Metrics[i].Value.Value; math.Abs(a-b) > 1e-4 {
			t.Errorf("%s is %v by the model and %v by the column", m.Name, a, b)
		}
	}
}

func TestWaysToNameAModel(t *testing.T) {
	w := newWorld(t, 300)
	state := filepath.Join(w.folder, "state.json")
	writeFile(t, state, []byte(`{"format":1,"models":{"fraud":{"aliases":{"champion":1}}}}`))
	writeFile(t, filepath.Join(w.folder, "models", "other", "config.pbtxt"), []byte(`name: "other" default_model_filename: "net.onnx"`))
	writeFile(t, filepath.Join(w.folder, "models", "other", "4", "net.onnx"), classifier(t, goodWeights, featuresMetadata))
	for path, want := range map[string]string{
		w.good: "fraud 2", w.good + "/1": "fraud 1", w.good + "@2": "fraud 2", w.good + "@champion": "fraud 1",
		w.file: "bare ", filepath.Join(w.good, "2", "model.onnx"): "fraud 2", filepath.Join(w.folder, "models", "other"): "other 4",
	} {
		o := w.options()
		o.StateFile, o.Spec.Model, o.Spec.Against, o.Spec.Features = state, path, "", featureNames
		o.Spec.Slices, o.Spec.Leakage = nil, Leakage{}
		r := evaluate(t, o)
		if got := r.Model.Name + " " + r.Model.Version; got != want {
			t.Errorf("%s is %s, want %s", path, got, want)
		}
	}
}

func TestBadInputIsNamed(t *testing.T) {
	w := newWorld(t, 200)
	broken := filepath.Join(w.folder, "broken.onnx")
	writeFile(t, broken, []byte("this is no model"))
	two := filepath.Join(w.folder, "two.onnx")
	writeFile(t, two, classifier(t, goodWeights[:2], ""))
	list := payments(3, 200, time.Date(2024, 6, 1, 0, 0, 0, 0, time.UTC))
	csv := func(name string, change func(p *payment)) string {
		path := filepath.Join(w.folder, name)
		changed := slices.Clone(list)
		for i := range changed {
			change(&changed[i])
		}
		writeCSV(t, path, changed)
		return path
	}
	oneClass := csv("one.csv", func(p *payment) { p.fraud = false })
	noAge := csv("age.csv", func(p *payment) { p.features[1] = math.NaN() })
	noScore := csv("score.csv", func(p *payment) {
		if p.id == 6 {
			p.score = math.NaN()
		}
	})
	tests := map[string]struct {
		change func(s *Spec)
		err    error
		want   string
	}{
		"missing file":       {func(s *Spec) { s.Data = "none.csv" }, ErrData, "none.csv"},
		"odd file":           {func(s *Spec) { s.Data = "none.xls" }, ErrData, "does not say"},
		"missing label":      {func(s *Spec) { s.Label = "is_frod" }, ErrData, "did you mean is_fraud"},
		"missing features":   {func(s *Spec) { s.Model, s.Features = w.file, []string{"amount", "aje", "night"} }, ErrData, "did you mean age"},
		"two missing":        {func(s *Spec) { s.Time, s.Weight = "then", "heavy" }, ErrData, `"then"`},
		"unknown metric":     {func(s *Spec) { s.Metrics = []Metric{{Text: "rocauc"}} }, ErrSpec, "did you mean roc_auc"},
		"metric of a task":   {func(s *Spec) { s.Metrics = []Metric{{Text: "rmse"}} }, ErrSpec, "not for a binary task"},
		"one class":          {func(s *Spec) { s.Data = oneClass }, ErrData, "one class only: 0 of 200"},
		"empty feature":      {func(s *Spec) { s.Data = noAge }, ErrData, "[age]"},
		"empty slice":        {func(s *Spec) { s.Slices = []Slice{SliceOf(`channel == "phone"`)} }, ErrData, "is empty"},
		"bad slice":          {func(s *Spec) { s.Slices = []Slice{SliceOf(`chanel`)} }, ErrSpec, "chanel"},
		"nothing left":       {func(s *Spec) { s.Where = "amount > 1000" }, ErrData, "no row is left"},
		"score without":      {func(s *Spec) { s.Model, s.Score, s.Data = "", "score", noScore }, ErrData, "row 7: the score is NaN"},
		"text as score":      {func(s *Spec) { s.Model, s.Score = "", "channel" }, ErrData, "has texts"},
		"no probability":     {func(s *Spec) { s.Model, s.Score = "", "amount" }, ErrData, "no probability"},
		"broken model":       {func(s *Spec) { s.Model = broken }, ErrModel, "broken.onnx"},
		"missing model":      {func(s *Spec) { s.Model = "nothing" }, ErrModel, "nothing"},
		"missing version":    {func(s *Spec) { s.Model = w.good + "@9" }, ErrModel, "9"},
		"alias":              {func(s *Spec) { s.Model = w.good + "@champion" }, ErrModel, "state file"},
		"unknown features":   {func(s *Spec) { s.Model = w.file }, ErrModel, "give features"},
		"too few features":   {func(s *Spec) { s.Features = []string{"age"} }, ErrModel, "takes 3 features, the list has 1"},
		"other champion":     {func(s *Spec) { s.Against = two }, ErrModel, "two.onnx"},
		"unknown output":     {func(s *Spec) { s.Output = "score" }, ErrModel, "there are label, probabilities"},
		"unknown class":      {func(s *Spec) { c := 5; s.Class = &c }, ErrModel, "no class 5"},
		"text for a feature": {func(s *Spec) { s.Features = []string{"amount", "age", "channel"} }, ErrModel, "has texts"},
		"text label":         {func(s *Spec) { s.Label = "channel" }, ErrData, "positive"},
		"gate":               {func(s *Spec) { s.Gates = []gate.Gate{{Metric: "roc_auk", AtLeast: number(1)}} }, ErrSpec, "did you mean roc_auc"},
		"missing train":      {func(s *Spec) { s.Leakage.Train = "none.csv" }, ErrData, "none.csv"},
		"no label":           {func(s *Spec) { s.Label = "" }, ErrSpec, "label: is missing"},
		"model and score":    {func(s *Spec) { s.Score = "score" }, ErrSpec, "not both"},
		"bad draws":          {func(s *Spec) { n := -1; s.Bootstrap.Draws = &n }, ErrSpec, "bootstrap.draws"},
		"bad task":           {func(s *Spec) { s.Task = "binry" }, ErrSpec, "task"},
	}
	for name, test := range tests {
		o := w.options()
		o.Spec.Slices, o.Spec.Leakage, o.Spec.Against = nil, Leakage{}, ""
		test.change(&o.Spec)
		_, err := Evaluate(t.Context(), o)
		if !errors.Is(err, test.err) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %v with %q", name, err, test.err, test.want)
		}
	}
}

func TestRowsAreLeftOutAndCounted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data.jsonl")
	var b strings.Builder
	for i := range 100 {
		label := `,"y":` + []string{"0", "1", "null"}[i%3]
		b.WriteString(`{"score":0.` + []string{"1", "9", "5"}[i%3] + `,"kind":` + []string{"1", "2"}[i%2] + label + "}\n")
	}
	writeFile(t, path, []byte(b.String()))
	r := evaluate(t, Options{Spec: Spec{Data: path, Label: "y", Score: "score", Where: "kind == 1"}})
	want := map[string]int{"the label is null": 33, "where is not true": 34}
	if r.Data.Rows != 33 || !reflect.DeepEqual(r.Data.Excluded, want) || *r.Metrics[0].Value.Value != 1 {
		t.Errorf("%d rows, without %v, ROC AUC %v", r.Data.Rows, r.Data.Excluded, *r.Metrics[0].Value.Value)
	}
	if r.Verdict != report.NoGates {
		t.Errorf("the verdict is %s", r.Verdict)
	}
}

// TestOtherTasks evaluates columns of scores for tasks without a model.
func TestOtherTasks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data.csv")
	writeFile(t, path, []byte("q,y,score\na,2,0.9\na,0,0.1\na,1,0.4\nb,0,0.7\nb,3,0.2\nb,1,0.1\nc,1,0.5\nc,0,0.4\n"))
	draws := 50
	r := evaluate(t, Options{Spec: Spec{Data: path, Label: "y", Score: "score", Query: "q", Bootstrap: Bootstrap{Draws: &draws}}})
	if r.Task != "ranking" || r.Metrics[0].Name != "ndcg@10" || *r.Metrics[0].Value.Value >= 1 || *r.Metrics[0].Value.Value <= 0.5 || r.Data.Clusters != 3 {
		t.Errorf("the ranking gives %+v", r.Metrics)
	}
	if len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], "3 units (q) only") {
		t.Errorf("three queries give the warnings %q", r.Warnings)
	}
	r = evaluate(t, Options{Spec: Spec{Data: path, Label: "y", Score: "score", Bootstrap: Bootstrap{Draws: &draws}}})
	mae := metricNamed(t, r.Metrics, "mae")
	if want := (1.1 + 0.1 + 0.6 + 0.7 + 2.8 + 0.9 + 0.5 + 0.4) / 8; r.Task != "regression" || math.Abs(*mae.Value.Value-want) > 1e-12 || len(r.Plots.Residuals) != 1 {
		t.Errorf("the regression gives %+v, want %v", mae, want)
	}
}

// TestDefinitions measures a metric that a user wrote.
func TestDefinitions(t *testing.T) {
	w := newWorld(t, 400)
	o := w.options()
	o.Spec.Metrics = []Metric{{Text: "roc_auc"}, {Definition: metric.Definition{Name: "caught", Expression: "sum(amount * amount * label) / sum(amount * amount)", Better: "higher"}}}
	r := evaluate(t, o)
	caught, all := 0., 0.
	for _, p := range payments(2, 400, r.Data.From.UTC()) {
		if square := p.features[0] * p.features[0]; p.fraud {
			caught, all = caught+square, all+square
		} else {
			all += square
		}
	}
	if m := metricNamed(t, r.Metrics, "caught"); math.Abs(*m.Value.Value-caught/all) > 1e-9 {
		t.Errorf("the metric is %v, want %v", *m.Value.Value, caught/all)
	}
}

// TestThreshold: metrics that name no threshold take the spec's.
func TestThreshold(t *testing.T) {
	w := newWorld(t, 400)
	o := w.options()
	o.Spec.Metrics, o.Spec.Threshold, o.Spec.Slices = []Metric{{Text: "recall"}, {Text: "recall@0.3"}, {Text: "recall@0.5"}}, number(0.3), nil
	r := evaluate(t, o)
	recall := *metricNamed(t, r.Metrics, "recall").Value.Value
	if recall != *metricNamed(t, r.Metrics, "recall@0.3").Value.Value || recall <= *metricNamed(t, r.Metrics, "recall@0.5").Value.Value || r.Model.Threshold != 0.3 {
		t.Errorf("the recalls are %+v", r.Metrics)
	}
	if c := r.Plots.Confusion.Counts[1]; math.Abs(float64(c[1])/float64(c[0]+c[1])-recall) > 1e-12 {
		t.Errorf("the matrix says %v, the recall is %v", c, recall)
	}
}

func TestLeaksAreFound(t *testing.T) {
	w := newWorld(t, 400)
	o := w.options()
	o.Spec.Slices, o.Spec.Leakage = nil, Leakage{Train: w.data, Entities: []string{"customer_id"}}
	o.Spec.Gates = []gate.Gate{{Leakage: "not_severe"}}
	r := evaluate(t, o)
	found := map[string]int{}
	for _, f := range r.Leakage {
		found[f.Check] = f.Rows
	}
	if found["time"] != 400 || found["duplicates"] != 400 || found["entities"] != 400 || r.Verdict != report.Fail {
		t.Errorf("found %v, the verdict is %s", r.Leakage, r.Verdict)
	}
	o.Spec.Leakage = Leakage{}
	if r = evaluate(t, o); r.Verdict != report.Fail || !strings.Contains(r.Gates[0].Reason, "not given") {
		t.Errorf("a gate over what was not looked at gives %+v", r.Gates)
	}
}

func TestEndsWithItsContext(t *testing.T) {
	w := newWorld(t, 200)
	ctx, cancel := context.WithCancel(t.Context())
	o := w.options()
	o.Progress = func(string, int64, int64) { cancel() }
	if _, err := Evaluate(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
}

func TestLoadSpec(t *testing.T) {
	path := filepath.Join(t.TempDir(), "evaluation.yaml")
	writeFile(t, path, []byte(`evaluations:
  fraud:
    data: test.parquet
    label: is_fraud
    model: models/fraud
    metrics:
      - roc_auc
      - {name: cards, expression: precision_at(100), unit: customer_id, better: higher}
    slices: [channel, "amount > 100", {column: amount, bins: 4}, {cross: [channel, night]}]
    baselines: [0.5, old_score]
    bootstrap: {draws: 200, level: 0.9, seed: 3}
    gates:
      - {metric: roc_auc, at_least: 0.85}
      - {metric: cards, against: champion, not_worse_than: 0.01}
`))
	s, err := LoadSpec(path, "")
	if err != nil {
		t.Fatal(err)
	}
	if s.Name != "fraud" || len(s.Metrics) != 2 || s.Metrics[1].Unit != "customer_id" || *s.Baselines[0].Constant != 0.5 || s.Baselines[1].Column != "old_score" ||
		s.Data != filepath.Join(filepath.Dir(path), "test.parquet") || s.Slices[1].text != "amount > 100" || s.Slices[2].Bins != 4 || *s.Bootstrap.Draws != 200 || *s.Gates[1].NotWorseThan != 0.01 {
		t.Errorf("it was read as %+v", s)
	}
	if _, err := LoadSpec(path, "fruad"); err == nil || !strings.Contains(err.Error(), "did you mean fraud?") {
		t.Errorf("another name gives %v", err)
	}
	writeFile(t, path, []byte(`evaluations:
  fraud:
    lable: is_fraud
    task: binry
    metrics: [roc_auk]
    gates:
      - {metric: roc_auk, at_lest: 0.8}
      - {leakage: some}
    slices: [{bins: 3}]
`))
	_, err = LoadSpec(path, "")
	for _, want := range []string{":3:5: evaluations.fraud.lable: unknown key", ":4:11: evaluations.fraud.task", ":5:15: evaluations.fraud.metrics[0]",
		":7:", "did you mean at_least?", ":8:", "takes none or not_severe", ":9:", "give one of column, where and cross"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in:\n%v", want, err)
		}
	}
	if _, err := LoadSpec(filepath.Join(t.TempDir(), "none.yaml"), ""); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file gives %v", err)
	}
}
