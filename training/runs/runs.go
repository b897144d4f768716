// SPDX-License-Identifier: Apache-2.0

// Package runs is the log of experiments: what was trained, with which parameters, from
// which data and code, and what came of it.
//
// The log is an SQLite file, or a PostgreSQL schema named millrace. A run is a row, with
// what is shown of it as JSON; parameters, metrics and tags are kept a second time, one row
// each, under an index by value, so that filters and sorting need not read other runs.
//
// Invariants:
//
//	R1  what a method has returned without an error is durable: it survives kill -9. (SQLite
//	    is synced at checkpoints alone, so a loss of power may take the last seconds.)
//	R2  a run is running, finished, failed or killed. It is killed where the process that
//	    wrote it is gone: its process id is looked up if it ran on this machine, else its
//	    heartbeat must be younger than HeartbeatAge.
//	R3  everything has a bound: see the constants. A curve that is full loses every second
//	    point, and from then on keeps one point of twice as many steps.
//
// Concurrency: a Store may be used from many goroutines, and many processes may open one
// log. A Recorder may be used from many goroutines.
package runs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
)

var (
	// ErrNotFound means that there is no run of that id.
	ErrNotFound = errors.New("no such run")
	// ErrQuery means that a query, or its filter, cannot be read.
	ErrQuery = errors.New("invalid query")
	// ErrBound means that a run holds more than the log keeps.
	ErrBound = errors.New("too much for the log of runs")
	// ErrVersion means that the log was written by a newer version of the program.
	ErrVersion = errors.New("log of runs of a newer version")
)

// Bounds of the log.
const (
	// FactsMax bounds the parameters, the metrics and the tags of a run, each.
	FactsMax = 1000
	// TextMax bounds a name or a value, in bytes.
	TextMax = 4096
	// DocumentMax bounds a manifest and an error, in bytes. Longer errors are cut.
	DocumentMax = 4 << 20
	errorMax    = 16 << 10
	// CurvesMax bounds the curves of a run, CurvePointsMax the points of one.
	CurvesMax      = 200
	CurvePointsMax = 2048
	// LimitMax bounds a page of runs; LimitDefault is that of a query that has none.
	LimitMax     = 10_000
	LimitDefault = 50
	// HeartbeatAge is the age of a heartbeat from which on a run on another machine counts
	// as killed; heartbeatEvery is how often they come.
	HeartbeatAge   = 2 * time.Minute
	heartbeatEvery = 30 * time.Second
)

// Status is how a run stands.
type Status string

// The statuses.
const (
	Running  Status = "running"
	Finished Status = "finished"
	Failed   Status = "failed"
	Killed   Status = "killed"
)

// Metric is a value, and the interval around it where one was computed.
type Metric struct {
	// Value may be NaN, which no filter finds.
	Value        float64
	Lower, Upper *float64
}

// metricJSON has null for what JSON cannot say.
type metricJSON struct {
	Value *float64 `json:"value"`
	Lower *float64 `json:"lower,omitempty"`
	Upper *float64 `json:"upper,omitempty"`
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

func finiteOrNil(v *float64) *float64 {
	if v == nil || !finite(*v) {
		return nil
	}
	return v
}

// MarshalJSON writes numbers that JSON has not as null.
func (m Metric) MarshalJSON() ([]byte, error) {
	return json.Marshal(metricJSON{finiteOrNil(&m.Value), finiteOrNil(m.Lower), finiteOrNil(m.Upper)})
}

// UnmarshalJSON reads what MarshalJSON wrote; null is NaN.
func (m *Metric) UnmarshalJSON(data []byte) error {
	var j metricJSON
	if err := json.Unmarshal(data, &j); err != nil {
		return err
	}
	*m = Metric{Value: math.NaN(), Lower: j.Lower, Upper: j.Upper}
	if j.Value != nil {
		m.Value = *j.Value
	}
	return nil
}

// Point is a point of a curve.
type Point struct {
	Step  int     `json:"step"`
	Value float64 `json:"value"`
}

// MarshalJSON writes numbers that JSON has not as null.
func (p Point) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Step  int      `json:"step"`
		Value *float64 `json:"value"`
	}{p.Step, finiteOrNil(&p.Value)})
}

// Artifact is what a run made.
type Artifact struct {
	Path string `json:"path,omitempty"`
	// Digest is its content's, such as sha256:....
	Digest string `json:"digest,omitempty"`
}

// Run is what the log knows of a run.
type Run struct {
	// ID sorts by the time of start; 26 letters and digits.
	ID         string `json:"id"`
	Experiment string `json:"experiment"`
	Name       string `json:"name,omitempty"`
	Status     Status `json:"status"`
	// Started and Ended are exact to microseconds. Ended is zero while the run is running,
	// and that of the last heartbeat for one that was killed.
	Started time.Time `json:"started"`
	Ended   time.Time `json:"ended,omitzero"`
	// Parent is the run that this is a part of, such as the search of a trial.
	Parent string `json:"parent,omitempty"`
	Method string `json:"method,omitempty"`
	// Parameters are numbers, texts and truths. Whole numbers come back as int64, others as
	// float64.
	Parameters map[string]any    `json:"parameters,omitempty"`
	Metrics    map[string]Metric `json:"metrics,omitempty"`
	Tags       map[string]string `json:"tags,omitempty"`
	Seed       uint64            `json:"seed"`
	// DataHash and CodeHash say what was learnt from and by which program; GitCommit is of
	// the folder that it ran in. Versions are those of libraries, by name.
	DataHash  string            `json:"data_hash,omitempty"`
	CodeHash  string            `json:"code_hash,omitempty"`
	GitCommit string            `json:"git_commit,omitempty"`
	Versions  map[string]string `json:"versions,omitempty"`
	Artifact  Artifact          `json:"artifact,omitzero"`
	Error     string            `json:"error,omitempty"`
	// Manifest and Curves are read by Get and not by List. Manifest is JSON.
	Manifest json.RawMessage    `json:"manifest,omitempty"`
	Curves   map[string][]Point `json:"curves,omitempty"`
}

// Result is what a run ended with; zero fields leave what the start said.
type Result struct {
	Metrics  map[string]Metric
	Artifact Artifact
	Manifest json.RawMessage
	// Parameters and Tags are added to those of the start.
	Parameters map[string]any
	Tags       map[string]string
}

// Query says which runs to list. Zero fields mean any.
type Query struct {
	Experiment string
	Status     Status
	Method     string
	Parent     string
	// Tag is NAME or NAME=VALUE.
	Tag string
	// Where is a filter; see ParseFilter.
	Where string
	// OrderBy is metrics.NAME or params.NAME, whose greatest come first, or least with
	// Ascending; runs that lack it are left out. Empty is by start, newest first.
	OrderBy   string
	Ascending bool
	// Limit is at most LimitMax; 0 is LimitDefault. After is the id of the last run of the
	// page before.
	Limit int
	After string
}

// Store is a log of runs.
type Store interface {
	// Start adds a run. Its status, id and times are set here; Started may be given. The
	// recorder must be ended by Finish or Fail.
	Start(ctx context.Context, r Run) (*Recorder, error)
	// List finds runs, without curves and manifests.
	List(ctx context.Context, q Query) ([]Run, error)
	// Get reads a run. An id may be cut to where it is unique. Errors wrap ErrNotFound.
	Get(ctx context.Context, id string) (*Run, error)
	// Delete takes a run out of the log, and leaves its artefact. One that is running is
	// not deleted.
	Delete(ctx context.Context, id string) error
	// Close ends the use. Recorders must have ended.
	Close() error
}

// Open opens the log of a URL, and makes it if there is none: a postgres:// or
// postgresql:// URL, or the path of an SQLite file, whose folder is made.
func Open(ctx context.Context, url string) (Store, error) {
	if strings.HasPrefix(url, "postgres://") || strings.HasPrefix(url, "postgresql://") {
		return openPostgres(ctx, url)
	}
	return openSQLite(ctx, url)
}

// File is where the log is in a state folder.
const File = "runs.db"

func checkText(what, text string, bytesMax int) error {
	if len(text) > bytesMax {
		return fmt.Errorf("%w: %s has %d bytes; at most %d", ErrBound, what, len(text), bytesMax)
	}
	if strings.ContainsRune(text, 0) {
		return fmt.Errorf("%w: %s has a zero byte", ErrBound, what)
	}
	return nil
}
