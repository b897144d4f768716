// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/millrace-ml/millrace/featurestore/offline"
	"github.com/millrace-ml/millrace/labeling"
	"github.com/millrace-ml/millrace/labeling/groundtruth"
)

// feedbackTaker is what labels are told to: *groundtruth.Collector.
type feedbackTaker interface {
	Submit(ctx context.Context, items []groundtruth.Feedback) ([]groundtruth.Result, error)
}

// labelTeller tells the collector what finished tasks say. What was told is what the log
// has: it is read back at the start and compared with the tasks as they are, so a crash
// between annotation and feedback loses nothing, and nothing is told twice. One goroutine
// uses it.
type labelTeller struct {
	desk *labelDesk
	to   feedbackTaker
	log  *slog.Logger
	told map[string]toldValue // by feedback id
	// again are tasks whose feedback was not stored, to be told with the next ones.
	again []labeling.Changed
}

// toldValue is what the collector was told last of a task.
type toldValue struct {
	value groundtruth.Value // TypeNull if it was withdrawn
	// versions is how often it was told something. It is part of corrections, so that a task
	// which comes back to an earlier value is not taken for a repeat of what it said then.
	versions int
}

// tellMax is how many tasks are looked at together.
const tellMax = 500

// taskFeedbackID is the id of the feedback of a task.
func taskFeedbackID(project, task string) string { return "task:" + project + "/" + task }

// newLabelTeller reads back what was told.
func newLabelTeller(ctx context.Context, d *labelDesk, to feedbackTaker, log *slog.Logger) (_ *labelTeller, err error) {
	t := &labelTeller{desk: d, to: to, log: log, told: map[string]toldValue{}}
	if streamColumns(d.log, groundtruth.OutcomeStream) == nil {
		return t, nil
	}
	scan, err := d.log.Scan(ctx, offline.Query{Stream: groundtruth.OutcomeStream, Versions: offline.AllVersions,
		Columns: []string{"feedback_id", "value_type", "value_number", "value_text"}})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, scan.Close()) }()
	newest := map[string]uint64{}
	for scan.Next() {
		r := scan.Record()
		id := r.Values[0].Text()
		if !strings.HasPrefix(id, "task:") {
			continue
		}
		id = strings.Clone(id)
		before, known := t.told[id]
		before.versions++
		if known && r.Sequence < newest[id] {
			t.told[id] = before
			continue
		}
		kind, err := groundtruth.ParseValueType(r.Values[1].Text())
		if err != nil {
			return nil, fmt.Errorf("feedback %s: %w", id, err)
		}
		v := groundtruth.Value{Type: kind, Text: strings.Clone(r.Values[3].Text())}
		if !r.Values[2].IsNull() {
			v.Number = r.Values[2].Float64()
		}
		newest[id], t.told[id] = r.Sequence, toldValue{v, before.versions}
	}
	return t, scan.Err()
}

// tell tells what changed. It is called again and again.
func (t *labelTeller) tell(ctx context.Context) error {
	for {
		changed := t.take()
		if len(changed) == 0 {
			return nil
		}
		full := len(changed) >= tellMax
		if err := t.tellSome(ctx, changed); err != nil {
			return err
		}
		if !full || len(t.again) > 0 {
			return nil
		}
	}
}

// take is what is to be told now: of a task that changed since it could not be told, only
// how it is now.
func (t *labelTeller) take() []labeling.Changed {
	changed := t.desk.store.TakeChanged(tellMax)
	newer := map[string]bool{}
	for i := range changed {
		newer[taskFeedbackID(changed[i].Project, changed[i].Task)] = true
	}
	for _, c := range t.again {
		if !newer[taskFeedbackID(c.Project, c.Task)] {
			changed = append(changed, c)
		}
	}
	t.again = nil
	return changed
}

func (t *labelTeller) tellSome(ctx context.Context, changed []labeling.Changed) error {
	var items []groundtruth.Feedback
	var of []int
	for i := range changed {
		if f, ok := t.feedback(&changed[i]); ok {
			items, of = append(items, f), append(of, i)
		}
	}
	if len(items) == 0 {
		return nil
	}
	results, err := t.to.Submit(ctx, items)
	if err != nil {
		t.again = changed
		return err
	}
	var problems []error
	for i, r := range results {
		if r.Err != nil && r.Retryable {
			t.again = append(t.again, changed[of[i]])
			problems = append(problems, r.Err)
			continue
		}
		// What can never be taken is said once, and not tried again until it changes.
		told := toldValue{items[i].Value, t.told[items[i].ID].versions}
		if r.Err != nil {
			t.log.Error("what a task says was refused as feedback", "feedback", items[i].ID, "error", r.Err)
		} else {
			told.versions++
		}
		t.told[items[i].ID] = told
	}
	return errors.Join(problems...)
}

// feedback is what a task says, if the collector does not know it.
func (t *labelTeller) feedback(c *labeling.Changed) (groundtruth.Feedback, bool) {
	p, err := t.desk.project(c.Project)
	if err != nil || p.Feedback == nil {
		return groundtruth.Feedback{}, false
	}
	prediction := predictionOf(c.Data)
	if prediction == "" {
		return groundtruth.Feedback{}, false // imported: it is about no prediction
	}
	var value groundtruth.Value
	if c.Final != nil {
		value = p.Feedback.value(c.Final)
	}
	id := taskFeedbackID(c.Project, c.Task)
	before, told := t.told[id]
	if !told && value.Type == groundtruth.TypeNull || told && before.value == value {
		return groundtruth.Feedback{}, false
	}
	f := groundtruth.Feedback{ID: id, PredictionID: prediction, Name: p.Feedback.Name, Kind: p.Feedback.Kind, Source: p.Feedback.Source, Value: value,
		EventTime: t.desk.now().UnixMicro(), Reason: "not decided any more"}
	if c.Final != nil {
		// A replay's clock may go back over a restart, and nothing is told of the future.
		f.EventTime, f.Reason = min(c.At.UnixMicro(), f.EventTime), "labelled by "+strings.Join(c.By, ", ")
	}
	if told {
		f.Kind = groundtruth.KindCorrection
		f.Reason += fmt.Sprintf(", change %d", before.versions)
	}
	return f, true
}

// value is what a label means to the collector.
func (f *labelingFeedback) value(v *labeling.Value) groundtruth.Value {
	if v.Number != nil {
		return groundtruth.Number(*v.Number)
	}
	if len(v.Choices) == 1 {
		return f.Values[v.Choices[0]]
	}
	return groundtruth.Value{}
}

// predictionOf is the prediction that a task is about, empty if it names none.
func predictionOf(data []byte) string {
	var link struct {
		ID string `json:"prediction_id"`
	}
	if json.Unmarshal(data, &link) != nil {
		return ""
	}
	return link.ID
}
