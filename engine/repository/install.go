// SPDX-License-Identifier: Apache-2.0

package repository

import "runtime/debug"

// install makes the opened versions visible together, in place of their
// predecessors, and takes those out of service that keep does not want. It returns
// the versions it retired. Between two lookups everything changes at once. When the
// repository was closed meanwhile it closes what was opened and fails.
func (r *Repository) install(m *model, opened []*Version, keep func(number int64) bool) ([]*Version, error) {
	r.mu.Lock()
	if r.mu.closed {
		r.mu.Unlock()
		r.discard(opened)
		return nil, ErrClosed
	}
	defer r.mu.Unlock()
	var leaving []*Version
	for _, v := range opened {
		s := m.state(v.Number)
		if s.live != nil {
			leaving = append(leaving, s.live)
		}
		*s = versionState{state: StateReady, live: v}
	}
	for _, v := range m.live() {
		if !keep(v.Number) {
			leaving = append(leaving, m.dismiss(v.Number))
		}
	}
	m.settle()
	r.publishLocked(m)
	for _, v := range leaving {
		r.retireLocked(m, v)
	}
	return leaving, nil
}

// retireLocked ends a version that no published snapshot holds any more: a
// goroutine waits for its requests and closes it. r.mu must be held.
func (r *Repository) retireLocked(m *model, v *Version) {
	r.mu.draining[v] = struct{}{}
	m.users++
	v.retire()
	r.goroutines.Go(func() {
		<-v.drained
		r.finish(m, v)
	})
}

// finish closes a drained version and notes that it is gone.
func (r *Repository) finish(m *model, v *Version) {
	if err := v.close(); err != nil {
		r.opts.Logger.Error("version not closed cleanly", "error", err)
	}
	r.mu.Lock()
	delete(r.mu.draining, v)
	if s := m.versions[v.Number]; s != nil && s.leaving == v {
		*s = versionState{state: StateUnavailable, reason: reasonUnloaded}
	}
	last := len(m.live()) == 0 && !r.mu.closed
	r.mu.Unlock()
	if last {
		// What loading left on the Go heap goes back too. After a swap it does not:
		// the collection would be paid by requests, and the next load uses the memory.
		debug.FreeOSMemory()
	}
	r.opts.Logger.Info("version unloaded", "model", v.Model, "version", v.Number)
	r.leave(m)
	close(v.released)
}

// discard closes versions that were never visible.
func (r *Repository) discard(opened []*Version) {
	for _, v := range opened {
		if err := v.close(); err != nil {
			r.opts.Logger.Error("version not closed cleanly", "error", err)
		}
	}
}

// inFlight is the number of requests that hold versions out of service.
func (r *Repository) inFlight() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	var n int64
	for v := range r.mu.draining {
		n += v.InFlight()
	}
	return n
}
