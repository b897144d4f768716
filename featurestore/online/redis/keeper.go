// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/millrace-ml/millrace/featurestore/offline"
	"github.com/millrace-ml/millrace/featurestore/online"
)

const (
	// watchEvery is how often an idle store asks whether Redis still knows what it knew.
	watchEvery = 250 * time.Millisecond
	// probeFirst and probeMax are the pauses between probes while Redis is away.
	probeFirst = 5 * time.Millisecond
	probeMax   = time.Second
	// recoverMax is the longest pause between attempts to recover.
	recoverMax = 10 * time.Second
)

// keep is the store's own goroutine: it probes while Redis is away, watches, recovers
// what was lost, and notes from time to time up to where the log is in Redis.
func (s *Store) keep() {
	watch := time.NewTicker(watchEvery)
	defer watch.Stop()
	checkpoint := time.NewTicker(s.options.CheckpointEvery)
	defer checkpoint.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-s.conn.wake:
			s.probe()
		case <-s.isLost:
			s.recover()
		case <-watch.C:
			s.watch()
		case <-checkpoint.C:
			if s.at() == ready {
				if err := s.Checkpoint(s.ctx); err != nil && s.ctx.Err() == nil {
					s.counts.checkpointFailures.Add(1)
				}
			}
		}
	}
}

// probe tries until Redis answers, or the store is closed; then what is pending is
// written.
func (s *Store) probe() {
	if s.conn.away.Load() == nil {
		return
	}
	since := s.options.Now()
	s.options.Logger.Warn("redis is away", "address", s.conn.address, "error", *s.conn.away.Load())
	for wait := probeFirst; s.conn.away.Load() != nil; wait = min(2*wait, probeMax) {
		if !s.sleep(wait/2 + rand.N(wait/2)) {
			return
		}
		if s.conn.redial.Load() && s.conn.redialNow() != nil {
			continue
		}
		s.look(s.conn.probe)
	}
	s.options.Logger.Info("redis is back", "address", s.conn.address, "after", s.options.Now().Sub(since))
	s.drainSoon()
}

// drainSoon has the writer write what is pending.
func (s *Store) drainSoon() {
	if s.at() == ready && s.counts.pending.Load() > 0 {
		_ = s.between(s.ctx, s.writer.drainAll)
	}
}

// sleep waits, and reports false when the store is closed.
func (s *Store) sleep(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-s.ctx.Done():
		return false
	}
}

// watch looks at the records when nobody else may.
func (s *Store) watch() {
	switch s.at() {
	case ready:
		if s.conn.away.Load() == nil {
			s.look(s.conn.call)
			s.drainSoon()
		}
	case lost, recovering:
		s.recover()
	}
}

// look asks all buckets for the heads of their records, and draws conclusions.
func (s *Store) look(call func(context.Context, time.Duration, []request) error) {
	requests := make([]request, len(s.buckets))
	asked := make([]known, len(s.buckets))
	for b := range s.buckets {
		asked[b] = s.buckets[b].known()
		requests[b] = request{script: readScript, keys: []string{s.buckets[b].key}, args: []string{asked[b].owner.field, "0"}}
	}
	if call(s.ctx, s.options.WriteDeadline, requests) != nil || s.at() != ready {
		return
	}
	for b := range s.buckets {
		v, _, err := s.buckets[b].judge(&asked[b], &requests[b].reply)
		switch {
		case err != nil:
			_ = s.lose(err)
			return
		case v == lostStates:
			_ = s.lose(fmt.Errorf("%s went back in time", s.buckets[b].key))
			return
		case v == revised:
			_ = s.refresh(s.ctx) // what it finds, it notes
			return
		}
	}
}

// recover brings back what was lost. It is tried again at the next tick of the watch,
// after a pause, until it succeeds.
func (s *Store) recover() {
	if p := s.at(); p != lost && p != recovering || !s.pauseOver() {
		return
	}
	if s.conn.away.Load() != nil || s.fenced.Load() {
		return
	}
	s.options.Logger.Warn("redis lost states", "error", s.incomplete())
	err := s.recoverNow()
	if err == nil {
		s.recovery.failures = 0
		s.counts.recoveries.Add(1)
		s.options.Logger.Info("all states of this replica are back in redis", "address", s.conn.address)
		return
	}
	if s.ctx.Err() != nil {
		return
	}
	s.recovery.failures++
	pause := rand.N(min(watchEvery<<min(s.recovery.failures, 16), recoverMax))
	s.recovery.next = time.Now().Add(pause)
	s.options.Logger.Error("states could not be brought back", "error", err, "again", pause)
}

func (s *Store) pauseOver() bool {
	return s.recovery.failures == 0 || !time.Now().Before(s.recovery.next)
}

func (s *Store) recoverNow() error {
	// The group that is under way ends first: what it writes must not come between.
	if err := s.between(s.ctx, func() {}); err != nil {
		return err
	}
	if !s.enter(lost, recovering) && s.at() != recovering {
		return s.incomplete()
	}
	if err := s.resync(s.ctx); err != nil {
		return err
	}
	if s.options.Log == "" {
		return s.finish(s.ctx, recovering)
	}
	s.loader.reset(s.ctx)
	if err := s.durable(s.ctx, s.options.Position()); err != nil {
		return err
	}
	if s.options.Recover == nil {
		return errors.New("the store has to be opened again, to replay the event log")
	}
	err := s.options.Recover(context.WithValue(s.ctx, recoveryKey{}, true))
	if errors.Is(err, offline.ErrTooOld) {
		return errors.Join(err, s.Discard(s.ctx)) // the next attempt computes all tables
	}
	if err != nil {
		return err
	}
	return s.finish(s.ctx, recovering)
}

// enter goes from one phase to another, if it is in the first.
func (s *Store) enter(from, to phase) bool {
	return s.phase.CompareAndSwap(int32(from), int32(to))
}

// Checkpoint implements online.Store: it writes what is pending and notes up to where the
// log is in Redis, so that a later start has nothing to replay.
func (s *Store) Checkpoint(ctx context.Context) error {
	if err := s.usable(ctx); err != nil {
		return err
	}
	if err := s.fence(); err != nil {
		return err
	}
	if s.options.Log == "" {
		return nil
	}
	var through uint64
	if err := s.between(ctx, func() { through = s.writer.through() }); err != nil {
		return err
	}
	if through <= s.counts.through.Load() {
		return nil
	}
	if err := s.durable(ctx, through); err != nil {
		return err
	}
	return s.mark(ctx, through)
}

// mark notes a place in the log in all records.
func (s *Store) mark(ctx context.Context, through uint64) error {
	for range revisionsMax {
		requests := make([]request, len(s.buckets))
		for b := range s.buckets {
			args := []string{s.buckets[b].record.Load().revision, s.options.Log, formatOwner(s.buckets[b].owner.Load().id), strconv.FormatUint(through, 10)}
			requests[b] = request{script: markScript, keys: []string{s.buckets[b].key}, args: append(args, s.prints()...)}
		}
		if err := s.fence(); err != nil { // which whoever loaded these records has found
			return err
		}
		if err := s.conn.call(ctx, s.options.WriteDeadline, requests); err != nil {
			return err
		}
		marked := true
		for b := range requests {
			n, err := requests[b].reply.AsInt64()
			marked = marked && err == nil && n == 1
		}
		if marked {
			raise(&s.counts.through, through)
			s.counts.checkpoints.Add(1)
			return nil
		}
		if err := s.refresh(ctx); err != nil {
			return err
		}
		if s.at() != ready {
			return s.usable(ctx)
		}
	}
	return fmt.Errorf("redis at %s: %w: the records keep changing", s.conn.address, online.ErrUnavailable)
}
