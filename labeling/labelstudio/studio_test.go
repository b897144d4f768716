// SPDX-License-Identifier: Apache-2.0

package labelstudio

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/labeling"
)

// studioExport has the fields that Label Studio 1.23.2 exports: people and predictions are
// numbers, an annotation has the prediction that it was made beside. The clock there is
// ahead, the fields of data are in another order, and one annotation is starred.
const studioExport = `[
{"id": 10, "annotations": [{"id": 71, "completed_by": 1, "result": [{"from_name": "label", "to_name": "item", "id": "a", "type": "choices", "value": {"choices": ["good"]}}],
  "was_cancelled": false, "ground_truth": true, "created_at": "2026-02-01T10:00:00.131997Z", "updated_at": "2026-02-01T10:00:00.132023Z", "draft_created_at": null, "lead_time": 3.5,
  "prediction": {"id": 10, "result": [], "model_version": "risk-1", "score": 0.8}, "result_count": 1, "unique_id": "d38c2738", "import_id": null, "task": 10, "project": 2, "updated_by": 1}],
 "drafts": [], "predictions": [10, 16], "data": {"price": 1.5, "text": "\u00fcn\u00ef \ud83d\ude00 <b>", "big": 1.0e3, "id": 9007199254740993},
 "meta": {"millrace_id": "m-1", "status": "open"}, "created_at": "2026-02-01T10:00:00Z", "inner_id": 4, "total_annotations": 1, "project": 2},
{"id": 11, "annotations": [{"id": 72, "completed_by": {"id": 1, "email": "ada@example.com"}, "result": [], "was_cancelled": true, "ground_truth": false, "created_at": "2026-03-01T09:00:05Z", "lead_time": null}],
 "predictions": [], "data": {"text": "two"}, "meta": {"millrace_id": "m-2"}},
{"id": 12, "annotations": [{"id": 73, "completed_by": 1, "result": [{"from_name": "label", "to_name": "item", "type": "choices", "value": {"choices": ["good"]}}], "ground_truth": true}],
 "predictions": [], "data": {"text": "three"}, "meta": {}}
]`

// TestStudioExport: what is in an export of Label Studio is here once, however often and by
// whichever way it came.
func TestStudioExport(t *testing.T) {
	s := newStore(t, choices(labeling.Single))
	there := []labeling.Task{
		{ID: "m-1", Data: json.RawMessage(`{"text": "ünï 😀 \u003cb>", "id": 9007199254740993, "big": 1000, "price": 1.50}`), Suggestion: labeling.Suggestion{Prediction: &labeling.Prediction{Model: "risk", Version: "1", Value: labeling.Choose("good"), Score: 0.8}}},
		{ID: "m-2", Data: json.RawMessage(`{"text":"two"}`)},
	}
	if _, err := s.Add(t.Context(), "p", there); err != nil {
		t.Fatal(err)
	}
	c := NewConfig(choices(labeling.Single), "")
	for range 2 {
		if sum, err := Import(t.Context(), s, "p", strings.NewReader(studioExport), c); err != nil || sum.Tasks != 3 || sum.Annotations != 2 {
			t.Fatalf("%+v, %v", sum, err)
		}
	}
	want := map[string][]labeling.Annotation{
		"m-1": {{Annotator: "ls-1", Kind: labeling.KindAnnotation, Value: labeling.Choose("good"), At: time.Date(2026, 2, 1, 10, 0, 0, 131997e3, time.UTC), Lead: 3500 * time.Millisecond, Comment: Comment(71)}},
		"m-2": {{Annotator: "ls-1", Kind: labeling.KindSkip, At: now, Comment: Comment(72)}},
	}
	said := func() map[string][]labeling.Annotation {
		got := map[string][]labeling.Annotation{}
		for id := range want {
			v, err := s.Task("p", id)
			if err != nil || v.Task.Gold != nil {
				t.Fatalf("%s: %+v, %v", id, v, err)
			}
			got[id] = v.Annotations
		}
		return got
	}
	if got := said(); !reflect.DeepEqual(got, want) {
		t.Errorf("\n got %+v\nwant %+v", got, want)
	}
	if v, err := s.Task("p", "ls-12"); err != nil || v.Task.Gold == nil || len(v.Annotations) != 0 {
		t.Errorf("a starred task that is new: %+v, %v", v, err)
	}

	// Another's comment goes out and comes back, as the number does.
	want["m-2"] = append(want["m-2"], labeling.Annotation{Annotator: "zoe", Kind: labeling.KindAnnotation, Value: labeling.Choose("good"), At: now, Comment: "sure?"})
	said2 := labeling.Imported{Submission: labeling.Submission{Project: "p", Task: "m-2", Annotator: "zoe", Value: labeling.Choose("good"), Comment: "sure?"}}
	if _, err := s.Import(t.Context(), []labeling.Imported{said2}); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := Export(&out, s, "p", c); err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{`"model_version":"risk-1"`, `"id":71,`, `"annotator":"zoe"`, `"comment":"sure?"`} {
		if !strings.Contains(out.String(), part) {
			t.Errorf("no %s in %s", part, out.String())
		}
	}
	if strings.Contains(out.String(), "completed_by") {
		t.Errorf("Label Studio refuses people that it does not have: %s", out.String())
	}
	if _, err := Import(t.Context(), s, "p", &out, c); err != nil {
		t.Fatal(err)
	}
	if got := said(); !reflect.DeepEqual(got, want) {
		t.Errorf("after our own export\n got %+v\nwant %+v", got, want)
	}
}

// TestComment: only what Comment says names a number.
func TestComment(t *testing.T) {
	for text, want := range map[string]int64{Comment(71): 71, "": 0, "71": 0, "Label Studio annotation 071": 0, "Label Studio annotation 7 or so": 0} {
		if got := numberOf(text); got != want {
			t.Errorf("%q names %d, want %d", text, got, want)
		}
	}
}
