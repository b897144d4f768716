// SPDX-License-Identifier: Apache-2.0

package online

import (
	"context"
	"errors"
	"time"
)

// askForCheckpoint never blocks; one request is as good as many.
func (l *Local) askForCheckpoint() {
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

// maintain checkpoints when it is time, and sweeps, until the store is closed. It is
// the only goroutine of the store.
func (l *Local) maintain(ctx context.Context) {
	defer close(l.stopped)
	s := schedule{every: l.options.CheckpointEvery, retryEvery: l.options.retryEvery, next: time.Now()}
	s.done(0, nil)
	step := l.sweepStep()
	sweep := time.NewTicker(step)
	defer sweep.Stop()
	alarm := time.NewTimer(s.wait(false))
	defer alarm.Stop()
	asked := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.kick:
			asked = s.every > 0
		case <-sweep.C:
			if l.options.SweepEvery > 0 {
				l.sweep(l.sweepShare(step))
			}
			continue
		case <-alarm.C:
		}
		if s.every > 0 && s.wait(asked) <= 0 {
			if asked || l.progress.lag.Load() > 0 {
				l.checkpointInBackground(ctx, &s)
			} else {
				s.done(0, nil)
			}
			asked = l.progress.lag.Load() >= l.options.CheckpointRecords // that came meanwhile
		}
		alarm.Reset(s.wait(asked))
	}
}

func (l *Local) checkpointInBackground(ctx context.Context, s *schedule) {
	began := time.Now()
	err := l.checkpointAtLeisure(ctx)
	s.done(time.Since(began), err)
	if err != nil && ctx.Err() == nil && !errors.Is(err, ErrClosed) {
		l.disk.health.failed(err)
		l.options.Logger.Warn("states are not stored; events are safe in the log", "error", err, "retry", s.wait(true))
	}
}

// schedule says when the next checkpoint is.
type schedule struct {
	every      time.Duration
	retryEvery time.Duration
	failed     int       // attempts in a row
	earliest   time.Time // for one that is asked for
	next       time.Time // at the latest
}

const (
	retryMin    = 100 * time.Millisecond
	idleForever = 24 * time.Hour
)

// done plans the next checkpoint after one that took some time. One that is asked for
// leaves as much time again to others; after an error it waits longer and longer.
func (s *schedule) done(took time.Duration, err error) {
	now := time.Now()
	if err == nil {
		s.failed = 0
		s.earliest, s.next = now.Add(took), now.Add(max(s.every, took))
		return
	}
	s.failed = min(s.failed+1, 16)
	s.earliest = now.Add(min(retryMin<<(s.failed-1), s.retryEvery))
	s.next = s.earliest
}

// wait is how long it is until the next checkpoint.
func (s *schedule) wait(asked bool) time.Duration {
	switch {
	case s.every <= 0:
		return idleForever
	case asked:
		return time.Until(s.earliest)
	}
	return time.Until(s.next)
}
