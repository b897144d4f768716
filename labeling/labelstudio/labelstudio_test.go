// SPDX-License-Identifier: Apache-2.0

package labelstudio

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/featurestore/offline"
	"github.com/millrace-ml/millrace/labeling"
)

var now = time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)

func newStore(t *testing.T, labels labeling.LabelSet) *labeling.Store {
	t.Helper()
	clock := func() time.Time { return now }
	l, err := offline.Open(t.Context(), offline.Options{Dir: t.TempDir(), Now: clock, CompactEvery: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() }) // the test is over
	s, err := labeling.Open(t.Context(), labeling.Options{Log: l, Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Define(t.Context(), labeling.Project{Name: "p", Labels: labels, Overlap: 2}); err != nil {
		t.Fatal(err)
	}
	return s
}

func choices(kind labeling.Kind) labeling.LabelSet {
	return labeling.LabelSet{Kind: kind, Labels: []labeling.Label{{Name: "good", Key: "g"}, {Name: "<bad> & \"worse\""}}}
}

func names() labeling.LabelSet {
	return labeling.LabelSet{Kind: labeling.Spans, Text: "text", Labels: []labeling.Label{{Name: "PER"}, {Name: "LOC"}}}
}

func stars() labeling.LabelSet { return labeling.LabelSet{Kind: labeling.Number, Min: 1, Max: 5} }

func TestConfigsComeBack(t *testing.T) {
	rating := NewConfig(stars(), "text")
	rating.Rating = true
	for _, c := range []Config{NewConfig(choices(labeling.Single), "title"), NewConfig(choices(labeling.Multiple), ""), NewConfig(names(), ""), NewConfig(stars(), ""), rating} {
		got, err := ParseConfig(c.XML())
		if err != nil || !reflect.DeepEqual(got, c) {
			t.Errorf("%s\nis %+v, %v", c.XML(), got, err)
		}
	}
	for text, says := range map[string]string{"<View>": "byte", "<View/>": "none of", `<View><Choices name="a" toName="b"/></View>`: "labels: 0 given"} {
		if _, err := ParseConfig(text); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// file has what Label Studio writes, with a control of another kind beside ours.
const file = `[
{"id": 17, "data": {"text": "Ada met <b>Bob</b> 😀 in Rome"}, "annotations": [
  {"completed_by": {"id": 3, "email": "ada@example.org"}, "lead_time": 2.5, "created_at": "2026-02-01T10:00:00.5Z", "result": [
    {"id": "x", "from_name": "label", "to_name": "item", "type": "labels", "value": {"start": 0, "end": 3, "text": "Ada", "labels": ["PER"]}},
    {"from_name": "sure", "to_name": "item", "type": "choices", "value": {"choices": ["yes"]}},
    {"from_name": "label", "to_name": "item", "type": "labels", "value": {"start": 25, "end": 29, "text": "Rome", "labels": ["LOC"]}}]},
  {"completed_by": 4, "was_cancelled": true, "result": []}],
 "predictions": [8, {"model_version": "v1", "score": 0.5, "result": []}, 9]},
{"data": {"text": "nobody"}, "annotations": [{"ground_truth": true, "result": []}]}
]`

func TestImport(t *testing.T) {
	s := newStore(t, names())
	for i := range 2 {
		sum, err := Import(t.Context(), s, "p", strings.NewReader(file), NewConfig(names(), ""))
		if err != nil || sum.Tasks != 2 || sum.Added.New != 2*(1-i) || sum.Annotations != 2 {
			t.Errorf("%+v, %v", sum, err)
		}
	}
	v, err := s.Task("p", "ls-17")
	if err != nil || len(v.Annotations) != 2 {
		t.Fatalf("%+v, %v", v, err)
	}
	// Rome is at 24 in characters: the file counts the smiley as two units.
	want := labeling.Annotation{Annotator: "ls-3", Kind: labeling.KindAnnotation, At: time.Date(2026, 2, 1, 10, 0, 0, 5e8, time.UTC), Lead: 2500 * time.Millisecond,
		Value: labeling.Value{Spans: []labeling.Span{{Start: 0, End: 3, Label: "PER"}, {Start: 24, End: 28, Label: "LOC"}}}}
	if !reflect.DeepEqual(v.Annotations[0], want) || v.Annotations[1].Kind != labeling.KindSkip || v.Annotations[1].Annotator != "ls-4" {
		t.Errorf("annotations are %+v", v.Annotations)
	}
	if v.Task.Prediction == nil || v.Task.Prediction.Version != "v1" || string(v.Task.Data) != `{"text": "Ada met <b>Bob</b> 😀 in Rome"}` {
		t.Errorf("task is %+v", v.Task)
	}
	if counts, _ := s.Counts("p"); counts.Gold != 1 {
		t.Errorf("%+v", counts)
	}
}

func TestExportComesBack(t *testing.T) {
	for name, c := range map[string]Config{"choices": NewConfig(choices(labeling.Multiple), "text"), "spans": NewConfig(names(), ""), "number": NewConfig(stars(), "")} {
		values := map[string]labeling.Value{"choices": labeling.Choose("good", "<bad> & \"worse\""), "number": labeling.Num(3.5),
			"spans": {Spans: []labeling.Span{{Start: 2, End: 4, Label: "LOC"}}}}
		from, to := newStore(t, c.Labels), newStore(t, c.Labels)
		var tasks []labeling.Task
		value := values[name]
		for i := range 3 {
			tasks = append(tasks, labeling.Task{ID: fmt.Sprintf("a/%d", i), Data: json.RawMessage(`{"text":"é 😀 </script>"}`),
				Suggestion: labeling.Suggestion{Prediction: &labeling.Prediction{Model: "label-studio", Version: "2", Value: value, Score: 0.25}}})
		}
		tasks[2].Gold = &value
		if _, err := from.Add(t.Context(), "p", tasks); err != nil {
			t.Fatal(err)
		}
		in := labeling.Submission{Project: "p", Task: "a/0", Annotator: "ada", Value: value, Lead: time.Second}
		skip := labeling.Submission{Project: "p", Task: "a/1", Annotator: "bob@example.org"}
		if _, err := from.Import(t.Context(), []labeling.Imported{{Submission: in}, {Submission: skip, Skip: true}}); err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := Export(&b, from, "p", c); err != nil {
			t.Fatal(err)
		}
		if sum, err := Import(t.Context(), to, "p", &b, c); err != nil || sum.Added.New != 3 || sum.Annotations != 2 {
			t.Fatalf("%s: %+v, %v", name, sum, err)
		}
		for _, task := range tasks {
			a, _ := from.Task("p", task.ID)
			b, err := to.Task("p", task.ID)
			a.Task.At, b.Task.At = now, now
			if err != nil || !reflect.DeepEqual(a, b) {
				t.Errorf("%s: %+v\ncomes back as %+v, %v", name, a, b, err)
			}
		}
	}
}

func TestTasksOneAfterAnother(t *testing.T) {
	var ids []string
	err := Read(strings.NewReader(" {\"id\":1,\"data\":{}}\n{\"id\":\"x\",\"data\":{}}\n\n[{\"id\":3,\"data\":{}}] "), NewConfig(stars(), ""), func(i *Item) error {
		ids = append(ids, i.Task.ID)
		return nil
	})
	if err != nil || !reflect.DeepEqual(ids, []string{"ls-1", "ls-x", "ls-3"}) {
		t.Errorf("%v, %v", ids, err)
	}
}

func TestBadFiles(t *testing.T) {
	span := func(value string) string {
		return `[{"data":{"text":"abc"}},{"data":{"text":"abc"},"annotations":[{"result":[{"from_name":"label","type":"labels","value":` + value + `}]}]}]`
	}
	tests := []struct {
		file string
		is   error
		says string
	}{
		{`[{"data":{}},{"data":3}]`, ErrFormat, "task 1, byte 12: data: want an object"},
		{`[{"data":{"a":1}`, ErrFormat, "task 0, byte 1: the file is cut off here"},
		{`[{"data":{}},`, ErrFormat, "task 1"},
		{`]`, ErrFormat, "task 0"},
		{`<html>`, ErrFormat, "task 0, byte 0"},
		{`[{"id":1,"data":{},"annotations":[{"completed_by":true,"result":[]}]}]`, ErrFormat, "annotations[0].completed_by"},
		{`[{"data":{},"annotations":[{"created_at":"soon","result":[]}]}]`, ErrFormat, "created_at"},
		{span(`{"start":0,"end":9,"labels":["PER"]}`), labeling.ErrInvalidValue, "task 1, byte 24: annotations[0].result: value does not fit: spans[0]: 0 to 9"},
		{span(`{"start":0,"end":2,"text":"xx","labels":["PER"]}`), ErrFormat, `annotations[0].result[0].value: text "xx"`},
		{span(`{"start":0,"labels":["PER"]}`), ErrFormat, "start and end"},
		{span(`{"start":0,"end":2,"labels":["DOG"]}`), labeling.ErrInvalidValue, `label "DOG"`},
		{`[{"data":{"text":"` + strings.Repeat("x", TaskBytesMax) + `"}}]`, ErrTooLarge, "task 0"},
	}
	for _, test := range tests {
		err := Read(strings.NewReader(test.file), NewConfig(names(), ""), func(*Item) error { return nil })
		if !errors.Is(err, test.is) || !strings.Contains(fmt.Sprint(err), test.says) {
			t.Errorf("%.100s: %v, want %q", test.file, err, test.says)
		}
	}
	s := newStore(t, names())
	sum, err := Import(t.Context(), s, "p", strings.NewReader(tests[0].file[:12]+`,{"data":{"text":"a"}}]`), NewConfig(names(), ""))
	if !errors.Is(err, labeling.ErrInvalid) || sum.Added.New != 0 {
		t.Errorf("a task without text: %+v, %v", sum, err)
	}
	if _, err := Import(t.Context(), s, "p", strings.NewReader("[]"), NewConfig(stars(), "")); !errors.Is(err, ErrFormat) {
		t.Errorf("labels of another project: %v", err)
	}
	if _, err := Import(t.Context(), s, "q", strings.NewReader("[]"), NewConfig(stars(), "")); !errors.Is(err, labeling.ErrUnknownProject) {
		t.Errorf("unknown project: %v", err)
	}
}

// endless is a file of so many tasks of 4 KiB that is made while it is read.
type endless struct {
	left int
	rest []byte
}

func (e *endless) Read(b []byte) (int, error) {
	if len(e.rest) == 0 {
		if e.left == 0 {
			return 0, io.EOF
		}
		e.left--
		e.rest = fmt.Appendf(nil, `{"id":%d,"data":{"text":"%s"}}`+"\n", e.left, strings.Repeat("x", 4000))
	}
	n := copy(b, e.rest)
	e.rest = e.rest[n:]
	return n, nil
}

// TestALargeFileIsStreamed reads 32 MiB, and 100 MiB unless tests are to be short, and
// never holds more than a small part.
func TestALargeFileIsStreamed(t *testing.T) {
	tasks := 25_000
	if testing.Short() {
		tasks = 8000
	}
	n, most := 0, uint64(0)
	var before, m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	err := Read(&endless{left: tasks}, NewConfig(stars(), ""), func(*Item) error {
		if n++; n%1000 == 0 {
			runtime.GC()
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapAlloc)
		}
		return nil
	})
	if err != nil || n != tasks || most > before.HeapAlloc+4<<20 {
		t.Errorf("%d tasks, %d bytes held, %d before, %v", n, most, before.HeapAlloc, err)
	}
}

// FuzzRead reads anything: no panic, and what is read can be read again.
func FuzzRead(f *testing.F) {
	f.Add([]byte(file))
	f.Add([]byte(`[{"data":{"text":"😀"},"annotations":[{"result":[{"from_name":"label","type":"labels","value":{"start":1,"end":2,"text":"x"}}]}]}]`))
	c := NewConfig(names(), "")
	f.Fuzz(func(t *testing.T, b []byte) {
		_ = Read(bytes.NewReader(b), c, func(i *Item) error {
			if i.Task.ID == "" || len(i.Task.Data) == 0 {
				t.Errorf("%+v", i)
			}
			return nil
		})
	})
}

// echo is a model that is sure of the first label.
type echo struct{ events []string }

func (e *echo) Version() string { return "7" }

func (e *echo) Predict(_ context.Context, c Config, data []json.RawMessage) ([]*labeling.Prediction, error) {
	out := make([]*labeling.Prediction, len(data))
	out[0] = &labeling.Prediction{Version: "7", Score: 0.9, Value: labeling.Choose(c.Labels.Labels[0].Name)}
	return out, nil
}

func (e *echo) Event(_ context.Context, action string, body json.RawMessage) error {
	e.events = append(e.events, action+" "+string(body))
	return nil
}

func TestBackend(t *testing.T) {
	m := &echo{}
	h := NewBackend(m)
	c := NewConfig(choices(labeling.Single), "text")
	config, err := json.Marshal(c.XML())
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "/health", "", 200, `{"model_class":"Millrace","status":"UP"}`},
		{"POST", "/setup", `{"project":"1.2","schema":` + string(config) + `}`, 200, `{"model_version":"7"}`},
		{"POST", "/predict", `{"tasks":[{"id":1,"data":{}},{"id":2,"data":{}}],"label_config":` + string(config) + `}`, 200,
			`{"model_version":"7","results":[{"model_version":"7","score":0.9,"result":[{"id":"r0","from_name":"label","to_name":"item","type":"choices","value":{"choices":["good"]}}]},{"model_version":"7","result":[]}]}`},
		{"POST", "/webhook", `{"action":"ANNOTATION_CREATED"}`, 200, `{"status":"ok"}`},
		{"POST", "/webhook", `{}`, 400, `{"error":"not in Label Studio's format: action is missing"}`},
		{"POST", "/predict", `{"tasks":[{"data":1}],"label_config":` + string(config) + `}`, 400, `{"error":"not in Label Studio's format: tasks[0].data: want an object"}`},
		{"POST", "/setup", `{"schema":"<View/>"}`, 400, `{"error":"not in Label Studio's format: configuration has none of Choices, Rating, Number and Labels"}`},
		{"POST", "/setup", strings.Repeat("x", RequestBytesMax+1), 413, `{"error":"too large: a request has at most 33554432 bytes"}`},
		{"GET", "/predict", "", 405, ""},
	}
	for _, test := range tests {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), test.method, test.path, strings.NewReader(test.body)))
		if w.Code != test.status || test.status != http.StatusMethodNotAllowed && w.Body.String() != test.want {
			t.Errorf("%s %s: %d %s, want %d %s", test.method, test.path, w.Code, w.Body, test.status, test.want)
		}
	}
	if len(m.events) != 1 || m.events[0] != `ANNOTATION_CREATED {"action":"ANNOTATION_CREATED"}` {
		t.Errorf("events are %v", m.events)
	}
}
