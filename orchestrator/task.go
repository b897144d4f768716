// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"sync"
)

var (
	// ErrPermanent is wrapped by a task's error that another attempt would not help.
	ErrPermanent = errors.New("permanent")
	// ErrCancelled means that somebody cancelled the run.
	ErrCancelled = errors.New("cancelled")
	// ErrInterrupted means that the run stopped before its end, and can be resumed.
	ErrInterrupted = errors.New("interrupted")
	// ErrTimeout means that an attempt of a task took longer than it may.
	ErrTimeout = errors.New("timed out")
	// ErrLocked means that another runner has the state folder: use that one.
	ErrLocked = errors.New("the state folder is in use by another runner")
	// ErrFailed means that a run ended, and a task of it failed.
	ErrFailed = errors.New("failed")
	// ErrChanged means that a run cannot be resumed because its pipeline was changed: start a
	// new run; what has not changed comes from the cache.
	ErrChanged = errors.New("the pipeline was changed since the run began")
	// ErrNotFound means that there is no such run, task or kind.
	ErrNotFound = errors.New("not found")
	// ErrInvalid means that what was asked for makes no sense.
	ErrInvalid = errors.New("invalid request")
)

// Task does the work of one step. It knows nothing of pipelines.
type Task interface {
	// Run does the work: it reads the inputs and writes the outputs. It returns soon after
	// the context ends. What it leaves in its outputs counts only if it returns no error; it
	// may be run again after an error, or a crash, with empty outputs.
	Run(ctx context.Context, c *Call) error
}

// TaskFunc is a function as a Task.
type TaskFunc func(ctx context.Context, c *Call) error

// Run calls the function.
func (f TaskFunc) Run(ctx context.Context, c *Call) error { return f(ctx, c) }

// Port is an input or output of a kind of task.
type Port struct {
	Name string
	// File is the name that what comes or goes here has, such as data.parquet; empty is Name.
	File     string
	Optional bool
	Doc      string
}

// Kind makes tasks of a `uses:` name.
type Kind struct {
	Name, Doc string
	// Version is part of the cache key: change it when tasks of the kind give other results.
	Version         string
	Inputs, Outputs []Port
	// OpenInputs and OpenOutputs let a pipeline give ports names of its own.
	OpenInputs, OpenOutputs bool
	// Decode makes a task of `with` as JSON, its templates expanded; `{}` if there is none.
	// It may be called many times, and has no effects.
	Decode func(with []byte) (Task, error)
	// Fingerprint stands for content outside of the store that tasks read, such as source
	// files; nil if there is none.
	Fingerprint func(ctx context.Context, f *Fingerprint) (string, error)
	// Uncached is set where the effects of a task are outside: it runs in every run.
	Uncached bool
}

// Fingerprint is what a kind knows when it is asked for the content that a task would
// read. Paths of inputs and outputs are not known yet: input:NAME and output:NAME stand
// for them.
type Fingerprint struct {
	With []byte
	// Hash is the digest of a file or folder; it is remembered until the file changes.
	Hash func(ctx context.Context, path string) (string, error)
}

// Call is one attempt of a task. All that its result depends on has to come through With,
// the inputs, the item, the partition or the fingerprint; the rest is for messages.
type Call struct {
	Pipeline, Run, Task string
	Attempt             int // from 1
	Item                any // of a task with foreach, else nil
	Partition           Partition
	Trigger             map[string]any    // what began the run, to be read only
	Inputs              map[string]string // paths, to be read only
	InputDigests        map[string]string
	Outputs             map[string]string // paths to write to: nothing is there yet
	Work                string            // a folder of the attempt's own, removed after it
	Key                 string            // the cache key
	Log                 io.Writer         // may be used from many goroutines
	progress            func(done, total int64, phase string)
	values              struct {
		sync.Mutex
		set map[string]any
	}
}

// Partition is the part of time that a run works on: texts in RFC 3339, empty for none.
type Partition struct {
	Key   string `json:"key,omitempty"`
	Start string `json:"start,omitempty"`
	End   string `json:"end,omitempty"`
}

// Progress says how far the task is; total is 0 if that is not known.
func (c *Call) Progress(done, total int64, phase string) {
	if c.progress != nil {
		c.progress(done, total, phase)
	}
}

// Limits of the values that a task sets.
const (
	ValuesMax     = 64
	ValueBytesMax = 4 << 10
)

var valuePattern = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]{0,63}$`)

// Set gives a value a name by which conditions and templates of other tasks know it: a
// text, a finite number, true or false.
func (c *Call) Set(name string, value any) error {
	if !valuePattern.MatchString(name) || name == "status" || name == "cached" {
		return fmt.Errorf("%w: value name %q: want letters, digits and _, and neither status nor cached", ErrInvalid, name)
	}
	switch v := value.(type) {
	case string:
		if len(v) > ValueBytesMax {
			return fmt.Errorf("%w: value %s has %d bytes, at most %d are allowed: write an output", ErrInvalid, name, len(v), ValueBytesMax)
		}
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf("%w: value %s is %v, want a finite number", ErrInvalid, name, v)
		}
	case int:
		value = int64(v)
	case json.Number:
		value = number(v)
	case bool, int64:
	default:
		return fmt.Errorf("%w: value %s is a %T, want a text, a number, true or false", ErrInvalid, name, value)
	}
	c.values.Lock()
	defer c.values.Unlock()
	if c.values.set == nil {
		c.values.set = map[string]any{}
	}
	if _, ok := c.values.set[name]; !ok && len(c.values.set) == ValuesMax {
		return fmt.Errorf("%w: more than %d values", ErrInvalid, ValuesMax)
	}
	c.values.set[name] = value
	return nil
}
