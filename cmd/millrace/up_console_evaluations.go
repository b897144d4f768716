// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/millrace-ml/millrace/console"
	"github.com/millrace-ml/millrace/orchestrator"
)

// evaluationsDir has reports that were made by hand, in the state folder: a folder each, as
// `millrace evaluate --output` writes it.
const evaluationsDir = "evaluations"

// showEvaluations gives the console the reports of evaluations, of runs of pipelines and of
// the state folder. It comes after what gives it the pipelines.
func (u *up) showEvaluations(o *console.Options) {
	o.Evaluations = &upEvaluations{dir: filepath.Join(u.project.State, evaluationsDir), pipelines: o.Pipelines, artifact: o.Artifact}
}

// upEvaluations finds reports. The pipelines may be nil.
type upEvaluations struct {
	dir       string
	pipelines console.Pipelines
	artifact  func(digest string) string
}

// Evaluations implements console.Evaluations.
func (e *upEvaluations) Evaluations(limit int) ([]console.Evaluation, error) {
	all, err := e.ofRuns(limit)
	if err != nil {
		return nil, err
	}
	own, err := e.ofFolder(limit)
	if err != nil {
		return nil, err
	}
	all = append(all, own...)
	slices.SortStableFunc(all, func(a, b console.Evaluation) int { return b.Time.Compare(a.Time) })
	return all[:min(limit, len(all))], nil
}

// ofRuns are the reports of the newest runs; a report that a later run took from the cache
// counts once, for the run that made it.
func (e *upEvaluations) ofRuns(limit int) ([]console.Evaluation, error) {
	if e.pipelines == nil || e.artifact == nil {
		return nil, nil
	}
	runs, err := e.pipelines.Runs("")
	if err != nil {
		return nil, err
	}
	var all []console.Evaluation
	seen := map[string]int{}
	for _, run := range slices.Backward(runs) {
		for _, t := range run.Tasks {
			info, ok := t.Outputs["report"]
			if !ok || t.Item != "" {
				continue
			}
			found := console.Evaluation{ID: run.ID + "." + t.Task, Time: t.Ended, Content: string(info.Digest), Pipeline: run.Pipeline, Run: run.ID, Task: t.Task}
			if at, known := seen[found.Content]; known {
				if t.Status != orchestrator.StatusCached {
					all[at] = found
				}
				continue
			}
			if len(all) < limit {
				seen[found.Content] = len(all)
				all = append(all, found)
			}
		}
	}
	return all, nil
}

func (e *upEvaluations) ofFolder(limit int) ([]console.Evaluation, error) {
	entries, err := os.ReadDir(e.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	var all []console.Evaluation
	for _, entry := range entries[:min(len(entries), limit)] {
		info, err := os.Stat(filepath.Join(e.dir, entry.Name(), "report.json"))
		if err != nil {
			continue // no report, or one that is being written
		}
		all = append(all, console.Evaluation{ID: "folder." + entry.Name(), Time: info.ModTime().UTC(), Name: entry.Name(),
			Content: fmt.Sprintf("%s %d %d", entry.Name(), info.Size(), info.ModTime().UnixNano())})
	}
	return all, nil
}

// OpenReport implements console.Evaluations.
func (e *upEvaluations) OpenReport(of *console.Evaluation) (io.ReadCloser, error) {
	dir := filepath.Join(e.dir, of.Name)
	if of.Run != "" {
		dir = e.artifact(of.Content)
	}
	f, err := os.Open(filepath.Join(dir, "report.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errors.New("the report is no longer kept")
	}
	return f, err
}
