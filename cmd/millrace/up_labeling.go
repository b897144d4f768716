// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace-ml/millrace/console"
	"github.com/millrace-ml/millrace/serving/access"
)

// upLabeling has people label what is worth it; nil has nothing to label.
type upLabeling struct {
	up     *up
	parts  *upParts
	desk   *labelDesk
	api    *labelAPI
	teller *labelTeller // nil where nothing takes feedback
}

// labelingPoll is how often the project's clock is looked at and what is finished is told.
const labelingPoll = 100 * time.Millisecond

// openLabeling opens the project's labelling. The server and the front-end in parts are made
// later, before run is called.
func (u *up) openLabeling(ctx context.Context, parts *upParts) (*upLabeling, error) {
	if len(u.project.Labeling) == 0 {
		return nil, nil
	}
	var decisions []string
	for _, p := range u.policies {
		decisions = append(decisions, p.Name)
	}
	projects, err := loadLabeling(u.project.Labeling, decisions)
	if err != nil {
		return nil, err
	}
	l := &upLabeling{up: u, parts: parts}
	l.desk = &labelDesk{log: u.store.Log(), projects: projects, policies: u.policies, now: u.clock.now, leaseNow: time.Now, weights: sliceWeightsOf(u.project.State)}
	if f := parts.feedback; f != nil {
		l.desk.labels = f.labels
	}
	if err := openLabelDesk(ctx, l.desk); err != nil {
		return nil, err
	}
	if f := parts.feedback; f != nil && f.collector != nil {
		if l.teller, err = newLabelTeller(ctx, l.desk, f.collector, u.log); err != nil {
			return nil, err
		}
	}
	guard, err := newLabelGuard(&u.project.Console, u.options.serve.http.address)
	if err != nil {
		return nil, err
	}
	l.api = &labelAPI{desk: l.desk, guard: guard}
	return l, nil
}

// routes adds the interface for programs and the backend for Label Studio.
func (l *upLabeling) routes(mux access.Mux) {
	if l != nil {
		l.api.routes(mux)
		l.studioRoutes(mux)
	}
}

func (l *upLabeling) collectors() []prometheus.Collector {
	if l == nil {
		return nil
	}
	return []prometheus.Collector{newLabelingMetrics(l.desk)}
}

// show gives the console what it shows.
func (l *upLabeling) show(o *console.Options) {
	if l != nil {
		o.Labeling = l.desk.store
	}
}

// run selects tasks by plan, and tells the collector what is finished, until ctx ends.
func (l *upLabeling) run(ctx context.Context, ready <-chan struct{}) {
	if l == nil {
		return
	}
	select {
	case <-ready:
	case <-ctx.Done():
		return
	}
	tick := time.NewTicker(labelingPoll)
	defer tick.Stop()
	for failing := false; ; {
		if l.teller != nil {
			err := l.teller.tell(ctx)
			if err != nil && !failing && ctx.Err() == nil {
				l.up.log.Error("what people labelled does not reach the collector; it is tried again", "error", err)
			}
			failing = err != nil
		}
		l.selectDue(ctx)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// selectDue runs the selections that are due, one after another.
func (l *upLabeling) selectDue(ctx context.Context) {
	for _, p := range l.desk.projects {
		round, due := l.desk.due(p, l.up.clock.now())
		if !due {
			continue
		}
		out, err := l.desk.selectTasks(ctx, p, p.Select, round)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			l.up.log.Error("no tasks could be selected", "project", p.Name, "error", err)
		case out.Added > 0:
			l.up.log.Info("selected tasks to label", "project", p.Name, "strategy", out.Strategy, "tasks", out.Added, "pool", out.Left.Pool, "up_to", round.to)
		}
	}
}

func (l *upLabeling) close() error { return nil }
