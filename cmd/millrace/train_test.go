// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/millrace-ml/millrace/training"
)

// TestTrain builds models from flags and from a file, and makes one again.
func TestTrain(t *testing.T) {
	pipelineWorld(t)
	wants(t, saying(t, exitOK, "train", "--data", "payments.csv", "--label", "is_fraud", "--time", "event_timestamp", "--group", "customer_id",
		"--exclude", "transaction_id", "--method", "logistic,trees", "--set", "trees.trees=10", "--rule", "amount > 80", "--output", "models/fraud"),
		"CANDIDATE", "AVERAGE_PRECISION", "baseline_constant", "baseline_rule", "chosen", "models/fraud/1: ", "1500 rows", "run ")
	for _, name := range []string{"model.onnx", "manifest.json", "card.md", "card.html"} {
		if info, err := os.Stat(filepath.Join("models/fraud/1", name)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	wants(t, saying(t, exitOK, "train", "fraud", "--data", "payments.csv", "--output", "models/fraud"), "logistic", "trees", "models/fraud/2: ")
	wants(t, saying(t, exitOK, "train", "reproduce", "models/fraud/2/manifest.json"), "the same bytes")
	wants(t, saying(t, exitOK, "runs", "list"), "fraud", "finished")

	var r training.Result
	status, stdout, stderr := runCommand(t, "", "train", "fraud", "--data", "payments.csv", "--no-log", "--json")
	if err := json.Unmarshal([]byte(stdout), &r); status != exitOK || err != nil || r.Chosen == "" || r.Run != "" || r.Path != "" {
		t.Errorf("status %d, %v: %+v%s", status, err, r, stderr)
	}
	if err := os.Rename("payments.csv", "elsewhere.csv"); err != nil {
		t.Fatal(err)
	}
	wants(t, saying(t, exitFailure, "train", "reproduce", "models/fraud/2/manifest.json"), "payments.csv", "name a copy by --data")
	wants(t, saying(t, exitOK, "train", "reproduce", "models/fraud/2/manifest.json", "--data", "elsewhere.csv"), "the same bytes")
}

func TestTrainMistakes(t *testing.T) {
	pipelineWorld(t)
	for name, test := range map[string]struct {
		args   []string
		status int
		want   string
	}{
		"no data":        {[]string{"fraud"}, exitUsage, "--data FILE is missing"},
		"no training":    {[]string{"fruad", "--data", "payments.csv"}, exitUsage, "did you mean fraud?"},
		"no label":       {[]string{"--data", "payments.csv"}, exitUsage, "label"},
		"no method":      {[]string{"--data", "payments.csv", "--label", "is_fraud", "--method", "tress"}, exitUsage, "tress"},
		"not tried":      {[]string{"--data", "payments.csv", "--label", "is_fraud", "--method", "trees", "--set", "neural.epochs=1"}, exitUsage, "neural is not tried"},
		"no such value":  {[]string{"--data", "payments.csv", "--label", "is_fraud", "--set", "trees.max_depth=99"}, exitUsage, "max_depth"},
		"no setting":     {[]string{"--data", "payments.csv", "--label", "is_fraud", "--set", "max_depth=9"}, exitUsage, "METHOD.NAME=VALUE"},
		"no metric":      {[]string{"--data", "payments.csv", "--label", "is_fraud", "--metric", "rocauc"}, exitUsage, "did you mean roc_auc?"},
		"no file":        {[]string{"--data", "none.csv", "--label", "is_fraud"}, exitFailure, "none.csv"},
		"no such column": {[]string{"--data", "payments.csv", "--label", "is_frod"}, exitUsage, "is_frod"},
		"no features":    {[]string{"--data", "payments.csv", "--label", "is_fraud", "--feature", "amuont"}, exitUsage, "amuont"},
	} {
		t.Run(name, func(t *testing.T) {
			wants(t, saying(t, test.status, append([]string{"train", "--output", "models/none"}, test.args...)...), test.want)
			if entries, err := os.ReadDir("models/none"); err == nil && len(entries) > 0 {
				t.Errorf("something was written: %v", entries)
			}
		})
	}
}

func TestTrainMethods(t *testing.T) {
	wants(t, saying(t, exitOK, "train", "methods"), "logistic", "trees", "neural")
	wants(t, saying(t, exitOK, "train", "methods", "trees"), "learning_rate", "0.1")
	wants(t, saying(t, exitUsage, "train", "methods", "tree"), "did you mean trees?")
}
