// SPDX-License-Identifier: Apache-2.0

package loadgen

import "time"

// reportProgress calls the progress function until the run has finished.
func (r *run) reportProgress(finished <-chan struct{}) {
	if r.options.Progress == nil {
		return
	}
	ticker := time.NewTicker(progressInterval)
	defer ticker.Stop()
	for {
		select {
		case <-finished:
			r.options.Progress(r.progress())
			return
		case <-ticker.C:
			r.options.Progress(r.progress())
		}
	}
}

func (r *run) progress() Progress {
	now := r.clock.now()
	p := Progress{Elapsed: min(now, r.end), Total: r.end, Warmup: now < r.options.Warmup}
	for _, rec := range r.recorders {
		answered, failed := rec.counts()
		p.Requests += answered
		p.Errors += failed
	}
	return p
}
