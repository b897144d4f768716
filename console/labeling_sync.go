// SPDX-License-Identifier: Apache-2.0

package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"time"

	"github.com/millrace-ml/millrace/labeling"
)

// Bounds of what a page sends at once.
const (
	syncBytesMax      = 1 << 20
	syncOperationsMax = 16
)

// syncRequest is what a labelling page sends: what its person said since it last could, in
// order, and how many tasks it wants to have. Sending the same again is harmless.
type syncRequest struct {
	// Who is the name that the operations were made under. Another one is refused, so that
	// nobody's answers are sent by whoever signed in at the same browser next.
	Who   string `json:"who"`
	Want  int    `json:"want"`
	Renew bool   `json:"renew"`
	Count bool   `json:"count"`
	// Have are the tasks that the page shows or will show.
	Have       []string        `json:"have"`
	Operations []syncOperation `json:"operations"`
}

// syncOperation is one thing that somebody said.
type syncOperation struct {
	// ID is the page's, and comes back with the result.
	ID string `json:"id"`
	// Do is submit, skip, postpone or undo.
	Do         string         `json:"do"`
	Task       string         `json:"task"`
	Value      labeling.Value `json:"value"`
	LeadMillis int64          `json:"lead_ms"`
	Comment    string         `json:"comment"`
}

// syncResult is what became of an operation.
type syncResult struct {
	ID string `json:"id"`
	OK bool   `json:"ok"`
	// Retry says that it may be taken later; those behind it were not tried.
	Retry bool `json:"retry,omitempty"`
	// Note tells the person something, a problem if the operation is not OK.
	Note string `json:"note,omitempty"`
	// Task is what an undo brought back.
	Task *shownTask `json:"task,omitempty"`
}

// syncResponse answers with the tasks that the person has after the operations.
type syncResponse struct {
	Results []syncResult `json:"results"`
	Tasks   []shownTask  `json:"tasks"`
	// Kept are those of Have that are not in Tasks and still wait for an answer: their lease
	// is over, but nobody else has them.
	Kept []string `json:"kept"`
	// Counts are there if they were asked for.
	Counts *syncCounts `json:"counts,omitempty"`
}

// syncCounts are how far the work is.
type syncCounts struct {
	Today  int `json:"today"`
	Left   int `json:"left"`
	Review int `json:"review"`
	Done   int `json:"done"`
}

// sync takes what somebody said and hands out tasks.
func (c *Console) sync(w http.ResponseWriter, r *http.Request, review bool) error {
	p, err := c.labelingProject(r)
	if err != nil {
		return err
	}
	who, err := c.labeller(r)
	if err != nil {
		return err
	}
	in, err := readSync(r, who)
	if err != nil {
		return err
	}
	desk := desk{store: c.options.Labeling, project: p, who: who, review: review}
	out := syncResponse{Results: []syncResult{}, Tasks: []shownTask{}, Kept: []string{}}
	for i := range in.Operations {
		result := desk.do(r.Context(), &in.Operations[i])
		out.Results = append(out.Results, result)
		if result.Retry {
			c.options.Logger.Warn("console: labelling", "project", p.Name, "problem", result.Note)
			break
		}
	}
	if err := desk.hand(r.Context(), in, &out); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(out)
}

// labelingProject is the project of a request's path.
func (c *Console) labelingProject(r *http.Request) (*labeling.Project, error) {
	p, err := c.options.Labeling.Project(r.PathValue("project"))
	if errors.Is(err, labeling.ErrUnknownProject) {
		return nil, notFound("There is no labelling project %q.", shorten(r.PathValue("project"), 80))
	}
	return &p, err
}

func readSync(r *http.Request, who string) (*syncRequest, error) {
	// A form of another page cannot have this type.
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return nil, &problem{http.StatusUnsupportedMediaType, "This takes application/json."}
	}
	var in syncRequest
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return nil, err
		}
		return nil, invalid("The request cannot be read: %v.", err)
	}
	switch {
	case in.Who != who:
		return nil, &problem{http.StatusConflict, fmt.Sprintf("This was said by %q, and you are %q: load the page again.", shorten(in.Who, 80), who)}
	case len(in.Operations) > syncOperationsMax:
		return nil, invalid("%d operations at once; at most %d are taken.", len(in.Operations), syncOperationsMax)
	case len(in.Have) > labeling.HeldMax:
		return nil, invalid("%d tasks shown; one person can have %d.", len(in.Have), labeling.HeldMax)
	case in.Want < 0 || in.Want > labeling.HeldMax:
		return nil, invalid("%d tasks wanted; one person can have 0 to %d.", in.Want, labeling.HeldMax)
	}
	return &in, nil
}

// desk is where somebody labels or reviews a project.
type desk struct {
	store   Labeling
	project *labeling.Project
	who     string
	review  bool
}

// do does one operation.
func (d *desk) do(ctx context.Context, op *syncOperation) syncResult {
	result := syncResult{ID: op.ID}
	done, err := d.tell(ctx, op, &result)
	switch {
	case err == nil:
		result.OK = true
		if done.Extra {
			result.Note = fmt.Sprintf("The lease of task %s was over, and somebody else has it or had it: what you said is kept as one more opinion.", op.Task)
		}
	case errors.Is(err, labeling.ErrNotLeased):
		result.Note = fmt.Sprintf("Task %s was never handed to %s, so this was not taken.", op.Task, d.who)
	case errors.Is(err, labeling.ErrInvalid), errors.Is(err, labeling.ErrInvalidValue), errors.Is(err, labeling.ErrUnknownTask),
		errors.Is(err, labeling.ErrConflict), errors.Is(err, labeling.ErrNothing):
		result.Note = fmt.Sprintf("This was not taken: %v.", err)
	case errors.Is(err, labeling.ErrFull) && op.Do == "postpone":
		// Only answers make room for it, and those wait behind it.
		result.Note = fmt.Sprintf("This was not put off: %v.", err)
	default:
		result.Retry, result.Note = true, err.Error()
	}
	return result
}

// tell passes an operation on to the store.
func (d *desk) tell(ctx context.Context, op *syncOperation, result *syncResult) (labeling.Result, error) {
	in := labeling.Submission{
		Project: d.project.Name, Task: op.Task, Annotator: d.who, Value: op.Value, Comment: op.Comment,
		Lead: time.Duration(min(max(op.LeadMillis, 0), labeling.LeadMax.Milliseconds())) * time.Millisecond,
	}
	switch {
	case op.Do == "submit" && d.review:
		return d.store.Review(ctx, in)
	case op.Do == "submit":
		return d.store.Submit(ctx, in)
	case op.Do == "undo":
		return labeling.Result{}, d.undo(ctx, op.Task, result)
	case op.Do == "skip" && !d.review:
		return d.store.Skip(ctx, in.Project, in.Task, in.Annotator, in.Comment)
	case op.Do == "postpone" && !d.review:
		return d.store.Postpone(ctx, in.Project, in.Task, in.Annotator)
	}
	return labeling.Result{}, fmt.Errorf("%w operation %q", labeling.ErrInvalid, shorten(op.Do, 40))
}

// undo takes back what the person said of a task. If it was taken back already, as by the
// same request whose answer did not arrive, it stays so.
func (d *desk) undo(ctx context.Context, task string, result *syncResult) error {
	if task == "" {
		return fmt.Errorf("%w undo: the task is missing", labeling.ErrInvalid)
	}
	if d.review {
		if _, err := d.store.Reopen(ctx, d.project.Name, task, d.who); err != nil && !errors.Is(err, labeling.ErrNothing) {
			return err
		}
		return d.bringBack(task, nil, result)
	}
	a, err := d.store.Undo(ctx, d.project.Name, d.who, task)
	switch {
	case err == nil:
		return d.bringBack(task, &a, result)
	case !errors.Is(err, labeling.ErrConflict) && !errors.Is(err, labeling.ErrNothing):
		return err
	}
	v, findErr := d.store.Task(d.project.Name, task)
	if findErr != nil {
		return findErr
	}
	for i := range v.Annotations {
		if v.Annotations[i].Annotator == d.who && v.Annotations[i].Kind != labeling.KindReview {
			return err // it still stands
		}
	}
	return d.bringBack(task, nil, result)
}

// bringBack gives the page a task again. Without an assignment it is read.
func (d *desk) bringBack(task string, a *labeling.Assignment, result *syncResult) error {
	if a == nil {
		v, err := d.store.Task(d.project.Name, task)
		if err != nil {
			return err
		}
		a = &labeling.Assignment{Task: v.Task, Expires: v.Leases[d.who]}
		if d.review {
			a.Annotations = v.Annotations
		}
	}
	shown := showTask(d.project, a, d.review)
	result.Task = &shown
	return nil
}

// hand gives out tasks, renews what the person has, and counts.
func (d *desk) hand(ctx context.Context, in *syncRequest, out *syncResponse) error {
	name := d.project.Name
	if in.Renew {
		if _, err := d.store.Renew(ctx, name, d.who); err != nil {
			return err
		}
	}
	if in.Want > 0 {
		lease := d.store.Lease
		if d.review {
			lease = d.store.LeaseReview
		}
		tasks, err := lease(ctx, name, d.who, in.Want)
		if err != nil {
			return err
		}
		for i := range tasks {
			out.Tasks = append(out.Tasks, showTask(d.project, &tasks[i], d.review))
		}
	}
	for _, id := range in.Have {
		handed := slices.ContainsFunc(out.Tasks, func(t shownTask) bool { return t.ID == id })
		if !handed && d.waits(id) {
			out.Kept = append(out.Kept, id)
		}
	}
	if !in.Count {
		return nil
	}
	counts, err := d.store.Counts(name)
	if err != nil {
		return err
	}
	out.Counts = &syncCounts{Left: counts.Open, Review: counts.Review, Done: counts.Done}
	for i := range counts.People {
		if counts.People[i].Name == d.who {
			out.Counts.Today = counts.People[i].Today
		}
	}
	return nil
}

// waits says whether a task that the person had still waits for their answer.
func (d *desk) waits(id string) bool {
	v, err := d.store.Task(d.project.Name, id)
	if err != nil {
		return false // it is not there any more
	}
	taken := 0
	for who := range v.Leases {
		if who != d.who {
			taken++
		}
	}
	if d.review {
		return taken == 0 && v.Status == labeling.StatusReview
	}
	for i := range v.Annotations {
		switch a := &v.Annotations[i]; {
		case a.Annotator == d.who && a.Kind != labeling.KindPostpone:
			return false // said already, perhaps in another tab
		case a.Annotator != d.who && a.Kind == labeling.KindAnnotation:
			taken++
		}
	}
	return v.Status == labeling.StatusGold || v.Status == labeling.StatusOpen && taken < d.project.Overlap
}
