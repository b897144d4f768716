// SPDX-License-Identifier: Apache-2.0

package repository

import (
	"errors"
	"maps"
	"slices"
	"strconv"
	"time"
)

// IndexEntry is one row of the index: a version, or a model of which no version is
// known, whose Version is then empty.
type IndexEntry struct {
	Name    string
	Version string
	// State is empty for a model that was never loaded.
	State  string
	Reason string
}

// Index lists the models in the repositories, sorted, with a row for each version
// that was loaded once, and the models that were loaded from files sent by a client.
// readyOnly leaves out all that cannot serve, but tells of models that two
// repositories hold.
func (r *Repository) Index(readyOnly bool) ([]IndexEntry, error) {
	names, err := r.scan()
	if err != nil {
		return nil, err
	}
	duplicate := make(map[string]bool)
	for _, name := range names {
		if _, err := r.locate(name); errors.Is(err, ErrDuplicate) {
			duplicate[name] = true
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, m := range r.mu.models {
		if m.current != 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	var index []IndexEntry
	for _, name := range slices.Compact(names) {
		m := r.mu.models[name]
		if duplicate[name] && (m == nil || m.current == 0) {
			index = append(index, IndexEntry{Name: name, State: StateUnavailable.String(), Reason: ErrDuplicate.Error()})
			continue
		}
		index = append(index, m.index(name, readyOnly)...)
	}
	return index, nil
}

// index is a model's rows. A nil model was never loaded. Repository.mu must be held.
func (m *model) index(name string, readyOnly bool) []IndexEntry {
	if m == nil || len(m.versions) == 0 {
		row := IndexEntry{Name: name}
		if m != nil && m.fault != "" {
			row.State, row.Reason = StateUnavailable.String(), m.fault
		}
		if readyOnly {
			return nil
		}
		return []IndexEntry{row}
	}
	var rows []IndexEntry
	for _, number := range slices.Sorted(maps.Keys(m.versions)) {
		s := m.versions[number]
		if !readyOnly || s.state == StateReady {
			rows = append(rows, IndexEntry{Name: name, Version: strconv.FormatInt(number, 10), State: s.state.String(), Reason: s.reason})
		}
	}
	return rows
}

// VersionInfo describes one version at one moment. The fields from InFlight on are
// zero unless it is ready.
type VersionInfo struct {
	Number       int64
	State        State
	Reason       string
	Current      bool
	Aliases      []string
	InFlight     int64
	LoadedAt     time.Time
	LoadDuration time.Duration
	Steps        []Step
}

// ModelInfo describes one model at one moment. Current, Pinned and Previous are 0
// when there is no such version.
type ModelInfo struct {
	Name     string
	Current  int64
	Pinned   int64
	Previous int64
	// Fault is why the last attempt to load the model failed, empty when it did not;
	// what served before it may still serve.
	Fault    string
	Aliases  map[string]int64
	Versions []VersionInfo
}

// Models describes every model that was loaded or tried, sorted by name.
func (r *Repository) Models() []ModelInfo {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []ModelInfo
	for _, name := range slices.Sorted(maps.Keys(r.mu.models)) {
		all = append(all, r.mu.models[name].info())
	}
	return all
}

// Versions describes the versions of a model that were loaded or tried, in order.
func (r *Repository) Versions(name string) ([]VersionInfo, error) {
	m, err := r.Model(name)
	return m.Versions, err
}

// Model describes one model that was loaded or tried.
func (r *Repository) Model(name string) (ModelInfo, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := r.mu.models[name]
	if m == nil || len(m.versions) == 0 {
		return ModelInfo{}, classified(ErrUnknownModel, "Request for unknown model: '%s' is not found", name)
	}
	return m.info(), nil
}

// info describes the model. Repository.mu must be held.
func (m *model) info() ModelInfo {
	info := ModelInfo{
		Name: m.name, Current: m.current, Pinned: m.pinned, Previous: m.previous,
		Fault: m.fault, Aliases: maps.Clone(m.aliases),
	}
	for _, number := range slices.Sorted(maps.Keys(m.versions)) {
		s := m.versions[number]
		v := VersionInfo{Number: number, State: s.state, Reason: s.reason, Current: number == m.current}
		for _, alias := range slices.Sorted(maps.Keys(m.aliases)) {
			if m.aliases[alias] == number {
				v.Aliases = append(v.Aliases, alias)
			}
		}
		if s.live != nil {
			v.InFlight = s.live.InFlight()
			v.LoadedAt, v.LoadDuration, v.Steps = s.live.LoadedAt, s.live.LoadDuration, s.live.Steps
		}
		info.Versions = append(info.Versions, v)
	}
	return info
}
