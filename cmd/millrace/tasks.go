// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/millrace-ml/millrace/featurestore/dataset"
	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/offline"
	"github.com/millrace-ml/millrace/featurestore/source"
	"github.com/millrace-ml/millrace/orchestrator"
	"github.com/millrace-ml/millrace/orchestrator/command"
	"github.com/millrace-ml/millrace/orchestrator/notify"
	"github.com/millrace-ml/millrace/training"
	"github.com/millrace-ml/millrace/training/runs"
)

// The orchestrator knows nothing of what tasks do. The kinds of tasks that a pipeline of
// this project may use are made here: each phase of building a model is one.

// taskHost is what tasks of a project have to work with. Tasks run beside one another.
type taskHost struct {
	project *project
	// log is the event log, where this process has it open; nil opens it for each task.
	log *offline.Log
	// dry keeps promote from changing anything: for trying a pipeline in CI.
	dry bool
	// by is who runs the pipeline, for records of decisions in runs that no trigger began.
	by string
	// now is the project's clock where a replay moves it, else nil.
	now func() time.Time
	// workers bounds the goroutines of a task; 0 is one for each core.
	workers int
	// server is the gRPC address of the project's server; empty is what the project says.
	server string
	// http is its HTTP address, likewise.
	http string
	// self is the secret by which this process calls its own server, token that for others.
	self, token string
	// generating is held while missing payments are made.
	generating sync.Mutex
	// opened is the event log while tasks of this process use it, which may be many.
	opened struct {
		sync.Mutex
		log   *offline.Log
		users int
	}
}

// prepare makes the payments of a project that has some made where they are missing. Their
// content is part of cache keys, so it comes before a task is looked up.
func (h *taskHost) prepare(ctx context.Context) error {
	g := h.project.Generate
	if g == nil {
		return nil
	}
	h.generating.Lock()
	defer h.generating.Unlock()
	return g.generate(ctx, func(string, ...any) {})
}

// taskVersion is part of the cache key of all kinds here: raise it when a task of the
// same inputs is to give another result.
const taskVersion = "1"

// kinds are all that a pipeline may use.
func (h *taskHost) kinds() []orchestrator.Kind {
	return []orchestrator.Kind{
		h.extractKind(), h.featuresKind(), h.outcomesKind(), h.splitKind(), h.trainKind(), h.evaluateKind(), h.referenceKind(), h.canaryKind(), h.promoteKind(),
		notify.Kind(nil), command.Kind(h.project.Dir),
	}
}

// decodeWith reads `with` strictly. What is wrong with it stays wrong at another attempt.
func decodeWith(with []byte, to any) error {
	d := json.NewDecoder(bytes.NewReader(with))
	d.DisallowUnknownFields()
	if err := d.Decode(to); err != nil {
		return fmt.Errorf("%w: with: %w", orchestrator.ErrPermanent, err)
	}
	return nil
}

// taskTimes bound rows by time, as texts, since templates make them.
type taskTimes struct {
	From string `json:"from"`
	To   string `json:"to"`
}

func (t taskTimes) parse() (from, to momentFlag, err error) {
	for _, one := range []struct {
		name, text string
		to         *momentFlag
	}{{"from", t.From, &from}, {"to", t.To, &to}} {
		if one.text == "" {
			continue
		}
		if problem := one.to.Set(one.text); problem != nil {
			err = errors.Join(err, fmt.Errorf("with.%s: %w", one.name, problem))
		}
	}
	return from, to, err
}

// catalog reads the project's features.
func (h *taskHost) catalog() (*definition.Catalog, error) {
	return definition.Load(h.project.Features...)
}

// dataPath is the training set in a folder, or the path itself if it is a file.
func dataPath(path string) (string, error) {
	inside := filepath.Join(path, training.DataFile)
	if _, err := os.Stat(inside); err == nil {
		return inside, nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if info.IsDir() {
		return "", fmt.Errorf("%s: there is no %s in the folder", path, training.DataFile)
	}
	return path, nil
}

// progressOf hands progress on.
func progressOf(c *orchestrator.Call) func(done, total int64, phase string) {
	return func(done, total int64, phase string) { c.Progress(done, total, phase) }
}

// extractWith is what an extract task is told.
type extractWith struct {
	// Source is a source of the project's features; its inputs are read, or the event log.
	Source string `json:"source"`
	Log    bool   `json:"log"`
	taskTimes
	// BadRowsMax bounds the bad rows that are left out; negative is any number.
	BadRowsMax int64 `json:"bad_rows_max"`
}

func (h *taskHost) extractKind() orchestrator.Kind {
	return orchestrator.Kind{
		Name: "extract", Doc: "reads the events of a source (CSV, Parquet, JSON lines, PostgreSQL, the event log) into one Parquet file", Version: taskVersion,
		Outputs: []orchestrator.Port{{Name: "rows", File: "rows.parquet", Doc: "the events, by the names of the source's fields"}},
		Decode: func(with []byte) (orchestrator.Task, error) {
			var w extractWith
			if err := decodeWith(with, &w); err != nil {
				return nil, err
			}
			if w.Source == "" {
				return nil, errors.New("with.source is missing: the source to read")
			}
			return orchestrator.TaskFunc(func(ctx context.Context, c *orchestrator.Call) error { return h.extract(ctx, c, &w) }), nil
		},
		Fingerprint: func(ctx context.Context, f *orchestrator.Fingerprint) (string, error) {
			var w extractWith
			if err := decodeWith(f.With, &w); err != nil {
				return "", err
			}
			c, err := h.catalog()
			if err != nil {
				return "", err
			}
			s := c.Source(w.Source)
			if s == nil {
				return "", fmt.Errorf("with.source: there is no source %q", w.Source)
			}
			if w.Log {
				return h.logFingerprint(ctx)
			}
			if err := h.prepare(ctx); err != nil {
				return "", err
			}
			return inputsFingerprint(ctx, f, s)
		},
	}
}

// inputsFingerprint stands for the content of a source's inputs.
func inputsFingerprint(ctx context.Context, f *orchestrator.Fingerprint, s *definition.Source) (string, error) {
	hash := ""
	for i := range s.Inputs {
		in := &s.Inputs[i]
		if info, err := os.Stat(in.Path); in.Path != "" && err == nil && info.Mode().IsRegular() {
			digest, err := f.Hash(ctx, in.Path) // remembered until the file changes
			if err != nil {
				return "", err
			}
			hash += digest + "\n"
			continue
		}
		sum, _, err := source.Hash(ctx, s, i)
		if err != nil {
			return "", err
		}
		hash += hex.EncodeToString(sum[:]) + "\n"
	}
	return hash, nil
}

// openLog opens the event log for a task; done gives it back. Tasks that use it at the
// same time share it.
func (h *taskHost) openLog(ctx context.Context) (_ *offline.Log, done func() error, err error) {
	if h.log != nil {
		return h.log, func() error { return nil }, nil
	}
	h.opened.Lock()
	defer h.opened.Unlock()
	if h.opened.users == 0 {
		if h.opened.log, err = openLogOf(ctx, h.project.State); err != nil {
			return nil, nil, err
		}
	}
	h.opened.users++
	return h.opened.log, h.closeLog, nil
}

func (h *taskHost) closeLog() error {
	h.opened.Lock()
	defer h.opened.Unlock()
	if h.opened.users--; h.opened.users > 0 {
		return nil
	}
	return h.opened.log.Close()
}

func (h *taskHost) logFingerprint(ctx context.Context) (_ string, err error) {
	log, done, err := h.openLog(ctx)
	if err != nil {
		return "", err
	}
	defer closing(&err, done)
	return fmt.Sprintf("log before %d", log.Next()), nil
}

// featuresWith is what a features task is told.
type featuresWith struct {
	Service string `json:"service"`
	// Labels is source:NAME, or a file; Label the columns with labels.
	Labels string   `json:"labels"`
	Label  []string `json:"label"`
	Carry  []string `json:"carry"`
	AsOf   string   `json:"as_of"`
	taskTimes
	Hindsight       bool    `json:"hindsight"`
	SampleRate      float64 `json:"sample_rate"`
	SampleNegatives float64 `json:"sample_negatives"`
	Seed            uint64  `json:"seed"`
	Log             bool    `json:"log"`
	// Rows names the source that the input rows replace; empty is that of the labels.
	Rows string `json:"rows"`
}

func (h *taskHost) featuresKind() orchestrator.Kind {
	return orchestrator.Kind{
		Name: "features", Doc: "joins labels with the features of a service as they were known at the time", Version: taskVersion,
		Inputs:  []orchestrator.Port{{Name: "rows", Optional: true, Doc: "events of a source in place of its inputs, as extract writes them"}},
		Outputs: []orchestrator.Port{{Name: "dataset", Doc: "a folder with " + training.DataFile + " and its manifest"}},
		Decode: func(with []byte) (orchestrator.Task, error) {
			var w featuresWith
			if err := decodeWith(with, &w); err != nil {
				return nil, err
			}
			if w.Service == "" || w.Labels == "" || len(w.Label) == 0 {
				return nil, errors.New("with needs service, labels (source:NAME or a file) and label (a list of columns)")
			}
			return orchestrator.TaskFunc(func(ctx context.Context, c *orchestrator.Call) error { return h.features(ctx, c, &w) }), nil
		},
		Fingerprint: func(ctx context.Context, f *orchestrator.Fingerprint) (string, error) {
			var w featuresWith
			if err := decodeWith(f.With, &w); err != nil {
				return "", err
			}
			return h.featuresFingerprint(ctx, f, &w)
		},
	}
}

// featuresFingerprint stands for definitions and for what is read besides the input.
func (h *taskHost) featuresFingerprint(ctx context.Context, f *orchestrator.Fingerprint, w *featuresWith) (string, error) {
	c, err := h.catalog()
	if err != nil {
		return "", err
	}
	if err := h.prepare(ctx); err != nil {
		return "", err
	}
	hash := hex.EncodeToString(c.Hash[:]) + "\n"
	for i := range c.Sources {
		inputs, err := inputsFingerprint(ctx, f, c.Sources[i])
		if errors.Is(err, source.ErrInput) || errors.Is(err, fs.ErrNotExist) {
			continue // its rows come as an input; if they do not, the task says so
		} else if err != nil {
			return "", err
		}
		hash += inputs
	}
	if w.Log {
		log, err := h.logFingerprint(ctx)
		return hash + log, err
	}
	return hash, nil
}

// datasetOptions are those of dataset.Build.
func (h *taskHost) datasetOptions(c *orchestrator.Call, w *featuresWith) (dataset.Options, error) {
	f := datasetFlags{labels: w.Labels}
	o := &f.options
	o.Service, o.Labels.Names, o.Labels.Carry = w.Service, w.Label, w.Carry
	o.Hindsight, o.Version, o.Workers = w.Hindsight, version, h.workers
	o.Sample = dataset.Sample{Rate: w.SampleRate, Negatives: w.SampleNegatives, Seed: w.Seed}
	o.Output = filepath.Join(c.Outputs["dataset"], training.DataFile)
	var err error
	if f.from, f.to, err = w.parse(); err != nil {
		return f.options, err
	}
	if w.AsOf != "" {
		if err := f.asOf.Set(w.AsOf); err != nil {
			return f.options, fmt.Errorf("with.as_of: %w", err)
		}
	}
	if err := f.validate(); err != nil {
		return f.options, err
	}
	o.Catalog, err = h.catalog()
	return f.options, err
}

// runsStore opens the project's log of experiments.
func (h *taskHost) runsStore(ctx context.Context) (runs.Store, error) {
	return runs.Open(ctx, filepath.Join(h.project.State, runs.File))
}
