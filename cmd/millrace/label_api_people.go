// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/millrace-ml/millrace/labeling"
)

// personal is what somebody says over the interface.
type personal struct {
	// Annotator is who says it, where nobody signs in; else it is the token's name.
	Annotator string         `json:"annotator"`
	Task      string         `json:"task"`
	Value     labeling.Value `json:"value"`
	LeadMS    int64          `json:"lead_ms"`
	Comment   string         `json:"comment"`
	// Count is how many tasks a lease asks for: 0 is one.
	Count int `json:"count"`
}

// said reads what somebody says, and who that is: with tokens nobody speaks for others.
func (a *labelAPI) said(w http.ResponseWriter, r *http.Request, who string) (*personal, error) {
	in := &personal{}
	if err := readLabel(w, r, in); err != nil {
		return nil, err
	}
	if a.guard.keys != nil {
		if in.Annotator != "" && in.Annotator != who {
			return nil, &refusal{http.StatusForbidden, fmt.Sprintf("the token is that of %s, who cannot label as %.80q", who, in.Annotator)}
		}
		in.Annotator = who
	}
	in.Annotator = cmp.Or(in.Annotator, who)
	return in, nil
}

// leaser hands out tasks: to annotators, or for a review those that wait for one.
func (a *labelAPI) leaser(hand func(ctx context.Context, project, name string, count int) ([]labeling.Assignment, error)) labelCall {
	return func(w http.ResponseWriter, r *http.Request, p *labelingProject, who string) error {
		in, err := a.said(w, r, who)
		if err != nil {
			return err
		}
		all, err := hand(r.Context(), p.Name, in.Annotator, max(1, in.Count))
		if err != nil {
			return err
		}
		out := struct {
			Tasks []wireTask `json:"tasks"`
		}{Tasks: []wireTask{}}
		for i := range all {
			out.Tasks = append(out.Tasks, p.handed(&all[i]))
		}
		return answerLabel(w, out)
	}
}

// handed is a task as the annotator may see it.
func (p *labelingProject) handed(a *labeling.Assignment) wireTask {
	t := wireTask{ID: a.Task.ID, Data: a.Task.Data, At: a.Task.At, Expires: a.Expires, Before: a.Before, Annotations: wireAnnotations(a.Annotations)}
	if p.ShowPrediction || a.Annotations != nil {
		t.Prediction, t.Chosen = a.Task.Prediction, a.Task.Chosen
	}
	return t
}

// told answers what became of what somebody said.
func told(w http.ResponseWriter, result labeling.Result, err error) error {
	if err != nil {
		return err
	}
	return answerLabel(w, struct {
		Status labeling.Status `json:"status"`
		Extra  bool            `json:"extra,omitempty"`
	}{result.Status, result.Extra})
}

func (in *personal) submission(p *labelingProject) labeling.Submission {
	return labeling.Submission{Project: p.Name, Task: in.Task, Annotator: in.Annotator, Value: in.Value,
		Lead: time.Duration(min(max(in.LeadMS, 0), labeling.LeadMax.Milliseconds())) * time.Millisecond, Comment: in.Comment}
}

func (a *labelAPI) annotate(w http.ResponseWriter, r *http.Request, p *labelingProject, who string) error {
	in, err := a.said(w, r, who)
	if err != nil {
		return err
	}
	result, err := a.desk.store.Submit(r.Context(), in.submission(p))
	return told(w, result, err)
}

func (a *labelAPI) skip(w http.ResponseWriter, r *http.Request, p *labelingProject, who string) error {
	in, err := a.said(w, r, who)
	if err != nil {
		return err
	}
	result, err := a.desk.store.Skip(r.Context(), p.Name, in.Task, in.Annotator, in.Comment)
	return told(w, result, err)
}

func (a *labelAPI) postpone(w http.ResponseWriter, r *http.Request, p *labelingProject, who string) error {
	in, err := a.said(w, r, who)
	if err != nil {
		return err
	}
	result, err := a.desk.store.Postpone(r.Context(), p.Name, in.Task, in.Annotator)
	return told(w, result, err)
}

func (a *labelAPI) undo(w http.ResponseWriter, r *http.Request, p *labelingProject, who string) error {
	in, err := a.said(w, r, who)
	if err != nil {
		return err
	}
	back, err := a.desk.store.Undo(r.Context(), p.Name, in.Annotator, in.Task)
	if err != nil {
		return err
	}
	return answerLabel(w, p.handed(&back))
}

func (a *labelAPI) review(w http.ResponseWriter, r *http.Request, p *labelingProject, who string) error {
	in, err := a.said(w, r, who)
	if err != nil {
		return err
	}
	result, err := a.desk.store.Review(r.Context(), in.submission(p))
	return told(w, result, err)
}

func (a *labelAPI) reopen(w http.ResponseWriter, r *http.Request, p *labelingProject, who string) error {
	in, err := a.said(w, r, who)
	if err != nil {
		return err
	}
	result, err := a.desk.store.Reopen(r.Context(), p.Name, in.Task, in.Annotator)
	return told(w, result, err)
}

// queryInt reads a number of the query, if it is there.
func queryInt(r *http.Request, name string, into *int) error {
	text := r.URL.Query().Get(name)
	if text == "" {
		return nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return fmt.Errorf("%w: %s: %.40q is no whole number of 0 or more", errLabelRequest, name, text)
	}
	*into = n
	return nil
}
