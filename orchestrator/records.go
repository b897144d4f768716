// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// record is a line of the journal. What is what depends on Kind.
type record struct {
	Kind string    `json:"k"`
	Run  string    `json:"run,omitempty"`
	Time time.Time `json:"t"`
	// of recordRun: the run as it began
	Begin *RunStatus `json:"begin,omitempty"`
	// of recordStart and recordEnd
	Task *TaskStatus `json:"task,omitempty"`
	// of recordClose
	Status Status `json:"status,omitempty"`
	Error  string `json:"error,omitempty"`
	// of recordFired, see fired; of recordRun the trigger whose run this is, which asks for it no
	// more
	Pipeline string `json:"pipeline,omitempty"`
	Trigger  string `json:"trigger,omitempty"`
	Count    int    `json:"count,omitempty"`
	Seen     string `json:"seen,omitempty"`
	Pending  string `json:"pending,omitempty"`
}

const (
	recordRun   = "run"
	recordStart = "start"
	recordEnd   = "end"
	recordClose = "close"
	recordFired = "fired"
)

// fired is what is remembered of a schedule or trigger.
type fired struct {
	// time is the last time of a schedule that was dealt with, or when a trigger last began a
	// run; zero if it never did.
	time    time.Time
	count   int    // new labels since
	seen    string // which files there were
	pending string // what is to begin a run: a pendingRun as JSON
}

func (f fired) record(k firedKey) record {
	return record{Kind: recordFired, Time: f.time, Pipeline: k.pipeline, Trigger: k.trigger, Count: f.count, Seen: f.seen, Pending: f.pending}
}

// firedKey tells schedules and triggers apart; trigger is empty for the schedule.
type firedKey struct{ pipeline, trigger string }

// state is what a journal says. It has no lock.
type state struct {
	runs  map[string]*RunStatus
	order []string // ids, the oldest first
	fired map[firedKey]fired
	lines int
}

func newState() *state {
	return &state{runs: map[string]*RunStatus{}, fired: map[firedKey]fired{}}
}

var errRecord = errors.New("the record cannot be understood")

// replay takes a line of the journal.
func (s *state) replay(payload []byte) error {
	var r record
	decoder := json.NewDecoder(bytes.NewReader(payload))
	decoder.UseNumber()
	if err := decoder.Decode(&r); err != nil {
		return fmt.Errorf("%w: %w", errRecord, err)
	}
	s.lines++
	return s.apply(&r)
}

func (s *state) apply(r *record) error {
	if r.Kind == recordFired {
		s.fired[firedKey{r.Pipeline, r.Trigger}] = fired{r.Time, r.Count, r.Seen, r.Pending}
		return nil
	}
	if r.Kind == recordRun {
		if r.Begin == nil || r.Begin.ID == "" {
			return fmt.Errorf("%w: no run in it", errRecord)
		}
		run := r.Begin.clone()
		run.Params, run.Trigger = numbers(run.Params), numbers(run.Trigger)
		if s.runs[run.ID] == nil {
			s.order = append(s.order, run.ID)
		}
		s.runs[run.ID] = run
		if r.Pipeline != "" {
			s.answer(firedKey{r.Pipeline, r.Trigger}, run)
		}
		return nil
	}
	run := s.runs[r.Run]
	switch {
	case run == nil:
		return fmt.Errorf("%w: run %q is not known", errRecord, r.Run)
	case r.Kind == recordClose:
		run.Status, run.Error, run.Ended = r.Status, r.Error, r.Time
	case (r.Kind == recordStart || r.Kind == recordEnd) && r.Task != nil:
		t := *r.Task
		t.Values = numbers(t.Values)
		run.put(t)
	default:
		return fmt.Errorf("%w: kind %q", errRecord, r.Kind)
	}
	return nil
}

// answer notes that the run is there which a trigger asked for.
func (s *state) answer(key firedKey, run *RunStatus) {
	f := s.fired[key]
	if f.pending = ""; !run.Status.Ended() { // one that was withdrawn never began
		f.time = run.Started
	}
	s.fired[key] = f
}

// put sets the status of a task.
func (r *RunStatus) put(t TaskStatus) {
	for i := range r.Tasks {
		if r.Tasks[i].Task == t.Task && r.Tasks[i].Item == t.Item {
			r.Tasks[i] = t
			return
		}
	}
	r.Tasks = append(r.Tasks, t)
}

// drop forgets the oldest ended runs beyond a number.
func (s *state) drop(most int) (dropped []string) {
	kept := s.order[:0]
	over := len(s.order) - most
	for _, id := range s.order {
		if over > 0 && s.runs[id].Status.Ended() {
			over--
			dropped = append(dropped, id)
			delete(s.runs, id)
			continue
		}
		kept = append(kept, id)
	}
	s.order = kept
	return dropped
}

// snapshot gives the records that make the state.
func (s *state) snapshot(emit func([]byte) error) error {
	write := func(r record) error {
		data, err := json.Marshal(r)
		if err != nil {
			return err
		}
		return emit(data)
	}
	for key, f := range s.fired {
		if err := write(f.record(key)); err != nil {
			return err
		}
	}
	for _, id := range s.order {
		run := s.runs[id]
		begin := *run
		begin.Tasks, begin.Status, begin.Error, begin.Ended = nil, StatusRunning, "", time.Time{}
		err := write(record{Kind: recordRun, Time: run.Started, Begin: &begin})
		for i := range run.Tasks {
			kind := recordEnd
			if !run.Tasks[i].Status.Ended() {
				kind = recordStart
			}
			err = errors.Join(err, write(record{Kind: kind, Run: id, Time: run.Tasks[i].Ended, Task: &run.Tasks[i]}))
		}
		if run.Status.Ended() {
			err = errors.Join(err, write(record{Kind: recordClose, Run: id, Time: run.Ended, Status: run.Status, Error: run.Error}))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// numbers makes integers and floats of what JSON calls numbers.
func numbers(m map[string]any) map[string]any {
	for k, v := range m {
		m[k] = plain(v)
	}
	return m
}

func plain(v any) any {
	switch v := v.(type) {
	case json.Number:
		return number(v)
	case []any:
		for i := range v {
			v[i] = plain(v[i])
		}
	case map[string]any:
		return numbers(v)
	}
	return v
}

func number(n json.Number) any {
	if !strings.ContainsAny(string(n), ".eE") {
		if i, err := n.Int64(); err == nil {
			return i
		}
	}
	f, err := n.Float64()
	if err != nil {
		return string(n)
	}
	return f
}
