// SPDX-License-Identifier: Apache-2.0

package repository

import (
	"context"
	"strconv"
)

// State is where a version is in its life.
type State uint8

// The states of a version, with the names the inference protocol has for them.
const (
	StateUnknown State = iota
	StateLoading
	StateReady
	StateUnloading
	StateUnavailable
)

var stateNames = [...]string{
	StateUnknown: "UNKNOWN", StateLoading: "LOADING", StateReady: "READY",
	StateUnloading: "UNLOADING", StateUnavailable: "UNAVAILABLE",
}

func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return "State(" + strconv.Itoa(int(s)) + ")"
}

// reasonUnloaded is why a version is unavailable that was loaded once.
const reasonUnloaded = "unloaded"

// model is what the repository knows of one model. Its fields are guarded by
// Repository.mu, except op, which orders the operations on it.
type model struct {
	name string
	// op is held, by a value in it, by the one operation that loads, swaps or
	// unloads versions of the model.
	op chan struct{}
	// users counts the operations and drains that hold the model's record.
	users int

	versions map[int64]*versionState
	// current is the version that answers requests that name none, 0 when no version
	// is ready.
	current int64
	// pinned, when not 0, is the version that stays current whatever the version
	// policy prefers. It and the versions of aliases are kept loaded.
	pinned int64
	// previous is what was current before, 0 when nothing was.
	previous int64
	// spare is the version that is kept loaded only for having been current before, by
	// Options.KeepPrevious or a swap that keeps it; 0 when there is none. It does not become current by its
	// number while another can.
	spare   int64
	aliases map[string]int64
	// fault is why the last attempt to load the model failed as a whole.
	fault string
	// attempted is the files the last attempt was made with.
	attempted fingerprint
}

// versionState is the state of one version.
type versionState struct {
	state  State
	reason string
	// live is the version while it is READY, also while its successor loads.
	live *Version
	// leaving is the version while it is UNLOADING.
	leaving *Version
}

func newModel(name string) *model {
	return &model{
		name:     name,
		op:       make(chan struct{}, 1),
		versions: make(map[int64]*versionState),
		aliases:  make(map[string]int64),
	}
}

// begin waits for the operation that is under way on the model, then starts
// another, unless ctx has ended. The caller must call end.
func (m *model) begin(ctx context.Context) error {
	if ctx.Err() != nil { // select would draw lots
		return context.Cause(ctx)
	}
	select {
	case m.op <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (m *model) end() { <-m.op }

// state returns the state of a version, making it when the version is new.
// Repository.mu must be held.
func (m *model) state(number int64) *versionState {
	s := m.versions[number]
	if s == nil {
		s = &versionState{}
		m.versions[number] = s
	}
	return s
}

// settle chooses the current version among the ready ones: the pinned one, else the
// highest. Repository.mu must be held.
func (m *model) settle() {
	var highest, spare int64
	for number, s := range m.versions {
		if s.live == nil {
			continue
		}
		if number == m.spare {
			spare = number
		} else {
			highest = max(highest, number)
		}
	}
	if highest == 0 {
		highest, spare = spare, 0
	}
	m.spare = spare
	next := highest
	if s := m.versions[m.pinned]; s != nil && s.live != nil {
		next = m.pinned
	}
	if next != m.current && m.current != 0 && next != 0 {
		m.previous = m.current
	}
	m.current = next
}

// live lists the ready versions. Repository.mu must be held.
func (m *model) live() []*Version {
	var all []*Version
	for _, s := range m.versions {
		if s.live != nil {
			all = append(all, s.live)
		}
	}
	return all
}

// dismiss takes a version out of service, to be retired by the caller once a
// snapshot without it is published. Repository.mu must be held.
func (m *model) dismiss(number int64) *Version {
	s := m.versions[number]
	v := s.live
	*s = versionState{state: StateUnloading, leaving: v}
	return v
}
