// SPDX-License-Identifier: Apache-2.0

package labeling

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/featurestore/offline"
)

func TestLifeOfATask(t *testing.T) {
	s, c := newStore(t)
	ctx := t.Context()
	define(t, s, colors())
	tasks := numbered(3)
	tasks[2].Suggestion = Suggestion{Priority: 1, Chosen: &Chosen{Strategy: "margin", Score: 0.9, Why: "the two best are 0.1 apart"},
		Prediction: &Prediction{Model: "ranker", Version: "3", Value: Choose("green"), Score: 0.6, Reasons: []string{"word: grass"}}}
	if got := must(s.Add(ctx, "colors", tasks))(t); got != (Added{New: 3}) {
		t.Errorf("added %+v", got)
	}
	if got := must(s.Add(ctx, "colors", tasks))(t); got != (Added{Same: 3}) {
		t.Errorf("added again %+v", got)
	}
	got := must(s.Lease(ctx, "colors", "ada", 2))(t)
	if want := []string{"t2", "t0"}; !reflect.DeepEqual(ids(got), want) {
		t.Fatalf("leased %v, want %v", ids(got), want)
	}
	if !reflect.DeepEqual(got[0].Task.Suggestion, tasks[2].Suggestion) || string(got[0].Task.Data) != `{"text":"number 2"}` {
		t.Errorf("task is %+v", got[0].Task)
	}
	in := Submission{Project: "colors", Task: "t2", Annotator: "ada", Value: Choose("green"), Lead: 3 * time.Second, Comment: "clear"}
	for range 2 { // the second changes nothing
		if got := must(s.Submit(ctx, in))(t); got != (Result{Status: StatusDone}) {
			t.Errorf("submitted: %+v", got)
		}
	}
	v := must(s.Task("colors", "t2"))(t)
	if want := []Annotation{{"ada", KindAnnotation, Choose("green"), c.now(), 3 * time.Second, "clear"}}; !reflect.DeepEqual(v.Annotations, want) || v.Final.Key() != `{"choices":["green"]}` {
		t.Errorf("view is %+v", v)
	}
	undone := must(s.Undo(ctx, "colors", "ada", "t2"))(t)
	if undone.Before == nil || undone.Before.Key() != `{"choices":["green"]}` || !undone.Expires.Equal(c.now().Add(10*time.Minute)) {
		t.Errorf("undone: %+v", undone)
	}
	if _, err := s.Undo(ctx, "colors", "ada", "t2"); !errors.Is(err, ErrNothing) {
		t.Errorf("undo of nothing: %v", err)
	}
	n := versions(t, s, AnnotationStream)
	if n != 2 {
		t.Errorf("%d events of annotations, want the annotation and its retraction", n)
	}
}

// versions counts the events of a stream.
func versions(t *testing.T, s *Store, stream string) (n int) {
	t.Helper()
	if err := s.visit(t.Context(), stream, 1, func(*offline.Record) error { n++; return nil }); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestLateAnnotationIsKept(t *testing.T) {
	s, c := newStore(t)
	ctx := t.Context()
	define(t, s, colors())
	must(s.Add(ctx, "colors", numbered(1)))(t)
	must(s.Lease(ctx, "colors", "ada", 1))(t)
	if got := must(s.Lease(ctx, "colors", "bob", 1))(t); len(got) != 0 {
		t.Fatalf("two have %v", ids(got))
	}
	c.advance(10 * time.Minute)
	if got := must(s.Lease(ctx, "colors", "bob", 1))(t); len(got) != 1 {
		t.Fatal("an expired lease blocks a task")
	}
	bob := Submission{Project: "colors", Task: "t0", Annotator: "bob", Value: Choose("red")}
	if got := must(s.Submit(ctx, bob))(t); got != (Result{Status: StatusDone}) {
		t.Errorf("bob: %+v", got)
	}
	ada := bob
	ada.Annotator, ada.Value = "ada", Choose("blue")
	if got := must(s.Submit(ctx, ada))(t); got != (Result{Status: StatusReview, Extra: true}) {
		t.Errorf("ada, late: %+v", got)
	}
	eve := bob
	eve.Annotator = "eve"
	if _, err := s.Submit(ctx, eve); !errors.Is(err, ErrNotLeased) {
		t.Errorf("eve never had it: %v", err)
	}
	got := must(s.LeaseReview(ctx, "colors", "rex", 1))(t)
	if len(got) != 1 || len(got[0].Annotations) != 2 {
		t.Fatalf("review is %+v", got)
	}
	rex := bob
	rex.Annotator = "rex"
	if _, err := s.Review(ctx, Submission{Project: "colors", Task: "t0", Annotator: "ren", Value: Choose("red")}); !errors.Is(err, ErrConflict) {
		t.Errorf("two reviewers: %v", err)
	}
	if got := must(s.Review(ctx, rex))(t); got.Status != StatusDone {
		t.Errorf("reviewed: %+v", got)
	}
	if got := must(s.Reopen(ctx, "colors", "t0", "rex"))(t); got.Status != StatusReview {
		t.Errorf("reopened: %+v", got)
	}
	people := must(s.Counts("colors"))(t).People
	if len(people) != 2 || people[0].Name != "ada" || people[0].Annotations != 1 {
		t.Errorf("people are %+v", people)
	}
}

func TestRenewKeepsTheOrder(t *testing.T) {
	s, c := newStore(t)
	define(t, s, colors())
	must(s.Add(t.Context(), "colors", numbered(5)))(t)
	must(s.Lease(t.Context(), "colors", "ada", 3))(t)
	for range 4 {
		c.advance(9 * time.Minute)
		if n := must(s.Renew(t.Context(), "colors", "ada"))(t); n != 3 {
			t.Fatalf("renewed %d", n)
		}
	}
	if got := ids(must(s.Lease(t.Context(), "colors", "ada", 3))(t)); !reflect.DeepEqual(got, []string{"t0", "t1", "t2"}) {
		t.Errorf("leases are %v", got)
	}
}

// TestLeasesOfPeople: where the time of what is labelled is simulated, a lease lasts as long
// as people's time says, and is the same after a restart; answers have the simulated time.
func TestLeasesOfPeople(t *testing.T) {
	simulated, people := newClock(), &clock{time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC)}
	log := openLog(t, t.TempDir(), simulated)
	open := func() *Store {
		return must(Open(t.Context(), Options{Log: log, Now: simulated.now, LeaseNow: people.now, Seed: 7}))(t)
	}
	s := open()
	define(t, s, colors())
	must(s.Add(t.Context(), "colors", numbered(2)))(t)
	mine := must(s.Lease(t.Context(), "colors", "ada", 1))(t)
	simulated.advance(365 * 24 * time.Hour)
	for range 2 {
		if got := ids(must(s.Lease(t.Context(), "colors", "ben", 1))(t)); !reflect.DeepEqual(got, []string{"t1"}) {
			t.Fatalf("ben has %v, and ada has %v", got, ids(mine))
		}
		s = open()
	}
	if got := must(s.Submit(t.Context(), Submission{Project: "colors", Task: "t0", Annotator: "ada", Value: Choose("red")}))(t); got.Extra || got.Status != StatusDone {
		t.Errorf("the answer in time is %+v", got)
	}
	v := must(s.Task("colors", "t0"))(t)
	if !v.Annotations[0].At.Equal(simulated.now()) {
		t.Errorf("said at %v, want %v", v.Annotations[0].At, simulated.now())
	}
	people.advance(24 * time.Hour)
	if got := ids(must(s.Lease(t.Context(), "colors", "cid", 1))(t)); !reflect.DeepEqual(got, []string{"t1"}) {
		t.Errorf("after the lease cid has %v", got)
	}
}

// TestManyAtOnce lets people race: no task is with two of them, and none is lost.
func TestManyAtOnce(t *testing.T) {
	s, c := newStore(t)
	p := colors()
	p.Overlap = 2
	define(t, s, p)
	const tasks, people = 60, 6
	must(s.Add(t.Context(), "colors", numbered(tasks)))(t)
	seen := struct {
		sync.Mutex
		count map[string]int
	}{count: map[string]int{}}
	var all sync.WaitGroup
	for i := range people {
		all.Go(func() {
			who := fmt.Sprintf("ann%d", i)
			for {
				got, err := s.Lease(context.Background(), "colors", who, 2)
				if err != nil || len(got) == 0 {
					if err != nil {
						t.Error(err)
					}
					return
				}
				seen.Lock()
				seen.count[got[0].Task.ID]++
				seen.Unlock()
				if _, err := s.Submit(context.Background(), Submission{Project: "colors", Task: got[0].Task.ID, Annotator: who, Value: Choose("red")}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	c.advance(time.Hour)
	counts := must(s.Counts("colors"))(t)
	if counts.Done != tasks || counts.Leased != 0 {
		t.Errorf("counts are %+v", counts)
	}
	for id, n := range seen.count {
		if n != 2 {
			t.Errorf("task %s was with %d people, want 2", id, n)
		}
	}
}

func TestBadInput(t *testing.T) {
	s, _ := newStore(t)
	ctx := t.Context()
	define(t, s, colors())
	define(t, s, Project{Name: "names", Labels: LabelSet{Kind: Spans, Text: "text", Labels: []Label{{Name: "PER"}}}})
	define(t, s, Project{Name: "stars", Labels: LabelSet{Kind: Number, Min: 1, Max: 5}})
	for _, p := range []string{"colors", "stars", "names"} {
		must(s.Add(ctx, p, []Task{{ID: "a", Data: json.RawMessage(`{"text":"Ada é 😀 <b>"}`)}}))(t)
		must(s.Lease(ctx, p, "ada", 1))(t)
	}
	submit := func(project string, v Value) error {
		_, err := s.Submit(ctx, Submission{Project: project, Task: "a", Annotator: "ada", Value: v})
		return err
	}
	add := func(project string, tasks ...Task) error { _, err := s.Add(ctx, project, tasks); return err }
	lost := colors()
	lost.Labels.Labels = lost.Labels.Labels[:2]
	tests := []struct {
		name string
		err  error
		is   error
		says string
	}{
		{"unknown project", add("nope"), ErrUnknownProject, `unknown project "nope"`},
		{"unknown task", func() error { _, err := s.Task("colors", "zz"); return err }(), ErrUnknownTask, `"zz"`},
		{"label outside the set", submit("colors", Choose("pink")), ErrInvalidValue, `choices[0]: label "pink"`},
		{"two labels", submit("colors", Choose("red", "blue")), ErrInvalidValue, "2 given, want one"},
		{"number for choices", submit("colors", Num(2)), ErrInvalidValue, "number is not for kind single"},
		{"number out of range", submit("stars", Num(6)), ErrInvalidValue, "6 is not in 1 to 5"},
		{"span outside of the text", submit("names", Value{Spans: []Span{{0, 12, "PER"}}}), ErrInvalidValue, "spans[0]: 0 to 12 is not a part of a text of 11 characters"},
		{"span turned", submit("names", Value{Spans: []Span{{3, 3, "PER"}}}), ErrInvalidValue, "spans[0]"},
		{"span twice", submit("names", Value{Spans: []Span{{0, 3, "PER"}, {0, 3, "PER"}}}), ErrInvalidValue, "twice"},
		{"person", func() error { _, err := s.Lease(ctx, "colors", "a/b", 1); return err }(), ErrInvalid, "annotator"},
		{"no data", add("colors", Task{ID: "b"}), ErrInvalid, "tasks[0]: data: want a JSON object"},
		{"no object", add("colors", Task{ID: "b", Data: json.RawMessage(`[1]`)}), ErrInvalid, "data"},
		{"cut object", add("colors", Task{ID: "b", Data: json.RawMessage(`{"a":`)}), ErrInvalid, "data"},
		{"no text", add("names", numbered(1)[0], Task{ID: "b", Data: json.RawMessage(`{"txt":""}`)}), ErrInvalid, "tasks[1]: data.text"},
		{"other data", add("colors", Task{ID: "a", Data: json.RawMessage(`{}`)}), ErrConflict, "tasks[0]: task \"a\" is there with other data"},
		{"gold", add("colors", Task{ID: "b", Data: json.RawMessage(`{}`), Gold: &Value{}}), ErrInvalid, "gold"},
		{"large data", add("colors", Task{ID: "b", Data: json.RawMessage(`{"a":"` + strings.Repeat("x", DataBytesMax) + `"}`)}), ErrInvalid, "at most"},
		{"label lost", s.Define(ctx, lost), ErrConflict, `label "blue" stays`},
		{"project", s.Define(ctx, Project{Name: "a b", GoldShare: 2}), ErrInvalid, "gold_share"},
	}
	for _, test := range tests {
		if !errors.Is(test.err, test.is) || !strings.Contains(fmt.Sprint(test.err), test.says) {
			t.Errorf("%s: %v, want %v with %q", test.name, test.err, test.is, test.says)
		}
	}
	if err := submit("names", Value{Spans: []Span{{6, 7, "PER"}, {0, 3, "PER"}}}); err != nil {
		t.Error(err)
	}
	if got := must(s.Task("names", "a"))(t); string(got.Task.Data) != `{"text":"Ada é 😀 <b>"}` || got.Final.Spans[0].Start != 0 {
		t.Errorf("view is %+v", got)
	}
	if got := must(s.Counts("colors"))(t); got.Open != 1 || got.Leased != 1 {
		t.Errorf("counts are %+v", got)
	}
}

func TestBounds(t *testing.T) {
	c := newClock()
	l := openLog(t, t.TempDir(), c)
	s := must(Open(t.Context(), Options{Log: l, Now: c.now, ProjectsMax: 1, TasksMax: 3, PeopleMax: 1, BytesMax: 4000}))(t)
	define(t, s, colors())
	other := colors()
	other.Name = "other"
	if err := s.Define(t.Context(), other); !errors.Is(err, ErrFull) {
		t.Errorf("projects: %v", err)
	}
	if added, err := s.Add(t.Context(), "colors", numbered(4)); !errors.Is(err, ErrFull) || added.New != 3 || !strings.Contains(err.Error(), "tasks[3]") {
		t.Errorf("tasks: %+v, %v", added, err)
	}
	must(s.Lease(t.Context(), "colors", "ada", 1))(t)
	if _, err := s.Lease(t.Context(), "colors", "bob", 1); !errors.Is(err, ErrFull) {
		t.Errorf("people: %v", err)
	}
	long := map[string]Suggestion{"t1": {Prediction: &Prediction{Value: Choose("red"), Reasons: []string{strings.Repeat("x", 1900)}}}}
	if err := s.Suggest(t.Context(), "colors", long); !errors.Is(err, ErrFull) {
		t.Errorf("bytes: %v", err)
	}
}

func TestImport(t *testing.T) {
	s, c := newStore(t)
	define(t, s, colors())
	must(s.Add(t.Context(), "colors", numbered(3)))(t)
	at := c.now().Add(-time.Hour)
	all := []Imported{
		{Submission: Submission{Project: "colors", Task: "t0", Annotator: "ada", Value: Choose("red")}, At: at},
		{Submission: Submission{Project: "colors", Task: "t1", Annotator: "ada"}, Skip: true},
		{Submission: Submission{Project: "colors", Task: "t2", Annotator: "rex", Value: Choose("blue")}, Review: true},
		{Submission: Submission{Project: "colors", Task: "t2", Annotator: "rex", Value: Choose("pink")}},
	}
	for range 2 {
		if n, err := s.Import(t.Context(), all); n != 3 || !errors.Is(err, ErrInvalidValue) || !strings.Contains(err.Error(), "annotations[3]") {
			t.Errorf("imported %d, %v", n, err)
		}
	}
	if n := versions(t, s, AnnotationStream); n != 3 {
		t.Errorf("%d events, want 3", n)
	}
	if got := must(s.Task("colors", "t0"))(t); got.Status != StatusDone || !got.Annotations[0].At.Equal(at) {
		t.Errorf("view is %+v", got)
	}
}

func TestTasksOfAStream(t *testing.T) {
	c := newClock()
	l := openLog(t, t.TempDir(), c)
	stream := must(l.Declare(offline.Schema{Stream: "decisions", Columns: []offline.Column{
		{Name: "score", Type: offline.TypeFloat64}, {Name: "model", Type: offline.TypeString}, {Name: "vector", Type: offline.TypeFloat32List}}}))(t)
	for i := range 1200 {
		r := offline.Record{ID: fmt.Sprintf("p%04d", i), EventTime: c.now().UnixMicro() + int64(i), Values: []offline.Value{
			offline.Float64(float64(i) / 1200), offline.String("<script>"), offline.Float32List([]float32{1, 2})}}
		if err := stream.Append(t.Context(), &r); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := openStore(t, l, c)
	define(t, s, colors())
	from := Source{Query: offline.Query{Stream: "decisions"}, Where: `score >= 0.5 && model == "<script>"`, Limit: 10_000}
	if got := must(s.AddFrom(t.Context(), "colors", from))(t); got != (Sourced{Read: 1200, Kept: 600, Added: Added{New: 600}}) {
		t.Errorf("%+v", got)
	}
	if got := must(s.AddFrom(t.Context(), "colors", from))(t); got.Same != 600 || got.New != 0 {
		t.Errorf("again: %+v", got)
	}
	got := must(s.Task("colors", "p0600"))(t).Task
	want := map[string]any{"id": "p0600", "model": "<script>", "score": 0.5, "source": "decisions", "vector": []any{1., 2.}, "event_time": "2026-03-01T09:00:00.0006Z"}
	var data map[string]any
	if err := json.Unmarshal(got.Data, &data); err != nil || !reflect.DeepEqual(data, want) || got.At.UnixMicro() != c.now().UnixMicro()+600 {
		t.Errorf("task is %s at %v, %v", got.Data, got.At, err)
	}
	share := Source{Query: offline.Query{Stream: "decisions"}, Share: 0.25, Limit: 10_000}
	if got := must(s.AddFrom(t.Context(), "colors", share))(t); got.Kept < 230 || got.Kept > 370 {
		t.Errorf("a quarter of 1200 is %d", got.Kept)
	}
	for _, bad := range []Source{{Limit: 0}, {Limit: 1, Where: "score >"}, {Limit: 1, Share: 2}} {
		if _, err := s.AddFrom(t.Context(), "colors", bad); !errors.Is(err, ErrInvalid) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

func TestEachSeesEveryTask(t *testing.T) {
	s, _ := newStore(t)
	define(t, s, colors())
	must(s.Add(t.Context(), "colors", numbered(600)))(t)
	n := 0
	if err := s.Each("colors", func(v *TaskView) error {
		if v.Task.ID != fmt.Sprintf("t%d", n) {
			t.Fatalf("task %d is %s", n, v.Task.ID)
		}
		n++
		return nil
	}); err != nil || n != 600 {
		t.Errorf("%d tasks, %v", n, err)
	}
}

func TestConsensus(t *testing.T) {
	num := func(all ...float64) (v []Value) {
		for _, x := range all {
			v = append(v, Num(x))
		}
		return v
	}
	stars := LabelSet{Kind: Number, Tolerance: 1}
	choice := LabelSet{Kind: Single}
	a, b := Choose("a"), Choose("b")
	tests := []struct {
		l      LabelSet
		policy ReviewPolicy
		values []Value
		want   string
	}{
		{choice, ReviewMajority, []Value{a, b, a}, a.Key()},
		{choice, ReviewMajority, []Value{a, b}, ""},
		{choice, ReviewUnanimous, []Value{a, b, a}, ""},
		{choice, ReviewUnanimous, []Value{a, a}, a.Key()},
		{choice, ReviewNever, []Value{b, a}, a.Key()},
		{choice, ReviewAlways, []Value{a, a}, ""},
		{stars, ReviewUnanimous, num(3, 4), `{"number":3}`},
		{stars, ReviewUnanimous, num(3, 4, 5), ""},
		{stars, ReviewMajority, num(3, 4, 9), `{"number":4}`},
		{stars, ReviewNever, num(1, 5, 9), `{"number":5}`},
	}
	for i, test := range tests {
		got := ""
		if v := consensus(&test.l, test.policy, test.values); v != nil {
			got = v.Key()
		}
		if got != test.want {
			t.Errorf("%d: %s of %v is %q, want %q", i, test.policy, test.values, got, test.want)
		}
	}
}

// BenchmarkNext is the cost of handing out and answering a task in memory and in the log's
// queue, with a queue of 100,000 tasks: what a key press waits for, but for the fsync.
//
//	go test -run none -bench Next -benchtime 200x ./labeling
func BenchmarkNext(b *testing.B) {
	s, _ := newStore(b)
	define(b, s, colors())
	must(s.Add(b.Context(), "colors", numbered(100_000)))(b)
	b.ReportAllocs()
	for b.Loop() {
		got := must(s.Lease(b.Context(), "colors", "ada", 2))(b)
		must(s.Submit(b.Context(), Submission{Project: "colors", Task: got[0].Task.ID, Annotator: "ada", Value: Choose("red")}))(b)
	}
}
