// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const shopDefinitions = `entities:
  customer: {key: customer_id, type: int64}
sources:
  payments:
    push: true
    id: payment_id
    timestamp: at
    fields:
      payment_id: int64
      at: timestamp
      customer_id: int64
      amount: {type: float64, min: 0, required: true}
      is_fraud: {type: bool, late: true, known_after: 7d}
    inputs:
      - {format: csv, path: payments.csv}
  profiles:
    push: true
    timestamp: at
    fields: {at: timestamp, customer_id: int64, country: string}
    inputs:
      - {format: csv, path: profiles.csv}
views:
  spending:
    entity: customer
    source: payments
    hop: 1s
    windows: [1d, 3650d]
    features:
      payments: {function: count}
      mean: {function: mean, field: amount}
lookups:
  profile: {entity: customer, source: profiles, fields: [country]}
services:
  fraud:
    model: fraud
    request: {amount: {type: float64, min: 0, required: true}, at: timestamp}
    time: at
    features: [amount, spending.payments_1d, spending.mean_3650d, {from: profile.country, default: unknown}]
`

const shopPayments = `payment_id,at,customer_id,amount,is_fraud
1,2025-04-01T00:00:00Z,7,10,true
2,2025-04-01T12:00:00Z,7,20,false
3,2025-04-09T12:00:00Z,8,60,true
`

const shopProfiles = "at,customer_id,country\n2025-04-01T06:00:00Z,7,fr\n"

// shop is a folder with definitions, inputs and a state folder to be.
type shop struct {
	t   *testing.T
	dir string
}

func newShop(t *testing.T) *shop {
	s := &shop{t, t.TempDir()}
	s.write("features.yaml", shopDefinitions)
	s.write("payments.csv", shopPayments)
	s.write("profiles.csv", shopProfiles)
	return s
}

func (s *shop) path(name string) string { return filepath.Join(s.dir, name) }

func (s *shop) write(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(s.path(name), []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

// words replaces DIR by the folder and fills the flags of definitions in.
func (s *shop) words(line string) []string {
	words := []string{"features"}
	for _, word := range strings.Fields(line) {
		words = append(words, strings.ReplaceAll(word, "DIR", s.dir))
	}
	return words
}

// run runs a command of the feature store. Its output has DIR for the folder.
func (s *shop) run(line string) (status int, stdout, stderr string) {
	s.t.Helper()
	status, stdout, stderr = runCommand(s.t, "", s.words(line)...)
	return status, strings.ReplaceAll(stdout, s.dir, "DIR"), strings.ReplaceAll(stderr, s.dir, "DIR")
}

// must runs a command that is to succeed.
func (s *shop) must(line string) string {
	s.t.Helper()
	status, stdout, stderr := s.run(line)
	if status != exitOK {
		s.t.Fatalf("%s: status %d: %s%s", line, status, stdout, stderr)
	}
	return stdout
}

// has checks that lines are in an output, whatever the width of its columns.
func (s *shop) has(output string, lines ...string) {
	s.t.Helper()
	flat := " " + strings.Join(strings.Fields(output), " ") + " "
	for _, line := range lines {
		if !strings.Contains(flat, " "+line+" ") {
			s.t.Errorf("%q is not in\n%s", line, output)
		}
	}
}

const (
	withDefinitions = " --definitions DIR/features.yaml"
	withState       = withDefinitions + " --state DIR/state"
)

func TestFeaturesValidate(t *testing.T) {
	s := newShop(t)
	s.has(s.must("validate DIR/features.yaml"), "1 entity, 2 sources, 1 view, 1 lookup, 1 service;",
		"source payments push 1 input 5 fields", "view spending customer payments 4", "lookup profile customer profiles 1", "service fraud customer_id int64 4")
	var answer validation
	if err := json.Unmarshal([]byte(s.must("validate --json DIR/features.yaml")), &answer); err != nil {
		t.Fatal(err)
	}
	if len(answer.Hash) != 64 || len(answer.Services) != 1 || strings.Join(answer.Services[0].Features, " ") != "amount spending__payments_1d spending__mean_3650d profile__country" {
		t.Errorf("JSON: %+v", answer)
	}
}

func TestFeaturesValidateMistakes(t *testing.T) {
	s := newShop(t)
	s.write("bad.yaml", strings.NewReplacer("type: int64}", "type: int65}", "windows: [1d, 3650d]", "windows: [1d, 1x]").Replace(shopDefinitions))
	status, stdout, stderr := s.run("validate DIR/bad.yaml")
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	if status != exitFailure || len(lines) != 2 || !strings.HasPrefix(lines[0], "DIR/bad.yaml:2:38: entities.customer.type: ") ||
		!strings.HasPrefix(lines[1], "DIR/bad.yaml:27:19: views.spending.windows[1]: ") || stderr != "millrace: the definitions have 2 mistakes\n" {
		t.Errorf("status %d\n%s%s", status, stdout, stderr)
	}
	status, stdout, _ = s.run("validate --json DIR/bad.yaml")
	var answer validation
	if err := json.Unmarshal([]byte(stdout), &answer); status != exitFailure || err != nil || len(answer.Mistakes) != 2 || answer.Mistakes[1].Line != 27 {
		t.Errorf("JSON: status %d, %v: %s", status, err, stdout)
	}
}

func TestFeaturesValidateAgainst(t *testing.T) {
	s := newShop(t)
	s.write("new.yaml", strings.Replace(shopDefinitions, "spending.payments_1d, ", "", 1))
	status, stdout, stderr := s.run("validate DIR/new.yaml --against DIR/features.yaml")
	if status != exitFailure || !strings.Contains(stdout, "This breaks what is served:\n  services.fraud.features.spending__payments_1d: ") ||
		!strings.Contains(stdout, "(model fraud)") || !strings.Contains(stderr, "the definitions break what is served in ") {
		t.Errorf("status %d\n%s%s", status, stdout, stderr)
	}
	s.must("validate DIR/features.yaml --against DIR/features.yaml")
}

func TestFeaturesMaterializeAndGet(t *testing.T) {
	s := newShop(t)
	s.has(s.must("materialize"+withState), "payments 3 0 0 0 0 0", "profiles 1 0 0 0 0 0")
	s.has(s.must("materialize"+withState), "payments 0 3 0 0 0 0", "profiles 0 1 0 0 0 0")
	s.write("payments.csv", shopPayments+"4,2025-04-10T00:00:00Z,8,20,false\n5,now,8,1,false\n")
	status, _, stderr := s.run("materialize --source payments" + withState)
	if status != exitFailure || !strings.Contains(stderr, "payments.csv: line 6, field at: ") || !strings.Contains(stderr, "--bad-rows-max") {
		t.Errorf("bad row: status %d: %s", status, stderr)
	}
	s.has(s.must("materialize --source payments --bad-rows-max 1"+withState), "payments 1 3 0 0 0 1", "payments: first bad row:")

	out := s.must("get fraud --entity customer_id=7 --fact amount=3 --fact at=2025-04-01T18:00:00Z" + withState)
	s.has(out, "amount 3 present 2025-04-01T18:00:00Z", "spending__payments_1d 2 present 2025-04-01T12:00:00Z",
		"spending__mean_3650d 15 present 2025-04-01T12:00:00Z", `profile__country "fr" present 2025-04-01T06:00:00Z`)
	s.has(s.must("get fraud --entity customer_id=9 --fact amount=3"+withState), "spending__payments_1d 0 not found", `profile__country "unknown" not found`)
	var values []readValue
	out = s.must("get spending:mean_3650d profile:country --entity customer_id=8 --at 2025-04-09T13:00:00Z --json" + withState)
	if err := json.Unmarshal([]byte(out), &values); err != nil || len(values) != 2 || values[0].Value != 60.0 || values[1].Value != nil || values[1].Status != "not found" {
		t.Errorf("JSON: %v: %s", err, out)
	}
}

func TestFeaturesBadInput(t *testing.T) {
	s := newShop(t)
	s.must("materialize" + withState)
	s.write("broken.yaml", "entities: [customer]\n")
	tests := []struct {
		line   string
		status int
		text   string
	}{
		{"materialize --source nothing" + withState, exitUsage, `--source "nothing": no such source is defined`},
		{"materialize --definitions DIR/none.yaml", exitFailure, "DIR/none.yaml: "},
		{"materialize --definitions DIR/broken.yaml", exitFailure, "the definitions have 1 mistake:\nDIR/broken.yaml:1:"},
		{"materialize --redis-buckets 4" + withState, exitUsage, "--redis-prefix and --redis-buckets need --redis URL"},
		{"materialize --until tomorrow" + withState, exitUsage, `"tomorrow" is no time; write 2006-01-02, 2006-01-02T15:04:05Z, or how long ago as in 90s, 15m, 6h, 7d, 4w`},
		{"validate DIR/features.yaml" + withDefinitions, exitUsage, "name the files as arguments or with --definitions, not both"},
		{"get fraud --state DIR/none" + withDefinitions, exitFailure, "--state DIR/none: there is no feature store in it; millrace features materialize or serve makes one"},
		{"get fraud --server localhost:1" + withState, exitUsage, "give --server or --state, not both"},
		{"get fraud spending:mean_1d" + withState, exitUsage, "name one feature service, or features as VIEW:FEATURE"},
		{"get risk" + withState, exitUsage, `feature service "risk": not defined`},
		{"get spending:median_1d" + withState, exitUsage, `feature "spending:median_1d": view spending has no feature "median_1d": not defined`},
		{"get fraud --entity customer=7 --fact amont=3" + withState, exitUsage, "millrace: --entity customer_id=VALUE is missing: it is of type int64\n" +
			"--entity customer: there is no such name; known: customer_id\n--fact amount=VALUE is missing: it is of type float64\n--fact amont: there is no such name; known: amount, at"},
		{"get fraud --entity customer_id=x --fact amount=3" + withState, exitUsage, `--entity customer_id: "x" is not of type int64`},
		{"get fraud --entity customer_id=1 --entity customer_id=2 --fact amount" + withState, exitUsage, "--entity customer_id: given twice\n--fact \"amount\": write it as NAME=VALUE"},
		{"get fraud --entity customer_id=1 --fact amount=-3" + withState, exitUsage, "--fact amount: -3 is below the minimum of 0"},
		{"get fraud --entity customer_id=1 --server 127.0.0.1:1", exitFailure, "127.0.0.1:1: unavailable: "},
		{"push payments DIR/payments.xls", exitUsage, "DIR/payments.xls: the name does not say what is in the file; give --format csv, jsonl or parquet"},
		{"push payments DIR/payments.csv --format xls", exitUsage, `--format "xls": it is csv, jsonl or parquet`},
		{"push payments DIR/payments.csv --batch 0 --rate -1", exitUsage, "--batch 0: give 1 to 100000\n--rate -1: give 0 or more"},
		{"dataset", exitUsage, "--service NAME is missing\n--labels FILE|source:NAME is missing\n--output FILE.parquet is missing"},
		{"dataset --service fraud --labels source:payments --column a=b --output DIR/x" + withDefinitions, exitUsage, "--column and --format are for files of labels"},
		{"dataset --service risk --labels source:payments --output DIR/x" + withDefinitions, exitUsage, "risk"},
		{"dataset --service fraud --labels source:payments --memory 12 --output DIR/x" + withDefinitions, exitUsage, `"12" is no size; write it as in 512MiB or 2GiB`},
		{"dataset --service fraud --labels source:payments --log DIR/none --output DIR/x" + withDefinitions, exitFailure, "--log: stat DIR/none"},
		{"dataset check DIR/payments.csv" + withDefinitions, exitFailure, "not a sound manifest"},
		{"serve --exit-timeout-secs 0" + withDefinitions, exitUsage, "--exit-timeout-secs 0: give 1 or more"},
		{"serve --retain forever" + withDefinitions, exitUsage, `"forever" is no duration; write it as in 90s, 15m, 6h, 7d, 4w`},
		{"verify --state DIR/none" + withDefinitions, exitFailure, "--state DIR/none: there is no feature store in it"},
		{"verify --service risk" + withState, exitUsage, `service "risk" is not defined`},
		{"log stats --state DIR/none", exitFailure, "--state DIR/none: there is no feature store in it"},
	}
	for _, test := range tests {
		t.Run(test.line, func(t *testing.T) {
			if status, _, stderr := s.run(test.line); status != test.status || !strings.Contains(stderr, test.text) {
				t.Errorf("status %d, want %d; %q is not in\n%s", status, test.status, test.text, stderr)
			}
		})
	}
}

// TestFeaturesProject takes definitions and state from the project in the current folder,
// or, without one, from the usual places.
func TestFeaturesProject(t *testing.T) {
	s := newShop(t)
	t.Chdir(s.dir)
	s.has(s.must("materialize"), "payments 3 0 0 0 0 0")
	s.has(s.must("log stats"), "segments not in partitions yet 1")
	s.write("millrace.yaml", "name: shop\nfeatures: [shop.yaml]\nstate: kept\n")
	if status, _, stderr := s.run("validate"); status != exitFailure || !strings.Contains(stderr, "shop.yaml") {
		t.Errorf("definitions that are not there: status %d: %s", status, stderr)
	}
	s.write("shop.yaml", shopDefinitions)
	s.has(s.must("validate"), "shop.yaml: 1 entity,")
	if status, _, stderr := s.run("log stats"); status != exitFailure || !strings.Contains(stderr, "--state kept: there is no feature store in it") {
		t.Errorf("a state folder that is not there: status %d: %s", status, stderr)
	}
	s.has(s.must("materialize"), "payments 3 0 0 0 0 0")
	s.has(s.must("get spending:payments_1d --entity customer_id=7 --at 2025-04-01T12:00:00Z --state kept"), "spending:payments_1d 2 present 2025-04-01T12:00:00Z")
	s.write("millrace.yaml", "name: shop\nfeature: [shop.yaml]\n")
	if status, _, stderr := s.run("validate"); status != exitFailure || !strings.Contains(stderr, "millrace.yaml:2:1: ") {
		t.Errorf("a mistake in the project: status %d: %s", status, stderr)
	}
	t.Chdir(t.TempDir())
	if status, _, stderr := s.run("validate"); status != exitUsage || !strings.Contains(stderr, "no definitions: there is no features.yaml in this folder; name them with --definitions FILE") {
		t.Errorf("no project and no definitions: status %d: %s", status, stderr)
	}
}
