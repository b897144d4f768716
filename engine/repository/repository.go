// SPDX-License-Identifier: Apache-2.0

// Package repository keeps the models that are served: which models and versions
// exist on disk, which of them are loaded, and which one answers a request.
//
// A model is a folder of a model repository. It holds an optional config.pbtxt and a
// folder for each version, named by a positive number without leading zeros. The
// model's folder may be a symbolic link; nothing inside it may lead out of it.
//
// Loading never takes anything away before its replacement works: a version is
// opened, its instances are made and warmed up and the serving layer is attached;
// then one atomic pointer makes it visible together with all versions loaded with
// it; then what it replaces is drained and closed. A load that fails leaves what was
// served before.
//
// Invariants:
//
//	R1  A version that was acquired is not closed before it is released.
//	R2  A version is retired only after a snapshot without it was published.
//	R3  Every version that was opened is closed exactly once.
//	R4  At most one operation changes the versions of one model at a time.
//
// Any method may be called from any goroutine. Lookups read an immutable snapshot
// and take no lock. Operations on one model wait for each other on model.op;
// Repository.mu guards the bookkeeping and is held only for short steps, never
// while files are read or models are opened. Order of locks: model.op -> stateMu ->
// mu. The goroutines of a repository end with Close.
package repository

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/millrace-ml/millrace/engine"
)

// Repository is a set of models and their versions.
type Repository struct {
	opts     Options
	backends map[string]engine.Backend
	snapshot atomic.Pointer[snapshot]

	ctx        context.Context // ends loads and polling at Close
	cancel     context.CancelCauseFunc
	goroutines sync.WaitGroup
	openers    chan struct{} // one value in it for each version being opened

	stateMu sync.Mutex // orders writes of the state file

	mu struct {
		sync.Mutex
		models   map[string]*model
		draining map[*Version]struct{} // retired and not yet closed
		initial  map[string]error      // models of the start that failed and were not loaded since
		started  bool
		closed   bool
	}
}

// New returns a repository that has not loaded anything yet. It fails when the
// options are wrong, a folder cannot be read or the state file is damaged.
func New(opts Options) (*Repository, error) {
	opts.EnsureDefaults()
	if err := opts.Validate(); err != nil {
		return nil, fmt.Errorf("model repository: %w", err)
	}
	r := &Repository{opts: opts, backends: make(map[string]engine.Backend), openers: make(chan struct{}, opts.LoadThreads)}
	r.opts.Paths = make([]string, len(opts.Paths))
	for i, path := range opts.Paths {
		if _, err := os.ReadDir(path); err != nil {
			return nil, fmt.Errorf("model repository: %w", err)
		}
		absolute, err := filepath.Abs(path)
		if err != nil {
			return nil, fmt.Errorf("model repository %q: %w", path, err)
		}
		r.opts.Paths[i] = absolute
	}
	for _, b := range opts.Backends {
		r.backends[b.Name()] = b
	}
	r.mu.models = make(map[string]*model)
	r.mu.draining = make(map[*Version]struct{})
	r.mu.initial = make(map[string]error)
	if err := r.readState(); err != nil {
		return nil, err
	}
	r.snapshot.Store(&snapshot{})
	r.ctx, r.cancel = context.WithCancelCause(context.Background())
	return r, nil
}

// Start loads the models that the control mode asks for and returns when each of
// them is READY or UNAVAILABLE. A model that fails does not fail Start: it is logged
// and reported by InitialErrors. In ModePoll the files are followed from then on.
// Start must be called once.
func (r *Repository) Start(ctx context.Context) error {
	names, err := r.initialModels()
	if err != nil {
		return err
	}
	r.reloadAll(ctx, names, func(name string, err error) {
		r.opts.Logger.Error("model not loaded", "model", name, "error", err)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.mu.initial[name] = err
	})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.closed {
		return ErrClosed
	}
	r.mu.started = true
	if r.opts.Mode == ModePoll {
		r.goroutines.Go(r.poll)
	}
	return nil
}

// InitialErrors are the models of the start that failed and have not been loaded
// since, by name.
func (r *Repository) InitialErrors() map[string]error {
	r.mu.Lock()
	defer r.mu.Unlock()
	failed := make(map[string]error, len(r.mu.initial))
	for name, err := range r.mu.initial {
		failed[name] = err
	}
	return failed
}

// Ready reports whether the repository was started, every model it started with
// could be loaded, at the start or later, and Close was not called.
func (r *Repository) Ready() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mu.started && !r.mu.closed && len(r.mu.initial) == 0
}

// Close takes every version out of service, cancels loads under way, waits for the
// requests that hold versions and closes all. When ctx ends first it returns with
// an error; the versions still held are then closed as they are released.
func (r *Repository) Close(ctx context.Context) error {
	r.cancel(ErrClosed)
	r.mu.Lock()
	r.mu.closed = true
	r.snapshot.Store(&snapshot{})
	r.opts.OnChange()
	for _, m := range r.mu.models {
		for _, v := range m.live() {
			r.retireLocked(m, m.dismiss(v.Number))
		}
		m.settle()
	}
	r.mu.Unlock()

	done := make(chan struct{})
	go func() {
		r.goroutines.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return errors.Join(fmt.Errorf("close model repository: %d requests still run", r.inFlight()), context.Cause(ctx))
	}
}
