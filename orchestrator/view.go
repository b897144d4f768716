// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/millrace-ml/millrace/orchestrator/journal"
)

// View looks at a state folder that another process may be running.
type View struct{ dir string }

// NewView looks at a state folder.
func NewView(dir string) *View { return &View{dir} }

// Runs returns the runs of a pipeline, or all for an empty name, the oldest first. A run
// without a runner is shown as interrupted.
func (v *View) Runs(pipeline string) ([]*RunStatus, error) {
	// While this is held no runner begins, so that what the journal says to go on does not.
	held, err := lockShared(filepath.Join(v.dir, "lock"))
	alive := errors.Is(err, ErrLocked)
	s := newState()
	err = journal.Read(filepath.Join(v.dir, "journal"), s.replay)
	if held != nil {
		err = errors.Join(err, held.Close())
	}
	if err != nil {
		return nil, err
	}
	var all []*RunStatus
	for _, id := range s.order {
		run := s.runs[id]
		if run.Status == StatusRunning && !alive {
			run.Status = StatusInterrupted
		}
		if pipeline == "" || run.Pipeline == pipeline {
			all = append(all, run)
		}
	}
	return all, nil
}

// Status returns a run.
func (v *View) Status(run string) (*RunStatus, error) {
	all, err := v.Runs("")
	if err != nil {
		return nil, err
	}
	for _, r := range all {
		if r.ID == run {
			return r, nil
		}
	}
	return nil, fmt.Errorf("run %q %w", run, ErrNotFound)
}

// Logs copies the log of a task of a run to w; item is empty, or names the part.
func (v *View) Logs(run, task, item string, w io.Writer) error {
	if !safeName(task) || item != "" && !safeName(item) {
		return fmt.Errorf("log of task %q %w", instanceName(task, item), ErrNotFound)
	}
	return readLog(v.dir, run, task, item, w)
}

// safeName says whether a name cannot lead out of its folder.
func safeName(name string) bool {
	return name != "" && !strings.ContainsAny(name, `/\`) && name != "." && name != ".."
}

// Progress returns how far the tasks are that a run is doing.
func (v *View) Progress(run string) (all []Progress) {
	entries, err := os.ReadDir(filepath.Join(runDir(v.dir, run), "progress"))
	if err != nil {
		return nil
	}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(runDir(v.dir, run), "progress", e.Name()))
		var p Progress
		if err == nil && json.Unmarshal(data, &p) == nil {
			all = append(all, p)
		}
	}
	return all
}

// Cancel asks the folder's runner to end a run; it does so within Options.Look. A run that
// nobody drives ends so when it is resumed.
func (v *View) Cancel(run string) error {
	s, err := v.Status(run)
	if err != nil {
		return err
	}
	if s.Status.Ended() {
		return fmt.Errorf("%w: run %s has ended: %s", ErrInvalid, run, s.Status)
	}
	return writeFile(cancelPath(v.dir, run), []byte(time.Now().UTC().Format(time.RFC3339)+"\n"), true)
}

// Logs copies the log of a task of a run to w; item is empty, or names the part.
func (r *Runner) Logs(run, task, item string, w io.Writer) error {
	return NewView(r.options.Dir).Logs(run, task, item, w)
}
