// SPDX-License-Identifier: Apache-2.0

// Package pipeline reads pipelines from YAML and knows their shape: tasks, what each waits
// for, conditions, and the partitions of time that they work on. It runs nothing.
//
// Reading is strict: an unknown key, a name that nothing has, a cycle or a value out of
// its range is a mistake, and all mistakes of a file are reported at once, each with its
// line and column. What is read has only bounded parts (see the limits below).
//
// Texts below `with:` may hold expressions in {{ }}, and `when:` is one; they are written
// in the language of github.com/expr-lang/expr over the names
//
//	params.X                 a parameter
//	run.id run.pipeline run.time
//	partition.key .start .end    what the run works on, times in RFC 3339
//	trigger.on ...           what started the run
//	item                     of a task with foreach
//	inputs.X outputs.X       paths (in with only)
//	T.X T.status             a value that task T set, and how T ended
//	always failed succeeded  (in when only) true; whether a task waited for failed; the contrary
//
// A task waits for the tasks it names anywhere. Values do not change once read and may be
// used from many goroutines.
package pipeline

import (
	"errors"
	"time"

	"github.com/millrace-ml/millrace/orchestrator/schedule"
)

// Limits of a file and of its parts.
const (
	FileBytesMax    = 512 << 10
	PipelinesMax    = 1_000
	TasksMax        = 1_000 // of a pipeline
	PortsMax        = 64    // inputs, or outputs, of a task
	ItemsMax        = 10_000
	RetriesMax      = 100
	ConcurrencyMax  = 1_024
	ParametersMax   = 256
	NameLengthMax   = 64
	BackoffMax      = time.Hour
	TimeoutMax      = 30 * 24 * time.Hour
	BackoffDefault  = 10 * time.Second
	TriggersMax     = 64
	nestingMax      = 32
	mistakesMax     = 50
	expressionBytes = 4 << 10
)

var (
	// ErrInvalid means that a file, or what was asked of a pipeline, has mistakes: correct
	// what the error lists.
	ErrInvalid = errors.New("invalid pipeline")
	// ErrNotFound means that there is no pipeline or task of a name.
	ErrNotFound = errors.New("not found")
)

// File is what a file holds.
type File struct {
	Name      string
	Pipelines []*Pipeline // in the order of the file
}

// Pipeline is tasks that depend on one another.
type Pipeline struct {
	Name        string
	Description string
	Parameters  []Parameter
	Schedule    *schedule.Schedule // nil for none
	Triggers    []Trigger
	// Concurrency bounds the tasks of a run that go on at once; 0 leaves it to the runner.
	Concurrency int
	Partitions  *Partitions // nil for none
	Tasks       []*Task     // in the order of the file
	// Hash tells versions of the pipeline apart: it changes with anything that is written.
	Hash string
}

// Parameter is a value that a run may be given.
type Parameter struct {
	Name string
	Doc  string
	// Default is nil where a run has to give a value. The text "now" is the time of the run.
	Default any
	Choices []any // nil for any value
}

// Trigger is something that happens and starts a run.
type Trigger struct {
	// On is alarm, labels, file or webhook.
	On      string
	Monitor string // of an alarm; empty for any
	// Severity of an alarm, warning or critical, and the first parts of its Subject, such as
	// quality or drift:1d; empty for any.
	Severity, Subject string
	// Again starts a run also when another window is bad while the alarm is raised.
	Again bool
	Count int    // of new labels
	Path  string // of files, a pattern as in path/filepath.Match
	Name  string // of a webhook
	// AtMost is the least time between two runs of this trigger.
	AtMost time.Duration
}

// Task is a step of a pipeline.
type Task struct {
	Name    string
	Uses    string
	With    map[string]any // with its templates
	Inputs  []Input
	Outputs []Output
	// Needs are the tasks that were named as needed; After are all that the task waits for, in
	// the order of the file.
	Needs, After []string
	Retries      int
	// Backoff is the wait before the first retry; it doubles from there up to BackoffMax.
	Backoff, BackoffMax time.Duration
	Timeout             time.Duration // of an attempt; 0 for none
	When                *Expression   // nil: all that it waits for succeeded
	Foreach             *Foreach      // nil for one
	Parallel            int           // items that go on at once; 0 for any number
	NoCache             bool
	// Place is where the task is written, as file:line:column.
	Place string
	with  *value
}

// Input is what another task made.
type Input struct{ Name, Task, Output string }

// Output is what a task makes: File is the name that it has while it is made.
type Output struct{ Name, File string }

// Foreach is what a task is run for, one by one: the items, or an expression that gives
// them.
type Foreach struct {
	Items      []any
	Expression *Expression
}

// Find returns the pipeline of a name.
func (f *File) Find(name string) (*Pipeline, error) {
	for _, p := range f.Pipelines {
		if p.Name == name {
			return p, nil
		}
	}
	names := make([]string, len(f.Pipelines))
	for i, p := range f.Pipelines {
		names[i] = p.Name
	}
	return nil, notFound("pipeline", name, names)
}

// Task returns the task of a name.
func (p *Pipeline) Task(name string) (*Task, error) {
	names := make([]string, len(p.Tasks))
	for i, t := range p.Tasks {
		if names[i] = t.Name; t.Name == name {
			return t, nil
		}
	}
	return nil, notFound("task", name, names)
}
