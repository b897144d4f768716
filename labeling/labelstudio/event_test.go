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
	if err != nil || e.Item == nil || e.Item.Task.ID != "ls-7" || len(e.Item.Annotations) != 1 || !slices.Equal(e.IDs, []int64{13}) {
		t.Fatalf("%+v, %v", e, err)
	}
	if a := e.Item.Annotations[0]; a.Annotator != "ls-5" || a.Value.Key() != labeling.Choose("fraud").Key() || a.Lead.Seconds() != 2.5 {
		t.Errorf("%+v", a)
	}
	if e, err = c.ParseEvent([]byte(`{"action": "ANNOTATIONS_DELETED", "annotations": [{"id": 13}, {"id": 14}]}`)); err != nil || e.Item != nil || !slices.Equal(e.IDs, []int64{13, 14}) {
		t.Errorf("%+v, %v", e, err)
	}
	if e, err = c.ParseEvent([]byte(`{"action": "PROJECT_UPDATED", "project": {"id": 1}}`)); err != nil || e.Item != nil || e.IDs != nil {
		t.Errorf("%+v, %v", e, err)
	}
	for _, bad := range []string{`[]`, `{"action": "ANNOTATION_CREATED"}`, `{"action": "ANNOTATION_UPDATED", "task": {"data": {}}, "annotation": 3}`,
		`{"action": "ANNOTATIONS_DELETED", "annotations": {"id": 1}}`} {
		if _, err := c.ParseEvent([]byte(bad)); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
