// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/millrace-ml/millrace/featurestore/dataset"
)

// upVerifier computes the vectors that were served again from the event log, now and
// then, and says whether they were right. One goroutine at a time uses it.
type upVerifier struct {
	up *up
	// from is up to which moment vectors have been verified, next how far the next
	// verification goes: it was now at the last one, so what was asked for by then is logged.
	from, next int64
}

const (
	// verifyEvery is the shortest time between two verifications; one that took long is
	// followed by a pause verifyShare times as long, so that all of them together take
	// little of the machine.
	verifyEvery = 30 * time.Second
	verifyShare = 20
	// verifyMemory bounds what one holds, in bytes.
	verifyMemory = 64 << 20
)

// run verifies until ctx ends.
func (v *upVerifier) run(ctx context.Context) {
	pause := verifyEvery
	v.next = v.up.store.Now()
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		began := time.Now()
		v.verify(ctx)
		v.next = v.up.store.Now()
		pause = max(verifyEvery, verifyShare*time.Since(began))
		timer.Reset(pause)
	}
}

// verify computes the vectors asked for from v.from to v.next again.
func (v *upVerifier) verify(ctx context.Context) *dataset.Parity {
	u := v.up
	if v.next <= v.from {
		return nil
	}
	o := dataset.VerifyOptions{Catalog: u.catalog, Log: u.store.Log(), From: timeOf(v.from), To: timeOf(v.next), Workers: 1, MemoryMax: verifyMemory}
	if u.project.Log.Retain > 0 {
		o.Kept = timeOf(u.store.Now()).Add(-u.project.Log.Retain)
	}
	p, err := dataset.Verify(ctx, o)
	if ctx.Err() != nil {
		return nil // the server stops
	}
	v.from = v.next
	u.parts.metrics.AddParity(p)
	u.parts.monitors.verified(p)
	if err != nil {
		u.log.Error("served features could not be verified", "error", err)
		return nil
	}
	v.tell(p)
	return p
}

func timeOf(at int64) time.Time { return time.UnixMicro(at).UTC() }

// tell logs what a verification found, and the first mismatch of each feature.
func (v *upVerifier) tell(p *dataset.Parity) {
	if p.Mismatched == 0 {
		v.up.log.Info("served features verified", "vectors", p.Compared, "mismatches", 0, "skipped", p.Skipped)
		return
	}
	v.up.log.Error("served features differ from what the event log says", "vectors", p.Compared, "mismatched", p.Mismatched)
	for i := range p.Features {
		f := &p.Features[i]
		if f.Mismatched > 0 {
			v.up.log.Error("mismatch", "service", f.Service, "feature", f.Feature, "mismatches", f.Mismatched, "of", f.Compared, "examples", fmt.Sprintf("%+v", f.Examples))
		}
	}
}

// afterReplay verifies all that is left of a replay, whose requests have been answered.
func (v *upVerifier) afterReplay(ctx context.Context) {
	if err := v.up.store.Log().Sync(ctx); err != nil {
		v.up.log.Error("served features could not be verified", "error", err)
		return
	}
	v.next = v.up.store.Now() + 1
	began, from := time.Now(), v.from
	p := v.verify(ctx)
	if p == nil {
		return
	}
	text := fmt.Sprintf("verified the vectors since %s: %d of %d computed again from the event log in %v, %d differ",
		timeOf(from).Format("2006-01-02 15:04"), p.Compared, p.Vectors, time.Since(began).Round(time.Millisecond), p.Mismatched)
	for reason, n := range p.Skipped {
		text += fmt.Sprintf("; %d not compared: %s", n, reason)
	}
	v.up.say("%s", text)
}
