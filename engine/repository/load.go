// SPDX-License-Identifier: Apache-2.0

package repository

import (
	"context"
	"slices"
	"sync"

	"github.com/millrace-ml/millrace/engine/modelconfig"
)

// checkName refuses names that could lead out of the repository, before any path is
// made of them.
func checkName(name string) error {
	if err := modelconfig.CheckModelName(name); err != nil {
		return &textError{text: err.Error(), class: ErrInvalidName, cause: err}
	}
	return nil
}

// Load loads a model, or loads it again, as its version policy says. Versions whose
// files have not changed stay as they are. The others are opened while the old ones
// serve, and all become visible at once; when any of them fails, none does. Load
// returns when the new versions serve; the old ones are drained after that.
func (r *Repository) Load(ctx context.Context, name string, override LoadOverride) error {
	if r.opts.Mode != ModeExplicit {
		return ErrControlMode
	}
	return r.reload(ctx, name, override)
}

// Unload takes every version of a model out of service and returns when no new
// request can reach them; they are closed when those under way have ended. A model
// that is unknown or not loaded is left alone.
func (r *Repository) Unload(ctx context.Context, name string) error {
	if r.opts.Mode != ModeExplicit {
		return ErrControlMode
	}
	return r.unload(ctx, name)
}

func (r *Repository) unload(ctx context.Context, name string) error {
	r.mu.Lock()
	known := r.mu.models[name] != nil
	r.mu.Unlock()
	if !known {
		return nil
	}
	return r.operate(ctx, name, func(_ context.Context, m *model) error {
		r.noteAttempt(m, fingerprint{})
		r.noteOutcome(m, nil)
		_, err := r.install(m, nil, func(int64) bool { return false })
		return err
	})
}

// reload is Load without regard to the control mode.
func (r *Repository) reload(ctx context.Context, name string, override LoadOverride) error {
	if err := checkName(name); err != nil {
		return err
	}
	return r.operate(ctx, name, func(ctx context.Context, m *model) error {
		err := r.converge(ctx, m, override)
		r.noteOutcome(m, err)
		return err
	})
}

// reloadAll loads models as their version policies say, several at a time.
func (r *Repository) reloadAll(ctx context.Context, names []string, failed func(string, error)) {
	var workers sync.WaitGroup
	next := make(chan string)
	for range min(r.opts.LoadThreads, len(names)) {
		workers.Go(func() {
			for name := range next {
				if err := r.reload(ctx, name, LoadOverride{}); err != nil {
					failed(name, err)
				}
			}
		})
	}
	for _, name := range names {
		next <- name
	}
	close(next)
	workers.Wait()
}

// initialModels are the models to load at start.
func (r *Repository) initialModels() ([]string, error) {
	if r.opts.Mode == ModeExplicit && !slices.Contains(r.opts.LoadModels, "*") {
		names := slices.Clone(r.opts.LoadModels)
		slices.Sort(names)
		return slices.Compact(names), nil
	}
	return r.scan()
}

// noteAttempt keeps which files a load is made with; the zero value stands for none.
func (r *Repository) noteAttempt(m *model, files fingerprint) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m.attempted = files
}

// noteOutcome keeps what became of it.
func (r *Repository) noteOutcome(m *model, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m.fault = ""
	if err == nil {
		if _, failed := r.mu.initial[m.name]; failed {
			delete(r.mu.initial, m.name)
			r.opts.OnChange() // Ready may have changed
		}
		return
	}
	m.fault = fault(err)
}
