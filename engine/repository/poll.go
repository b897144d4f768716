// SPDX-License-Identifier: Apache-2.0

package repository

import (
	"slices"
	"time"
)

// poll follows the files until Close.
func (r *Repository) poll() {
	ticker := time.NewTicker(r.opts.PollInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			r.rescan()
		case <-r.ctx.Done():
			return
		}
	}
}

// rescan loads what was added or changed and unloads what was removed. It reads
// names, sizes and times only; an update that failed is tried again when the files
// change again. A repository that cannot be read, as when a network file system is
// away, leaves everything as it is.
func (r *Repository) rescan() {
	names, err := r.scan()
	if err != nil {
		r.opts.Logger.Warn("model repository not polled", "error", err)
		return
	}
	r.unloadRemoved(names)
	changed := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !r.changed(name) })
	r.reloadAll(r.ctx, changed, func(name string, err error) {
		r.opts.Logger.Error("changed model not loaded", "model", name, "error", err)
	})
}

// changed reports whether the files of a model differ from those of the last
// attempt to load it.
func (r *Repository) changed(name string) bool {
	src, err := r.openModel(name, LoadOverride{})
	if err == nil {
		defer r.closeSource(src)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	m := r.mu.models[name]
	switch {
	case m == nil:
		return true
	case err != nil:
		return m.fault != err.Error()
	default:
		return m.attempted != src.fingerprint()
	}
}

// unloadRemoved unloads the models that serve and whose folders are gone. names are
// those there are, sorted.
func (r *Repository) unloadRemoved(names []string) {
	for _, name := range r.loaded() {
		if _, exists := slices.BinarySearch(names, name); exists {
			continue
		}
		if err := r.unload(r.ctx, name); err != nil {
			r.opts.Logger.Error("removed model not unloaded", "model", name, "error", err)
		}
	}
}

// loaded lists the models that were loaded or tried.
func (r *Repository) loaded() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var names []string
	for name, m := range r.mu.models {
		if len(m.versions) > 0 || m.fault != "" {
			names = append(names, name)
		}
	}
	return names
}
