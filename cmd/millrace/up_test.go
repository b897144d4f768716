// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

const exampleFolder = moduleRoot + "/examples/card-fraud"

// copyExample copies the example with texts of its files replaced.
func copyExample(t *testing.T, replace ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"millrace.yaml", "features.yaml", "decisions.yaml", "feedback.yaml", "labeling.yaml", "monitor.yaml", "retrain.yaml", "training.yaml", "evaluation.yaml", "pipeline.yaml", "models/fraud/1/model.onnx"} {
		data, err := os.ReadFile(filepath.Join(exampleFolder, name))
		if err != nil {
			t.Fatal(err)
		}
		if filepath.Ext(name) == ".yaml" {
			data = []byte(strings.NewReplacer(replace...).Replace(string(data)))
		}
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// smallWorld are replacements that make the example one of some days, and its budgets
// those of a slow machine.
var smallWorld = []string{
	"days: 90, customers: 2000, seed: 1", "days: 20, customers: 250, seed: 1",
	"history: 30", "history: 10", "speed: 3600x", "speed: max",
	"{total: 100ms, features: 20ms, model: 50ms}", "{total: 1m}",
}

// runningUp is an up command that runs in this process.
type runningUp struct {
	t         *testing.T
	listening sync.Map      // address by face
	listens   chan struct{} // closed when all faces are in listening, or the log has ended
	stop      context.CancelFunc
	status    chan int
	said      *bufio.Scanner
	text      strings.Builder
	log       chan string
}

func startUp(t *testing.T, args ...string) *runningUp {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	t.Cleanup(stop)
	outReader, outWriter := io.Pipe()
	logReader, logWriter := io.Pipe()
	u := &runningUp{t: t, stop: stop, status: make(chan int, 1), said: bufio.NewScanner(outReader), log: make(chan string, 1), listens: make(chan struct{})}
	go func() {
		args := append([]string{"up", "--http-port=0", "--grpc-port=0", "--metrics-port=0", "--log-format=json", exitTimeout}, args...)
		u.status <- execute(ctx, args, strings.NewReader(""), outWriter, logWriter)
		outWriter.Close()
		logWriter.Close()
	}()
	go func() { // ends with the command
		var all strings.Builder
		lines := bufio.NewScanner(logReader)
		lines.Buffer(nil, 1<<20)
		known := sync.OnceFunc(func() { close(u.listens) })
		defer known()
		for lines.Scan() {
			all.WriteString(lines.Text() + "\n")
			var line struct{ Msg, Face, Address string }
			if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "listening" {
				u.listening.Store(line.Face, line.Address)
				if line.Face == "metrics" { // the last one
					known()
				}
			}
		}
		u.log <- all.String()
	}()
	return u
}

// address is where a face listens. What was printed may be here before the log is.
func (u *runningUp) address(face string) string {
	u.t.Helper()
	<-u.listens
	address, ok := u.listening.Load(face)
	if !ok {
		u.t.Fatalf("nothing listens for %s", face)
	}
	return address.(string)
}

// until reads what is printed up to a line that has a text, and returns that line.
func (u *runningUp) until(text string) string {
	u.t.Helper()
	for u.said.Scan() {
		u.text.WriteString(u.said.Text() + "\n")
		if strings.Contains(u.said.Text(), text) {
			return u.said.Text()
		}
	}
	u.t.Fatalf("ended without %q; it said\n%s%s", text, &u.text, <-u.log)
	return ""
}

// end stops the command and returns all that it said.
func (u *runningUp) end() string {
	u.t.Helper()
	u.stop()
	for u.said.Scan() {
		u.text.WriteString(u.said.Text() + "\n")
	}
	if status := <-u.status; status != exitOK {
		u.t.Errorf("status %d: %s%s", status, &u.text, <-u.log)
	}
	return u.text.String()
}

// numberIn finds a number in a line.
func numberIn(t *testing.T, line, pattern string) int {
	t.Helper()
	m := regexp.MustCompile(pattern).FindStringSubmatch(line)
	if m == nil {
		t.Fatalf("no %s in %q", pattern, line)
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestUpExample runs the example for some simulated days: every payment is decided,
// labels come back, what was served is what the log says, and a second start goes on. The
// project has tokens, which a replay in the server's own process does not need.
func TestUpExample(t *testing.T) {
	dir := copyExample(t, append([]string{"name: card-fraud\n", "name: card-fraud\n" + accessTokens}, smallWorld...)...)
	u := startUp(t, dir)
	generated := numberIn(t, u.until("generated"), `generated (\d+) payments`)
	loaded := numberIn(t, u.until("loaded"), `loaded (\d+) events`)
	line := u.until("replayed up to")
	decisions := numberIn(t, line, `(\d+) decisions`)
	if decisions == 0 || loaded+decisions != generated {
		t.Errorf("%d payments: %d loaded, %d decided", generated, loaded, decisions)
	}
	if numberIn(t, line, `approve (\d+)`)+numberIn(t, line, `review (\d+)`)+numberIn(t, line, `block (\d+)`) != decisions {
		t.Errorf("answers do not sum up: %s", line)
	}
	for _, bad := range []string{"failed", "refused", "degraded", "repeated"} {
		if strings.Contains(line, bad) {
			t.Errorf("some were %s: %s", bad, line)
		}
	}
	if known := numberIn(t, line, `(\d+) frauds known`); known == 0 {
		t.Errorf("no label came back: %s", line)
	}
	verified := u.until("verified the vectors")
	if n := numberIn(t, verified, `: (\d+) of`); n != decisions || !strings.Contains(verified, ", 0 differ") || strings.Contains(verified, "not compared") {
		t.Errorf("%d decisions, %s", decisions, verified)
	}
	checkUpCalls(t, u, decisions)
	u.end()

	again := startUp(t, dir)
	line = again.until("replayed up to")
	if n := numberIn(t, line, `(\d+) decisions`); n > decisions/100+1 || strings.Contains(line, "failed") {
		t.Errorf("the second start replayed again: %s", line)
	}
	if text := again.end(); strings.Contains(text, "loaded") || strings.Contains(text, "generated") {
		t.Errorf("the second start loaded again: %s", text)
	}
}

// checkUpCalls asks the running server over its ports.
func checkUpCalls(t *testing.T, u *runningUp, decisions int) {
	body := fetch(t, http.MethodPost, "http://"+u.address("http")+"/v1/decisions/card_payment",
		`{"facts": {"transaction_id": 900000001, "customer_id": 7, "terminal_id": 9, "amount": 6000}}`)
	if !strings.Contains(body, `"block"`) || !strings.Contains(body, "LIMIT") {
		t.Errorf("a payment above the limit: %s", body)
	}
	metrics := fetch(t, http.MethodGet, "http://"+u.address("metrics")+"/metrics", "")
	for _, want := range []string{
		`millrace_decisions_total{answer="approve",decision="card_payment"} `, "millrace_feature_read_seconds_bucket", "millrace_log_queue_records ",
		`millrace_feature_mismatches_total{feature="terminal_risk_30d",service="fraud"} 0`, `nv_inference_request_success{model="fraud",version="1"} `,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
	if !strings.Contains(metrics, "millrace_feature_reads_total "+strconv.Itoa(decisions+1)) {
		t.Errorf("the metrics do not count %d reads", decisions+1)
	}
}

// TestUpInterrupted stops a replay in the middle; the next start goes on from there and
// decides what is left.
func TestUpInterrupted(t *testing.T) {
	dir := copyExample(t, append([]string{"speed: 3600x", "speed: 20000x"}, smallWorld...)...)
	u := startUp(t, dir)
	for numberIn(t, u.until("decisions/s"), `approve (\d+)`) == 0 { // a line comes each second, whatever was decided
	}
	text := u.end()
	line := text[strings.Index(text, "stopped the replay"):]
	first := numberIn(t, line, `(\d+) decisions`)
	if first == 0 {
		t.Errorf("nothing was decided: %s", text)
	}
	again := startUp(t, dir, "--speed", "max")
	rest := again.until("replayed up to")
	all := numberIn(t, text, `generated (\d+) payments`) - numberIn(t, text, `loaded (\d+) events`)
	// The event where the first run stopped may come again, and is answered as before.
	if second := numberIn(t, rest, `(\d+) decisions`); first+second < all || first+second > all+flightMax || strings.Contains(rest, "failed") {
		t.Errorf("%d and %d decisions for %d payments: %s", first, second, all, rest)
	}
	again.end()
	checkOutcomes(t, dir)
}

func TestUpRefuses(t *testing.T) {
	tests := []struct {
		name, old, new string
		args           []string
		status         int
		want           []string
	}{
		{"features", "function: count", "function: cuont", nil, exitFailure, []string{"features.yaml:", "did you mean count?"}},
		{"decisions", "reason: NIGHT", "reason: NIHGT", nil, exitFailure, []string{"decisions.yaml:", "NIHGT"}},
		{"project", "models: models", "model: models", nil, exitFailure, []string{"millrace.yaml:3:1: model: unknown key; did you mean models?"}},
		{"feedback", "silence: negative", "silence: maybe", nil, exitFailure, []string{"feedback.yaml:9:5: labels.fraud.silence:"}},
		{"label", "decision: card_payment\n    kind", "decision: card\n    kind", nil, exitFailure, []string{"feedback.yaml:4:5: labels.fraud.decision:", "there is card_payment"}},
		{"replay", "decision: card_payment\n  label", "decision: card_payments\n  label", nil, exitFailure, []string{`decision "card_payments" is not defined`}},
		{"speed", "", "", []string{"--speed", "fast"}, exitUsage, []string{`--speed: speed "fast"`}},
		{"data", "", "", []string{"--data", "payments.xls"}, exitFailure, []string{".parquet, .csv or .jsonl"}},
		{"order", "", "", []string{"--from", "2026-02-01", "--to", "2026-01-01"}, exitUsage, []string{"--to is not after --from"}},
		{"model", "models: models", "models: nowhere", []string{"--replay=false"}, exitFailure, []string{"nowhere"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			replace := smallWorld
			if test.old != "" {
				replace = append([]string{test.old, test.new}, smallWorld...)
			}
			dir := copyExample(t, append([]string{"days: 90, customers: 2000", "days: 12, customers: 5"}, replace...)...)
			args := append([]string{"up", dir, "--http-port=0", "--grpc-port=0", "--metrics-port=0"}, test.args...)
			status, _, stderr := runCommand(t, "", args...)
			if status != test.status {
				t.Errorf("status %d, want %d", status, test.status)
			}
			for _, want := range test.want {
				if !strings.Contains(stderr, want) {
					t.Errorf("no %q in %s", want, stderr)
				}
			}
		})
	}
}

// TestInit: what init writes is served as it is, but for its budget of time, and nothing is
// overwritten.
func TestInit(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "shop")
	if status, out, stderr := runCommand(t, "", "init", dir); status != exitOK || !strings.Contains(out, "up "+dir) {
		t.Fatalf("status %d: %s%s", status, out, stderr)
	}
	if status, _, stderr := runCommand(t, "", "init", dir); status != exitFailure || !strings.Contains(stderr, "features.yaml is there already") {
		t.Errorf("status %d: %s", status, stderr)
	}
	slowMachine(t, filepath.Join(dir, "decisions.yaml"))
	server := startProject(t, dir)
	url := "http://" + server.addresses["http"] + "/v1/decisions/order"
	usual := fetch(t, http.MethodPost, url, `{"facts": {"customer_id": 7, "order_id": "a-1", "amount": 35}}`)
	large := fetch(t, http.MethodPost, url, `{"facts": {"customer_id": 7, "order_id": "a-2", "amount": 900}}`)
	if !strings.Contains(usual, `"accept"`) || !strings.Contains(large, `"review"`) || strings.Contains(usual+large, `"degraded":true`) {
		t.Errorf("answers %s and %s", usual, large)
	}
	server.stop()
	select {
	case status := <-server.status:
		if status != exitOK {
			t.Errorf("status %d", status)
		}
	case <-time.After(2 * time.Minute):
		t.Error("it did not stop")
	}
}

// startProject runs up on a project without a replay until it is ready.
func startProject(t *testing.T, dir string) *runningServer {
	t.Helper()
	return startCommand(t, "up", dir)
}
