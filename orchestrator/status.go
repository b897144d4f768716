// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"slices"
	"time"

	"github.com/millrace-ml/millrace/orchestrator/artifact"
	"github.com/millrace-ml/millrace/orchestrator/pipeline"
)

// Status is how a run or a task of it stands.
type Status string

// The statuses. Succeeded and cached are a task's good ends; skipped means that its
// condition did not hold, blocked that a task failed that it waits for.
const (
	StatusPending     Status = "pending"
	StatusRunning     Status = "running"
	StatusSucceeded   Status = "succeeded"
	StatusCached      Status = "cached"
	StatusFailed      Status = "failed"
	StatusSkipped     Status = "skipped"
	StatusBlocked     Status = "blocked"
	StatusCancelled   Status = "cancelled"
	StatusInterrupted Status = "interrupted" // of a run that can be resumed
)

// Good says whether a task has its outputs.
func (s Status) Good() bool { return s == StatusSucceeded || s == StatusCached }

// Ended says whether a status is final.
func (s Status) Ended() bool {
	return s != StatusPending && s != StatusRunning && s != StatusInterrupted && s != ""
}

func (s Status) end() pipeline.End {
	switch {
	case s.Good():
		return pipeline.EndSucceeded
	case s == StatusSkipped:
		return pipeline.EndSkipped
	}
	return pipeline.EndFailed
}

// RunStatus is a run of a pipeline.
type RunStatus struct {
	ID        string         `json:"id"`
	Pipeline  string         `json:"pipeline"`
	Hash      string         `json:"hash"` // of the pipeline
	Status    Status         `json:"status"`
	Params    map[string]any `json:"params,omitempty"`
	Partition Partition      `json:"partition,omitzero"`
	Trigger   map[string]any `json:"trigger,omitempty"`
	// Time is the time that the run is for: when it was due, or began.
	Time    time.Time `json:"time"`
	Started time.Time `json:"started"`
	Ended   time.Time `json:"ended,omitzero"`
	Error   string    `json:"error,omitempty"`
	// Tasks are those that have begun or ended; parts of a foreach task come before the whole.
	Tasks []TaskStatus `json:"tasks"`
	// Ignore and From are what of the cache was not used; Only are the tasks that were asked for.
	Ignore bool     `json:"ignore_cache,omitempty"`
	From   []string `json:"from,omitempty"`
	Only   []string `json:"only,omitempty"`
}

// TaskStatus is a task of a run, or the part of one for an item.
type TaskStatus struct {
	Task    string `json:"task"`
	Item    string `json:"item,omitempty"` // as pipeline.ItemName names it
	Status  Status `json:"status"`
	Attempt int    `json:"attempt,omitempty"`
	// Failures are the attempts that failed; others were cut short by the end of a process.
	Failures int       `json:"failures,omitempty"`
	Started  time.Time `json:"started,omitzero"`
	Ended    time.Time `json:"ended,omitzero"`
	Key      string    `json:"key,omitempty"`
	// Outputs are the artifacts, by the names of the outputs.
	Outputs map[string]artifact.Info `json:"outputs,omitempty"`
	Values  map[string]any           `json:"values,omitempty"`
	Error   string                   `json:"error,omitempty"`
	// Reason is why the task did not run.
	Reason string `json:"reason,omitempty"`
}

// Name is the task, with its item in brackets if it is a part.
func (t *TaskStatus) Name() string { return instanceName(t.Task, t.Item) }

func instanceName(task, item string) string {
	if item == "" {
		return task
	}
	return task + "[" + item + "]"
}

// Task returns the status of a task, nil if the run has none of that name.
func (r *RunStatus) Task(name string) *TaskStatus {
	for i := range r.Tasks {
		if r.Tasks[i].Name() == name {
			return &r.Tasks[i]
		}
	}
	return nil
}

// Note is the status of a task in a word, for a graph.
func (r *RunStatus) Note(task string) string {
	if t := r.Task(task); t != nil {
		return string(t.Status)
	}
	return string(StatusPending)
}

// Count is the number of tasks of some statuses, parts of foreach tasks not counted.
func (r *RunStatus) Count(statuses ...Status) (n int) {
	for i := range r.Tasks {
		if r.Tasks[i].Item == "" && slices.Contains(statuses, r.Tasks[i].Status) {
			n++
		}
	}
	return n
}

// clone is a copy that the runner does not change. Maps are never changed once they are
// in a status.
func (r *RunStatus) clone() *RunStatus {
	c := *r
	c.Tasks = slices.Clone(r.Tasks)
	return &c
}

// Event says that something happened in a run.
type Event struct {
	Run, Pipeline string
	Task          string // with its item; empty if it is about the run
	Status        Status
	Attempt       int
	Error         string
	// Done, Total and Phase are the task's progress.
	Done, Total int64
	Phase       string
}
