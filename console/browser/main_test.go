// SPDX-License-Identifier: Apache-2.0

package browser_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/console"
	"github.com/millrace-ml/millrace/console/browser"
	"github.com/millrace-ml/millrace/featurestore/offline"
	"github.com/millrace-ml/millrace/labeling"
)

func TestMain(m *testing.M) { os.Exit(browser.Main(m)) }

// trail is an audit trail in memory.
type trail struct {
	mu      sync.Mutex
	entries []console.Entry
}

func (a *trail) Append(e console.Entry) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.entries = append(a.entries, e)
	return nil
}

func (a *trail) Entries(limit int) ([]console.Entry, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := slices.Clone(a.entries)
	slices.Reverse(all)
	return all[:min(limit, len(all))], nil
}

// secretOf is the token of somebody.
func secretOf(who string) string { return "0123456789abcdef-" + who }

var people = console.Access{Tokens: []console.Token{
	{Name: "ann", Role: console.Labeller, Secret: secretOf("ann")}, {Name: "ben", Role: console.Labeller, Secret: secretOf("ben")},
	{Name: "vera", Role: console.Viewer, Secret: secretOf("vera")},
}}

// alone lets everybody in who is at this machine.
var alone = console.Access{Local: true}

// site is a console that is served, with a labelling store.
type site struct {
	*httptest.Server
	store *labeling.Store
	// ahead is how far the store's clock is before the machine's, in nanoseconds. It begins
	// at a noon.
	ahead atomic.Int64
}

func (s *site) now() time.Time { return time.Now().Add(time.Duration(s.ahead.Load())) }

// newSite serves the console. Wrap may be nil; it stands before the console's handler.
func newSite(t *testing.T, access console.Access, wrap func(http.Handler) http.Handler) *site {
	t.Helper()
	log, err := offline.Open(context.Background(), offline.Options{Dir: t.TempDir(), CompactEvery: -1})
	if err != nil {
		t.Fatal(err)
	}
	s := &site{}
	// Noon, so that what is done today is not of two days.
	s.ahead.Store(int64(12*time.Hour - time.Since(time.Now().UTC().Truncate(24*time.Hour))))
	if s.store, err = labeling.Open(context.Background(), labeling.Options{Log: log, Now: s.now}); err != nil {
		t.Fatal(err)
	}
	c, err := console.New(console.Options{Project: "cards", Version: "test", Labeling: s.store, Audit: &trail{}, Access: access})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	c.Routes(mux)
	var handler http.Handler = mux
	if wrap != nil {
		handler = wrap(mux)
	}
	s.Server = httptest.NewServer(handler)
	t.Cleanup(func() {
		s.Close()
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// fraudOrNot is a set of labels with keys of their own.
var fraudOrNot = labeling.LabelSet{Kind: labeling.Single, Labels: []labeling.Label{
	{Name: "fraud", Title: "Fraud", Key: "f"}, {Name: "genuine", Title: "Genuine", Key: "g"},
}}

// payments adds a project of that name with n payments to label.
func (s *site) payments(t *testing.T, p labeling.Project, n int) {
	t.Helper()
	ctx := context.Background()
	if err := s.store.Define(ctx, p); err != nil {
		t.Fatal(err)
	}
	var tasks []labeling.Task
	for i := range n {
		facts, err := json.Marshal(map[string]any{"card_age_days": 12, "country": evil})
		if err != nil {
			t.Fatal(err)
		}
		data, err := json.Marshal(map[string]any{"amount": fmt.Sprintf("%d.20", 31+i), "facts": string(facts), "text": fmt.Sprintf("Payment %d. %s", i, evil)})
		if err != nil {
			t.Fatal(err)
		}
		tasks = append(tasks, labeling.Task{ID: fmt.Sprintf("p%03d", i), Data: data, At: time.Date(2026, 3, 1, 12, i%60, 0, 0, time.UTC), Suggestion: labeling.Suggestion{
			Chosen:     &labeling.Chosen{Strategy: "margin", Score: 0.04, Why: "the model is of two minds " + evil},
			Prediction: guess(&p.Labels),
		}})
	}
	if _, err := s.store.Add(ctx, p.Name, tasks); err != nil {
		t.Fatal(err)
	}
}

// guess is a pre-label that fits a set.
func guess(set *labeling.LabelSet) *labeling.Prediction {
	p := &labeling.Prediction{Model: "fraud", Version: "3", Score: 0.52, Reasons: []string{"a new terminal " + evil, "an amount of 31.20"}}
	switch set.Kind {
	case labeling.Number:
		p.Value = labeling.Num(7)
	case labeling.Spans:
		p.Value = labeling.Value{Spans: []labeling.Span{{Start: 0, End: 7, Label: set.Labels[0].Name}}}
	default:
		p.Value = labeling.Choose(set.Labels[0].Name)
	}
	return p
}

// evil would be seen if it were markup, or ran.
const evil = `<img src=x onerror="window.ran=1"><script>window.ran=1</script>`

// said is what somebody said of each task of a project, newest values.
func (s *site) said(t *testing.T, project, who string) map[string]string {
	t.Helper()
	out := map[string]string{}
	page, _, err := s.store.Tasks(project, "", 0, labeling.PageMax)
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range page {
		for _, a := range task.Annotations {
			if a.Annotator == who && a.Kind == labeling.KindAnnotation {
				out[task.Task.ID] = a.Value.Key()
			} else if a.Annotator == who {
				out[task.Task.ID] = a.Kind
			}
		}
	}
	return out
}

// settled waits until the page has sent everything.
const settled = `window.desk && desk.heardOnce && desk.outbox.size === 0 && !desk.sender.running`

// signIn signs a new person in and opens a page.
func (s *site) signIn(t *testing.T, who, path string) *browser.Page {
	t.Helper()
	page := browser.Visitor(t).Open(t, s.URL+"/console/login?next="+path)
	page.Eval(t, fmt.Sprintf(`document.querySelector("[name=token]").value = %q`, secretOf(who)), nil)
	page.Click(t, "form.stack button")
	page.Wait(t, fmt.Sprintf(`location.pathname === %q && document.readyState === "complete"`, path))
	return page
}
