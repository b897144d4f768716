// SPDX-License-Identifier: Apache-2.0

package repository

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/modelconfig"
)

// converge brings the versions that serve to what the model's files and its version
// policy say. m.op must be held.
func (r *Repository) converge(ctx context.Context, m *model, override LoadOverride) error {
	src, err := r.openModel(m.name, override)
	if err != nil {
		r.noteAttempt(m, fingerprint{})
		return r.pollFailed(m, err)
	}
	defer r.closeSource(src)
	r.noteAttempt(m, src.fingerprint())
	config, backend, err := r.readPlan(m, src)
	if err != nil {
		return err
	}
	wanted := r.wantedVersions(m, src, config)
	if len(wanted) == 0 {
		return loadError(m.name, fmt.Errorf("at least one version must be available under the version policy of model '%s'", m.name))
	}
	opened, err := r.openVersions(ctx, m, src, backend, r.changedVersions(m, src, wanted))
	if err != nil {
		return err
	}
	keep := func(number int64) bool { return slices.Contains(wanted, number) }
	next := wanted[len(wanted)-1]
	if keep(m.pinned) { // only operations change it, and this is the one under way
		next = m.pinned
	}
	_, err = r.install(m, opened, r.sparing(m, next, r.opts.KeepPrevious, keep))
	return err
}

// openModel finds a model's files and notes their state. The caller closes the
// source.
func (r *Repository) openModel(name string, override LoadOverride) (*source, error) {
	if len(override.Files) > 0 {
		return openOverlay(name, override)
	}
	dir, err := r.locate(name)
	if err != nil {
		return nil, err
	}
	return openSource(name, dir, override.ConfigJSON)
}

// closeSource logs what could not be given back; the operation has its result.
func (r *Repository) closeSource(src *source) {
	if err := src.close(); err != nil {
		r.opts.Logger.Error("model files not closed cleanly", "model", src.model, "error", err)
	}
}

// readPlan reads what decides which versions to open, and how: the configuration as
// written and the backend. It also assumes the version of a model that has no files.
func (r *Repository) readPlan(m *model, src *source) (*modelconfig.Config, engine.Backend, error) {
	c, err := src.config()
	if err == nil {
		err = modelconfig.Normalize(c, r.opts.completion(m.name))
	}
	if err != nil {
		return nil, nil, r.pollFailed(m, err)
	}
	backend := r.backends[c.Backend]
	if backend == nil {
		known := strings.Join(slices.Sorted(maps.Keys(r.backends)), ", ")
		return nil, nil, loadError(m.name, fmt.Errorf("%w: no backend '%s' in this server; set 'backend' to one of: %s",
			engine.ErrInvalidModel, c.Backend, known))
	}
	src.assumeVersion(backend)
	return c, backend, nil
}

// pollFailed logs the cause of an error whose text, fixed by the protocol, hides it.
func (r *Repository) pollFailed(m *model, cause error) error {
	r.opts.Logger.Warn("model not polled", "model", m.name, "cause", cause)
	return pollError(m.name, cause)
}

// wantedVersions is what the version policy chooses, and those that are kept for
// being pinned or for having an alias, as far as they exist.
func (r *Repository) wantedVersions(m *model, src *source, c *modelconfig.Config) []int64 {
	wanted := slices.Clone(chooseVersions(c.VersionPolicy, src.available()))
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, number := range append(slices.Collect(maps.Values(m.aliases)), m.pinned) {
		if _, exists := src.versions[number]; exists {
			wanted = append(wanted, number)
		}
	}
	slices.Sort(wanted)
	return slices.Compact(wanted)
}

// changedVersions are the wanted versions that are not ready with the same files.
func (r *Repository) changedVersions(m *model, src *source, wanted []int64) []int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(wanted), func(number int64) bool {
		s := m.versions[number]
		return s != nil && s.live != nil && s.live.source == src.versions[number]
	})
}
