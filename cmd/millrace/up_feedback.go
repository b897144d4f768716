// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"

	"github.com/millrace-ml/millrace/labeling/groundtruth"
	feedbackrpc "github.com/millrace-ml/millrace/labeling/groundtruth/rpc"
	"github.com/millrace-ml/millrace/serving/access"
)

// upFeedback takes what became of predictions. It is there whenever the project decides,
// with labels or without; nil takes nothing.
type upFeedback struct {
	collector *groundtruth.Collector
	// labels are those of the project's feedback files, in the order of files and names.
	labels  []*groundtruth.Definition
	service *feedbackrpc.Service

	up    *up
	joins []*feedbackJoin
}

// feedbackFuture is how far ahead of the store's clock the event of an outcome may lie;
// in a replay at least as far as its events may, since those carry the time forward.
const (
	feedbackFuture    = 5 * time.Minute
	feedbackFutureMax = 24 * time.Hour
)

// openFeedback opens the collector of the project's feedback.
func (u *up) openFeedback(ctx context.Context) (*upFeedback, error) {
	if len(u.policies) == 0 {
		return nil, nil
	}
	o := groundtruth.Options{Log: u.store.Log(), Labels: u.labels, Now: u.clock.now, FutureMax: feedbackFuture}
	if u.replay != nil {
		o.FutureMax = min(max(o.FutureMax, u.replay.source.FutureMax), feedbackFutureMax)
	}
	c, err := groundtruth.OpenCollector(ctx, o)
	if err != nil {
		return nil, err
	}
	f := &upFeedback{collector: c, labels: u.labels, up: u}
	if f.service, err = feedbackrpc.New(feedbackrpc.Options{Collector: c}); err != nil {
		return nil, err
	}
	if u.replay != nil {
		u.replay.outcomes = newReplayOutcomes(u.replay, u.labels, u.store.Log())
	}
	for _, d := range u.labels {
		f.joins = append(f.joins, newFeedbackJoin(u, d))
	}
	return f, nil
}

func (f *upFeedback) register(r grpc.ServiceRegistrar) {
	if f != nil {
		f.service.Register(r)
	}
}

func (f *upFeedback) routes(mux access.Mux) {
	if f != nil {
		f.service.Routes(mux)
	}
}

// collectors are the counts of feedback, and of what it joins to by label.
func (f *upFeedback) collectors() []prometheus.Collector {
	if f == nil {
		return nil
	}
	return []prometheus.Collector{&feedbackMetrics{f}}
}

// run follows what feedback joins to until ctx ends.
func (f *upFeedback) run(ctx context.Context) {
	if f == nil {
		return
	}
	var running sync.WaitGroup
	for _, j := range f.joins {
		running.Go(func() { j.run(ctx) }) // ends when ctx does
	}
	running.Wait()
}

// stop ends streams; nothing more is taken.
func (f *upFeedback) stop() {
	if f != nil {
		f.service.Stop()
	}
}

// close has nothing to close: the log is the store's, and what Submit took is in it.
func (f *upFeedback) close() error { return nil }
