// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"time"

	"github.com/millrace-ml/millrace/console"
	"github.com/millrace-ml/millrace/labeling"
	"github.com/millrace-ml/millrace/labeling/aggregate"
	"github.com/millrace-ml/millrace/labeling/agreement"
	"github.com/millrace-ml/millrace/labeling/labelstudio"
	"github.com/millrace-ml/millrace/labeling/quality"
	"github.com/millrace-ml/millrace/labeling/selection"
	"github.com/millrace-ml/millrace/serving/access"
)

// labelPath is where the interface is; docs/reference/labeling.md describes it.
const labelPath = "/v1/labeling/projects"

// Bounds of requests: a body is at most labelBodyMax, an imported file at most
// labelImportMax.
const (
	labelBodyMax   = 4 << 20
	labelImportMax = 4 << 30
)

// labelAPI is the labelling over HTTP, of a server or within a command.
type labelAPI struct {
	desk  *labelDesk
	guard *labelGuard
}

type labelCall func(w http.ResponseWriter, r *http.Request, p *labelingProject, who string) error

func (a *labelAPI) routes(mux access.Mux) {
	add := func(pattern string, role console.Role, call labelCall) {
		mux.Handle(pattern, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { a.serve(w, r, role, call) }))
	}
	add("GET "+labelPath, console.Viewer, a.list)
	one := labelPath + "/{project}"
	add("GET "+one, console.Viewer, a.status)
	add("GET "+one+"/agreement", console.Viewer, a.agreement)
	// What others said, which tasks are gold and what a model guesses is not for who labels
	// them, and what is known of a customer not for everybody who may look.
	add("GET "+one+"/tasks", console.Operator, a.tasks)
	add("GET "+one+"/task", console.Operator, a.task)
	add("GET "+one+"/errors", console.Operator, a.errors)
	add("GET "+one+"/aggregate", console.Operator, a.aggregate)
	add("GET "+one+"/export", console.Operator, a.export)
	add("GET "+one+"/labelstudio.xml", console.Viewer, a.studioConfig)
	add("POST "+one+"/lease", console.Labeller, a.leaser(a.desk.store.Lease))
	add("POST "+one+"/annotations", console.Labeller, a.annotate)
	add("POST "+one+"/skip", console.Labeller, a.skip)
	add("POST "+one+"/postpone", console.Labeller, a.postpone)
	add("POST "+one+"/undo", console.Labeller, a.undo)
	add("POST "+one+"/review/lease", console.Labeller, a.leaser(a.desk.store.LeaseReview))
	add("POST "+one+"/review", console.Labeller, a.review)
	add("POST "+one+"/review/undo", console.Labeller, a.reopen)
	add("POST "+one+"/import", console.Operator, a.importFile)
	add("POST "+one+"/select", console.Operator, a.selectNow)
}

// serve finds out who asks and about what, and answers errors.
func (a *labelAPI) serve(w http.ResponseWriter, r *http.Request, role console.Role, call labelCall) {
	who, err := a.guard.who(r, role)
	var p *labelingProject
	if err == nil && r.PathValue("project") != "" {
		p, err = a.desk.project(r.PathValue("project"))
	}
	if err == nil && r.Method == http.MethodPost {
		err = checkJSON(r)
	}
	if err == nil {
		err = call(w, r, p, who)
	}
	if err != nil {
		refuseLabel(w, err)
	}
}

// checkJSON asks for a content type that a page of another site cannot send by itself.
func checkJSON(r *http.Request) error {
	switch kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); {
	case err != nil:
	case kind == "application/json" || kind == "application/x-ndjson" || kind == "application/jsonl":
		return nil
	}
	return &refusal{http.StatusUnsupportedMediaType, "Content-Type has to be application/json"}
}

func refuseLabel(w http.ResponseWriter, err error) {
	w.Header().Set("Content-Type", "application/json")
	status := labelStatus(err)
	if status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Basic realm="millrace"`)
	}
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": err.Error()}) // who asked is gone if this fails
}

// labelStatus is the status of an error.
func labelStatus(err error) int {
	var r *refusal
	var large *http.MaxBytesError
	is := func(all ...error) bool {
		for _, one := range all {
			if errors.Is(err, one) {
				return true
			}
		}
		return false
	}
	switch {
	case errors.As(err, &r):
		return r.status
	case errors.As(err, &large) || is(labelstudio.ErrTooLarge):
		return http.StatusRequestEntityTooLarge
	case is(labeling.ErrUnknownProject, labeling.ErrUnknownTask):
		return http.StatusNotFound
	case is(labeling.ErrConflict, labeling.ErrNotLeased, labeling.ErrNothing):
		return http.StatusConflict
	case is(labeling.ErrFull):
		return http.StatusInsufficientStorage
	case is(labeling.ErrInvalid, labeling.ErrInvalidValue, selection.ErrInvalid, labelstudio.ErrFormat, aggregate.ErrInvalid, agreement.ErrInvalid, quality.ErrInvalid, errLabelRequest):
		return http.StatusBadRequest
	case is(context.Canceled, context.DeadlineExceeded):
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

var errLabelRequest = errors.New("invalid request")

// readLabel reads a bounded body strictly. An empty one leaves into as it is.
func readLabel(w http.ResponseWriter, r *http.Request, into any) error {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, labelBodyMax))
	if err != nil || len(body) == 0 {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	var other *json.UnmarshalTypeError
	if err := d.Decode(into); errors.As(err, &other) {
		return fmt.Errorf("%w: %s: a JSON %s does not fit there", errLabelRequest, cmp.Or(other.Field, "body"), other.Value)
	} else if err != nil {
		return fmt.Errorf("%w: %w", errLabelRequest, err)
	}
	if d.More() {
		return fmt.Errorf("%w: one JSON object is taken", errLabelRequest)
	}
	return nil
}

func answerLabel(w http.ResponseWriter, what any) error {
	text, err := json.Marshal(what)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(text, '\n')) // who asked is gone if this fails
	return nil
}

// wireTask is a task as it is handed out; gold is not told from other tasks.
type wireTask struct {
	ID          string               `json:"id"`
	Data        json.RawMessage      `json:"data"`
	At          time.Time            `json:"at"`
	Status      labeling.Status      `json:"status,omitempty"`
	Final       *labeling.Value      `json:"final,omitempty"`
	Chosen      *labeling.Chosen     `json:"chosen,omitempty"`
	Prediction  *labeling.Prediction `json:"prediction,omitempty"`
	Expires     time.Time            `json:"expires,omitzero"`
	Before      *labeling.Value      `json:"before,omitempty"`
	Annotations []wireAnnotation     `json:"annotations,omitempty"`
}

type wireAnnotation struct {
	Annotator string          `json:"annotator"`
	Kind      string          `json:"kind"`
	Value     *labeling.Value `json:"value,omitempty"`
	At        time.Time       `json:"at"`
	LeadMS    int64           `json:"lead_ms,omitempty"`
	Comment   string          `json:"comment,omitempty"`
}

func wireAnnotations(all []labeling.Annotation) (out []wireAnnotation) {
	for _, a := range all {
		one := wireAnnotation{Annotator: a.Annotator, Kind: a.Kind, At: a.At, LeadMS: a.Lead.Milliseconds(), Comment: a.Comment}
		if a.Kind == labeling.KindAnnotation || a.Kind == labeling.KindReview {
			one.Value = &a.Value
		}
		out = append(out, one)
	}
	return out
}

func wireView(v *labeling.TaskView) wireTask {
	return wireTask{ID: v.Task.ID, Data: v.Task.Data, At: v.Task.At, Status: v.Status, Final: v.Final, Chosen: v.Task.Chosen,
		Prediction: v.Task.Prediction, Annotations: wireAnnotations(v.Annotations)}
}

// tasks is a page of the tasks.
func (a *labelAPI) tasks(w http.ResponseWriter, r *http.Request, p *labelingProject, _ string) error {
	offset, limit := 0, 100
	for name, into := range map[string]*int{"offset": &offset, "limit": &limit} {
		if err := queryInt(r, name, into); err != nil {
			return err
		}
	}
	page, next, err := a.desk.store.Tasks(p.Name, labeling.Status(r.URL.Query().Get("status")), offset, limit)
	if err != nil {
		return err
	}
	out := struct {
		Tasks []wireTask `json:"tasks"`
		Next  int        `json:"next,omitempty"`
	}{Tasks: []wireTask{}, Next: next}
	for i := range page {
		out.Tasks = append(out.Tasks, wireView(&page[i]))
	}
	return answerLabel(w, out)
}

func (a *labelAPI) task(w http.ResponseWriter, r *http.Request, p *labelingProject, _ string) error {
	v, err := a.desk.store.Task(p.Name, r.URL.Query().Get("id"))
	if err != nil {
		return err
	}
	return answerLabel(w, wireView(&v))
}
