// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/evaluation/gate"
	"github.com/millrace-ml/millrace/evaluation/metric"
	"github.com/millrace-ml/millrace/evaluation/report"
)

// evaluateWorld is a folder with a model of one column and rows that it gets right mostly.
func evaluateWorld(t *testing.T) (model, data string) {
	t.Helper()
	dir := t.TempDir()
	b := onnx.NewBuilder("single")
	b.Input("x", tensor.FP32, onnx.Symbol("rows"), onnx.Extent(1))
	b.Node("Sigmoid", []string{"x"}, []string{"score"})
	b.Output("score", tensor.FP32, onnx.Symbol("rows"), onnx.Extent(1))
	content, err := b.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	model, data = filepath.Join(dir, "single.onnx"), filepath.Join(dir, "data.csv")
	var text strings.Builder
	text.WriteString("x,y,kind,poor\n")
	for i := range 400 {
		x := float64(i%20)/10 - 1
		y := x > 0 != (i%13 == 0)
		fmt.Fprintf(&text, "%v,%v,%s,0.%d\n", x, y, []string{"a", "b"}[i%2], i%9)
	}
	for path, bytes := range map[string][]byte{model: content, data: []byte(text.String())} {
		if err := os.WriteFile(path, bytes, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return model, data
}

func runEvaluate(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	status = execute(t.Context(), append([]string{"evaluate"}, args...), strings.NewReader(""), &out, &err)
	return status, out.String(), err.String()
}

func TestEvaluateStatus(t *testing.T) {
	model, data := evaluateWorld(t)
	short := []string{model, "--data", data, "--label", "y", "--draws", "50", "--no-latency"}
	with := func(more ...string) []string { return append(append([]string{}, short...), more...) }
	for name, test := range map[string]struct {
		args   []string
		status int
		want   string
	}{
		"no gates":         {short, exitOK, ""},
		"passes":           {with("--gate", "roc_auc >= 0.8", "--gate", "average_precision low >= 0.5", "--gate", "roc_auc beats_baselines"), exitOK, ""},
		"fails":            {with("--gate", "roc_auc >= 0.99"), exitFailure, "roc_auc is 0.9"},
		"against":          {with("--against-score", "poor", "--slice", "kind", "--gate", "roc_auc better", "--gate", "log_loss not_worse 0.1"), exitOK, ""},
		"no label":         {[]string{model, "--data", data}, exitUsage, "label: is missing"},
		"unknown column":   {with("--label", "z"), exitUsage, `no column "z"`},
		"unknown metric":   {with("--metric", "rocauc"), exitUsage, "did you mean roc_auc?"},
		"bad gate":         {with("--gate", "roc_auc > 3"), exitUsage, "--gate"},
		"bad flag":         {with("--metrik", "roc_auc"), exitUsage, "did you mean --metric?"},
		"no model":         {[]string{"none", "--data", data, "--label", "y"}, exitUsage, "none"},
		"name only":        {with("--name", "a"), exitUsage, "--file"},
		"unwritable":       {with("--html", filepath.Join(data, "page.html")), exitUsage, "page.html"},
		"two models":       {[]string{model, model}, exitUsage, ""},
		"column of scores": {[]string{"--score", "poor", "--data", data, "--label", "y", "--gate", "roc_auc >= 0.8"}, exitFailure, "column poor fails"},
	} {
		status, _, stderr := runEvaluate(t, test.args...)
		if status != test.status || !strings.Contains(stderr, test.want) {
			t.Errorf("%s: status %d, want %d with %q:\n%s", name, status, test.status, test.want, stderr)
		}
	}
}

func TestEvaluateWrites(t *testing.T) {
	model, data := evaluateWorld(t)
	dir := filepath.Join(t.TempDir(), "deep", "report")
	status, stdout, stderr := runEvaluate(t, model, "--data", data, "--label", "y", "--slice", "kind", "--gate", "roc_auc >= 0.8",
		"--draws", "50", "--json", "--output", dir)
	if status != exitOK {
		t.Fatalf("status %d: %s", status, stderr)
	}
	var r report.Report
	if err := json.Unmarshal([]byte(stdout), &r); err != nil || r.Verdict != report.Pass || len(r.Slices) != 2 || r.Model.Latency == nil {
		t.Errorf("it printed %.300s (%v)", stdout, err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if got := strings.Join(names, " "); got != "report.html report.json report.md report.xml" {
		t.Errorf("the folder has %s", got)
	}
}

func TestEvaluateFile(t *testing.T) {
	model, data := evaluateWorld(t)
	file := filepath.Join(t.TempDir(), "evaluation.yaml")
	text := fmt.Sprintf(`evaluations:
  single:
    data: %s
    label: y
    model: %s
    metrics: [roc_auc, brier]
    bootstrap: {draws: 50}
    gates: [{metric: brier, at_most: 0.9}]
`, data, model)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if status, stdout, stderr := runEvaluate(t, "--file", file, "--no-latency"); status != exitOK || !strings.Contains(stdout, "brier") {
		t.Errorf("status %d: %s%s", status, stdout, stderr)
	}
	// A flag replaces a list of the file; gates add up.
	status, stdout, stderr := runEvaluate(t, "-f", file, "--name", "single", "--no-latency", "--metric", "brier", "--gate", "brier <= 0.0001")
	if status != exitFailure || strings.Contains(stdout, "roc_auc") || !strings.Contains(stderr, "1 gate of 2") {
		t.Errorf("status %d: %s%s", status, stdout, stderr)
	}
	if err := os.WriteFile(file, []byte(strings.Replace(text, "at_most", "at_mots", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if status, _, stderr := runEvaluate(t, "-f", file); status != exitUsage || !strings.Contains(stderr, ":8:29:") || !strings.Contains(stderr, "did you mean at_most?") {
		t.Errorf("status %d: %s", status, stderr)
	}
}

func TestParseGate(t *testing.T) {
	for text, want := range map[string]func(g gate.Gate) bool{
		"auc>=0.5":        func(g gate.Gate) bool { return g.Metric == "auc" && *g.AtLeast == 0.5 },
		"auc <= 2":        func(g gate.Gate) bool { return *g.AtMost == 2 },
		"auc low >= 2":    func(g gate.Gate) bool { return *g.LowAtLeast == 2 },
		"auc high <=2":    func(g gate.Gate) bool { return *g.HighAtMost == 2 },
		"auc not_worse 0": func(g gate.Gate) bool { return *g.NotWorseThan == 0 },
		"auc better":      func(g gate.Gate) bool { return g.Better },
		"leakage none":    func(g gate.Gate) bool { return g.Leakage == "none" && g.Metric == "" },
	} {
		if g, err := parseGate(text); err != nil || !want(g) || g.Validate(nil) != nil {
			t.Errorf("%q gives %+v, %v", text, g, err)
		}
	}
	for _, text := range []string{"", "auc", "auc >=", "auc > 1", "auc >= nan", "auc low <= 1", "auc none", "auc >= 1 2", "a b c d e"} {
		if g, err := parseGate(text); err == nil {
			t.Errorf("%q gives %+v", text, g)
		}
	}
}

// TestMetricsAreDocumented holds docs/reference/evaluation.md to the metrics there are.
func TestMetricsAreDocumented(t *testing.T) {
	content, err := os.ReadFile(moduleRoot + "/docs/reference/evaluation.md")
	if err != nil {
		t.Fatal(err)
	}
	status, stdout, stderr := runEvaluate(t, "--list-metrics")
	if status != exitOK {
		t.Fatal(stderr)
	}
	for _, d := range metric.Describe() {
		if !bytes.Contains(content, []byte("`"+strings.ReplaceAll(d.Usage, "|", `\|`)+"`")) {
			t.Errorf("docs/reference/evaluation.md does not have the metric %s", d.Usage)
		}
		if !strings.Contains(stdout, d.Usage) {
			t.Errorf("--list-metrics does not have %s", d.Usage)
		}
	}
}
