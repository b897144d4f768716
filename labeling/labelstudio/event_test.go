// SPDX-License-Identifier: Apache-2.0

package labelstudio

import (
	"errors"
	"slices"
	"testing"

	"github.com/millrace-ml/millrace/labeling"
)

func TestParseEvent(t *testing.T) {
	c := NewConfig(labeling.LabelSet{Kind: labeling.Single, Labels: []labeling.Label{{Name: "fraud"}, {Name: "genuine"}}}, "")
	c.From = ""
	const annotation = `"annotation": {"id": 13, "completed_by": 5, "lead_time": 2.5, "result": [{"from_name": "c", "to_name": "t", "type": "choices", "value": {"choices": ["fraud"]}}]}`
	e, err := c.ParseEvent([]byte(`{"action": "ANNOTATION_CREATED", "task": {"id": 7, "data": {"x": 1}, "annotations": [{"result": [{"type": "odd"}]}]}, ` + annotation + `}`))
	if err != nil || len(e.Items) != 1 || e.Items[0].Task.ID != "ls-7" || len(e.Items[0].Annotations) != 1 || e.Deleted != nil {
		t.Fatalf("%+v, %v", e, err)
	}
	if a := e.Items[0].Annotations[0]; a.Annotator != "ls-5" || a.Comment != Comment(13) || a.Value.Key() != labeling.Choose("fraud").Key() || a.Lead.Seconds() != 2.5 {
		t.Errorf("%+v", a)
	}
	if e, err = c.ParseEvent([]byte(`{"action": "ANNOTATIONS_DELETED", "annotations": [{"id": 13}, {"id": 14}]}`)); err != nil || e.Items != nil || !slices.Equal(e.Deleted, []int64{13, 14}) {
		t.Errorf("%+v, %v", e, err)
	}
	if e, err = c.ParseEvent([]byte(`{"action": "PROJECT_UPDATED", "project": {"id": 1}}`)); err != nil || e.Items != nil || e.Deleted != nil {
		t.Errorf("%+v, %v", e, err)
	}
	// As it is sent when predictions are made annotations of, one of them with a star.
	several := `{"action": "ANNOTATIONS_CREATED", "task": [{"id": 7, "data": {"x": 1}}, {"id": 8, "data": {"x": 2}, "meta": {"millrace_id": "m"}}], "annotation": [
		{"id": 21, "completed_by": 5, "result": [{"from_name": "c", "to_name": "t", "type": "choices", "value": {"choices": ["fraud"]}}]},
		{"id": 22, "completed_by": 6, "ground_truth": true, "result": [{"from_name": "c", "to_name": "t", "type": "choices", "value": {"choices": ["genuine"]}}]}]}`
	if e, err = c.ParseEvent([]byte(several)); err != nil || len(e.Items) != 2 {
		t.Fatalf("%+v, %v", e, err)
	}
	if second := e.Items[1]; second.Task.ID != "m" || second.Task.Gold != nil || len(second.Annotations) != 1 || second.Annotations[0].Annotator != "ls-6" || second.Annotations[0].Task != "m" {
		t.Errorf("%+v", second)
	}
	for _, bad := range []string{`[]`, `{"action": "ANNOTATIONS_CREATED", "task": [{"data": {}}], "annotation": []}`, `{"action": "ANNOTATIONS_CREATED", "task": {}, "annotation": {}}`, `{"action": "ANNOTATION_CREATED"}`, `{"action": "ANNOTATION_UPDATED", "task": {"data": {}}, "annotation": 3}`,
		`{"action": "ANNOTATIONS_DELETED", "annotations": {"id": 1}}`} {
		if _, err := c.ParseEvent([]byte(bad)); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
