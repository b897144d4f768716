// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"crypto/sha256"
	"encoding/hex"

	"github.com/millrace-ml/millrace/orchestrator/pipeline"
)

// Limits of triggers.
const (
	triggerBytesMax = 64 << 10
	triggerFilesMax = 1_000 // that a run is told of
	// triggerAsksMax bounds the alarms that share a run which waits; the oldest goes.
	triggerAsksMax = 16
)

// TriggerAlso is the key of a run's trigger with the ids of further alarms that asked for it.
const TriggerAlso = "also"

// Happening is something that may start runs.
type Happening struct {
	On   string // alarm, labels or webhook
	Name string // the monitor of an alarm, or the webhook
	// ID tells an alarm apart, for Withdraw and so that alarms of one pipeline share a run that
	// waits; empty for what cannot be withdrawn.
	ID    string
	Count int // of new labels; 0 is 1
	// Severity and Subject are those of an alarm.
	Severity, Subject string
	// Again says that the alarm was raised before, and another window is bad. Join asks for no
	// run, and is only known to one that waits already.
	Again, Join bool

	Payload map[string]any // what the runs know of it, as JSON at most 64 KiB
}

// pendingRun is a run that a trigger asked for. Its time, which makes its id, stays while it
// waits.
type pendingRun struct {
	Time    time.Time      `json:"time"`
	Payload map[string]any `json:"payload,omitempty"`
	// Asks are the alarms that want it, the last one that told last.
	Asks []ask `json:"asks,omitempty"`
}

// ask is an alarm that wants a run.
type ask struct {
	ID      string         `json:"id"`
	Payload map[string]any `json:"payload"`
}

// trigger is what the run knows: the payload of the last that asked, and who else did.
func (p *pendingRun) trigger() map[string]any {
	if len(p.Asks) == 0 {
		return p.Payload
	}
	last := len(p.Asks) - 1
	payload := maps.Clone(p.Asks[last].Payload)
	if last > 0 {
		var also []any
		for _, a := range p.Asks[:last] {
			also = append(also, a.ID)
		}
		payload[TriggerAlso] = also
	}
	return payload
}

// AlarmsOf are the ids of the alarms that asked for a run, by what its trigger says, the one
// whose payload it has first.
func AlarmsOf(trigger map[string]any) (ids []string) {
	also, _ := trigger[TriggerAlso].([]any)
	for _, id := range append([]any{trigger["alarm"]}, also...) {
		if text, ok := id.(string); ok && text != "" {
			ids = append(ids, text)
		}
	}
	return ids
}

// drop takes an alarm out, and says whether it was there.
func (p *pendingRun) drop(id string) bool {
	before := len(p.Asks)
	p.Asks = slices.DeleteFunc(p.Asks, func(a ask) bool { return a.ID == id })
	return len(p.Asks) < before
}

// run reads what is to begin a run; nil if nothing is.
func (f fired) run() (*pendingRun, error) {
	if f.pending == "" {
		return nil, nil
	}
	var p pendingRun
	d := json.NewDecoder(strings.NewReader(f.pending))
	d.UseNumber()
	if err := d.Decode(&p); err != nil {
		return nil, err
	}
	p.Payload = numbers(p.Payload)
	for i := range p.Asks {
		numbers(p.Asks[i].Payload)
	}
	return &p, nil
}

// ask is f with another thing that happened: a run that waits already knows it as the last.
func (f fired) ask(h *Happening, payload map[string]any) (fired, error) {
	run, err := f.run()
	if err != nil {
		return f, err
	}
	if run == nil {
		run = &pendingRun{Time: time.Now().UTC()}
	}
	if h.ID == "" {
		run.Payload, run.Asks = payload, nil
	} else {
		run.drop(h.ID)
		run.Payload, run.Asks = nil, append(run.Asks, ask{h.ID, payload})
		run.Asks = run.Asks[max(0, len(run.Asks)-triggerAsksMax):]
	}
	data, err := json.Marshal(run)
	f.pending = string(data)
	return f, err
}

// triggerKey tells the triggers of a pipeline apart by what they are, so that a file that
// is edited elsewhere does not mix them up.
func triggerKey(p *pipeline.Pipeline, t pipeline.Trigger) firedKey {
	what := t.On + " " + t.Monitor + t.Path + t.Name + " " + strconv.Itoa(t.Count)
	if t.Severity != "" || t.Subject != "" {
		what += " " + t.Severity + " " + t.Subject
	}
	return firedKey{p.Name, what}
}

func (h Happening) matches(t pipeline.Trigger) bool {
	switch t.On {
	case "alarm":
		return h.On == "alarm" && (!h.Again || t.Again) && (t.Monitor == "" || t.Monitor == h.Name) && (t.Severity == "" || t.Severity == h.Severity) && subjectIn(h.Subject, t.Subject)
	case "labels":
		return h.On == "labels"
	case "webhook":
		return h.On == "webhook" && t.Name == h.Name
	}
	return false
}

// subjectIn says whether a subject, such as drift:1d:amount, is one or begins with its parts.
func subjectIn(subject, prefix string) bool {
	rest, ok := strings.CutPrefix(subject, strings.TrimSuffix(prefix, ":"))
	return prefix == "" || ok && (rest == "" || rest[0] == ':')
}

// Trigger tells of something that happened and returns the pipelines that it starts. Their
// runs are begun by Serve, this one or the next: once Trigger returns they are not
// forgotten. One run waits per trigger; what happens before it has begun is part of it, and
// it knows the last. Alarms with an ID share one run for all triggers of a pipeline, so that
// two at once do not make two runs of the same data.
func (r *Runner) Trigger(h Happening) (starts []string, err error) {
	payload := map[string]any{}
	for k, v := range h.Payload {
		payload[k] = v
	}
	payload["on"], payload["name"] = h.On, h.Name
	data, err := json.Marshal(payload)
	if err != nil || len(data) > triggerBytesMax {
		return nil, fmt.Errorf("%w: the payload has %d bytes as JSON, at most %d are allowed (%v)", ErrInvalid, len(data), triggerBytesMax, err)
	}
	r.triggering.Lock()
	defer r.triggering.Unlock()
	for _, p := range r.options.Pipelines.Pipelines {
		for _, t := range p.Triggers {
			if !h.matches(t) {
				continue
			}
			key := r.waitingLocked(p, t, &h)
			f := r.firedOf(key)
			if h.Join && f.pending == "" {
				continue
			}
			if t.On == "labels" {
				f.count += max(h.Count, 1)
			}
			if t.On != "labels" || f.count >= t.Count {
				f.count = 0
				if f, err = f.ask(&h, payload); err != nil {
					return nil, fmt.Errorf("trigger of pipeline %s: %w", p.Name, err)
				}
				if !slices.Contains(starts, p.Name) {
					starts = append(starts, p.Name)
				}
			}
			if err := r.record(f.record(key), true); err != nil {
				return nil, err
			}
		}
	}
	r.rouse()
	return starts, nil
}

// rouse has Serve look.
func (r *Runner) rouse() {
	select {
	case r.wake <- struct{}{}:
	default: // it is awake already
	}
}

func (r *Runner) firedOf(key firedKey) fired {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mu.fired[key]
}

// waitingLocked is the trigger that has the run for what happened: for alarms the first of
// the pipeline's for which one waits. r.triggering must be held.
func (r *Runner) waitingLocked(p *pipeline.Pipeline, t pipeline.Trigger, h *Happening) firedKey {
	if h.ID != "" {
		for _, other := range p.Triggers {
			if key := triggerKey(p, other); other.On == t.On && r.firedOf(key).pending != "" {
				return key
			}
		}
	}
	return triggerKey(p, t)
}

// errWithdrawn means that nobody wants the run any more.
var errWithdrawn = errors.New("the run was withdrawn before it began")

// beginAsked writes down a run that a trigger asked for, and that it is not asked for any
// more, as one record: after a crash it is either still asked for or there. It knows what
// waits now.
func (r *Runner) beginAsked(run *RunStatus, key firedKey) error {
	r.triggering.Lock()
	defer r.triggering.Unlock()
	asked, err := r.firedOf(key).run()
	if err != nil {
		return fmt.Errorf("trigger of pipeline %s: %w", key.pipeline, err)
	}
	if asked == nil {
		return errWithdrawn
	}
	run.Trigger = asked.trigger()
	return r.record(record{Kind: recordRun, Run: run.ID, Time: run.Started, Begin: run, Pipeline: key.pipeline, Trigger: key.trigger}, true)
}

// forgetAsked notes that the run of a trigger is there already: its process ended between two
// records, as they were written before one had both.
func (r *Runner) forgetAsked(key firedKey) error {
	r.triggering.Lock()
	defer r.triggering.Unlock()
	f := r.firedOf(key)
	f.time, f.pending = time.Now().UTC(), ""
	return r.record(f.record(key), true)
}

// Withdraw says that an alarm is over. A run that waits for no other alarm, and has not begun,
// never does: its record is that of a run which was cancelled, and says the reason. One that
// has begun goes on. It returns the runs that were withdrawn; to withdraw again does nothing.
func (r *Runner) Withdraw(alarm, reason string) (withdrawn []string, err error) {
	r.triggering.Lock()
	defer r.triggering.Unlock()
	defer r.rouse()
	for _, p := range r.options.Pipelines.Pipelines {
		for _, t := range p.Triggers {
			if t.On != "alarm" {
				continue
			}
			id, err := r.withdrawLocked(triggerKey(p, t), p, alarm, reason)
			if err != nil {
				return withdrawn, fmt.Errorf("trigger of pipeline %s: %w", p.Name, err)
			}
			if id != "" {
				withdrawn = append(withdrawn, id)
			}
		}
	}
	return withdrawn, nil
}

// withdrawLocked takes an alarm from the run that waits of a trigger, and returns its id if
// no alarm is left. r.triggering must be held.
func (r *Runner) withdrawLocked(key firedKey, p *pipeline.Pipeline, alarm, reason string) (string, error) {
	f := r.firedOf(key)
	run, err := f.run()
	if err != nil || run == nil {
		return "", err
	}
	trigger := run.trigger()
	if !run.drop(alarm) {
		return "", nil
	}
	if len(run.Asks) > 0 {
		data, err := json.Marshal(run)
		if err != nil {
			return "", err
		}
		f.pending = string(data)
		return "", r.record(f.record(key), true)
	}
	now := time.Now().UTC()
	status := &RunStatus{ID: askedID(p, "alarm", run.Time), Pipeline: p.Name, Hash: p.Hash, Status: StatusCancelled, Error: "withdrawn before it began: " + reason,
		Trigger: trigger, Time: run.Time, Started: now, Ended: now}
	return status.ID, r.record(record{Kind: recordRun, Run: status.ID, Time: now, Begin: status, Pipeline: key.pipeline, Trigger: key.trigger}, true)
}

// askedID names the run that a trigger asked for at a time.
func askedID(p *pipeline.Pipeline, on string, at time.Time) string {
	return fmt.Sprintf("%s.%s.%s", p.Name, on, at.Format("20060102T150405.000000000Z"))
}

// filesOf are the files that a trigger looks for, and a sum of their names, sizes and
// times; it is empty if there are none.
func filesOf(pattern string) (names []string, sum string, err error) {
	names, err = filepath.Glob(pattern)
	if err != nil || len(names) == 0 {
		return nil, "", err
	}
	h := sha256.New()
	for _, name := range names {
		info, err := os.Stat(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, "", err
		}
		fmt.Fprintf(h, "%q %d %d\n", name, info.Size(), info.ModTime().UnixNano())
	}
	if len(names) > triggerFilesMax {
		names = names[:triggerFilesMax]
	}
	return names, hex.EncodeToString(h.Sum(nil)), nil
}

// lookForFiles asks for a run where files are new or changed, and have not changed since
// the last look, so that one that is still written is left alone.
func (r *Runner) lookForFiles(p *pipeline.Pipeline, t pipeline.Trigger, last map[firedKey]string) error {
	key := triggerKey(p, t)
	names, sum, err := filesOf(t.Path)
	if err != nil {
		return fmt.Errorf("trigger of pipeline %s: %w", p.Name, err)
	}
	settled := last[key] == sum
	last[key] = sum
	r.triggering.Lock()
	defer r.triggering.Unlock()
	f := r.firedOf(key)
	if sum == "" || sum == f.seen || !settled {
		return nil
	}
	files := make([]any, len(names))
	for i := range names {
		files[i] = names[i]
	}
	if f, err = f.ask(&Happening{}, map[string]any{"on": "file", "path": t.Path, "files": files}); err != nil {
		return err
	}
	f.seen = sum
	return r.record(f.record(key), true)
}
