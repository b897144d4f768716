// SPDX-License-Identifier: Apache-2.0

package browser

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// site has a page that is drawn when a slow answer came, one that links it, and one where
// each key brings the next task until there is none.
func site(t *testing.T) *httptest.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `<!doctype html><nav><a href="/console/models">m</a><a href="https://elsewhere.invalid/">no</a></nav><main><a href="/console/models?by=name">again</a></main>`)
	})
	mux.HandleFunc("GET /console/models", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `<!doctype html><main><a href="/console/models/a">a</a><a href="/console/models/b">b</a><p id=p></p></main>
<script>document.addEventListener("DOMContentLoaded", async () => { document.getElementById("p").textContent = await (await fetch("/slow")).text(); })</script>`)
	})
	mux.HandleFunc("GET /console/models/{model}", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<!doctype html><main>x</main>") })
	mux.HandleFunc("GET /slow", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, strings.Repeat("x", 1<<20))
	})
	mux.HandleFunc("GET /console/labeling/review", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `<!doctype html><main></main><script type="application/json" id="label-config">{"labels":[{"key":"f"}]}</script>
<script>window.desk = {tasks: [1, 2, 3], outbox: new Map(), sender: {running: false}};
document.addEventListener("keydown", (e) => { if (e.key === "f") { desk.tasks.pop(); performance.measure("key to next task", {start: e.timeStamp, end: performance.now()}); } })</script>`)
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

func TestMeasure(t *testing.T) {
	s := site(t)
	r, err := Measure(t.Context(), Options{URL: s.URL, Rounds: 2, LabelProject: "review", Tasks: 10})
	if errors.Is(err, ErrNoChromium) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/", "/console/models", "/console/models/a"} {
		if took := r.PageMillis[path]; len(took) != 2 || took[0] <= 0 || took[1] <= 0 {
			t.Errorf("%s took %v", path, took)
		}
	}
	if len(r.PageMillis) != 3 {
		t.Errorf("pages: %v", r.PageMillis)
	}
	if len(r.KeyMillis) != 3 {
		t.Errorf("%d keys were measured, want one for each of three tasks: %v", len(r.KeyMillis), r.KeyMillis)
	}
	if _, err := Measure(t.Context(), Options{URL: s.URL, Rounds: 1, Pages: []string{"/nowhere"}}); err == nil || !strings.Contains(err.Error(), "/nowhere: the answer is 404") {
		t.Errorf("a page that is not there: %v", err)
	}
}

func TestOptions(t *testing.T) {
	for _, o := range []Options{{}, {URL: "localhost:8080"}, {URL: "http://localhost", Rounds: -1}, {URL: "http://localhost", Tasks: tasksMax + 1}} {
		if _, err := Measure(context.Background(), o); err == nil {
			t.Errorf("%+v is taken", o)
		}
	}
}

func TestKind(t *testing.T) {
	for path, want := range map[string]string{
		"/": "", "/console/models": "console/models", "/console/models/fraud?x=1": "console/models/*", "/console/pipelines/run-1/logs/train": "console/pipelines/*/logs/*",
		"/console/features/cards/amount": "console/features/*/*", "/console/monitors/fraud/alarms?id=a%2Fb": "console/monitors/*/alarms",
	} {
		if got := kind(path); got != want {
			t.Errorf("%s is of kind %s, want %s", path, got, want)
		}
	}
}
