// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/console/browser"
)

// asCommand is set for a test binary that is to be the millrace command.
const asCommand = "MILLRACE_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main()
	}
	os.Exit(browser.Main(m))
}

// The project of these tests: payments of 30 days, of which large ones are often frauds.
const (
	worldProject = `
name: world
features: [features.yaml]
trainings: [training.yaml]
evaluations: [evaluation.yaml]
pipelines: [pipeline.yaml]
server: {address: 127.0.0.1, http: 1, grpc: 1, metrics: 1}
`
	worldFeatures = `
entities:
  customer: {key: customer_id, type: int64}
sources:
  payments:
    id: transaction_id
    timestamp: event_timestamp
    fields:
      transaction_id: int64
      event_timestamp: timestamp
      customer_id: int64
      amount: {type: float64, required: true}
      is_fraud: {type: bool}
    inputs: [{format: csv, path: payments.csv}]
views:
  customer:
    entity: customer
    source: payments
    features:
      payments: {function: count, window: 1d}
services:
  fraud:
    model: fraud
    request: {amount: {type: float64, required: true}, event_timestamp: timestamp}
    time: event_timestamp
    features: [amount, {name: payments_1d, from: customer.payments}]
`
	worldTraining = `
trainings:
  fraud:
    service: fraud
    label: is_fraud
    time: event_timestamp
    group: customer_id
    candidates: [{method: logistic}, {method: trees, parameters: {trees: 10, max_depth: 3}}]
  blind:
    label: is_fraud
    time: event_timestamp
    exclude: [amount]
    candidates: [{method: trees, parameters: {trees: 1, max_depth: 1}}]
  broken:
    label: is_fraud
    candidates: [{method: command, parameters: {program: 'sh -c "echo out of luck; exit 3"'}}]
  misnamed: {label: is_frod}
`
	worldEvaluation = `
evaluations:
  fraud:
    label: is_fraud
    time: event_timestamp
    cluster: customer_id
    metrics: [roc_auc, average_precision]
    bootstrap: {draws: 50}
    gates:
      - {metric: roc_auc, at_least: 0.7}
      - {metric: roc_auc, against: champion, not_worse_than: 0.1, if_champion: true}
`
	worldPipeline = `
pipelines:
  fraud:
    description: from payments to a served model
    parameters:
      training: fraud
      server: 127.0.0.1:1
    tasks:
      extract: {uses: extract, with: {source: payments}}
      features: {uses: features, inputs: {rows: extract.rows}, with: {service: fraud, labels: "source:payments", label: [is_fraud]}}
      split: {uses: split, inputs: {data: features.dataset}, with: {method: time, test: 30%, label: is_fraud, time: event_timestamp}}
      train: {uses: train, inputs: {data: split.train}, with: {training: "{{ params.training }}"}}
      evaluate: {uses: evaluate, inputs: {model: train.model, data: split.test, train: split.train}, with: {evaluation: fraud, against: fraud}}
      promote: {uses: promote, inputs: {model: train.model, report: evaluate.report}, with: {model: fraud, server: "{{ params.server }}"}}
`
)

// pipelineWorld makes the project and its folder the current one. Further pipelines are
// put behind the first.
func pipelineWorld(t *testing.T, pipelines ...string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	t.Chdir(dir)
	for name, text := range map[string]string{
		projectFile: worldProject, "features.yaml": worldFeatures, "training.yaml": worldTraining, "evaluation.yaml": worldEvaluation,
		"pipeline.yaml": worldPipeline + strings.Join(pipelines, ""), "payments.csv": worldPayments(),
	} {
		writeText(t, name, text)
	}
	return dir
}

func writeText(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func worldPayments() string {
	var text strings.Builder
	text.WriteString("transaction_id,event_timestamp,customer_id,amount,is_fraud\n")
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range 1500 {
		amount := float64(i*7919%1000) / 10
		fraud := amount > 80 && i%3 != 0 || i%97 == 0
		fmt.Fprintf(&text, "%d,%s,%d,%.2f,%t\n", i, begin.Add(time.Duration(i)*29*time.Minute).Format(time.RFC3339), i%23, amount, fraud)
	}
	return text.String()
}

// saying runs a command line that has to end with a status, and returns all it said.
func saying(t *testing.T, status int, args ...string) string {
	t.Helper()
	got, stdout, stderr := runCommand(t, "", args...)
	if got != status {
		t.Fatalf("millrace %s: status %d, not %d\n%s%s", strings.Join(args, " "), got, status, stdout, stderr)
	}
	return stdout + stderr
}

// wants checks that a text has parts, in order.
func wants(t *testing.T, text string, parts ...string) {
	t.Helper()
	rest := text
	for _, part := range parts {
		_, after, ok := strings.Cut(rest, part)
		if !ok {
			t.Fatalf("no %q, or not in this order, in\n%s", part, text)
		}
		rest = after
	}
}
