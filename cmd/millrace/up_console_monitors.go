// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/millrace-ml/millrace/console"
	"github.com/millrace-ml/millrace/evaluation/monitor/record"
)

// monitorsFolder is in the state folder: a folder for each monitor, as package record
// describes it. alarmLines is beside it, a line of JSON for each change of an alarm.
const (
	monitorsFolder = "monitors"
	alarmLines     = "alarms.jsonl"
)

// monitorsOfState reads what monitors found from a state folder, whoever writes it. It has a
// record open for each monitor that was asked for.
type monitorsOfState struct {
	state string
	known []console.MonitorInfo
	mu    sync.Mutex
	// stores are by name; there are as many as monitors.
	stores map[string]*record.Store
}

var _ console.Monitors = (*monitorsOfState)(nil)

// newMonitorsOfState reads from a state folder. Known are the project's monitors; those that
// are in the folder alone, because they were taken out of the project, are shown too.
func newMonitorsOfState(state string, known []console.MonitorInfo) *monitorsOfState {
	return &monitorsOfState{state: state, known: known, stores: map[string]*record.Store{}}
}

// Monitors implements console.Monitors.
func (m *monitorsOfState) Monitors() ([]console.MonitorInfo, error) {
	all := slices.Clone(m.known)
	entries, err := os.ReadDir(filepath.Join(m.state, monitorsFolder))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, e := range entries {
		known := slices.ContainsFunc(m.known, func(i console.MonitorInfo) bool { return i.Name == e.Name() })
		if e.IsDir() && !known {
			all = append(all, console.MonitorInfo{Name: e.Name(), Problem: "the project has no such monitor any more: this is what it found"})
		}
	}
	slices.SortFunc(all, func(a, b console.MonitorInfo) int { return cmp.Compare(a.Name, b.Name) })
	return all, nil
}

// Record implements console.Monitors.
func (m *monitorsOfState) Record(name string) (console.MonitorRecord, error) { return m.store(name) }

func (m *monitorsOfState) store(name string) (*record.Store, error) {
	all, err := m.Monitors()
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(all, func(i console.MonitorInfo) bool { return i.Name == name }) || name != filepath.Base(name) {
		return nil, fmt.Errorf("there is no monitor %q", name)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if s := m.stores[name]; s != nil {
		return s, nil
	}
	s, err := record.Open(filepath.Join(m.state, monitorsFolder, name))
	if err == nil {
		m.stores[name] = s
	}
	return s, err
}

// AlarmChanges implements console.Monitors.
func (m *monitorsOfState) AlarmChanges(limit int) ([]console.AlarmChange, error) {
	all, err := readAlarms(m.state)
	if err != nil {
		return nil, err
	}
	all = newestChanges(all, limit)
	slices.Reverse(all)
	return all, nil
}

func (m *monitorsOfState) close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []error
	for _, s := range m.stores {
		all = append(all, s.Close())
	}
	return errors.Join(all...)
}
