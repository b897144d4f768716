// SPDX-License-Identifier: Apache-2.0

package console

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/featurestore/offline"
	"github.com/millrace-ml/millrace/labeling"
)

// desks is a console of a labelling store alone.
type desks struct {
	*httptest.Server
	store *labeling.Store
	// ahead is how far the store's clock is before the machine's, in nanoseconds.
	ahead atomic.Int64
}

func (d *desks) now() time.Time { return time.Now().Add(time.Duration(d.ahead.Load())) }

// fullStore takes nothing any more.
type fullStore struct{ Labeling }

func (f fullStore) Submit(context.Context, labeling.Submission) (labeling.Result, error) {
	return labeling.Result{}, fmt.Errorf("%w: no space left", labeling.ErrFull)
}

func newDesks(t *testing.T, access Access, wrap func(Labeling) Labeling) *desks {
	t.Helper()
	log, err := offline.Open(context.Background(), offline.Options{Dir: t.TempDir(), CompactEvery: -1})
	if err != nil {
		t.Fatal(err)
	}
	d := &desks{}
	if d.store, err = labeling.Open(context.Background(), labeling.Options{Log: log, Now: d.now}); err != nil {
		t.Fatal(err)
	}
	var shown Labeling = d.store
	if wrap != nil {
		shown = wrap(d.store)
	}
	c, err := New(Options{Project: evil, Labeling: shown, Audit: &memoryTrail{}, Access: access})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	c.Routes(mux)
	d.Server = httptest.NewServer(mux)
	t.Cleanup(func() {
		d.Close()
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// define adds a project with tasks a and b, and gold.
func (d *desks) define(t *testing.T, p labeling.Project) {
	t.Helper()
	gold := labeling.Choose("fraud")
	tasks := []labeling.Task{
		{ID: "a", Data: json.RawMessage(`{"amount": 31.200, "text": "` + strings.ReplaceAll(evil, `"`, `\"`) + `"}`), Suggestion: labeling.Suggestion{
			Prediction: &labeling.Prediction{Model: "m", Value: labeling.Choose("fraud"), Score: 0.5, Reasons: []string{"because"}}}},
		{ID: "b", Data: json.RawMessage(`{"amount": 2}`)},
		{ID: "known", Data: json.RawMessage(`{"amount": 3}`), Gold: &gold},
	}
	if err := d.store.Define(context.Background(), p); err != nil {
		t.Fatal(err)
	}
	if _, err := d.store.Add(context.Background(), p.Name, tasks); err != nil {
		t.Fatal(err)
	}
}

var fraudSet = labeling.LabelSet{Kind: labeling.Single, Labels: []labeling.Label{{Name: "fraud", Title: "Fraud"}, {Name: "genuine"}}}

// person is a browser; signed in if there is a token.
func (d *desks) person(t *testing.T, token string) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	c := &http.Client{Jar: jar}
	if token != "" {
		status, text := d.answer(t, c, "POST", "/console/login", url.Values{"token": {token}, "next": {"/console/labeling"}})
		if status != http.StatusOK {
			t.Fatalf("sign in: %d %.300s", status, text)
		}
	}
	return c
}

// answer sends a form, or what marshals to JSON.
func (d *desks) answer(t *testing.T, c *http.Client, method, path string, body any) (int, string) {
	t.Helper()
	kind, reader := "application/json", io.Reader(nil)
	switch b := body.(type) {
	case nil:
	case url.Values:
		kind, reader = "application/x-www-form-urlencoded", strings.NewReader(b.Encode())
	default:
		text, err := json.Marshal(b)
		if err != nil {
			t.Fatal(err)
		}
		reader = bytes.NewReader(text)
	}
	r, err := http.NewRequest(method, d.URL+path, reader)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", kind)
	response, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

// sync sends operations and reads what comes back, as plain JSON.
func (d *desks) sync(t *testing.T, c *http.Client, path string, in syncRequest) map[string]any {
	t.Helper()
	status, text := d.answer(t, c, "POST", path+"/sync", in)
	if status != http.StatusOK {
		t.Fatalf("sync: %d %.500s", status, text)
	}
	var out map[string]any
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

var labellers = Access{Tokens: []Token{{Name: "ann", Role: Labeller, Secret: "a" + secret}, {Name: "ben", Role: Labeller, Secret: "b" + secret}, {Name: "vic", Role: Viewer, Secret: "v" + secret}, {Name: "x y", Role: Labeller, Secret: "x" + secret}}}

func TestLabelingRoles(t *testing.T) {
	d := newDesks(t, labellers, nil)
	d.define(t, labeling.Project{Name: "review", Title: evil, Guide: evil, Labels: fraudSet})
	viewer, ann := d.person(t, "v"+secret), d.person(t, "a"+secret)
	if status, text := d.answer(t, viewer, "GET", "/console/labeling", nil); status != http.StatusOK || strings.Contains(text, `href="/console/labeling/review"`) || strings.Contains(text, evil) {
		t.Errorf("a viewer: %d %.2000s", status, text)
	}
	if status, _ := d.answer(t, viewer, "GET", "/console/labeling/review", nil); status != http.StatusForbidden {
		t.Errorf("a viewer may label: %d", status)
	}
	if status, _ := d.answer(t, viewer, "POST", "/console/labeling/review/sync", syncRequest{Who: "vic", Want: 1}); status != http.StatusForbidden {
		t.Errorf("a viewer may have tasks: %d", status)
	}
	if status, _ := d.answer(t, d.person(t, ""), "POST", "/console/labeling/review/sync", syncRequest{Who: "ann", Want: 1}); status != http.StatusUnauthorized {
		t.Errorf("nobody: %d", status)
	}
	if status, text := d.answer(t, ann, "GET", "/console/labeling/review", nil); status != http.StatusOK || strings.Contains(text, evil) || !strings.Contains(text, `"who":"ann"`) {
		t.Errorf("the page: %d %.3000s", status, text)
	}
	for path, in := range map[string]struct {
		body   any
		status int
		want   string
	}{
		"/console/labeling/none/sync":           {syncRequest{Who: "ann"}, http.StatusNotFound, "no labelling project"},
		"/console/labeling/review/sync":         {syncRequest{Who: "ben"}, http.StatusConflict, "load the page again"},
		"/console/labeling/review/sync?form":    {url.Values{"who": {"ann"}}, http.StatusUnsupportedMediaType, "application/json"},
		"/console/labeling/review/sync?want":    {syncRequest{Who: "ann", Want: 99}, http.StatusBadRequest, "0 to 16"},
		"/console/labeling/review/sync?many":    {syncRequest{Who: "ann", Operations: make([]syncOperation, 17)}, http.StatusBadRequest, "at most 16"},
		"/console/labeling/review/sync?garbage": {"x", http.StatusBadRequest, "cannot be read"},
		"/console/labeling/review/sync?large":   {syncRequest{Who: strings.Repeat("x", syncBytesMax)}, http.StatusRequestEntityTooLarge, "more than the console takes"},
		"/console/labeling":                     {url.Values{"name": {"other"}}, http.StatusBadRequest, "signed in with"},
	} {
		if status, text := d.answer(t, ann, "POST", path, in.body); status != in.status || !strings.Contains(text, in.want) {
			t.Errorf("%s: %d %.2000s", path, status, text)
		}
	}
	r, err := http.NewRequest("POST", d.URL+"/console/labeling/review/sync", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	response, err := ann.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := response.Body.Close(); err != nil || response.StatusCode != http.StatusForbidden {
		t.Errorf("from another site: %d, %v", response.StatusCode, err)
	}
	if status, text := d.answer(t, d.person(t, "x"+secret), "GET", "/console/labeling/review", nil); status != http.StatusConflict || !strings.Contains(text, "cannot be an annotator") {
		t.Errorf("a name that the store does not take: %d %.2000s", status, text)
	}
}

// TestLabelingSync sends everything twice, as a page does that lost the answer.
func TestLabelingSync(t *testing.T) {
	d := newDesks(t, labellers, nil)
	d.define(t, labeling.Project{Name: "review", Labels: fraudSet, GoldShare: 0.5})
	ann := d.person(t, "a"+secret)
	first := d.sync(t, ann, "/console/labeling/review", syncRequest{Who: "ann", Want: 3, Count: true, Renew: true})
	text, err := json.Marshal(first)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(text, []byte("because")) || bytes.Contains(bytes.ToLower(text), []byte("gold")) {
		t.Errorf("the page is told what it must not show: %s", text)
	}
	if !bytes.Contains(text, []byte(`["Amount","31.200"]`)) {
		t.Errorf("a number is not as it was written: %s", text)
	}
	value := labeling.Choose("fraud")
	operations := []syncOperation{
		{ID: "1", Do: "submit", Task: "a", Value: value, LeadMillis: 1200}, {ID: "2", Do: "undo", Task: "a"},
		{ID: "3", Do: "submit", Task: "a", Value: labeling.Choose("genuine")}, {ID: "4", Do: "skip", Task: "b", Comment: "no idea"}, {ID: "5", Do: "undo", Task: "b"},
	}
	for range 2 {
		out := d.sync(t, ann, "/console/labeling/review", syncRequest{Who: "ann", Want: 2, Count: true, Operations: operations})
		for _, r := range out["results"].([]any) {
			if r := r.(map[string]any); r["ok"] != true {
				t.Errorf("%v", r)
			}
		}
	}
	v, err := d.store.Task("review", "a")
	if err != nil || len(v.Annotations) != 1 || v.Annotations[0].Value.Key() != labeling.Choose("genuine").Key() {
		t.Errorf("%+v, %v", v, err)
	}
	if v, err := d.store.Task("review", "b"); err != nil || len(v.Annotations) != 0 {
		t.Errorf("%+v, %v", v, err)
	}
	refused := []syncOperation{
		{ID: "1", Do: "submit", Task: "a", Value: labeling.Choose("other")}, {ID: "2", Do: "submit", Task: "none", Value: value}, {ID: "3", Do: "submit", Task: "b", Value: labeling.Num(1)},
		{ID: "4", Do: "erase", Task: "a"}, {ID: "5", Do: "undo"},
	}
	out := d.sync(t, ann, "/console/labeling/review", syncRequest{Who: "ann", Operations: refused})
	results := out["results"].([]any)
	for i, want := range []string{"not in the set", "unknown task", "number is not for kind", `operation "erase"`, "task is missing"} {
		r := results[i].(map[string]any)
		if r["ok"] == true || r["retry"] == true || !strings.Contains(r["note"].(string), want) {
			t.Errorf("operation %d: %v, want %q", i, r, want)
		}
	}
	out = d.sync(t, d.person(t, "b"+secret), "/console/labeling/review", syncRequest{Who: "ben", Operations: []syncOperation{{ID: "1", Do: "submit", Task: "b", Value: value}}})
	if r := out["results"].([]any)[0].(map[string]any); !strings.Contains(r["note"].(string), "never handed to ben") {
		t.Errorf("not leased: %v", r)
	}
}

// TestLabelingKept has leases that ran out: the page keeps a task until somebody else has it.
func TestLabelingKept(t *testing.T) {
	d := newDesks(t, labellers, nil)
	d.define(t, labeling.Project{Name: "review", Labels: fraudSet})
	ctx := context.Background()
	ann := d.person(t, "a"+secret)
	kept := func(operations ...syncOperation) (any, []any) {
		out := d.sync(t, ann, "/console/labeling/review", syncRequest{Who: "ann", Want: 2, Have: []string{"a", "b", "gone"}, Operations: operations})
		return out["kept"], out["results"].([]any)
	}
	if got, _ := kept(); !reflect.DeepEqual(got, []any{}) { // they are in what is handed out
		t.Errorf("with leases: %v", got)
	}
	d.ahead.Store(int64(time.Hour))
	urgent := []labeling.Task{{ID: "c", Data: json.RawMessage(`{}`)}, {ID: "d", Data: json.RawMessage(`{}`)}}
	for i := range urgent {
		urgent[i].Priority = 1
	}
	if _, err := d.store.Add(ctx, "review", urgent); err != nil {
		t.Fatal(err)
	}
	if got, _ := kept(); !reflect.DeepEqual(got, []any{"a", "b"}) {
		t.Errorf("leases over: %v", got)
	}
	if got, err := d.store.Lease(ctx, "review", "ben", 1); err != nil || got[0].Task.ID != "a" {
		t.Fatalf("ben: %+v, %v", got, err)
	}
	got, results := kept(syncOperation{ID: "1", Do: "submit", Task: "b", Value: labeling.Choose("fraud")})
	if r := results[0].(map[string]any); len(got.([]any)) != 0 || r["ok"] != true || r["note"] != nil {
		t.Errorf("one is with ben, one is said: %v, %v", got, r)
	}
	got, results = kept(syncOperation{ID: "2", Do: "submit", Task: "a", Value: labeling.Choose("fraud")})
	if r := results[0].(map[string]any); len(got.([]any)) != 0 || r["ok"] != true || !strings.Contains(fmt.Sprint(r["note"]), "one more opinion") {
		t.Errorf("said of a task that ben has: %v, %v", got, r)
	}
}

// TestLabelingRetry has a store that is full: what was said is not dropped, nor what comes
// after it taken before it.
func TestLabelingRetry(t *testing.T) {
	d := newDesks(t, Access{Local: true}, func(l Labeling) Labeling { return fullStore{l} })
	d.define(t, labeling.Project{Name: "review", Labels: fraudSet})
	c := d.person(t, "")
	if status, text := d.answer(t, c, "POST", "/console/labeling", url.Values{"name": {"no name"}}); status != http.StatusBadRequest {
		t.Errorf("a name with a space: %d %.300s", status, text)
	}
	if status, text := d.answer(t, c, "POST", "/console/labeling", url.Values{"name": {"cleo"}}); status != http.StatusOK || !strings.Contains(text, `value="cleo"`) {
		t.Errorf("the name is not kept: %d %.3000s", status, text)
	}
	out := d.sync(t, c, "/console/labeling/review", syncRequest{Who: "cleo", Want: 2})
	if tasks := out["tasks"].([]any); len(tasks) != 2 {
		t.Fatalf("tasks: %v", tasks)
	}
	out = d.sync(t, c, "/console/labeling/review", syncRequest{Who: "cleo", Operations: []syncOperation{
		{ID: "1", Do: "submit", Task: "a", Value: labeling.Choose("fraud")}, {ID: "2", Do: "skip", Task: "b"},
	}})
	results := out["results"].([]any)
	if r := results[0].(map[string]any); len(results) != 1 || r["retry"] != true || !strings.Contains(r["note"].(string), "no space left") {
		t.Errorf("%v", results)
	}
}

// putOff is a store that lets nobody put off more.
type putOff struct{ Labeling }

func (putOff) Postpone(context.Context, string, string, string) (labeling.Result, error) {
	return labeling.Result{}, fmt.Errorf("%w: cleo has postponed 1000 tasks", labeling.ErrFull)
}

// TestPostponeFull: whoever has put off as much as one may can still answer; what waits to be
// sent would else stay behind what is never taken.
func TestPostponeFull(t *testing.T) {
	d := newDesks(t, Access{Local: true}, func(l Labeling) Labeling { return putOff{l} })
	d.define(t, labeling.Project{Name: "review", Labels: fraudSet})
	c := d.person(t, "")
	d.answer(t, c, "POST", "/console/labeling", url.Values{"name": {"cleo"}})
	d.sync(t, c, "/console/labeling/review", syncRequest{Who: "cleo", Want: 2})
	out := d.sync(t, c, "/console/labeling/review", syncRequest{Who: "cleo", Operations: []syncOperation{
		{ID: "1", Do: "postpone", Task: "a"}, {ID: "2", Do: "submit", Task: "b", Value: labeling.Choose("fraud")},
	}})
	results := out["results"].([]any)
	if len(results) != 2 {
		t.Fatalf("%v", results)
	}
	first, second := results[0].(map[string]any), results[1].(map[string]any)
	if first["ok"] == true || first["retry"] == true || !strings.Contains(fmt.Sprint(first["note"]), "not put off") || second["ok"] != true {
		t.Errorf("%v", results)
	}
}

func TestAssignKeys(t *testing.T) {
	labels, commands := assignKeys(&labeling.LabelSet{Labels: []labeling.Label{{Name: "spam", Key: "s"}, {Name: "one"}, {Name: "two", Key: "1"}, {Name: "three"}}})
	if want := []string{"s", "2", "1", "3"}; !reflect.DeepEqual(labels, want) {
		t.Errorf("labels: %v, want %v", labels, want)
	}
	if want := map[string]string{"undo": "u", "skip": "x", "postpone": "p", "take": "t", "help": "?"}; !reflect.DeepEqual(commands, want) {
		t.Errorf("commands: %v, want %v", commands, want)
	}
	labels, _ = assignKeys(&labeling.LabelSet{Labels: make([]labeling.Label, 77)})
	seen := map[string]bool{}
	for i, key := range labels {
		if seen[key] && key != "" || strings.Contains("uspt?", key) && key != "" {
			t.Errorf("label %d has %q", i, key)
		}
		seen[key] = true
	}
	if labels[8] != "9" || labels[9] != "a" || labels[76] != "" {
		t.Errorf("%v", labels)
	}
}

func TestReadFields(t *testing.T) {
	data := json.RawMessage(`{"facts": "{\"merchant\": {\"name\": \"x\"}, \"big\": 12345678901234567890}", "b": {"name": null}, "card_age.days": true, "list": [1, {"a": 2}], "share": 0.30000000000000004, "event_timestamp": 1770465165000000}`)
	var got []string
	for _, f := range readFields(data) {
		got = append(got, f.Title+"="+f.Text)
	}
	want := []string{"Facts merchant name=x", "Big=12345678901234567890", "B name=–", "Days=yes", `List=[1, {"a": 2}]`, "Share=0.3", "Event timestamp=2026-02-07T11:52:45Z"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("fields: %q, want %q", got, want)
	}
	task := labeling.Task{ID: "p-1", At: time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)}
	if rest := withoutKnown([]field{{Text: "p-1"}, {Text: "2026-01-02T03:04:05.000006Z"}, {Text: "2026-01-02T03:04:05Z"}}, &task); len(rest) != 1 {
		t.Errorf("left: %q", rest)
	}
	s := shownTask{Rest: []field{{"a", "A", "short text"}, {"b", "B", strings.Repeat("long text ", 60)}, {"c", "C", strings.Repeat("x", 600)}}}
	s.takeMain("")
	if s.Main == nil || s.Main.Title != "B" || len(s.Rest) != 2 || len([]rune(s.Rest[1].Text)) != fieldRunesMax+1 {
		t.Errorf("%+v", s)
	}
}

func TestAgreement(t *testing.T) {
	d := newDesks(t, labellers, nil)
	d.define(t, labeling.Project{Name: "review", Labels: fraudSet, Overlap: 2})
	ctx := context.Background()
	for who, values := range map[string]map[string]string{"ann": {"a": "fraud", "b": "genuine"}, "ben": {"a": "fraud", "b": "fraud"}} {
		if _, err := d.store.Lease(ctx, "review", who, 3); err != nil {
			t.Fatal(err)
		}
		for task, label := range values {
			if _, err := d.store.Submit(ctx, labeling.Submission{Project: "review", Task: task, Annotator: who, Value: labeling.Choose(label)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if status, text := d.answer(t, d.person(t, "a"+secret), "GET", "/console/labeling", nil); status != http.StatusOK ||
		!strings.Contains(text, "1 of 2 tasks that several people labelled were labelled alike by all; Krippendorff’s alpha 0,") {
		t.Errorf("%d %s", status, text)
	}
	p, err := d.store.Project("review")
	a := measureAgreement(d.store, &p)
	if err != nil || a.Tasks != 2 || a.Unanimous != 1 || !a.Known() {
		t.Errorf("%+v, %v", a, err)
	}
}
