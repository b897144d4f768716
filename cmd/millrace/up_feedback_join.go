// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/millrace-ml/millrace/labeling/groundtruth"
)

const (
	// joinEvery is the time between two looks at what arrived, joinRetry that before a
	// join that failed is opened again.
	joinEvery = 2 * time.Second
	joinRetry = time.Minute
	// joinPredictions bounds the predictions of a label that are followed, at 60 bytes
	// each, and joinSpill their details on disk. Those beyond it are counted as displaced.
	joinPredictions = 1 << 20
	joinSpill       = 1 << 30
)

// feedbackJoin follows which predictions the feedback of a label joins to, for the
// metrics. run is one goroutine; stats may be read from any.
type feedbackJoin struct {
	label   *groundtruth.Definition
	options groundtruth.LiveOptions
	up      *up
	stats   atomic.Pointer[groundtruth.LiveStats]
}

func newFeedbackJoin(u *up, d *groundtruth.Definition) *feedbackJoin {
	return &feedbackJoin{label: d, up: u, options: groundtruth.LiveOptions{
		Log: u.store.Log(), Label: d, Dir: filepath.Join(u.project.State, "feedback", d.Name), Now: u.clock.now,
		PredictionsMax: joinPredictions, SpillBytesMax: joinSpill, LabelsOnly: true,
	}}
}

// run follows the log until ctx ends. A join that fails is made again from the log.
func (j *feedbackJoin) run(ctx context.Context) {
	for ctx.Err() == nil {
		err := j.follow(ctx)
		if ctx.Err() != nil {
			return
		}
		j.up.log.Error("feedback is taken, but what it joins to is not counted for now", "label", j.label.Name, "error", err)
		if waitFor(ctx, joinRetry) != nil {
			return
		}
	}
}

func (j *feedbackJoin) follow(ctx context.Context) (err error) {
	live, err := groundtruth.OpenLive(ctx, j.options)
	if err != nil {
		return err
	}
	defer closing(&err, live.Close)
	for {
		if err := live.Poll(ctx, func(*groundtruth.Row) error { return nil }); err != nil {
			return err
		}
		stats := live.Stats()
		j.stats.Store(&stats)
		if err := waitFor(ctx, joinEvery); err != nil {
			return err
		}
	}
}
