// SPDX-License-Identifier: Apache-2.0

package browser_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace-ml/millrace/console"
	"github.com/millrace-ml/millrace/console/browser"
	"github.com/millrace-ml/millrace/engine/repository"
	"github.com/millrace-ml/millrace/orchestrator"
)

// twoVersions is a model repository with a model in two versions.
type twoVersions struct {
	mu              sync.Mutex
	serving, before int64
}

func (m *twoVersions) Models() []repository.ModelInfo {
	m.mu.Lock()
	defer m.mu.Unlock()
	return []repository.ModelInfo{{
		Name: "fraud", Current: m.serving, Previous: m.before, Aliases: map[string]int64{"champion": 1},
		Versions: []repository.VersionInfo{{Number: 1, State: repository.StateReady}, {Number: 2, State: repository.StateReady, Reason: "loaded <b>today</b>"}},
	}}
}

func (m *twoVersions) SwapVersion(_ context.Context, _ string, number int64, _ bool) (repository.SwapResult, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.serving, m.before = number, m.serving
	return repository.SwapResult{From: m.before, To: number}, nil
}

func (m *twoVersions) Rollback(context.Context, string) (repository.SwapResult, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.before == 0 {
		return repository.SwapResult{}, errors.New("nothing to go back to")
	}
	m.serving, m.before = m.before, m.serving
	return repository.SwapResult{From: m.before, To: m.serving}, nil
}

// oneRun is a pipeline of which one task failed.
type oneRun struct{}

var started = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func (oneRun) Runs(string) ([]*orchestrator.RunStatus, error) {
	s, err := oneRun{}.Status("run-1")
	return []*orchestrator.RunStatus{s}, err
}

func (oneRun) Status(run string) (*orchestrator.RunStatus, error) {
	if run != "run-1" {
		return nil, orchestrator.ErrNotFound
	}
	return &orchestrator.RunStatus{ID: run, Pipeline: "fraud", Status: orchestrator.StatusFailed, Started: started, Ended: started.Add(time.Minute), Error: "train failed", Tasks: []orchestrator.TaskStatus{
		{Task: "data", Status: orchestrator.StatusSucceeded, Attempt: 1, Started: started, Ended: started.Add(20 * time.Second)},
		{Task: "train", Status: orchestrator.StatusFailed, Attempt: 2, Started: started.Add(20 * time.Second), Ended: started.Add(time.Minute), Error: "no rows"},
		{Task: "promote", Status: orchestrator.StatusBlocked, Reason: "train failed"},
	}}, nil
}

func (oneRun) Logs(_, _, _ string, w io.Writer) error {
	_, err := io.WriteString(w, "read 0 rows\n")
	return err
}

func (oneRun) Cancel(string) error { return nil }

// TestClickIsLookedForAgain presses a link that the page replaces before it is let go.
func TestClickIsLookedForAgain(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, `<link rel="icon" href="data:,"><p><a href="/there">go</a></p>
<script>addEventListener("mousedown", () => { const p = document.querySelector("p"); p.innerHTML = p.innerHTML; }, { once: true })</script>`)
	}))
	t.Cleanup(server.Close)
	page := browser.Visitor(t).Open(t, server.URL+"/here")
	page.Click(t, "a")
	page.Wait(t, `location.pathname === "/there"`)
}

// TestPages looks at the pages that need no more than this, and promotes a model and rolls
// it back on them.
func TestPages(t *testing.T) {
	models := &twoVersions{serving: 1}
	c, err := console.New(console.Options{Project: "cards", Version: "test", Models: models, Pipelines: oneRun{}, Metrics: prometheus.NewRegistry(), Audit: &trail{}, Access: alone})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	c.Routes(mux)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close) // after the tab's: a page that asks a server which has stopped has an error in its console
	page := browser.Visitor(t).Open(t, server.URL+"/console/models/fraud")
	page.Check(t, "model")
	page.Click(t, `form[action$="/swap"] button`)
	page.Wait(t, `document.querySelector('form[action$="/rollback"] button')`)
	if at := models.Models()[0].Current; at != 2 {
		t.Errorf("after the promotion version %d is served", at)
	}
	page.Check(t, "model-promoted")
	page.Click(t, `form[action$="/rollback"] button`)
	page.Wait(t, `document.readyState === "complete" && document.body.innerText.includes("back to version 1 from 2")`)
	if at := models.Models()[0].Current; at != 1 {
		t.Errorf("after the rollback version %d is served", at)
	}
	for name, path := range map[string]string{
		"overview": "/", "models": "/console/models", "audit": "/console/audit", "login": "/console/login",
		"pipelines": "/console/pipelines", "run": "/console/pipelines/run-1", "log": "/console/pipelines/run-1/logs/train",
	} {
		page.Go(t, server.URL+path)
		page.Check(t, name)
	}
}
