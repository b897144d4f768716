// SPDX-License-Identifier: Apache-2.0

// Package evaluation judges a model: it reads rows with their truth, lets the model
// predict them, measures the predictions with intervals, as a whole and in slices, compares
// them with the champion's on the same rows, looks for leaks, and holds what it found
// against gates. The result is a report.Report.
//
//	V1  A row is measured for all models or for none: comparisons are paired.
//	V2  What is not defined is null in the report, with a note, and fails the gates over it.
//	V3  Equal data, models, spec and seed give equal numbers with any number of workers, but
//	    for latencies and the time of the report.
//	V4  A row whose label is null is left out and counted. Anything else that cannot be
//	    measured, such as a score that is NaN, is an error that names the row.
//
// Rows are held in memory by column, at most Options.RowsMax.
//
// Concurrency: Evaluate may be called many times at once. The goroutines that it starts
// have ended when it returns.
package evaluation

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"time"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/auto"
	"github.com/millrace-ml/millrace/engine/native"
	"github.com/millrace-ml/millrace/engine/onnxrt"
	"github.com/millrace-ml/millrace/evaluation/gate"
	"github.com/millrace-ml/millrace/evaluation/report"
)

var (
	// ErrSpec means that what was asked for is not sound: the spec has to change.
	ErrSpec = errors.New("invalid evaluation")
	// ErrData means that the rows cannot be evaluated: a column that is missing, labels of
	// one class, a score that is NaN.
	ErrData = errors.New("cannot evaluate this data")
	// ErrModel means that a model cannot be read, or does not take the data.
	ErrModel = errors.New("cannot evaluate this model")
)

// Bounds.
const (
	// rowsMaxDefault bounds the rows where Options do not.
	rowsMaxDefault = 50_000_000
	// classesMax bounds the classes of a label.
	classesMax = 10_000
	// slicesMax bounds the slices that are measured.
	slicesMax = 1000
	// WorkersMax bounds the goroutines.
	WorkersMax = 256
)

// Options say what to evaluate and how.
type Options struct {
	Spec Spec
	// Backend runs models; nil is the native engine, with ONNX Runtime for what that does
	// not cover.
	Backend engine.Backend
	// Workers bounds the goroutines; 0 is one for each core.
	Workers int
	// RowsMax bounds the rows that are read; 0 is 50 million.
	RowsMax int
	// NoLatency leaves out measuring how fast the model is.
	NoLatency bool
	// StateFile has the aliases of a model repository, for models such as fraud@champion.
	StateFile string
	// Version is that of the program, for the report.
	Version string
	// Now tells the time of the report; nil is time.Now.
	Now func() time.Time
	// Progress, if not nil, is told what is being done and how much of it is; a total under 1
	// is not known. Several goroutines may call it at once.
	Progress func(phase string, done, total int64)
}

// EnsureDefaults replaces zero values by what they stand for.
func (o *Options) EnsureDefaults() {
	if o.Backend == nil {
		quiet := slog.New(slog.DiscardHandler)
		o.Backend = &auto.Backend{Native: native.Backend{}, Other: onnxrt.NewBackend(onnxrt.Options{Logger: quiet}), Logger: quiet}
	}
	if o.Workers == 0 {
		o.Workers = min(runtime.GOMAXPROCS(0), WorkersMax)
	}
	if o.RowsMax == 0 {
		o.RowsMax = rowsMaxDefault
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Progress == nil {
		o.Progress = func(string, int64, int64) {}
	}
	o.Spec.EnsureDefaults()
}

// Validate reports everything that is wrong, after EnsureDefaults.
func (o *Options) Validate() error {
	var wrong []error
	if o.Workers < 1 || o.Workers > WorkersMax {
		wrong = append(wrong, fmt.Errorf("%w: %d workers, 1 to %d are allowed", ErrSpec, o.Workers, WorkersMax))
	}
	if o.RowsMax < 1 || o.RowsMax > 1<<31-1 {
		wrong = append(wrong, fmt.Errorf("%w: %d rows at most, 1 to 2147483647 are allowed", ErrSpec, o.RowsMax))
	}
	return errors.Join(append(wrong, o.Spec.Validate())...)
}

// Evaluate does an evaluation. Whether the model passes its gates is in the Verdict of the
// report, not in the error. Errors wrap ErrSpec, ErrData or ErrModel where those are at
// fault; the end of ctx ends it soon.
func Evaluate(ctx context.Context, o Options) (r *report.Report, err error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return nil, err
	}
	e := &run{Options: o, spec: &o.Spec}
	defer func() { err = errors.Join(err, e.close()) }()
	for _, step := range []func(context.Context) error{
		e.open, e.read, e.predict, e.prepare, e.measure, e.tests, e.measureSlices, e.leaks, e.speed,
	} {
		if err := step(ctx); err != nil {
			return nil, err
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	e.plots()
	e.summary(ctx)
	gate.Judge(o.Spec.Gates, &e.report)
	return &e.report, nil
}
