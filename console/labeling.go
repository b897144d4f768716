// SPDX-License-Identifier: Apache-2.0

package console

import (
	"context"
	"net/http"

	"github.com/millrace-ml/millrace/labeling"
)

// Labeling is what the console needs of the labelling store; *labeling.Store has it, and so
// has what wraps one to hear of finished tasks. Its methods may be called at once.
type Labeling interface {
	Projects() []labeling.Project
	Project(name string) (labeling.Project, error)
	Counts(project string) (labeling.Counts, error)
	Task(project, id string) (labeling.TaskView, error)
	Tasks(project string, status labeling.Status, offset, limit int) (page []labeling.TaskView, next int, err error)

	Lease(ctx context.Context, project, annotator string, count int) ([]labeling.Assignment, error)
	Renew(ctx context.Context, project, name string) (int, error)
	Submit(ctx context.Context, in labeling.Submission) (labeling.Result, error)
	Skip(ctx context.Context, project, task, annotator, comment string) (labeling.Result, error)
	Postpone(ctx context.Context, project, task, annotator string) (labeling.Result, error)
	Undo(ctx context.Context, project, annotator, task string) (labeling.Assignment, error)

	LeaseReview(ctx context.Context, project, reviewer string, count int) ([]labeling.Assignment, error)
	Review(ctx context.Context, in labeling.Submission) (labeling.Result, error)
	Reopen(ctx context.Context, project, task, reviewer string) (labeling.Result, error)
}

var _ Labeling = (*labeling.Store)(nil)

// labelingRoutes adds the pages of what people label.
func (c *Console) labelingRoutes(mux *http.ServeMux) {}
