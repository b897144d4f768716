// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/millrace-ml/millrace/orchestrator/pipeline"
)

// Options of a Runner.
type Options struct {
	// Dir is the state folder; it is made if there is none.
	Dir string
	// Pipelines are what can be run.
	Pipelines *pipeline.File
	// Kinds are what tasks use, by any order; names are different.
	Kinds []Kind
	// Concurrency bounds the tasks that go on at once, over all runs; 0 is the number of
	// processors. 1 to pipeline.ConcurrencyMax.
	Concurrency int
	// RunsMax bounds the runs that are remembered; 0 is 1,000. The oldest are forgotten.
	RunsMax int
	// LogBytesMax bounds the log of a task: of one that is longer the last part is kept, from
	// one to two times this. 0 is 4 MiB.
	LogBytesMax int64
	// StopWait is how long a task may take to return after its context ended; 0 is 30 s.
	StopWait time.Duration
	// Verify reads all artifacts before they are used, instead of looking whether they are there.
	Verify bool
	// Observe is told what happens; nil for nobody. It returns soon and does not call the
	// runner; many goroutines may call it.
	Observe func(Event)
	// Hold is asked before a run begins that a trigger asked for, by what the run would know: while
	// it says so the run waits, and with it those behind it. Serve asks again at each look; nil
	// holds none. It returns soon and does not call the runner.
	Hold func(trigger map[string]any) bool
	// Look is how often files that are triggers, and requests to cancel, are looked for; 0 is
	// a quarter of a second.
	Look time.Duration
}

// EnsureDefaults sets what is zero.
func (o *Options) EnsureDefaults() {
	set := func(v *int, unset int) {
		if *v == 0 {
			*v = unset
		}
	}
	set(&o.Concurrency, min(runtime.GOMAXPROCS(0), pipeline.ConcurrencyMax))
	set(&o.RunsMax, 1000)
	if o.LogBytesMax == 0 {
		o.LogBytesMax = 4 << 20
	}
	if o.StopWait == 0 {
		o.StopWait = 30 * time.Second
	}
	if o.Look == 0 {
		o.Look = 250 * time.Millisecond
	}
	if o.Pipelines == nil {
		o.Pipelines = &pipeline.File{}
	}
}

// Validate reports all options that make no sense.
func (o *Options) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("%w: "+format, append([]any{ErrInvalid}, args...)...))
		}
	}
	check(o.Dir != "", "the state folder is not set")
	check(o.Concurrency >= 1 && o.Concurrency <= pipeline.ConcurrencyMax, "concurrency %d, want 1 to %d", o.Concurrency, pipeline.ConcurrencyMax)
	check(o.RunsMax >= 1, "runs max %d, want 1 or more", o.RunsMax)
	check(o.LogBytesMax >= 1<<10, "log bytes max %d, want 1 KiB or more", o.LogBytesMax)
	check(o.StopWait > 0 && o.Look > 0, "a wait is negative")
	seen := map[string]bool{}
	for _, k := range o.Kinds {
		check(k.Name != "" && k.Decode != nil && !seen[k.Name], "kind %q has no name, no decoder, or comes twice", k.Name)
		seen[k.Name] = true
	}
	return errors.Join(errs...)
}
