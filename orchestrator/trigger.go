// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
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
)

// Happening is something that may start runs.
type Happening struct {
	On    string // alarm, labels or webhook
	Name  string // the monitor of an alarm, or the webhook
	Count int    // of new labels; 0 is 1
	// Severity and Subject are those of an alarm.
	Severity, Subject string
	// Again says that the alarm was raised before, and another window is bad.
	Again   bool
	Payload map[string]any // what the runs know of it, as JSON at most 64 KiB
}

// pendingRun is a run that a trigger asked for.
type pendingRun struct {
	Time    time.Time      `json:"time"`
	Payload map[string]any `json:"payload"`
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
// it knows the last.
func (r *Runner) Trigger(h Happening) (starts []string, err error) {
	payload := map[string]any{}
	for k, v := range h.Payload {
		payload[k] = v
	}
	payload["on"], payload["name"] = h.On, h.Name
	data, err := json.Marshal(pendingRun{time.Now().UTC(), payload})
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
			key := triggerKey(p, t)
			f := r.firedOf(key)
			if t.On == "labels" {
				f.count += max(h.Count, 1)
			}
			if t.On != "labels" || f.count >= t.Count {
				f.count, f.pending = 0, string(data)
				starts = append(starts, p.Name)
			}
			if err := r.record(f.record(key), true); err != nil {
				return nil, err
			}
		}
	}
	select {
	case r.wake <- struct{}{}:
	default: // it is awake already
	}
	return starts, nil
}

func (r *Runner) firedOf(key firedKey) fired {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mu.fired[key]
}

// begun notes that the run has begun which a trigger asked for, unless it asked for
// another one since.
func (r *Runner) begun(key firedKey, pending string) error {
	r.triggering.Lock()
	defer r.triggering.Unlock()
	f := r.firedOf(key)
	f.time = time.Now().UTC()
	if f.pending == pending {
		f.pending = ""
	}
	return r.record(f.record(key), true)
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
	data, err := json.Marshal(pendingRun{time.Now().UTC(), map[string]any{"on": "file", "path": t.Path, "files": files}})
	if err != nil {
		return err
	}
	f.seen, f.pending = sum, string(data)
	return r.record(f.record(key), true)
}
