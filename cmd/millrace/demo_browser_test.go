// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/console/browser"
)

// followInBrowser goes on with the demo, slowly, and follows its alarm to the promotion as
// somebody at the console does: by clicks alone, from the first page to the model that
// serves the new version, and back from the promotion to the alarm.
func (h *headlessDemo) followInBrowser(t *testing.T, version string) {
	alarm, run := h.alarmOf(t, version)
	server := startCommand(t, "demo", "--dir", h.dir, "--speed", "1x", "--log-file", "")
	site := "http://" + server.addresses["http"]
	page := browser.Visitor(t).Open(t, site+"/")
	on := func(path string) { // and all of it is there
		t.Helper()
		page.Wait(t, `decodeURIComponent(location.pathname + location.search) === `+quoted(path)+` && document.readyState === "complete"`)
	}
	alarmPage := "/console/monitors/" + demoMonitor + "/alarms?id=" + alarm
	runPage, chainPage := "/console/pipelines/"+run, "/console/audit/promotions/"+run

	page.Click(t, `.events a[href$=`+quoted(url.QueryEscape(alarm))+`]`)
	on(alarmPage)
	for _, want := range []string{"realised", "started the pipeline " + demoRetrain, "was promoted"} {
		page.Wait(t, `document.querySelector("main").innerText.includes(`+quoted(want)+`)`)
	}
	page.Check(t, "demo-alarm")
	page.Click(t, `.chain a[href=`+quoted(runPage)+`]`)
	on(runPage)
	page.Wait(t, `["evaluate", "canary", "promote"].every((task) => document.querySelector("main").innerText.includes(task))`)
	page.Check(t, "demo-run")
	page.Click(t, `a[href=`+quoted(runPage+"/report/evaluate")+`]`)
	on(runPage + "/report/evaluate")
	page.Wait(t, `document.body.innerText.includes("roc_auc")`)
	page.Go(t, site+runPage) // a report is a document by itself, without links
	page.Click(t, `a[href=`+quoted(chainPage)+`]`)
	on(chainPage)
	for _, kind := range []string{"alarm", "run", "labels", "evaluation", "canary", "promotion"} {
		page.Wait(t, `[...document.querySelectorAll(".chain .kind")].some((k) => k.textContent === `+quoted(kind)+`)`)
	}
	page.Check(t, "demo-promotion")
	page.Click(t, `.chain a[href^="/console/monitors/"]`)
	on(alarmPage)
	page.Click(t, `.chain a[href=`+quoted(chainPage)+`]`)
	on(chainPage)
	page.Click(t, `.chain a[href="/console/models/fraud"]`)
	on("/console/models/fraud")
	// Its version, or one that a run that was under way has promoted since.
	page.Wait(t, `[...document.querySelectorAll("tr")].some((row) => row.innerText.includes("serves") && Number(row.querySelector("th").innerText) >= `+version+`)`)
	page.Check(t, "demo-model")

	page.Go(t, "about:blank") // a page that asks a server which has stopped has an error in its console
	server.stop()
	select {
	case status := <-server.status:
		if status != exitOK {
			t.Errorf("the demo ended with status %d", status)
		}
	case <-time.After(2 * time.Minute):
		t.Error("the demo did not stop")
	}
}

// quoted is a text of JavaScript or of a selector.
func quoted(text string) string { return `"` + text + `"` }

// alarmOf is what the story tells of a promotion: the alarm that led to it, and the run.
func (h *headlessDemo) alarmOf(t *testing.T, version string) (alarm, run string) {
	t.Helper()
	var s demoStory
	if err := s.open(h.dir + "/state/" + demoStoryFile); err != nil {
		t.Fatal(err)
	}
	all := s.all()
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		if id, ok := strings.CutPrefix(e.Key, "promotion "); ok && e.Kind == storyPromotion && strings.Contains(e.Text, "version "+version+" ") {
			run = id
		}
	}
	for _, e := range all {
		if run != "" && e.Key == "run "+run {
			_, alarm, _ = strings.Cut(e.Text, "because of ")
		}
	}
	if alarm == "" {
		t.Fatalf("the story does not say which alarm led to version %s: %+v", version, all)
	}
	return alarm, run
}
