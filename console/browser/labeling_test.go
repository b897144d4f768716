// SPDX-License-Identifier: Apache-2.0

package browser_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp/kb"

	"github.com/millrace-ml/millrace/console/browser"
	"github.com/millrace-ml/millrace/labeling"
)

const (
	fraud   = `{"choices":["fraud"]}`
	genuine = `{"choices":["genuine"]}`
)

// TestLabelTen labels ten tasks by keyboard, with an undo, a skip and one for later, and
// says how long it took from a key to the next task.
func TestLabelTen(t *testing.T) {
	s := newSite(t, alone, nil)
	s.payments(t, labeling.Project{Name: "review", Title: "Fraud or not", Guide: "Fraud is what the holder did not do.", Labels: fraudOrNot, ShowPrediction: true}, 12)
	page := browser.Visitor(t).Open(t, s.URL+"/console/labeling/review")
	page.Wait(t, `desk.tasks.length >= 3`)
	if text := page.Text(t, "#guess"); !strings.Contains(text, "fraud 3 guesses Fraud, 52 %") || !strings.Contains(text, evil) {
		t.Errorf("the guess is shown as %q", text)
	}
	page.Keys(t, "f")
	if text := page.Text(t, "#said"); !strings.HasPrefix(text, "Fraud. Next: Payment 1.") {
		t.Errorf("a screen reader hears %q", text)
	}
	page.Keys(t, "g")
	page.Keys(t, "G")
	page.Keys(t, "u") // the third again
	page.Keys(t, "f")
	for _, key := range "sp" { // p003 is skipped, p004 comes later
		page.Wait(t, `desk.tasks.length > 0`)
		page.Keys(t, string(key))
	}
	for range 7 {
		page.Wait(t, `desk.tasks.length > 0`)
		page.Keys(t, "f")
	}
	page.Wait(t, settled)
	page.Wait(t, `desk.tasks.length === 1 && desk.tasks[0].id === "p004"`)
	said := s.said(t, "review", "local")
	want := map[string]string{"p000": fraud, "p001": genuine, "p002": fraud, "p003": labeling.KindSkip, "p004": labeling.KindPostpone}
	for id, value := range want {
		if said[id] != value {
			t.Errorf("%s is %s, want %s", id, said[id], value)
		}
	}
	if n := countValue(said, fraud) + countValue(said, genuine); n != 10 {
		t.Errorf("%d annotations in the store, want 10: %v", n, said)
	}
	var ran bool
	if page.Eval(t, `!!window.ran || !!document.querySelector("#shown img, #shown script")`, &ran); ran {
		t.Error("markup of a task's data became part of the page")
	}
	var took []float64
	page.Wait(t, `performance.getEntriesByName("key to next task").length >= 8`)
	page.Eval(t, `performance.getEntriesByName("key to next task").map((m) => m.duration).sort((a, b) => a - b)`, &took)
	t.Logf("from a key to the next task on the screen: median %.1f ms, most %.1f ms of %d", took[len(took)/2], took[len(took)-1], len(took))
	if text := page.Text(t, "#counts"); !strings.HasPrefix(text, "11 done today") {
		t.Errorf("progress says %q", text)
	}
	page.Check(t, "label")
	page.Keys(t, "?")
	page.Wait(t, `document.getElementById("help").open`)
	page.Check(t, "label-help")
}

func countValue(said map[string]string, value string) (n int) {
	for _, v := range said {
		if v == value {
			n++
		}
	}
	return n
}

// TestUndoAfterReload takes back what was said before the page was loaded anew.
func TestUndoAfterReload(t *testing.T) {
	s := newSite(t, alone, nil)
	s.payments(t, labeling.Project{Name: "review", Labels: fraudOrNot}, 6)
	page := browser.Visitor(t).Open(t, s.URL+"/console/labeling/review")
	page.Wait(t, `desk.tasks.length >= 3`)
	if page.Text(t, "#guess") != "" {
		t.Error("the guess is shown though the project does not show it")
	}
	page.Keys(t, "f")
	page.Keys(t, "f")
	page.Wait(t, settled)
	page.Reload(t)
	page.Wait(t, `window.desk && desk.tasks.length >= 3`)
	page.Control(t, "z")
	page.Wait(t, `desk.tasks.length && desk.tasks[0].id === "p001" && document.querySelector(".choice.on")`)
	page.Wait(t, settled)
	if said := s.said(t, "review", "local"); len(said) != 1 || said["p000"] != fraud {
		t.Errorf("after undo: %v", said)
	}
	page.Keys(t, "g")
	page.Wait(t, settled)
	if said := s.said(t, "review", "local"); len(said) != 2 || said["p001"] != genuine {
		t.Errorf("after another label: %v", said)
	}
}

// TestOffline loses the network in the middle, closes the page, and finds everything sent
// when it is back.
func TestOffline(t *testing.T) {
	s := newSite(t, alone, nil)
	s.payments(t, labeling.Project{Name: "review", Labels: fraudOrNot}, 8)
	person := browser.Visitor(t)
	page := person.Open(t, s.URL+"/console/labeling/review")
	page.Wait(t, `desk.tasks.length >= 3 && `+settled)
	page.Keys(t, "g")
	page.Wait(t, `desk.tasks.length >= 3 && `+settled)
	page.Offline(t, true)
	page.Keys(t, "f")
	page.Keys(t, "f")
	page.Keys(t, "u")
	page.Keys(t, "g")
	page.Keys(t, "f")
	page.Wait(t, `document.getElementById("unsent").textContent.includes("No connection. 5 not sent yet; kept in this browser.")`)
	page.Keys(t, "ff")
	page.Wait(t, `document.getElementById("nothing").textContent.includes("No connection")`)
	page.Check(t, "label-offline")
	if said := s.said(t, "review", "local"); len(said) != 1 {
		t.Fatalf("offline, and yet the store has %v", said)
	}
	// The tab is closed, and another one opened when the network is back.
	page.Go(t, "about:blank")
	page = person.Open(t, s.URL+"/console/labeling/review")
	page.Wait(t, `desk.tasks.length >= 2 && `+settled)
	said := s.said(t, "review", "local")
	for id, value := range map[string]string{"p000": genuine, "p001": fraud, "p002": genuine, "p003": fraud, "p004": fraud, "p005": fraud} {
		if said[id] != value {
			t.Errorf("%s is %q, want %s", id, said[id], value)
		}
	}
	// And once more without closing it.
	page.Offline(t, true)
	page.Keys(t, "f")
	page.Wait(t, `document.getElementById("unsent").textContent.includes("1 not sent yet")`)
	page.Offline(t, false)
	page.Wait(t, settled)
	if said := s.said(t, "review", "local"); said["p006"] != fraud || len(said) != 7 {
		t.Errorf("back online: %v", said)
	}
	page.Wait(t, `document.getElementById("unsent").textContent === ""`)
}

// TestTwoLabellers has two people at once, who never have the same task.
func TestTwoLabellers(t *testing.T) {
	s := newSite(t, people, nil)
	s.payments(t, labeling.Project{Name: "review", Labels: fraudOrNot}, 10)
	ann, ben := s.signIn(t, "ann", "/console/labeling/review"), s.signIn(t, "ben", "/console/labeling/review")
	for range 4 {
		for page, key := range map[*browser.Page]string{ann: "f", ben: "g"} {
			page.Wait(t, `window.desk && desk.tasks.length > 0`)
			page.Keys(t, key)
		}
	}
	var theirs, others []string
	const held = `desk.tasks.map((t) => t.id)`
	ann.Wait(t, settled)
	ben.Wait(t, settled)
	ann.Eval(t, held, &theirs)
	ben.Eval(t, held, &others)
	if len(theirs)+len(others) != 2 {
		t.Errorf("ann has %v and ben %v of the last two", theirs, others)
	}
	saidAnn, saidBen := s.said(t, "review", "ann"), s.said(t, "review", "ben")
	for id := range saidAnn {
		if saidBen[id] != "" {
			t.Errorf("%s was labelled by both", id)
		}
	}
	if countValue(saidAnn, fraud) != 4 || countValue(saidBen, genuine) != 4 {
		t.Errorf("ann said %v, ben %v", saidAnn, saidBen)
	}
}

// TestSlowServer has a server that does not answer for a while: the next tasks are there all
// the same, and the answers arrive when it does.
func TestSlowServer(t *testing.T) {
	slow := make(chan struct{})
	release := sync.OnceFunc(func() { close(slow) })
	var hold atomic.Bool
	s := newSite(t, alone, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if hold.Load() {
				<-slow
			}
			next.ServeHTTP(w, r)
		})
	})
	t.Cleanup(release)
	s.payments(t, labeling.Project{Name: "review", Labels: fraudOrNot}, 8)
	page := browser.Visitor(t).Open(t, s.URL+"/console/labeling/review")
	page.Wait(t, `desk.tasks.length >= 5 && `+settled)
	hold.Store(true)
	for _, next := range []string{"p001", "p002", "p003", "p004"} {
		page.Keys(t, "f")
		page.Wait(t, `document.getElementById("task-title").textContent.includes("`+next+`")`)
	}
	if said := s.said(t, "review", "local"); len(said) != 0 {
		t.Fatalf("the server did not answer yet, and the store has %v", said)
	}
	var took []float64
	page.Wait(t, `performance.getEntriesByName("key to next task").length === 4`)
	page.Eval(t, `performance.getEntriesByName("key to next task").map((m) => m.duration)`, &took)
	t.Logf("from a key to the next task while the server does not answer, in ms: %.1f", took)
	release()
	page.Wait(t, settled)
	if said := s.said(t, "review", "local"); countValue(said, fraud) != 4 {
		t.Errorf("then: %v", said)
	}
}

// TestLeaseOver lets the leases of a page run out and gives the tasks to somebody else: what
// is said is kept, and the person is told.
func TestLeaseOver(t *testing.T) {
	s := newSite(t, people, nil)
	s.payments(t, labeling.Project{Name: "review", Labels: fraudOrNot}, 8)
	page := s.signIn(t, "ann", "/console/labeling/review")
	page.Wait(t, `desk.tasks.length >= 5 && `+settled)
	s.ahead.Add(int64(time.Hour))
	if all, err := s.store.Lease(context.Background(), "review", "ben", 8); err != nil || len(all) != 8 {
		t.Fatalf("ben has %d tasks, %v", len(all), err)
	}
	page.Keys(t, "f")
	page.Wait(t, settled)
	page.Wait(t, `desk.tasks.length === 0 && document.getElementById("nothing").textContent.startsWith("Nothing left to label now")`)
	text := page.Text(t, "#problems")
	for _, want := range []string{"The lease of task p000 was over", "kept as one more opinion", "The task that you looked at went to somebody else"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page says %q, without %q", text, want)
		}
	}
	if said := s.said(t, "review", "ann"); len(said) != 1 || said["p000"] != fraud {
		t.Errorf("ann said %v", said)
	}
	page.Check(t, "label-lease-over")
}

// TestManyLabels finds a label by its name where there are more than keys.
func TestManyLabels(t *testing.T) {
	s := newSite(t, alone, nil)
	var set labeling.LabelSet
	set.Kind = labeling.Single
	for i := range 77 {
		set.Labels = append(set.Labels, labeling.Label{Name: fmt.Sprintf("intent %d", i)})
	}
	s.payments(t, labeling.Project{Name: "intents", Labels: set}, 2)
	page := browser.Visitor(t).Open(t, s.URL+"/console/labeling/intents")
	page.Wait(t, `desk.tasks.length === 2`)
	page.Keys(t, "/")
	page.Keys(t, "76")
	page.Check(t, "label-many")
	page.Keys(t, kb.Enter)
	page.Keys(t, "9")
	page.Wait(t, settled)
	if said := s.said(t, "intents", "local"); said["p000"] != `{"choices":["intent 76"]}` || said["p001"] != `{"choices":["intent 8"]}` {
		t.Errorf("said: %v", said)
	}
}

// TestSessionEnds keeps answers when the server forgets who it is, and sends none of them
// in the name of the next one.
func TestSessionEnds(t *testing.T) {
	s := newSite(t, people, nil)
	s.payments(t, labeling.Project{Name: "review", Labels: fraudOrNot}, 6)
	page := s.signIn(t, "ann", "/console/labeling/review")
	page.Allow("401")
	page.Wait(t, `desk.tasks.length >= 3 && `+settled)
	page.Eval(t, `fetch("/console/logout", {method: "POST"}).then((r) => r.status)`, nil)
	page.Keys(t, "f")
	page.Wait(t, `document.getElementById("unsent").textContent.includes("1 not sent yet; kept in this browser. The session has ended. Sign in again")`)
	for _, who := range []string{"ben", "ann"} {
		page.Go(t, s.URL+"/console/login?next=/console/labeling/review")
		page.Eval(t, `document.querySelector("[name=token]").value = "`+secretOf(who)+`"`, nil)
		page.Click(t, "form.stack button")
		page.Wait(t, `location.pathname === "/console/labeling/review" && `+settled)
	}
	if ben, ann := s.said(t, "review", "ben"), s.said(t, "review", "ann"); len(ben) != 0 || ann["p000"] != fraud {
		t.Errorf("ben said %v, ann %v", ben, ann)
	}
}

// TestKinds gives labels of the other kinds by keyboard.
func TestKinds(t *testing.T) {
	s := newSite(t, alone, nil)
	signs := []labeling.Label{{Name: "terminal", Title: "Terminal"}, {Name: "amount", Title: "Amount"}}
	s.payments(t, labeling.Project{Name: "many", Labels: labeling.LabelSet{Kind: labeling.Multiple, Labels: signs}}, 2)
	s.payments(t, labeling.Project{Name: "how", Labels: labeling.LabelSet{Kind: labeling.Number, Max: 10}, ShowPrediction: true}, 2)
	s.payments(t, labeling.Project{Name: "parts", Labels: labeling.LabelSet{Kind: labeling.Spans, Labels: signs, Text: "text"}}, 2)
	page := browser.Visitor(t).Open(t, s.URL+"/console/labeling/many")
	page.Wait(t, `desk.tasks.length === 2`)
	page.Keys(t, "12")
	page.Keys(t, "1")
	page.Keys(t, kb.Enter)
	page.Wait(t, settled)

	page.Go(t, s.URL+"/console/labeling/how")
	page.Wait(t, `window.desk && desk.tasks.length === 2`)
	page.Keys(t, "42")
	page.Keys(t, kb.Enter)
	page.Wait(t, `document.getElementById("problems").textContent.includes("42 is not in 0 to 10")`)
	page.Check(t, "label-number")
	page.Keys(t, kb.Backspace)
	page.Keys(t, ".5")
	page.Keys(t, kb.Enter)
	page.Keys(t, "t") // the model's guess
	page.Keys(t, kb.Enter)
	page.Wait(t, settled)

	page.Go(t, s.URL+"/console/labeling/parts")
	page.Wait(t, `window.desk && desk.tasks.length === 2`)
	page.Keys(t, kb.ArrowRight) // Payment
	page.Shift(t, kb.ArrowRight)
	page.Keys(t, "1") // Payment 0
	page.Keys(t, kb.End)
	page.Keys(t, "2")
	page.Keys(t, kb.Home)
	page.Keys(t, "2")
	page.Check(t, "label-spans")
	page.Keys(t, kb.Home)
	page.Keys(t, "2") // not the amount, after all
	page.Eval(t, `(() => { const words = document.querySelector("#read span").firstChild; getSelection().setBaseAndExtent(words, 3, words, 6); })()`, nil)
	page.Wait(t, `desk.text.picked`)
	page.Keys(t, "2")
	page.Keys(t, kb.Enter)
	page.Wait(t, settled)
	wants := map[string]map[string]string{
		"many": {"p000": `{"choices":["amount"]}`},
		"how":  {"p000": `{"number":4.5}`, "p001": `{"number":7}`},
	}
	for project, want := range wants {
		for id, value := range want {
			if said := s.said(t, project, "local"); said[id] != value || len(said) != len(want) {
				t.Errorf("%s: %v, want %v", project, said, want)
			}
		}
	}
	checkSpans(t, s)
}

// checkSpans looks at the parts that TestKinds marked.
func checkSpans(t *testing.T, s *site) {
	t.Helper()
	v, err := s.store.Task("parts", "p000")
	if err != nil || len(v.Annotations) != 1 {
		t.Fatalf("%+v, %v", v, err)
	}
	text := []rune("Payment 0. " + evil)
	var got []string
	for _, span := range v.Annotations[0].Value.Spans {
		got = append(got, span.Label+"="+string(text[span.Start:span.End]))
	}
	if want := "terminal=Payment 0, amount=img, amount=script"; strings.Join(got, ", ") != want {
		t.Errorf("marked: %q, want %s", got, want)
	}
}

// TestReview gives the final word on what two people do not agree on, and takes it back.
func TestReview(t *testing.T) {
	s := newSite(t, people, nil)
	s.payments(t, labeling.Project{Name: "review", Title: "Fraud or not", Labels: fraudOrNot, Overlap: 2}, 3)
	for _, said := range []struct{ who, key string }{{"ann", "f"}, {"ben", "g"}} { // in this order: the first answer is ann's
		page := s.signIn(t, said.who, "/console/labeling/review")
		for range 3 {
			page.Wait(t, `window.desk && desk.tasks.length > 0`)
			page.Keys(t, said.key)
		}
		page.Wait(t, settled)
	}
	page := s.signIn(t, "ann", "/console/labeling")
	page.Check(t, "labeling")
	page.Click(t, `a[href$="/review/review"]`)
	page.Wait(t, `window.desk && desk.tasks.length === 3`)
	if text := page.Text(t, "#answers"); !strings.Contains(text, "ann") || !strings.Contains(text, "Genuine") {
		t.Errorf("the answers of others are shown as %q", text)
	}
	page.Check(t, "review")
	page.Keys(t, "p") // another first
	page.Keys(t, "f")
	page.Keys(t, "g")
	page.Keys(t, "u")
	page.Wait(t, settled)
	page.Keys(t, "t") // what ann said
	page.Wait(t, `!document.querySelector("[data-command=submit]").hidden`)
	page.Keys(t, kb.Enter)
	page.Wait(t, settled)
	for id, want := range map[string]string{"p000": "", "p001": fraud, "p002": fraud} {
		v, err := s.store.Task("review", id)
		if err != nil || want != "" && (v.Final == nil || v.Final.Key() != want) || want == "" && v.Final != nil {
			t.Errorf("%s: %+v, %v; want %s", id, v.Final, err, want)
		}
	}
}
