// SPDX-License-Identifier: Apache-2.0

package repository

import (
	"context"
	"fmt"
	"slices"
	"strconv"
)

// SwapResult says what a swap did. From is 0 when nothing served before.
type SwapResult struct {
	From  int64
	To    int64
	Steps []Step
}

// SwapVersion makes a version the current one, opening it first unless it is ready
// with the files it has on disk. Unless keepOld or Options.KeepPrevious is set or an
// alias names it, the version that was current is then drained and closed. At most one
// is kept by them: it goes when another swap replaces a version. SwapVersion returns
// when that is done, or at the end of ctx, with the last step telling that requests
// still run.
//
// A version that the version policy would not have made current is pinned: it stays
// current, also over reloads, until the next swap. A swap to the version that the
// policy prefers ends that.
func (r *Repository) SwapVersion(ctx context.Context, name string, number int64, keepOld bool) (SwapResult, error) {
	var result SwapResult
	err := r.operateVersions(ctx, name, func(ctx context.Context, m *model) (err error) {
		result, err = r.swap(ctx, m, number, keepOld)
		return err
	})
	return result, err
}

// Rollback swaps back to the version that was current before.
func (r *Repository) Rollback(ctx context.Context, name string) (SwapResult, error) {
	var result SwapResult
	err := r.operateVersions(ctx, name, func(ctx context.Context, m *model) (err error) {
		r.mu.Lock()
		previous := m.previous
		r.mu.Unlock()
		if previous == 0 {
			return classified(ErrNoPrevious, "model '%s' has no previous version to roll back to", m.name)
		}
		result, err = r.swap(ctx, m, previous, false)
		return err
	})
	return result, err
}

// LoadVersion opens one version beside those that serve, whatever the version policy
// says. It moves no traffic: a version that would become current by its number does
// not, and the one that is stays pinned until a swap. The first version of a model
// to be loaded becomes current. When the model is loaded again as a whole, the
// version stays only if the policy, a pin or an alias asks for it.
func (r *Repository) LoadVersion(ctx context.Context, name string, number int64) ([]Step, error) {
	var steps []Step
	err := r.operateVersions(ctx, name, func(ctx context.Context, m *model) error {
		opened, _, err := r.openOne(ctx, m, number)
		if err != nil {
			return err
		}
		r.mu.Lock()
		if m.spare == number {
			m.spare = 0 // it stays, whatever was current before
		}
		r.mu.Unlock()
		if len(opened) == 0 {
			return nil
		}
		steps = opened[0].Steps
		r.mu.Lock()
		if m.current != 0 && m.pinned == 0 && number > m.current {
			m.pinned = m.current
		}
		r.mu.Unlock()
		_, err = r.install(m, opened, func(int64) bool { return true })
		return err
	})
	return steps, err
}

// UnloadVersion takes one version out of service, waits for the requests that hold
// it and closes it. When it was current, the highest version left takes its place.
// Aliases that name it answer that it is not ready.
func (r *Repository) UnloadVersion(ctx context.Context, name string, number int64) ([]Step, error) {
	var steps []Step
	err := r.operateVersions(ctx, name, func(ctx context.Context, m *model) error {
		if !r.isReady(m, number) {
			return r.explainMiss(name, strconv.FormatInt(number, 10))
		}
		r.mu.Lock()
		if m.pinned == number {
			m.pinned = 0
		}
		r.mu.Unlock()
		watch := newStopwatch()
		leaving, err := r.install(m, nil, func(other int64) bool { return other != number })
		if err != nil {
			return err
		}
		watch.lap("flip", "")
		awaitRelease(ctx, leaving, watch)
		steps = watch.steps
		return nil
	})
	return steps, err
}

// operateVersions runs an operation that chooses versions by hand, and keeps what it
// chose over a restart.
func (r *Repository) operateVersions(ctx context.Context, name string, run func(context.Context, *model) error) error {
	if err := checkName(name); err != nil {
		return err
	}
	return r.operate(ctx, name, func(ctx context.Context, m *model) error {
		if err := run(ctx, m); err != nil {
			return err
		}
		if err := r.writeState(); err != nil {
			return fmt.Errorf("model %q: the change took effect but will not survive a restart: %w", name, err)
		}
		return nil
	})
}

// swap is SwapVersion with m.op held.
func (r *Repository) swap(ctx context.Context, m *model, number int64, keepOld bool) (SwapResult, error) {
	watch := newStopwatch()
	opened, preferred, err := r.openOne(ctx, m, number)
	if err != nil {
		return SwapResult{}, err
	}
	watch.lap("open", "%d opened", len(opened))
	if len(opened) > 0 {
		watch.steps = slices.Clone(opened[0].Steps) // in place of their sum
	}
	r.mu.Lock()
	from, spare := m.current, m.spare
	m.pinned = number
	if number == preferred {
		m.pinned = 0
	}
	r.mu.Unlock()
	stays := func(other int64) bool { return other == number || r.hasAlias(m, other) }
	keepFrom, keepSpare := stays(from), stays(spare)
	leaving, err := r.install(m, opened, r.sparing(m, number, keepOld || r.opts.KeepPrevious, func(other int64) bool {
		return (other != from || keepFrom) && (other != spare || keepSpare)
	}))
	if err != nil {
		return SwapResult{}, err
	}
	watch.lap("flip", "version %d to %d", from, number)
	awaitRelease(ctx, leaving, watch)
	r.opts.Logger.Info("version swapped", "model", m.name, "from", from, "to", number)
	return SwapResult{From: from, To: number, Steps: watch.steps}, nil
}

// sparing extends what an install keeps by the version that next replaces as the current
// one, where previous says so; the version that was kept for that reason so far stays
// only if keep wants it, or if nothing is replaced. m.op must be held.
func (r *Repository) sparing(m *model, next int64, previous bool, keep func(number int64) bool) func(number int64) bool {
	if !previous {
		return keep
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	spare := m.spare
	if m.current != next && m.current != 0 {
		spare = m.current
	}
	m.spare = spare
	if keep(spare) || spare == next {
		m.spare = 0
	}
	return func(number int64) bool { return number == spare || keep(number) }
}

// openOne opens a version unless it is ready with the files there are. It also says
// which version the policy prefers. A ready version whose model has left the disk
// stays usable.
func (r *Repository) openOne(ctx context.Context, m *model, number int64) (opened []*Version, preferred int64, err error) {
	src, err := r.openModel(m.name, LoadOverride{})
	if err != nil {
		if r.isReady(m, number) {
			return nil, 0, nil
		}
		return nil, 0, r.pollFailed(m, err)
	}
	defer r.closeSource(src)
	config, backend, err := r.readPlan(m, src)
	if err != nil {
		return nil, 0, err
	}
	if chosen := chooseVersions(config.VersionPolicy, src.available()); len(chosen) > 0 {
		preferred = chosen[len(chosen)-1]
	}
	if _, exists := src.versions[number]; !exists {
		if r.isReady(m, number) {
			return nil, preferred, nil
		}
		return nil, 0, classified(ErrUnknownVersion, "Request for unknown model: '%s' version %d is not found", m.name, number)
	}
	opened, err = r.openVersions(ctx, m, src, backend, r.changedVersions(m, src, []int64{number}))
	return opened, preferred, err
}

func (r *Repository) isReady(m *model, number int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := m.versions[number]
	return s != nil && s.live != nil
}

func (r *Repository) hasAlias(m *model, number int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, named := range m.aliases {
		if named == number {
			return true
		}
	}
	return false
}

// awaitRelease times how long retired versions take to drain and to be closed. The
// end of ctx ends the wait, not the drain.
func awaitRelease(ctx context.Context, leaving []*Version, watch *stopwatch) {
	for _, v := range leaving {
		if !await(ctx, v.drained) {
			watch.lap("drain", "version %d: %d requests still run", v.Number, v.InFlight())
			return
		}
		watch.lap("drain", "version %d", v.Number)
		if !await(ctx, v.released) {
			watch.lap("release", "version %d: still closing", v.Number)
			return
		}
		watch.lap("release", "version %d", v.Number)
	}
}

// await reports whether done came before the end of ctx; what is done already counts.
func await(ctx context.Context, done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	case <-ctx.Done():
	}
	select {
	case <-done:
		return true
	default:
		return false
	}
}
