// SPDX-License-Identifier: Apache-2.0

package console

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace-ml/millrace/engine/repository"
	"github.com/millrace-ml/millrace/orchestrator"
	"github.com/millrace-ml/millrace/orchestrator/artifact"
	"github.com/millrace-ml/millrace/orchestrator/pipeline"
	"github.com/millrace-ml/millrace/serving/access"
	"github.com/millrace-ml/millrace/training/runs"
)

const evil = `<script>alert("x")</script>`

// fakeModels is a repository with two versions of a model.
type fakeModels struct {
	mu      sync.Mutex
	current int64
	before  int64
}

func (f *fakeModels) Models() []repository.ModelInfo {
	f.mu.Lock()
	defer f.mu.Unlock()
	return []repository.ModelInfo{{
		Name: "fraud", Current: f.current, Previous: f.before, Fault: evil, Aliases: map[string]int64{"champion": 1},
		Versions: []repository.VersionInfo{{Number: 1, State: repository.StateReady}, {Number: 2, State: repository.StateReady, Reason: evil}},
	}}
}

func (f *fakeModels) SwapVersion(_ context.Context, name string, number int64, _ bool) (repository.SwapResult, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if number > 3 {
		return repository.SwapResult{}, fmt.Errorf("model %q has no version %d", name, number)
	}
	f.before, f.current = f.current, number
	return repository.SwapResult{From: f.before, To: number}, nil
}

func (f *fakeModels) Rollback(_ context.Context, _ string) (repository.SwapResult, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.current, f.before = f.before, f.current
	return repository.SwapResult{From: f.before, To: f.current}, nil
}

// memoryTrail is an audit trail in memory.
type memoryTrail struct {
	mu      sync.Mutex
	entries []Entry
	full    bool
}

func (m *memoryTrail) Append(e Entry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.full {
		return errors.New("no space left")
	}
	m.entries = append(m.entries, e)
	return nil
}

func (m *memoryTrail) Entries(limit int) ([]Entry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := slices.Clone(m.entries)
	slices.Reverse(all)
	return all[:min(limit, len(all))], nil
}

// fakePipelines has one run, which goes on.
type fakePipelines struct{ cancelled []string }

var began = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func (f *fakePipelines) Runs(string) ([]*orchestrator.RunStatus, error) {
	s, err := f.Status("run-1")
	return []*orchestrator.RunStatus{s}, err
}

func (f *fakePipelines) Status(run string) (*orchestrator.RunStatus, error) {
	if run != "run-1" {
		return nil, orchestrator.ErrNotFound
	}
	return &orchestrator.RunStatus{ID: run, Pipeline: "fraud", Status: orchestrator.StatusRunning, Started: began, Tasks: []orchestrator.TaskStatus{
		{Task: "train", Status: orchestrator.StatusSucceeded, Attempt: 1, Started: began, Ended: began.Add(3 * time.Second), Values: map[string]any{"chosen": evil}},
		{Task: "evaluate", Status: orchestrator.StatusFailed, Attempt: 2, Started: began.Add(3 * time.Second), Ended: began.Add(5 * time.Second), Error: evil,
			Outputs: map[string]artifact.Info{"report": {Digest: "sha256:ab"}}},
		{Task: "promote", Status: orchestrator.StatusBlocked, Reason: "evaluate failed"},
	}}, nil
}

func (f *fakePipelines) Logs(_, task, _ string, w io.Writer) error {
	if task == "train" {
		for range 100 {
			if _, err := io.WriteString(w, strings.Repeat("x", 4096)); err != nil {
				return err
			}
		}
	}
	_, err := io.WriteString(w, evil+" \xff\n")
	return err
}

func (f *fakePipelines) Cancel(run string) error {
	f.cancelled = append(f.cancelled, run)
	return nil
}

const secret = "0123456789abcdef-"

// site is a console that is served.
type site struct {
	*httptest.Server
	console *Console
	models  *fakeModels
	trail   *memoryTrail
	runs    *fakePipelines
	now     time.Time
}

func newSite(t *testing.T, access Access) *site {
	t.Helper()
	dir := t.TempDir()
	for path, text := range map[string]string{"fraud/2/card.html": "<h1>the card</h1>", "report/report.html": "<h1>the report</h1>", "fraud/7/x": ""} {
		if err := errors.Join(os.MkdirAll(filepath.Join(dir, filepath.Dir(path)), 0o755), os.WriteFile(filepath.Join(dir, path), []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	store, err := runs.Open(context.Background(), filepath.Join(dir, runs.File))
	if err != nil {
		t.Fatal(err)
	}
	recorder, err := store.Start(context.Background(), runs.Run{Experiment: evil, Name: "trees", Method: "trees", Parameters: map[string]any{"depth": 3}})
	if err == nil {
		err = errors.Join(recorder.LogMetrics(context.Background(), 1, map[string]float64{"loss": 0.5}), recorder.LogMetrics(context.Background(), 2, map[string]float64{"loss": 0.25}),
			recorder.Finish(context.Background(), runs.Result{Metrics: map[string]runs.Metric{"roc_auc": {Value: 0.875}}}))
	}
	if err != nil {
		t.Fatal(err)
	}
	definitions, err := pipeline.Parse("p.yaml", []byte("pipelines: {fraud: {tasks: {train: {uses: command, with: {command: [a]}}, evaluate: {uses: command, needs: [train], with: {command: [a]}}, promote: {uses: command, needs: [evaluate], with: {command: [a]}}}}}"))
	if err != nil {
		t.Fatal(err)
	}
	s := &site{models: &fakeModels{current: 1}, trail: &memoryTrail{}, runs: &fakePipelines{}, now: began.Add(time.Minute)}
	s.console, err = New(Options{
		Project: evil, Version: "test", Models: s.models, ModelsDir: dir, Pipelines: s.runs, Definitions: definitions, Experiments: store, Audit: s.trail,
		Artifact: func(string) string { return filepath.Join(dir, "report") }, Access: access, Now: func() time.Time { return s.now },
	})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	s.console.Routes(mux)
	s.Server = httptest.NewServer(mux)
	t.Cleanup(func() {
		s.Close()
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

var people = Access{Tokens: []Token{{Name: "ann", Role: Viewer, Secret: "v" + secret}, {Name: "bob", Role: Operator, Secret: "o" + secret}, {Name: "shop", Role: access.Client, Secret: "c" + secret}}}

// browser keeps cookies; it is signed in if there is a token.
func (s *site) browser(t *testing.T, token string) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	c := &http.Client{Jar: jar}
	if token != "" {
		status, text := s.post(t, c, "/console/login", url.Values{"token": {token}, "next": {"/console/audit"}})
		if status != http.StatusOK || !strings.Contains(text, "Changes and decisions") {
			t.Fatalf("sign in: %d %.300s", status, text)
		}
	}
	return c
}

func (s *site) get(t *testing.T, c *http.Client, path string) (int, string) {
	t.Helper()
	answer, err := c.Get(s.URL + path)
	return read(t, answer, err)
}

func (s *site) post(t *testing.T, c *http.Client, path string, form url.Values) (int, string) {
	t.Helper()
	answer, err := c.PostForm(s.URL+path, form)
	return read(t, answer, err)
}

func read(t *testing.T, answer *http.Response, err error) (int, string) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(answer.Header.Get("Content-Security-Policy"), "default-src 'none'") && !strings.Contains(answer.Request.URL.Path, "assets") {
		t.Errorf("%s has the policy %q", answer.Request.URL, answer.Header.Get("Content-Security-Policy"))
	}
	return answer.StatusCode, string(text)
}

func TestPagesShowAndNeverInterpret(t *testing.T) {
	s := newSite(t, people)
	c := s.browser(t, "v"+secret)
	for path, want := range map[string]string{
		"/": "fraud", "/console/models": "fraud", "/console/models/fraud": "champion", "/console/pipelines": "run-1", "/console/pipelines/run-1": "evaluate failed",
		"/console/pipelines/run-1/logs/evaluate": "Log of evaluate", "/console/experiments": "0.875", "/console/experiments?where=metrics.roc_auc+>+0.9": "No run fits",
		"/console/experiments?where=nonsense+(": "invalid query", "/console/audit": "Nothing was changed", "/console/models/fraud/2/card": "the card",
		"/console/pipelines/run-1/report/evaluate": "the report", "/console/traffic.json": `"models":{}`,
	} {
		status, text := s.get(t, c, path)
		if status != http.StatusOK || !strings.Contains(text, want) {
			t.Errorf("%s: %d, without %q: %.200s", path, status, want, text)
		}
		if strings.Contains(text, "<script>alert") {
			t.Errorf("%s has the script of a name", path)
		}
	}
	_, list := s.get(t, c, "/console/experiments")
	at := strings.Index(list, "/console/experiments/0")
	if _, text := s.get(t, c, list[at:at+len("/console/experiments/")+26]); !strings.Contains(text, "polyline") {
		t.Errorf("no learning curve: %.400s", text)
	}
	for _, path := range []string{"/console/models/none", "/console/pipelines/none", "/console/pipelines/run-1/logs/none", "/console/experiments/none", "/console/models/fraud/1/card", "/console/pipelines/run-1/report/train", "/console/assets/console.go"} {
		if status, _ := s.get(t, c, path); status != http.StatusNotFound {
			t.Errorf("%s: %d", path, status)
		}
	}
}

func TestRoles(t *testing.T) {
	s := newSite(t, people)
	nobody, viewer, operator := s.browser(t, ""), s.browser(t, "v"+secret), s.browser(t, "o"+secret)
	if status, text := s.get(t, nobody, "/console/models"); status != http.StatusOK || !strings.Contains(text, "Sign in") || !strings.Contains(text, `value="/console/models"`) {
		t.Errorf("nobody: %d %.200s", status, text)
	}
	swap := url.Values{"version": {"2"}}
	if status, _ := s.post(t, nobody, "/console/models/fraud/swap", swap); status != http.StatusUnauthorized {
		t.Errorf("nobody swaps: %d", status)
	}
	if status, text := s.post(t, viewer, "/console/models/fraud/swap", swap); status != http.StatusForbidden || !strings.Contains(text, "needs the role operator") {
		t.Errorf("a viewer swaps: %d %.200s", status, text)
	}
	if _, text := s.get(t, viewer, "/console/models/fraud"); strings.Contains(text, "Serve this one") {
		t.Error("a viewer sees the button")
	}
	if s.models.current != 1 || len(s.trail.entries) != 0 {
		t.Fatalf("serves %d, trail %v", s.models.current, s.trail.entries)
	}
	if status, text := s.post(t, operator, "/console/models/fraud/swap", swap); status != http.StatusOK || !strings.Contains(text, "Roll back to version 1") {
		t.Errorf("an operator swaps: %d %.300s", status, text)
	}
	if status, _ := s.post(t, operator, "/console/models/fraud/rollback", nil); status != http.StatusOK || s.models.current != 1 {
		t.Errorf("rollback: %d, serves %d", status, s.models.current)
	}
	if status, text := s.post(t, operator, "/console/models/fraud/swap", url.Values{"version": {"9"}}); status != http.StatusConflict || !strings.Contains(text, "no version 9") {
		t.Errorf("a swap that fails: %d %.300s", status, text)
	}
	if status, _ := s.post(t, operator, "/console/pipelines/run-1/cancel", nil); status != http.StatusOK || len(s.runs.cancelled) != 1 {
		t.Errorf("cancel: %d, %v", status, s.runs.cancelled)
	}
	for _, bad := range []string{"", "0", "-1", "two", "99999999999999999999"} {
		if status, _ := s.post(t, operator, "/console/models/fraud/swap", url.Values{"version": {bad}}); status != http.StatusBadRequest {
			t.Errorf("version %q: %d", bad, status)
		}
	}
	var actions []string
	for _, e := range s.trail.entries {
		actions = append(actions, e.Who+" "+e.Action)
	}
	if want := []string{"bob swap", "bob rollback", "bob swap", "bob cancel run"}; !slices.Equal(actions, want) {
		t.Errorf("trail %q, want %q", actions, want)
	}
	s.trail.full = true
	if status, text := s.post(t, operator, "/console/models/fraud/swap", swap); status != http.StatusInternalServerError || !strings.Contains(text, "audit trail could not be written") {
		t.Errorf("a full disk: %d %.300s", status, text)
	}
}

func TestForgeryIsRefused(t *testing.T) {
	s := newSite(t, people)
	operator := s.browser(t, "o"+secret)
	for name, headers := range map[string]map[string]string{
		"cross-site fetch": {"Sec-Fetch-Site": "cross-site"}, "same-site": {"Sec-Fetch-Site": "same-site"}, "other origin": {"Origin": "http://evil.example"},
	} {
		r, err := http.NewRequest(http.MethodPost, s.URL+"/console/models/fraud/swap", strings.NewReader("version=2"))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		for key, value := range headers {
			r.Header.Set(key, value)
		}
		answer, err := operator.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusForbidden || s.models.current != 1 {
			t.Errorf("%s: %d, serves %d", name, answer.StatusCode, s.models.current)
		}
	}
}

func TestSessionsEnd(t *testing.T) {
	s := newSite(t, people)
	c := s.browser(t, "v"+secret)
	s.now = s.now.Add(sessionAge + time.Second)
	if _, text := s.get(t, c, "/console/audit"); !strings.Contains(text, "Sign in") {
		t.Error("the session did not end with its age")
	}
	c = s.browser(t, "v"+secret)
	if _, text := s.post(t, c, "/console/logout", nil); !strings.Contains(text, "Sign in") {
		t.Error("signed out, but in")
	}
	if status, text := s.post(t, s.browser(t, ""), "/console/login", url.Values{"token": {"wrong"}}); status != http.StatusUnauthorized || !strings.Contains(text, "no token of this project") {
		t.Errorf("a wrong token: %d %.200s", status, text)
	}
	if status, text := s.post(t, s.browser(t, ""), "/console/login", url.Values{"token": {"c" + secret}}); status != http.StatusForbidden || !strings.Contains(text, "of the role client") {
		t.Errorf("a program's token: %d %.200s", status, text)
	}
	for i := range sessionsMax + 5 {
		if _, err := s.console.sessions.start(&Token{Name: fmt.Sprint(i), Role: Viewer}); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(s.console.sessions.mu.byID); n != sessionsMax {
		t.Errorf("%d sessions", n)
	}
	for next, want := range map[string]string{"/console/audit?x=1": "/console/audit?x=1", "//evil.example": "/", "https://evil.example/": "/", "/\\evil.example": "/", "javascript:alert(1)": "/", "": "/"} {
		if got := safeNext(next); got != want {
			t.Errorf("after signing in with next=%q: %q", next, got)
		}
	}
}

func TestLocalAccess(t *testing.T) {
	s := newSite(t, Access{Local: true})
	c := s.browser(t, "")
	if _, text := s.get(t, c, "/console/models/fraud"); !strings.Contains(text, "Serve this one") {
		t.Errorf("on this machine: %.200s", text)
	}
	r, err := http.NewRequest(http.MethodGet, s.URL+"/console/models", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = "evil.example:8000" // a name that was made to point to this machine
	answer, err := c.Do(r)
	if _, text := read(t, answer, err); !strings.Contains(text, "Sign in") {
		t.Errorf("under another name: %.200s", text)
	}
	for _, a := range []Access{{}, {Tokens: []Token{{Name: "", Role: Viewer, Secret: "0123456789abcdef"}}}, {Tokens: []Token{{Name: "ann", Role: Nobody, Secret: "0123456789abcdef"}}}, {Tokens: []Token{{Name: "ann", Role: Viewer, Secret: "short"}}}, {Tokens: []Token{{Name: "ann", Role: Viewer, Secret: "0123456789abcdef"}, {Name: "ben", Role: Viewer, Secret: "0123456789abcdef"}}}} {
		if _, err := a.keyring(); err == nil {
			t.Errorf("%+v is let through", a)
		}
	}
}

func TestLogIsCut(t *testing.T) {
	s := newSite(t, Access{Local: true})
	_, text := s.get(t, s.browser(t, ""), "/console/pipelines/run-1/logs/train")
	if len(text) > logBytesMax+20_000 || !strings.Contains(text, "The begin is left out") || !strings.Contains(text, "&lt;script&gt;") {
		t.Errorf("%d bytes", len(text))
	}
}

func TestTraffic(t *testing.T) {
	registry := prometheus.NewRegistry()
	success := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "nv_inference_request_success"}, []string{"model", "version"})
	took := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "nv_inference_request_duration_histogram_us", Buckets: []float64{100, 200, 400}}, []string{"model", "version"})
	registry.MustRegister(success, took)
	now := began
	tr := newTraffic(registry, func() time.Time { return now })
	tr.sample()
	success.WithLabelValues("fraud", "1").Add(30)
	success.WithLabelValues("fraud", "2").Add(10)
	for range 100 {
		took.WithLabelValues("fraud", "1").Observe(150)
	}
	now = now.Add(2 * time.Second)
	tr.sample()
	r := tr.latest().Models["fraud"]
	if r.Requests != 20 || r.P50 != 150 || r.P99 != 199 {
		t.Errorf("%+v", r)
	}
	for range samplesMax + 10 {
		now = now.Add(2 * time.Second)
		tr.sample()
	}
	h := tr.history("fraud")
	if len(h.Times) != samplesMax || len(h.Models["fraud"]) != samplesMax || h.Models["fraud"][samplesMax-1].Requests != 0 {
		t.Errorf("%d points", len(h.Times))
	}
	if len(tr.history("other").Models) != 0 {
		t.Error("a model that is not there has a history")
	}
}

func TestDrawings(t *testing.T) {
	s, err := (&fakePipelines{}).Status("run-1")
	if err != nil {
		t.Fatal(err)
	}
	g := drawGantt(s, began.Add(10*time.Second))
	if len(g.Bars) != 3 || g.Bars[0].X != ganttLabel || g.Bars[1].X <= g.Bars[0].X || g.Bars[2].Width != 0 {
		t.Errorf("%+v", g.Bars)
	}
	if _, ok := drawCurve("x", nil); ok {
		t.Error("a curve without points was drawn")
	}
	d, ok := drawCurve("x", []runs.Point{{Step: 1, Value: 2}, {Step: 3, Value: 1}})
	if !ok || d.Points != "0.0,0.0 400.0,120.0 " || d.Low != 1 {
		t.Errorf("%+v", d)
	}
}
