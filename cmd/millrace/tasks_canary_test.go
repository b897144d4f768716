// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/console"
	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/tensor"
)

const shipPipeline = `
pipelines:
  ship:
    parameters: {file: good.onnx, http: "127.0.0.1:1", server: "127.0.0.1:1", decisions: 40, outcomes: 0, if_running: false}
    tasks:
      model: {uses: command, outputs: [model], with: {shell: 'mkdir -p "$MILLRACE_OUTPUT_MODEL" && cp "{{ params.file }}" "$MILLRACE_OUTPUT_MODEL/model.onnx"'}}
      canary:
        uses: canary
        inputs: {model: model.model}
        outputs: [record]
        with: {decision: order, model: risk, share: 0.5, decisions: "{{ params.decisions }}", timeout: 10m, max_latency_ratio: 100000, wait_outcomes: "{{ params.outcomes }}", if_running: "{{ params.if_running }}", http: "{{ params.http }}", server: "{{ params.server }}"}
      promote: {uses: promote, when: canary.passed, inputs: {model: model.model}, with: {model: risk, without_report: true, server: "{{ params.server }}"}}
`

// biasedModel is the template's model with another bias; of NaN it has no score.
func biasedModel(t *testing.T, path string, bias float64) {
	t.Helper()
	b := onnx.NewBuilder("risk")
	b.Input("input", tensor.FP32, onnx.Symbol("batch"), onnx.Extent(5))
	b.Initializer(onnx.TensorOf("weights", []float32{0, 0, 0, 0, 0}, 5, 1))
	b.Initializer(onnx.TensorOf("bias", []float32{float32(bias)}, 1))
	b.Node("Gemm", []string{"input", "weights", "bias"}, []string{"sum"})
	b.Node("Sigmoid", []string{"sum"}, []string{"risk"})
	b.Output("risk", tensor.FP32, onnx.Symbol("batch"), onnx.Extent(1))
	m, err := b.Model()
	if err != nil {
		t.Fatal(err)
	}
	text, err := m.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	writeText(t, path, string(text))
}

// canaryWorld is a project with one model and a pipeline that ships others.
func canaryWorld(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	t.Chdir(dir)
	saying(t, exitOK, "init", "shop")
	dir = filepath.Join(dir, "shop")
	t.Chdir(dir)
	project, err := os.ReadFile(projectFile)
	if err != nil {
		t.Fatal(err)
	}
	writeText(t, projectFile, string(project)+"pipelines: [pipeline.yaml]\nfeedback: [feedback.yaml]\n")
	writeText(t, "feedback.yaml", "labels: {returned: {decision: order, kind: outcome, name: is_returned, type: bool, window: 1s, silence: negative}}\n")
	decisions, err := os.ReadFile("decisions.yaml")
	if err != nil {
		t.Fatal(err)
	}
	writeText(t, "decisions.yaml", strings.Replace(string(decisions), "    service: risk\n", "    service: risk\n    unit: customer_id\n", 1))
	writeText(t, "pipeline.yaml", shipPipeline)
	slowMachine(t, "decisions.yaml")
	biasedModel(t, "models/risk/1/model.onnx", -3)
	biasedModel(t, "good.onnx", -2)
	biasedModel(t, "better.onnx", -1)
	biasedModel(t, "broken.onnx", math.NaN())
	return dir
}

// canaryShop is a server with clients that order all the time.
type canaryShop struct {
	*runningServer
	t *testing.T
}

func openShop(t *testing.T, dir string) *canaryShop {
	t.Helper()
	return &canaryShop{startProject(t, dir), t}
}

// order has customers order until stop is called.
func (s *canaryShop) order() (stop func()) {
	ctx, cancel := context.WithCancel(s.t.Context())
	var ordering sync.WaitGroup
	ordering.Go(func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for i := 0; ; i++ {
			body := fmt.Sprintf(`{"facts": {"customer_id": %d, "order_id": "o-%d-%d", "amount": 20}}`, i%500, os.Getpid(), time.Now().UnixNano())
			q, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+s.addresses["http"]+"/v1/decisions/order", strings.NewReader(body))
			if err == nil {
				if answer, err := http.DefaultClient.Do(q); err == nil {
					_, _ = io.Copy(io.Discard, answer.Body)
					answer.Body.Close()
				}
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	})
	return func() { cancel(); ordering.Wait() }
}

func (s *canaryShop) flags(more ...string) []string {
	return append([]string{"pipeline", "run", "--param", "http=" + s.addresses["http"], "--param", "server=" + s.addresses["grpc"]}, more...)
}

func (s *canaryShop) rollout() *rolloutReport {
	s.t.Helper()
	report := new(rolloutReport)
	if err := json.Unmarshal([]byte(fetch(s.t, http.MethodGet, "http://"+s.addresses["http"]+"/v1/decisions/order/rollout", "")), report); err != nil {
		s.t.Fatal(err)
	}
	return report
}

// until waits for a rollout to be as wanted.
func (s *canaryShop) until(what string, is func(*rolloutReport) bool) *rolloutReport {
	s.t.Helper()
	deadline := time.NewTimer(time.Minute)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		r := s.rollout()
		if is(r) {
			return r
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			s.t.Fatalf("not %s: %+v", what, r)
		}
	}
}

// loaded are the versions of the model that are ready.
func (s *canaryShop) loaded() string {
	s.t.Helper()
	var ready []string
	for line := range strings.Lines(saying(s.t, exitOK, "models", "list", "--url", s.addresses["grpc"])) {
		if f := strings.Fields(line); len(f) > 2 && f[0] == "risk" && strings.Contains(line, "READY") {
			ready = append(ready, f[1])
		}
	}
	return strings.Join(ready, " ")
}

// TestCanary ships a model through a canary: it is promoted without loading it again, what
// was chosen survives a restart, and one that fails leaves nothing behind.
func TestCanary(t *testing.T) {
	dir := canaryWorld(t)
	wants(t, saying(t, exitFailure, "pipeline", "run"), "a canary needs the server of the project: no server answers at http://127.0.0.1:1")
	wants(t, saying(t, exitOK, "pipeline", "run", "--param", "if_running=true", "--param", "file=better.onnx", "--run", "quiet"), "passed=true", "tried=false", "promoted=true", "version=2")

	project, err := os.ReadFile(projectFile)
	if err != nil {
		t.Fatal(err)
	}
	writeText(t, projectFile, string(project)+accessTokens)
	s := openShop(t, dir)
	stop := s.order()
	wants(t, saying(t, exitFailure, s.flags("--run", "nobody")...), "this changes what is served", tokenVariable)
	t.Setenv(tokenVariable, "operator-0123456789ab")
	wants(t, saying(t, exitOK, s.flags("--run", "good", "--param", "outcomes=20")...), "passed=true", "tried=true", "version=3", "decision=promoted")
	wants(t, saying(t, exitOK, "pipeline", "logs", "good", "canary"), "version 3 of risk answers 50 % of order", "version 3: ", " degraded", "mean score", "Brier score by returned: 0.01421 over ", "of the rest 0.07233 over", "accept: ")
	p := lastPromotion(t)
	if p.Version != 3 || p.Previous != 2 {
		t.Errorf("promotion %+v", p)
	}
	s.until("ended", func(r *rolloutReport) bool { return !r.Active && r.Current == 3 })

	wants(t, saying(t, exitOK, s.flags("--run", "again")...), "passed=true", "tried=false", "version=3", "decision=unchanged")

	said := saying(t, exitFailure, s.flags("--param", "file=broken.onnx", "--run", "broken")...)
	wants(t, said, "the canary failed: ", "degraded, of the rest 0.00 %")
	if r := s.rollout(); r.Active || r.Current != 3 || s.loaded() != "2 3" {
		t.Errorf("after a canary that failed: %+v, loaded %s", r, s.loaded())
	}
	if _, err := os.Stat("models/risk/4"); !os.IsNotExist(err) {
		t.Errorf("the version is still in the repository: %v", err)
	}
	stop()
	saying(t, exitOK, "models", "rollback", "risk", "--url", s.addresses["grpc"])
	end(t, s.runningServer)

	s = openShop(t, dir)
	if r := s.rollout(); r.Current != 2 {
		t.Errorf("version %d serves after a rollback and a restart, want 2", r.Current)
	}
	end(t, s.runningServer)
	entries, err := (&auditTrail{state: ".millrace/state"}).changes()
	entries = slices.DeleteFunc(entries, func(e console.Entry) bool { return e.Subject != "order" }) // such as swaps of the model
	if err != nil || len(entries) != 3 {
		t.Fatalf("audit trail %+v, %v", entries, err)
	}
	for i, want := range []string{"rollout canary version 3 for 50 %", "rollout canary version 4 for 50 %", "end rollout the canary failed: "} {
		if e := entries[i]; !strings.HasPrefix(e.Action+" "+e.Detail, want) || e.Who != "anna, for pipeline ship" || e.Subject != "order" || e.Error != "" || !strings.HasPrefix(e.Link, "/console/pipelines/") {
			t.Errorf("entry %d: %+v", i, e)
		}
	}
}

// TestCanaryKilled kills the process that runs the pipeline while the canary waits: the
// rollout stands, also over a restart of the server; the same run goes on with it, and
// another one takes it back first.
func TestCanaryKilled(t *testing.T) {
	dir := canaryWorld(t)
	s := openShop(t, dir)
	kill := func(run, file string, version int64) {
		t.Helper()
		program, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), program, s.flags("--param", "decisions=1000000", "--param", "file="+file, "--run", run)...)
		cmd.Env = append(os.Environ(), asCommand+"=1")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		s.until("a canary", func(r *rolloutReport) bool { return r.Active && r.CanaryVersion == version })
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // it was killed
	}
	kill("one", "good.onnx", 2)
	end(t, s.runningServer)
	s = openShop(t, dir)
	r := s.until("going on", func(r *rolloutReport) bool { return r.Active && r.Since != nil })
	if r.CanaryVersion != 2 || r.Current != 1 || r.Share != 0.5 || r.Run != "one" || s.loaded() != "1 2" {
		t.Errorf("after a restart: %+v, loaded %s", r, s.loaded())
	}
	kill("two", "better.onnx", 3) // and takes back what one left
	if s.loaded() != "1 3" {
		t.Errorf("loaded %s", s.loaded())
	}
	stop := s.order()
	defer stop()
	wants(t, saying(t, exitOK, s.flags("--param", "file=better.onnx", "--run", "three")...), "passed=true", "decision=promoted")
	if r := s.until("promoted", func(r *rolloutReport) bool { return !r.Active }); r.Current != 3 {
		t.Errorf("%+v", r)
	}
	stop()
	end(t, s.runningServer)
}

// consoleDo posts a form of the console and returns the page that it leads to.
func (s *canaryShop) consoleDo(status int, path string, form url.Values) string {
	s.t.Helper()
	answer, err := http.PostForm("http://"+s.addresses["http"]+path, form)
	if err != nil {
		s.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != status {
		s.t.Fatalf("%s %v: %s, %v\n%.2000s", path, form, answer.Status, err, text)
	}
	return string(text)
}

// TestConsoleRollout steers a canary by hand: every change is on record with who made it,
// versions are loaded and unloaded with it, and a bad one changes nothing.
func TestConsoleRollout(t *testing.T) {
	dir := canaryWorld(t)
	biasedModel(t, "models/risk/2/model.onnx", -2)
	biasedModel(t, "models/risk/3/model.onnx", -1)
	// The last start had a canary of a decision that the project has no more.
	if err := os.MkdirAll(".millrace/state", 0o755); err != nil {
		t.Fatal(err)
	}
	writeText(t, ".millrace/state/"+rolloutsFile, `{"format": 1, "rollouts": {"gone": {"decision": "gone", "model": "risk", "canary_version": 3, "share": 0.5, "by": "test", "loaded": [3]}}}`)
	s := openShop(t, dir)
	saying(t, exitOK, "models", "swap", "risk", "--version", "1", "--url", s.addresses["grpc"])
	saying(t, exitOK, "models", "swap", "risk", "--version", "2", "--url", s.addresses["grpc"])
	const page = "/console/decisions/order"
	wants(t, fetch(t, http.MethodGet, "http://"+s.addresses["http"]+"/console/decisions", ""), "order", "version 2", "none")
	wants(t, s.consoleDo(http.StatusOK, page+"/canary", url.Values{"version": {"3"}, "percent": {"40"}}), "is the canary of 40.0 %", "Started by local", "The canary against the rest", "Promote version 3", "thresholds.default")
	if s.loaded() != "1 2 3" {
		t.Errorf("loaded %s", s.loaded())
	}
	stop := s.order()
	s.until("asked", func(r *rolloutReport) bool { return r.Canary.Decisions > 0 && r.Rest.Decisions > 0 && r.Share == 0.4 })
	stop()
	wants(t, s.consoleDo(http.StatusOK, page+"/canary", url.Values{"version": {"3"}, "percent": {"60"}}), "is the canary of 60.0 %")
	wants(t, s.consoleDo(http.StatusOK, page+"/shadow", url.Values{"version": {"1"}, "percent": {"100"}}), "is the canary of 60.0 %", "runs beside on 100.0 %")
	if r := s.rollout(); r.Canary.Decisions == 0 || r.ShadowVersion != 1 || r.By != "local" {
		t.Errorf("%+v", r)
	}
	for _, bad := range []url.Values{{"version": {"x"}, "percent": {"1"}}, {"version": {"3"}, "percent": {"0"}}, {"version": {"3"}, "percent": {"NaN"}}} {
		s.consoleDo(http.StatusBadRequest, page+"/canary", bad)
	}
	s.consoleDo(http.StatusConflict, page+"/canary", url.Values{"version": {"9"}, "percent": {"1"}})
	s.consoleDo(http.StatusConflict, page+"/canary", url.Values{"version": {"2"}, "percent": {"1"}})
	s.consoleDo(http.StatusBadRequest, page+"/end", url.Values{"what": {"all"}})
	s.consoleDo(http.StatusNotFound, "/console/decisions/none/canary", url.Values{"version": {"3"}, "percent": {"1"}})
	wants(t, s.consoleDo(http.StatusOK, page+"/end", url.Values{"what": {"shadow"}}), "is the canary of 60.0 %")
	wants(t, s.consoleDo(http.StatusOK, page+"/promote", nil), "version <strong>3</strong> serves", "There is no rollout", "promote canary")
	wants(t, s.consoleDo(http.StatusOK, page+"/rollback", nil), "version <strong>2</strong> serves", "rollback", "back to version 2 from 3")
	wants(t, s.consoleDo(http.StatusOK, page+"/canary", url.Values{"version": {"1"}, "percent": {"1"}}), "is the canary of 1.0 %")
	wants(t, s.consoleDo(http.StatusOK, page+"/end", url.Values{"what": {"canary"}}), "There is no rollout")
	end(t, s.runningServer)
	if text, err := os.ReadFile(".millrace/state/" + rolloutsFile); err != nil || strings.Contains(string(text), "gone") {
		t.Errorf("%v: a rollout of nothing is kept: %s", err, text)
	}

	entries, err := (&auditTrail{state: ".millrace/state"}).changes()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		if e.Who != "local" {
			t.Errorf("entry %+v", e)
		}
		text := e.Action + " " + e.Subject
		if e.Error != "" {
			text += " refused"
		}
		got = append(got, text)
	}
	want := "canary order, canary order, shadow order, canary order refused, canary order refused, end shadow order, promote canary risk, rollback risk, canary order, end canary order"
	if strings.Join(got, ", ") != want {
		t.Errorf("audit trail\n%s, want\n%s", strings.Join(got, ", "), want)
	}
}
