// SPDX-License-Identifier: Apache-2.0

package repository

import (
	"maps"
	"strconv"
)

// routes is where requests for one model go. It is immutable once published.
type routes struct {
	current  *Version
	previous int64               // ready, and current before; 0 when there is none
	named    map[string]*Version // by version number in decimal, and by alias
}

// snapshot is the routes of every model with a ready version, by name. It is
// immutable: a change publishes another one.
type snapshot map[string]*routes

func (s snapshot) find(model, version string) *Version {
	route := s[model]
	switch {
	case route == nil:
		return nil
	case version == "":
		return route.current
	default:
		return route.named[version]
	}
}

// Acquire finds a version that can serve and keeps it alive until its Release. An
// empty version means the current one; digits name a version; anything else is an
// alias. It takes no lock and does not allocate when it succeeds.
//
// A lookup that meets a version retired under its feet looks again: a version is
// retired only after a snapshot without it was published, so each further round
// means that another swap was completed in between.
func (r *Repository) Acquire(model, version string) (*Version, error) {
	for {
		v := (*r.snapshot.Load()).find(model, version)
		if v == nil {
			return r.acquireSpelled(model, version)
		}
		if v.acquire() {
			return v, nil
		}
	}
}

// Previous is the version that was current before the last swap or load and can still
// serve, 0 when there is none: see Options.KeepPrevious. It takes no lock.
func (r *Repository) Previous(model string) int64 {
	if route := (*r.snapshot.Load())[model]; route != nil {
		return route.previous
	}
	return 0
}

// acquireSpelled handles a version that no route is named for: a number in an
// unusual spelling, such as 01, or an error to explain.
func (r *Repository) acquireSpelled(model, version string) (*Version, error) {
	if number, err := strconv.ParseInt(version, 10, 64); err == nil {
		if canonical := strconv.FormatInt(number, 10); canonical != version {
			return r.Acquire(model, canonical)
		}
	}
	return nil, r.explainMiss(model, version)
}

// explainMiss says why nothing can serve model and version.
func (r *Repository) explainMiss(model, version string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := r.mu.models[model]
	number, err := r.versionNumber(m, version)
	switch {
	case r.mu.closed:
		return ErrClosed
	case err != nil:
		return err
	case m == nil || len(m.versions) == 0:
		return classified(ErrUnknownModel, "Request for unknown model: '%s' is not found", model)
	case version == "":
		return classified(ErrNoVersion, "Request for unknown model: '%s' has no available versions", model)
	case m.versions[number] == nil:
		return classified(ErrUnknownVersion, "Request for unknown model: '%s' version %d is not found", model, number)
	default:
		return classified(ErrNotReady, "Request for unknown model: '%s' version %d is not at ready state", model, number)
	}
}

// versionNumber reads a version as clients spell it: 0 for the current one, or what
// its digits or the alias of model m stand for. r.mu must be held.
func (r *Repository) versionNumber(m *model, version string) (int64, error) {
	if version == "" {
		return 0, nil
	}
	if m != nil {
		if number, ok := m.aliases[version]; ok {
			return number, nil
		}
	}
	number, err := strconv.ParseInt(version, 10, 64)
	if err != nil {
		return 0, classified(ErrBadVersion, "failed to get model version from specified version string '%s' (details: stol), version should be an integral value > 0", version)
	}
	if number < 0 {
		return 0, classified(ErrBadVersion, "invalid model version specified '%s' , version should be an integral value > 0", version)
	}
	return number, nil
}

// publishLocked makes the state of model m visible to Acquire. r.mu must be held.
func (r *Repository) publishLocked(m *model) {
	next := maps.Clone(*r.snapshot.Load())
	if route := m.route(); route != nil {
		next[m.name] = route
	} else {
		delete(next, m.name)
	}
	r.snapshot.Store(&next)
	r.opts.OnChange()
}

// route builds the routes of the model's ready versions, nil when there is none.
func (m *model) route() *routes {
	route := &routes{named: make(map[string]*Version)}
	for number, state := range m.versions {
		if state.live != nil {
			route.named[strconv.FormatInt(number, 10)] = state.live
		}
	}
	if len(route.named) == 0 {
		return nil
	}
	for alias, number := range m.aliases {
		if state := m.versions[number]; state != nil && state.live != nil {
			route.named[alias] = state.live
		}
	}
	route.current = m.versions[m.current].live
	if state := m.versions[m.previous]; state != nil && state.live != nil {
		route.previous = m.previous
	}
	return route
}
