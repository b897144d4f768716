// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync/atomic"

	"github.com/millrace-ml/millrace/orchestrator"
	"github.com/millrace-ml/millrace/orchestrator/pipeline"
)

// upPipelines run the project's pipelines beside serving; nil runs none.
type upPipelines struct {
	runner *orchestrator.Runner
	file   *pipeline.File
	log    *slog.Logger
	// monitors are those whose alarms begin runs, once they are there.
	monitors atomic.Pointer[upMonitors]
}

// openPipelines takes the state folder of the project's pipelines. It returns nil where
// none is due by itself: then the folder is left to `millrace pipeline run`, which swaps
// models in this server too.
func (u *up) openPipelines(ctx context.Context, server, http string) (*upPipelines, error) {
	p := u.project
	if len(p.Pipelines) == 0 {
		return nil, nil
	}
	file, err := loadPipelines(p.Dir, p.Pipelines)
	if err != nil {
		return nil, pipelineMistake(err)
	}
	if !slices.ContainsFunc(file.Pipelines, func(p *pipeline.Pipeline) bool { return p.Schedule != nil || len(p.Triggers) > 0 }) {
		return nil, nil
	}
	token, err := new(tokenOptions).read() // for other servers that a task may name
	if err != nil {
		return nil, err
	}
	host := &taskHost{
		project: p, log: u.store.Log(), by: "millrace up", server: server, http: http, self: u.guard.Self(), token: token,
		workers: max(1, runtime.GOMAXPROCS(0)/2), // requests come first
	}
	if u.replay != nil {
		host.now = u.clock.now
	}
	o := (&pipelineOptions{}).runnerOptions(host, file)
	o.Concurrency = 1
	o.Observe = func(e orchestrator.Event) { logEvent(u.log, e) }
	pipelines := &upPipelines{file: file, log: u.log}
	o.Hold = func(trigger map[string]any) bool { return pipelines.monitors.Load().unsettled(trigger) }
	runner, err := openRunner(ctx, o)
	if err != nil {
		return nil, err
	}
	for _, p := range file.Pipelines {
		err = errors.Join(err, runner.Check(p))
	}
	if err != nil {
		return nil, errors.Join(pipelineMistake(err), runner.Close())
	}
	pipelines.runner = runner
	return pipelines, nil
}

// run runs what is due or triggered from when the server is ready, so that models can be
// swapped, until ctx ends. What goes on then is interrupted, and the next start goes on
// with it. A fault of the state folder is logged and does not end the server.
func (u *upPipelines) run(ctx context.Context, ready <-chan struct{}) {
	if u == nil {
		return
	}
	var err error
	select {
	case <-ready:
		err = u.runner.Serve(ctx)
	case <-ctx.Done():
	}
	if err = errors.Join(err, u.close()); err != nil {
		u.log.Error("pipelines are not run any more", "error", err)
	}
}

func (u *upPipelines) close() error {
	if u == nil {
		return nil
	}
	return u.runner.Close()
}

// logEvent logs how runs and tasks end, and no progress.
func logEvent(log *slog.Logger, e orchestrator.Event) {
	if e.Phase != "" || e.Total != 0 || e.Error == "" && !e.Status.Ended() {
		return
	}
	level, what := slog.LevelInfo, "pipeline"
	if e.Error != "" {
		level = slog.LevelWarn
	}
	attributes := []any{"pipeline", e.Pipeline, "run", e.Run, "status", string(e.Status)}
	if e.Task != "" {
		attributes = append(attributes, "task", e.Task)
	}
	if e.Error != "" {
		attributes = append(attributes, "error", firstLine(e.Error, 300))
	}
	log.Log(context.Background(), level, what, attributes...)
}

// explainLocked says what to do where another process has the state folder.
func explainLocked(err error, dir string) error {
	if !errors.Is(err, orchestrator.ErrLocked) {
		return err
	}
	return fmt.Errorf("%s: %w: a millrace pipeline command, or a millrace up whose pipelines have schedules or triggers; "+
		"wait for it, look at it by millrace pipeline status, or give --state another folder", dir, err)
}
