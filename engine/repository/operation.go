// SPDX-License-Identifier: Apache-2.0

package repository

import (
	"context"
	"errors"
	"io/fs"
)

// operate runs one operation on a model after those before it have ended. The
// operation's context also ends at Close, which waits for it.
func (r *Repository) operate(ctx context.Context, name string, run func(context.Context, *model) error) error {
	m, err := r.enter(name)
	if err != nil {
		return err
	}
	defer r.goroutines.Done()
	defer r.leave(m)

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(r.ctx, func() { cancel(ErrClosed) })
	defer stop()
	if err := m.begin(ctx); err != nil {
		return err
	}
	defer m.end()
	return run(ctx, m)
}

// enter counts an operation in and finds the model's record, making one for a name
// that is new.
func (r *Repository) enter(name string) (*model, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.closed {
		return nil, ErrClosed
	}
	m := r.mu.models[name]
	if m == nil {
		m = newModel(name)
		r.mu.models[name] = m
	}
	m.users++
	r.goroutines.Add(1)
	return m, nil
}

// leave ends a use of the model's record. The record is forgotten when nothing is
// loaded and no folder is left, so that names sent by clients do not pile up.
func (r *Repository) leave(m *model) {
	_, err := r.locate(m.name)
	gone := errors.Is(err, fs.ErrNotExist)
	r.mu.Lock()
	defer r.mu.Unlock()
	m.users--
	if gone && m.users == 0 && m.current == 0 && m.pinned == 0 && len(m.aliases) == 0 {
		delete(r.mu.models, m.name)
		delete(r.mu.initial, m.name)
	}
}
