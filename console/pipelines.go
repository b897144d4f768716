// SPDX-License-Identifier: Apache-2.0

package console

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/millrace-ml/millrace/orchestrator"
	"github.com/millrace-ml/millrace/training/runs"
)

// Bounds of pages.
const (
	runsMax        = 100
	experimentsMax = 200
	logBytesMax    = 256 << 10
)

// detached is a context for work that goes on when the browser has gone.
func detached(r *http.Request, limit time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(r.Context()), limit)
}

// runsPage lists runs, of one pipeline or of all.
type runsPage struct {
	Pipeline string
	Runs     []*orchestrator.RunStatus
}

func (c *Console) runs(w http.ResponseWriter, r *http.Request) error {
	page := runsPage{Pipeline: r.URL.Query().Get("pipeline")}
	all, err := c.options.Pipelines.Runs(page.Pipeline)
	if err != nil {
		return err
	}
	page.Runs = newest(all, runsMax)
	return c.render(w, r, http.StatusOK, "pipelines", page)
}

// runPage is a run with its drawings.
type runPage struct {
	*orchestrator.RunStatus
	Gantt gantt
	Graph graph
	// Reports are tasks that wrote a report.
	Reports map[string]bool
	// Alarm started it; nil if none did. Promotion is what was decided in it, nil if nothing.
	Alarm     *AlarmChange
	Promotion *Promotion
}

func (c *Console) findRun(r *http.Request) (*orchestrator.RunStatus, error) {
	id := r.PathValue("run")
	s, err := c.options.Pipelines.Status(id)
	if errors.Is(err, orchestrator.ErrNotFound) {
		return nil, notFound("There is no run %q; the oldest are forgotten.", id)
	}
	return s, err
}

func (c *Console) run(w http.ResponseWriter, r *http.Request) error {
	s, err := c.findRun(r)
	if err != nil {
		return err
	}
	page := runPage{RunStatus: s, Gantt: drawGantt(s, c.options.Now()), Reports: map[string]bool{}}
	if c.options.Definitions != nil {
		if p, err := c.options.Definitions.Find(s.Pipeline); err == nil {
			page.Graph = drawGraph(p, s)
		}
	}
	for _, t := range s.Tasks {
		_, wrote := t.Outputs["report"]
		page.Reports[t.Name()] = wrote && t.Item == ""
	}
	if page.Alarm, _, err = c.alarmOf(s); err != nil {
		return err
	}
	if page.Promotion, err = c.promotionOf(s.ID); err != nil {
		return err
	}
	return c.render(w, r, http.StatusOK, "run", page)
}

// promotionOf is what was decided in a run, nil if nothing was.
func (c *Console) promotionOf(run string) (*Promotion, error) {
	all, err := c.promotions()
	if err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(all, func(p Promotion) bool { return p.Run == run }); i >= 0 {
		return &all[i], nil
	}
	return nil, nil
}

// logPage is the end of a task's log.
type logPage struct {
	Run, Task string
	Text      string
	Cut       bool
	Running   bool
}

func (c *Console) taskLog(w http.ResponseWriter, r *http.Request) error {
	s, err := c.findRun(r)
	if err != nil {
		return err
	}
	name := r.PathValue("task")
	t := s.Task(name)
	if t == nil {
		return notFound("The run has no task %q.", name)
	}
	var tail tailWriter
	if err := c.options.Pipelines.Logs(s.ID, t.Task, t.Item, &tail); err != nil && !errors.Is(err, orchestrator.ErrNotFound) {
		return err
	}
	page := logPage{Run: s.ID, Task: name, Text: strings.ToValidUTF8(string(tail.data), "�"), Cut: tail.cut, Running: !t.Status.Ended()}
	return c.render(w, r, http.StatusOK, "log", page)
}

// tailWriter keeps the end of what is written.
type tailWriter struct {
	data []byte
	cut  bool
}

func (w *tailWriter) Write(p []byte) (int, error) {
	w.data = append(w.data, p...)
	if extra := len(w.data) - logBytesMax; extra > 0 {
		w.data, w.cut = slices.Delete(w.data, 0, extra), true
	}
	return len(p), nil
}

func (c *Console) report(w http.ResponseWriter, r *http.Request) error {
	s, err := c.findRun(r)
	if err != nil {
		return err
	}
	t := s.Task(r.PathValue("task"))
	if t == nil || c.options.Artifact == nil {
		return notFound("The run has no report of %q.", r.PathValue("task"))
	}
	info, ok := t.Outputs["report"]
	if !ok {
		return notFound("The task %s wrote no report.", t.Name())
	}
	return c.document(w, filepath.Join(c.options.Artifact(string(info.Digest)), "report.html"), "The report is no longer kept.")
}

func (c *Console) cancel(w http.ResponseWriter, r *http.Request) error {
	s, err := c.findRun(r)
	if err != nil {
		return err
	}
	e := Entry{Action: "cancel run", Subject: s.Pipeline, Link: "/console/pipelines/" + url.PathEscape(s.ID)}
	return c.act(w, r, e, func() (string, error) { return s.ID, c.options.Pipelines.Cancel(s.ID) })
}

// experimentsPage lists training runs.
type experimentsPage struct {
	Where, Sort string
	Problem     string
	Runs        []runs.Run
	Metrics     []string
}

// shownMetricsMax bounds the columns of metrics.
const shownMetricsMax = 6

func (c *Console) experiments(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	page := experimentsPage{Where: q.Get("where"), Sort: q.Get("sort")}
	var err error
	page.Runs, err = c.options.Experiments.List(r.Context(), runs.Query{Where: page.Where, OrderBy: page.Sort, Limit: experimentsMax})
	if errors.Is(err, runs.ErrQuery) {
		page.Problem, err = err.Error(), nil
	}
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, run := range page.Runs {
		for name := range run.Metrics {
			seen[name] = true
		}
	}
	for name := range seen {
		page.Metrics = append(page.Metrics, name)
	}
	slices.Sort(page.Metrics)
	page.Metrics = page.Metrics[:min(len(page.Metrics), shownMetricsMax)]
	return c.render(w, r, http.StatusOK, "experiments", page)
}

func (c *Console) experiment(w http.ResponseWriter, r *http.Request) error {
	run, err := c.options.Experiments.Get(r.Context(), r.PathValue("id"))
	if errors.Is(err, runs.ErrNotFound) {
		return notFound("There is no training run %q.", r.PathValue("id"))
	} else if err != nil {
		return err
	}
	return c.render(w, r, http.StatusOK, "experiment", experimentPage{Run: run, Curves: drawCurves(run)})
}

// experimentPage is a training run with its learning curves.
type experimentPage struct {
	*runs.Run
	Curves []curveDrawing
}

// MetricText is a metric's value, with its interval if there is one.
func (p experimentsPage) MetricText(run runs.Run, name string) string {
	m, ok := run.Metrics[name]
	if !ok {
		return "–"
	}
	text := formatNumber(m.Value)
	if m.Lower != nil && m.Upper != nil {
		text += fmt.Sprintf(" [%s, %s]", formatNumber(*m.Lower), formatNumber(*m.Upper))
	}
	return text
}
