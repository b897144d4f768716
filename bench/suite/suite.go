// SPDX-License-Identifier: Apache-2.0

// Package suite measures the server and the kernels against their peers and targets.
//
// Server and peers run in processes of their own, as they would; the load
// generator and directly run models are in this process, on the same cores. What
// is compared is measured in turns, in short rounds close to each other in time,
// so that a machine that slows down slows all sides; the value is the median of
// the rounds' ratios. Nothing is compared across scenarios or runs.
//
// A suite runs its scenarios one after the other. Every process it starts is
// stopped before the scenario ends, also when that fails.
package suite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/millrace-ml/millrace/bench/features"
	"github.com/millrace-ml/millrace/bench/kernels"
	"github.com/millrace-ml/millrace/bench/learn"
	"github.com/millrace-ml/millrace/bench/report"
	"github.com/millrace-ml/millrace/engine"
)

// ErrInvalidOptions reports a suite that cannot run as asked.
var ErrInvalidOptions = errors.New("invalid suite options")

// Options says how to run a suite.
type Options struct {
	// Binary is the program under test, with its serve, demo-repository and bench
	// commands. It must be given.
	Binary string `json:"-"`
	// Backend runs models in this process. It must be given.
	Backend engine.Backend `json:"-"`
	// Source is the folder of the module's source, for what only its tests can
	// measure. Empty leaves those rows unmeasured.
	Source string `json:"-"`
	// Quick shortens everything to a few seconds. The values then mean nothing; it
	// shows that the suite works.
	Quick bool `json:"quick"`
	// Only runs the scenarios of these names. Empty runs all.
	Only []string `json:"only,omitempty"`
	// Progress, when set, is told what is being measured.
	Progress func(text string) `json:"-"`
}

// validate reports everything that is wrong with the options.
func (o *Options) validate(s *suite) error {
	var problems []error
	if o.Binary == "" {
		problems = append(problems, fmt.Errorf("%w: no program to measure", ErrInvalidOptions))
	}
	if o.Backend == nil {
		problems = append(problems, fmt.Errorf("%w: no backend to run models directly", ErrInvalidOptions))
	}
	for _, name := range o.Only {
		if !slices.Contains(s.names(), name) {
			problems = append(problems, fmt.Errorf("%w: no scenario %q; there are %s",
				ErrInvalidOptions, name, strings.Join(s.names(), ", ")))
		}
	}
	return errors.Join(problems...)
}

// scenario measures one or a few rows.
type scenario struct {
	name string
	// rows are what the scenario promises to measure.
	rows []promise
	// run returns the values in the order of rows, and what else is worth keeping.
	run func(ctx context.Context, b *bench) (values []float64, details any, err error)
}

// promise is a row before it is measured.
type promise struct {
	name   string
	target report.Target
}

// outcome is the detail of one scenario in the report.
type outcome struct {
	Seconds float64 `json:"seconds"`
	Error   string  `json:"error,omitempty"`
	Details any     `json:"details,omitempty"`
}

// suite is scenarios that make one report.
type suite struct {
	name      string
	scenarios []scenario
	// models writes what is served into a model repository.
	models func(repository string) error
}

// Serve runs the suite that compares the server with its peers. A scenario that
// fails leaves its rows unmeasured and the suite goes on; an error is returned
// when nothing could be run, or ctx ended.
func Serve(ctx context.Context, o Options) (*report.Report, error) { return serveSuite.run(ctx, o) }

// ServeScenarios names the scenarios of the suite.
func ServeScenarios() []string { return serveSuite.names() }

// run runs the scenarios that the options ask for.
func (s *suite) run(ctx context.Context, o Options) (*report.Report, error) {
	if err := o.validate(s); err != nil {
		return nil, err
	}
	b, err := newBench(o, s.models)
	if err != nil {
		return nil, err
	}
	defer b.remove()
	r := report.New(s.name, o)
	details := map[string]outcome{}
	for _, s := range s.scenarios {
		if len(o.Only) > 0 && !slices.Contains(o.Only, s.name) {
			continue
		}
		b.progress("%s", s.name)
		rows, result := b.runScenario(ctx, s)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		r.Rows = append(r.Rows, rows...)
		details[s.name] = result
	}
	r.Details = details
	return r, nil
}

func (s *suite) names() []string {
	names := make([]string, len(s.scenarios))
	for i := range s.scenarios {
		names[i] = s.scenarios[i].name
	}
	return names
}

func (b *bench) runScenario(ctx context.Context, s scenario) ([]report.Row, outcome) {
	started := time.Now()
	values, details, err := s.run(ctx, b)
	err = errors.Join(err, b.stopProcesses())
	result := outcome{Details: details}
	if err != nil {
		result.Error = err.Error()
	}
	rows := make([]report.Row, len(s.rows))
	for i, p := range s.rows {
		if err != nil || i >= len(values) {
			rows[i] = report.NotMeasured(p.name, p.target, result.Error)
			continue
		}
		rows[i] = report.NewRow(p.name, values[i], p.target)
	}
	result.Seconds = time.Since(started).Seconds()
	return rows, result
}

// bench is what scenarios share: options, a model repository, and the processes of
// the scenario that runs.
type bench struct {
	Options
	pace       pace
	folder     string // removed at the end
	repository string
	processes  []*process
	lab        *kernels.Lab // see inLab
	featureLab *features.Lab
	learnLab   *learn.Lab
}

// newBench makes the model repository, which write fills.
func newBench(o Options, write func(repository string) error) (*bench, error) {
	folder, err := os.MkdirTemp("", "millrace-bench-")
	if err != nil {
		return nil, fmt.Errorf("folder for the models: %w", err)
	}
	b := &bench{Options: o, folder: folder, repository: filepath.Join(folder, "models"), pace: fullPace}
	if o.Quick {
		b.pace = quickPace
	}
	if err := write(b.repository); err != nil {
		return nil, errors.Join(err, b.remove())
	}
	return b, nil
}

func (b *bench) remove() error { return os.RemoveAll(b.folder) }

func (b *bench) progress(format string, args ...any) {
	if b.Progress != nil {
		b.Progress(fmt.Sprintf(format, args...))
	}
}
