// SPDX-License-Identifier: Apache-2.0

package learn

import (
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Overhead runs a pipeline of a hundred tasks, all of whose outputs are there, and returns
// milliseconds for each task: the time of the whole command, the start of the program
// included, by the number of tasks.
func Overhead(ctx context.Context, l *Lab) ([]float64, any, error) {
	tasks, rounds := 100, 7
	if l.Quick {
		tasks, rounds = 10, 1
	}
	dir, err := os.MkdirTemp(l.Folder, "cached-")
	if err != nil {
		return nil, nil, err
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, "millrace.yaml"), []byte("name: cached\npipelines: [pipeline.yaml]\n"), 0o644); err != nil {
		return nil, nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "pipeline.yaml"), []byte(manyTasks(tasks)), 0o644); err != nil {
		return nil, nil, err
	}
	l.progress("first run of %d tasks", tasks)
	first, _, err := l.run(ctx, dir, "pipeline", "run", "many")
	if err != nil {
		return nil, nil, err
	}
	var each []float64
	for round := range rounds {
		l.progress("run of %d cached tasks, round %d", tasks, round+1)
		took, said, err := l.run(ctx, dir, "pipeline", "run", "many", "--json")
		if err != nil {
			return nil, nil, err
		}
		if cached, err := cachedTasks(said); err != nil || cached != tasks {
			return nil, nil, fmt.Errorf("%d of %d tasks were cached (%v)", cached, tasks, err)
		}
		each = append(each, float64(took.Microseconds())/1e3/float64(tasks))
	}
	details := map[string]any{"ms per task": each, "tasks": tasks, "ms per task of the first run": float64(first.Microseconds()) / 1e3 / float64(tasks)}
	return []float64{median(each)}, details, nil
}

// manyTasks is a pipeline in ten chains: each task adds a line to what the one before wrote.
func manyTasks(tasks int) string {
	var b strings.Builder
	b.WriteString("pipelines:\n  many:\n    tasks:\n")
	for i := range tasks {
		if i < chains {
			fmt.Fprintf(&b, "      t%d: {uses: command, with: {shell: \"echo %d > $MILLRACE_OUTPUT_TEXT\"}, outputs: {text: t.txt}}\n", i, i)
			continue
		}
		fmt.Fprintf(&b, "      t%d: {uses: command, inputs: {before: t%d.text}, with: {shell: \"(cat $MILLRACE_INPUT_BEFORE; echo %d) > $MILLRACE_OUTPUT_TEXT\"}, outputs: {text: t.txt}}\n", i, i-chains, i)
	}
	return b.String()
}

// chains is how many tasks wait for no other.
const chains = 10

// pipelineRun is what `millrace pipeline run --json` prints, as far as it is read here.
type pipelineRun struct {
	Status string `json:"status"`
	Tasks  []struct {
		Task    string    `json:"task"`
		Status  string    `json:"status"`
		Started time.Time `json:"started"`
		Ended   time.Time `json:"ended"`
	} `json:"tasks"`
}

// cachedTasks counts the tasks of a run that were not run again.
func cachedTasks(said []byte) (int, error) {
	var run pipelineRun
	if err := json.Unmarshal(said, &run); err != nil {
		return 0, err
	}
	cached := 0
	for _, task := range run.Tasks {
		if task.Status == "cached" {
			cached++
		}
	}
	return cached, nil
}

//go:embed project
var project embed.FS

// Pipeline runs a whole project on the payments in a fresh folder: extract, features,
// split, train with four candidates and the baselines, evaluate with gates, promote. It
// returns the seconds that the command takes.
func Pipeline(ctx context.Context, l *Lab) ([]float64, any, error) {
	payments, err := l.published("card-transactions", "transactions.parquet")
	if err != nil {
		return nil, nil, err
	}
	rounds := 2
	if l.Quick {
		rounds = 1
	}
	var seconds []float64
	var tasks map[string]float64
	for round := range rounds {
		l.progress("payments from Parquet to a promoted model, round %d", round+1)
		took, each, err := l.runProject(ctx, payments)
		if err != nil {
			return nil, nil, err
		}
		seconds, tasks = append(seconds, took.Seconds()), each
	}
	return []float64{median(seconds)}, map[string]any{"seconds": seconds, "seconds by task, last round": tasks}, nil
}

func (l *Lab) runProject(ctx context.Context, payments string) (time.Duration, map[string]float64, error) {
	dir, err := os.MkdirTemp(l.Folder, "cards-")
	if err != nil {
		return 0, nil, err
	}
	defer os.RemoveAll(dir)
	files, err := fs.Sub(project, "project")
	if err != nil {
		return 0, nil, err
	}
	if err := os.CopyFS(dir, files); err != nil {
		return 0, nil, err
	}
	features, err := l.definitions(payments)
	if err != nil {
		return 0, nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "features.yaml"), features, 0o644); err != nil {
		return 0, nil, err
	}
	took, said, err := l.run(ctx, dir, "pipeline", "run", "fraud", "--json")
	if err != nil {
		return 0, nil, err
	}
	each, err := checkRun(said)
	if err != nil {
		return 0, nil, err
	}
	models, err := filepath.Glob(filepath.Join(dir, "models", "fraud", "*", "model.onnx"))
	if err != nil || len(models) != 1 {
		return 0, nil, fmt.Errorf("the pipeline left %d models in the repository (%v)", len(models), err)
	}
	return took, each, nil
}

// checkRun demands that all tasks were run and succeeded, and returns their seconds.
func checkRun(said []byte) (map[string]float64, error) {
	var run pipelineRun
	if err := json.Unmarshal(said, &run); err != nil {
		return nil, err
	}
	each := map[string]float64{}
	for _, task := range run.Tasks {
		if task.Status != "succeeded" {
			return nil, fmt.Errorf("task %s: %s", task.Task, task.Status)
		}
		each[task.Task] = task.Ended.Sub(task.Started).Seconds()
	}
	if run.Status != "succeeded" || len(each) == 0 {
		return nil, fmt.Errorf("the run %s", run.Status)
	}
	return each, nil
}
