// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/millrace-ml/millrace/console"
	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/labeling"
	"github.com/millrace-ml/millrace/labeling/labelstudio"
	"github.com/millrace-ml/millrace/serving/access"
	"github.com/millrace-ml/millrace/serving/frontend"
)

// studioPath is where Label Studio reaches the backend of a project, by its name behind it;
// of an only project also without.
const studioPath = "/labelstudio"

func (l *upLabeling) studioRoutes(mux access.Mux) {
	for _, p := range l.desk.projects {
		l.studioMount(mux, studioPath+"/"+p.Name, p)
	}
	if len(l.desk.projects) == 1 {
		l.studioMount(mux, studioPath, l.desk.projects[0])
	}
}

func (l *upLabeling) studioMount(mux access.Mux, path string, p *labelingProject) {
	backend := http.StripPrefix(path, labelstudio.NewBackend(&studioModel{l, p}))
	mux.Handle(path+"/", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		role := console.Labeller
		switch {
		case r.Method == http.MethodGet:
			role = console.Viewer
		case r.URL.Path == path+"/webhook": // it speaks for everybody there
			role = console.Operator
		}
		_, err := l.api.guard.who(r, role)
		if err == nil && r.Method == http.MethodPost {
			err = checkJSON(r)
		}
		if err != nil {
			refuseLabel(w, err)
			return
		}
		backend.ServeHTTP(w, r)
	}))
}

// studioModel is what Label Studio asks about a project.
type studioModel struct {
	labeling *upLabeling
	project  *labelingProject
}

// Version names the model that serves the project's decision now.
func (m *studioModel) Version() string {
	l := m.labeling
	policy := l.desk.policy(m.project.Decision)
	if policy == nil || l.parts.server == nil {
		return "none"
	}
	model := &policy.Arms[0].Model
	call := frontend.InProcess(l.parts.server).NewCall()
	if err := call.Begin(model.Name, model.Version); err != nil {
		return model.Name
	}
	defer call.Release()
	return model.Name + "-" + strconv.FormatInt(call.Version(), 10)
}

// Predict guesses at each task: of what was decided by the vector in its data, else by the
// facts, else by what is known of its prediction id. What it knows nothing of has none.
func (m *studioModel) Predict(ctx context.Context, c labelstudio.Config, data []json.RawMessage) ([]*labeling.Prediction, error) {
	if err := m.project.sameLabels(&c); err != nil {
		return nil, err
	}
	out := make([]*labeling.Prediction, len(data))
	for i, text := range data {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		out[i] = m.guess(ctx, text)
		if out[i] == nil {
			out[i] = m.known(text)
		}
	}
	return out, nil
}

// known is the prediction of the task that the data is of.
func (m *studioModel) known(data json.RawMessage) *labeling.Prediction {
	id := predictionOf(data)
	if id == "" {
		return nil
	}
	v, err := m.labeling.desk.store.Task(m.project.Name, id)
	if err != nil {
		return nil
	}
	return v.Task.Prediction
}

// guess runs the model, nil if the data has neither vector nor facts.
func (m *studioModel) guess(ctx context.Context, data json.RawMessage) *labeling.Prediction {
	policy, front := m.labeling.desk.policy(m.project.Decision), m.labeling.parts.frontend
	if policy == nil || front == nil {
		return nil
	}
	var fields map[string]any
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if d.Decode(&fields) != nil {
		return nil
	}
	q, err := front.NewRequest(policy.Name)
	if err != nil {
		return nil
	}
	defer q.Release()
	numbers, texts, ok := vectorOf(policy.Service, fields, predictionOf(data) != "")
	if !ok {
		numbers, texts = nil, nil
		for i := range policy.Facts {
			name := policy.Facts[i].Name
			if value, given := fields[name]; given && setFact(q, name, value) != nil {
				return nil
			}
		}
	}
	answer, err := front.Guess(ctx, q, numbers, texts)
	if err != nil {
		return nil // facts that are missing, or a model that is not there: others still may know
	}
	value, confidence, ok := m.project.guess(answer.Score)
	if !ok {
		return nil
	}
	return &labeling.Prediction{Model: answer.Model, Version: strconv.FormatInt(answer.ModelVersion, 10), Value: value, Score: confidence}
}

// vectorOf takes the features out of data that has all of them; data of a decision that was
// made leaves out those that were null.
func vectorOf(s *definition.Service, fields map[string]any, decided bool) (numbers []float64, texts []string, ok bool) {
	derived := false
	for i := range s.Features {
		f := &s.Features[i]
		value, given := fields[f.Name]
		if !given && !decided {
			return nil, nil, false
		}
		derived = derived || given && f.Kind != definition.FromRequest && f.Kind != definition.FromKey
		x := math.NaN()
		switch v := value.(type) {
		case json.Number:
			var err error
			if x, err = v.Float64(); err != nil {
				return nil, nil, false
			}
		case bool:
			if x = 0; v {
				x = 1
			}
		case string:
			if f.Type != column.String {
				return nil, nil, false
			}
		}
		if f.Type == column.String {
			text, _ := value.(string)
			texts = append(texts, text)
		}
		numbers = append(numbers, x)
	}
	return numbers, texts, derived
}

// setFact sets a fact of a request to a value of JSON.
func setFact(q *frontend.Request, name string, value any) error {
	switch v := value.(type) {
	case bool:
		return q.SetBool(name, v)
	case string:
		return q.SetTextOrTime(name, v)
	case json.Number:
		if i, err := v.Int64(); err == nil {
			return q.SetInt(name, i)
		}
		x, err := v.Float64()
		if err != nil {
			return err
		}
		return q.SetNumber(name, x)
	case nil:
		return q.SetNull(name)
	}
	return fmt.Errorf("fact %s: a JSON value of its kind is none", name)
}

// Event takes annotations that were made, changed or deleted in Label Studio.
func (m *studioModel) Event(ctx context.Context, _ string, body json.RawMessage) error {
	c := m.project.studio("")
	c.From = "" // whatever the control is called there
	e, err := c.ParseEvent(body)
	if err != nil {
		return err
	}
	if e.Action == labelstudio.AnnotationsDeleted {
		return m.deleted(ctx, e.Deleted)
	}
	for _, item := range e.Items { // none of what is about something else
		if err := m.annotated(ctx, item); err != nil {
			return err
		}
	}
	return nil
}

// annotated takes the annotations of a task, which becomes one here if it is not.
func (m *studioModel) annotated(ctx context.Context, item *labelstudio.Item) error {
	store, task := m.labeling.desk.store, item.Task
	if id := predictionOf(task.Data); id != "" && m.labeling.desk.isTask(m.project.Name, id) {
		task.ID = id
	}
	if !m.labeling.desk.isTask(m.project.Name, task.ID) {
		if _, err := store.Add(ctx, m.project.Name, []labeling.Task{task}); err != nil {
			return err
		}
	}
	for _, a := range item.Annotations {
		// It counts from now on: the clock there is not the project's.
		a.Project, a.Task, a.At = m.project.Name, task.ID, time.Time{}
		if _, err := store.Import(ctx, []labeling.Imported{a}); err != nil {
			return err
		}
	}
	return nil
}

// deleted takes back annotations, of which Label Studio sends nothing but numbers.
func (m *studioModel) deleted(ctx context.Context, ids []int64) error {
	wanted := map[string]bool{}
	for _, id := range ids {
		wanted[labelstudio.Comment(id)] = true
	}
	var back []labeling.Imported
	err := m.labeling.desk.store.Each(m.project.Name, func(v *labeling.TaskView) error {
		for _, a := range v.Annotations {
			if (a.Kind == labeling.KindAnnotation || a.Kind == labeling.KindSkip) && wanted[a.Comment] {
				back = append(back, labeling.Imported{Retract: true, Submission: labeling.Submission{Project: m.project.Name, Task: v.Task.ID, Annotator: a.Annotator, Comment: a.Comment}})
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	_, err = m.labeling.desk.store.Import(ctx, back)
	if errors.Is(err, labeling.ErrNothing) {
		return nil // it was taken back meanwhile
	}
	return err
}
