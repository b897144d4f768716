// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/millrace-ml/millrace/orchestrator/artifact"
	"github.com/millrace-ml/millrace/orchestrator/journal"
	"github.com/millrace-ml/millrace/orchestrator/pipeline"
)

// compactBytes is the size from which the journal is written anew when it is opened, if
// most of it is about what has ended or changed since.
const compactBytes = 1 << 20

// Runner runs the pipelines of a state folder.
type Runner struct {
	*engine
	lock    io.Closer
	journal *journal.Journal
	mu      struct {
		sync.Mutex
		*state
		active map[string]context.CancelCauseFunc
		closed bool
	}
	// wake tells Serve that a trigger has something for it.
	wake chan struct{}
	// triggering is held while a trigger is looked at and written down. Lock order:
	// triggering -> mu.
	triggering sync.Mutex
}

// Open takes the state folder, repairs what a crash left, and returns its runner. Runs
// that were interrupted wait for Resume.
func Open(ctx context.Context, o Options) (*Runner, error) {
	e, err := newEngine(o)
	if err != nil {
		return nil, err
	}
	r := &Runner{engine: e, wake: make(chan struct{}, 1)}
	r.mu.active = map[string]context.CancelCauseFunc{}
	if r.lock, err = lockPatiently(filepath.Join(r.options.Dir, "lock")); err != nil {
		return nil, err
	}
	if err := r.open(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open state folder %s: %w", o.Dir, err), r.lock.Close())
	}
	return r, nil
}

// viewMax is how long a runner waits for those who only look at the folder.
const viewMax = 30 * time.Second

// lockPatiently does not take a View, which shares the lock for a moment to see whether
// anybody has it, for a runner.
func lockPatiently(path string) (l io.Closer, err error) {
	for begin, runner := time.Now(), 0; runner < 5 && time.Since(begin) < viewMax; time.Sleep(10 * time.Millisecond) {
		if l, err = lock(path); !errors.Is(err, ErrLocked) {
			return l, err
		}
		if view, shared := lockShared(path); shared == nil {
			_ = view.Close() // it was only tried
		} else {
			runner++
		}
	}
	return nil, err
}

func (r *Runner) open(ctx context.Context) error {
	if err := errors.Join(os.RemoveAll(r.work), os.MkdirAll(r.work, 0o777)); err != nil {
		return err
	}
	s := newState()
	j, _, err := journal.Open(filepath.Join(r.options.Dir, "journal"), s.replay)
	if err != nil {
		return err
	}
	r.journal, r.mu.state = j, s
	if err := errors.Join(r.compact(), r.forgetCancels()); err != nil {
		return errors.Join(err, j.Close())
	}
	return ctx.Err()
}

// forgetCancels removes requests for runs that have ended meanwhile.
func (r *Runner) forgetCancels() error {
	waiting := map[string]bool{}
	for id, run := range r.mu.runs {
		if !run.Status.Ended() {
			waiting[filepath.Base(r.cancelPath(id))] = true
		}
	}
	entries, err := os.ReadDir(filepath.Join(r.options.Dir, "cancel"))
	for _, e := range entries {
		if !waiting[e.Name()] {
			err = errors.Join(err, removeIfThere(filepath.Join(r.options.Dir, "cancel", e.Name())))
		}
	}
	return err
}

// compact writes the journal anew if more than half of it is not needed.
func (r *Runner) compact() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range r.mu.drop(r.options.RunsMax) {
		if err := os.RemoveAll(r.runDir(id)); err != nil {
			return err
		}
	}
	needed := len(r.mu.fired)
	for _, run := range r.mu.runs {
		needed += 2 + len(run.Tasks)
	}
	if r.journal.Size() < compactBytes || r.mu.lines < 2*needed {
		return nil
	}
	r.mu.lines = needed
	return r.journal.Rewrite(r.mu.snapshot)
}

// Close waits for nothing: it is called when all runs have returned. Runs that have not
// are interrupted.
func (r *Runner) Close() error {
	r.mu.Lock()
	r.mu.closed = true
	for _, cancel := range r.mu.active {
		cancel(ErrInterrupted)
	}
	r.mu.Unlock()
	return errors.Join(r.digests.Save(), r.journal.Close(), r.lock.Close())
}

// record writes a record down and applies it. With durable it survives the machine's end.
func (r *Runner) record(rec record, durable bool) error {
	data, err := json.Marshal(rec)
	if err != nil {
		return err
	}
	r.mu.Lock()
	end, err := r.journal.Append(data)
	if err == nil {
		r.mu.lines++
		err = r.mu.apply(&rec)
	}
	r.mu.Unlock()
	if err == nil && durable {
		err = r.journal.Sync(end)
	}
	return err
}

// RunOptions say how a pipeline is run.
type RunOptions struct {
	// Run is the id of the run, empty to make one. A run of that id that was interrupted is
	// resumed; of one that has ended the status is returned and nothing is done.
	Run    string
	Params map[string]any
	// Partition is the key of a partition, for pipelines that have some; empty is the last
	// one that ended before Time.
	Partition string
	Trigger   map[string]any // what started the run; nil is by hand
	Time      time.Time      // what the run is for; zero is now
	// IgnoreCache runs all tasks; From runs some, and all that wait for them, whether they are
	// in the cache or not.
	IgnoreCache bool
	From        []string
	// Only runs some tasks and all that they wait for; nil runs all.
	Only []string
	// begun is called once the run is written down.
	begun func()
	// asked is the trigger whose run this is, which says what the run knows; nil for others.
	asked *firedKey
}

var runPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:+@=-]{0,199}$`)

// Run runs a pipeline to its end and returns how it stands. The error is ErrFailed if a
// task failed, ErrCancelled, ErrInterrupted if the context ended (the run can be resumed),
// or says why there was no run.
func (r *Runner) Run(ctx context.Context, name string, o RunOptions) (*RunStatus, error) {
	p, err := r.options.Pipelines.Find(name)
	if err != nil {
		return nil, err
	}
	if o.Run != "" && !runPattern.MatchString(o.Run) {
		return nil, fmt.Errorf("%w: run id %q, want letters, digits and . _ : + @ = -", ErrInvalid, o.Run)
	}
	if err := r.Check(p); err != nil {
		return nil, err
	}
	if o.Run != "" {
		if known, err := r.Status(o.Run); err == nil {
			if o.begun != nil {
				o.begun()
			}
			if o.asked != nil {
				if err := r.forgetAsked(*o.asked); err != nil {
					return known, err
				}
			}
			return r.again(ctx, p, known)
		}
	}
	run, err := newRun(p, o)
	if err != nil {
		return nil, err
	}
	return r.drive(ctx, p, run, func() error {
		if o.asked != nil {
			return r.beginAsked(run, *o.asked)
		}
		err := r.record(record{Kind: recordRun, Run: run.ID, Time: run.Started, Begin: run}, true)
		if err == nil && o.begun != nil {
			o.begun()
		}
		return err
	})
}

// newRun resolves what a run is to work with.
func newRun(p *pipeline.Pipeline, o RunOptions) (*RunStatus, error) {
	now := time.Now().UTC()
	run := &RunStatus{ID: o.Run, Pipeline: p.Name, Hash: p.Hash, Status: StatusRunning, Started: now, Time: o.Time.UTC(),
		Trigger: o.Trigger, Ignore: o.IgnoreCache, From: o.From, Only: o.Only}
	if o.Time.IsZero() {
		run.Time = now
	}
	if run.Trigger == nil {
		run.Trigger = map[string]any{"on": "hand"}
	}
	if data, err := json.Marshal(run.Trigger); err != nil || len(data) > triggerBytesMax {
		return nil, fmt.Errorf("%w: what the trigger says has %d bytes, at most %d are allowed (%v)", ErrInvalid, len(data), triggerBytesMax, err)
	}
	if run.ID == "" {
		var random [4]byte
		_, _ = rand.Read(random[:]) // never fails
		run.ID = now.Format("20060102T150405.000") + "-" + hex.EncodeToString(random[:])
	}
	for _, task := range slices.Concat(o.From, o.Only) {
		if _, err := p.Task(task); err != nil {
			return nil, err
		}
	}
	var err error
	if run.Params, err = p.Resolve(o.Params, run.Time); err != nil {
		return nil, err
	}
	switch {
	case p.Partitions != nil && o.Partition != "":
		var part pipeline.Partition
		if part, err = p.Partitions.Parse(o.Partition); err != nil {
			return nil, err
		}
		run.Partition = partition(part)
	case p.Partitions != nil:
		part := p.Partitions.Of(p.Partitions.Of(run.Time).Start.Add(-1))
		if part.Start.Before(p.Partitions.From) {
			return nil, fmt.Errorf("%w: no partition of pipeline %q has ended by %s", ErrInvalid, p.Name, run.Time.Format(time.RFC3339))
		}
		run.Partition = partition(part)
	case o.Partition != "":
		return nil, fmt.Errorf("%w: pipeline %q has no partitions", ErrInvalid, p.Name)
	}
	return run, nil
}

func partition(p pipeline.Partition) Partition {
	return Partition{p.Key, p.Start.Format(time.RFC3339), p.End.Format(time.RFC3339)}
}

// again resumes a run, if it has not ended.
func (r *Runner) again(ctx context.Context, p *pipeline.Pipeline, run *RunStatus) (*RunStatus, error) {
	switch {
	case run.Pipeline != p.Name:
		return nil, fmt.Errorf("%w: run %s is one of pipeline %q", ErrInvalid, run.ID, run.Pipeline)
	case run.Status.Ended():
		return run, run.err()
	case run.Hash != p.Hash:
		return run, fmt.Errorf("run %s: %w", run.ID, ErrChanged)
	}
	return r.drive(ctx, p, run, func() error { return nil })
}

// err is what Run returns for a run that has ended.
func (r *RunStatus) err() error {
	switch r.Status {
	case StatusCancelled:
		return fmt.Errorf("run %s: %w", r.ID, ErrCancelled)
	case StatusFailed:
		return fmt.Errorf("run %s %w: %s", r.ID, ErrFailed, r.Error)
	}
	return nil
}

// Resume goes on with the runs that were interrupted, one after the other, the oldest
// first, and returns how they ended. Runs of pipelines that were changed or removed
// are ended as failed.
func (r *Runner) Resume(ctx context.Context) (ended []*RunStatus, err error) {
	for _, run := range r.Runs("") {
		if run.Status != StatusInterrupted {
			continue
		}
		run, e := r.resume(ctx, run)
		ended, err = append(ended, run), errors.Join(err, e)
		if ctx.Err() != nil {
			return ended, err
		}
	}
	return ended, err
}

// resume goes on with a run, or ends it as failed if that cannot be.
func (r *Runner) resume(ctx context.Context, run *RunStatus) (*RunStatus, error) {
	p, err := r.options.Pipelines.Find(run.Pipeline)
	if err == nil {
		err = r.Check(p)
	}
	if err == nil && run.Hash != p.Hash {
		err = fmt.Errorf("run %s: %w", run.ID, ErrChanged)
	}
	if err != nil {
		return run, errors.Join(err, r.close(run, StatusFailed, err.Error()))
	}
	return r.again(ctx, p, run)
}

// close ends a run.
func (r *Runner) close(run *RunStatus, status Status, message string) error {
	err := r.record(record{Kind: recordClose, Run: run.ID, Time: time.Now().UTC(), Status: status, Error: message}, true)
	if err == nil {
		run.Status, run.Error = status, message
		err = removeIfThere(r.cancelPath(run.ID))
	}
	return err
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Status returns a run.
func (r *Runner) Status(run string) (*RunStatus, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.mu.runs[run]
	if s == nil {
		return nil, fmt.Errorf("run %q %w", run, ErrNotFound)
	}
	return r.seenLocked(s), nil
}

// seenLocked is a copy of a run that says whether somebody drives it. r.mu must be held.
func (r *Runner) seenLocked(run *RunStatus) *RunStatus {
	c := run.clone()
	if c.Status == StatusRunning && r.mu.active[run.ID] == nil {
		c.Status = StatusInterrupted
	}
	return c
}

// Runs returns the runs of a pipeline, or all for an empty name, the oldest first.
func (r *Runner) Runs(pipeline string) (all []*RunStatus) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range r.mu.order {
		if run := r.mu.runs[id]; pipeline == "" || run.Pipeline == pipeline {
			all = append(all, r.seenLocked(run))
		}
	}
	return all
}

// Cancel ends a run that goes on here, or marks one that was interrupted as cancelled.
func (r *Runner) Cancel(run string) error {
	r.mu.Lock()
	s, cancel := r.mu.runs[run], r.mu.active[run]
	r.mu.Unlock()
	switch {
	case s == nil:
		return fmt.Errorf("run %q %w", run, ErrNotFound)
	case cancel != nil:
		cancel(ErrCancelled)
		return nil
	}
	status, err := r.Status(run)
	if err != nil || status.Status.Ended() {
		return err
	}
	return r.close(status, StatusCancelled, "cancelled after it was interrupted")
}

// Backfill runs a pipeline for each partition that begins in [from, to), the oldest first,
// parallel at once. Options apply to all; Run is put before the partitions' keys to make
// ids, so that a backfill of the same Run is resumed and does not repeat what has ended.
// It goes on after a failure, and returns all errors.
func (r *Runner) Backfill(ctx context.Context, name string, from, to time.Time, parallel int, o RunOptions) ([]*RunStatus, error) {
	p, err := r.options.Pipelines.Find(name)
	if err != nil {
		return nil, err
	}
	if p.Partitions == nil {
		return nil, fmt.Errorf("%w: pipeline %q has no partitions to go over", ErrInvalid, name)
	}
	parts, err := p.Partitions.Range(from, to)
	if err != nil {
		return nil, err
	}
	runs, errs := make([]*RunStatus, len(parts)), make([]error, len(parts))
	next := make(chan int)
	var wait sync.WaitGroup
	for range min(max(parallel, 1), len(parts)) {
		wait.Go(func() {
			for i := range next {
				one := o
				one.Partition, one.Time = parts[i].Key, parts[i].End
				one.Trigger = map[string]any{"on": "backfill"}
				if o.Run != "" {
					one.Run = o.Run + "." + parts[i].Key
				}
				if runs[i], errs[i] = r.Run(ctx, name, one); errs[i] != nil {
					errs[i] = fmt.Errorf("partition %s: %w", parts[i].Key, errs[i])
				}
			}
		})
	}
	for i := range parts {
		if ctx.Err() != nil {
			errs[i] = fmt.Errorf("partition %s and later: %w", parts[i].Key, ErrInterrupted)
			break
		}
		next <- i
	}
	close(next)
	wait.Wait()
	return slices.DeleteFunc(runs, func(s *RunStatus) bool { return s == nil }), errors.Join(errs...)
}

// Verify reads all artifacts of a run and compares them with their digests.
func (r *Runner) Verify(ctx context.Context, run string) error {
	s, err := r.Status(run)
	if err != nil {
		return err
	}
	var errs []error
	for i := range s.Tasks {
		for name, out := range s.Tasks[i].Outputs {
			if err := r.store.Verify(ctx, out.Digest); err != nil {
				errs = append(errs, fmt.Errorf("%s.%s: %w", s.Tasks[i].Name(), name, err))
			}
		}
	}
	return errors.Join(errs...)
}

// Graph draws a pipeline; with a run, how its tasks stand.
func (r *Runner) Graph(name, run string, f pipeline.Format) (string, error) {
	p, err := r.options.Pipelines.Find(name)
	if err != nil {
		return "", err
	}
	if run == "" {
		return p.Graph(f, nil)
	}
	s, err := r.Status(run)
	if err != nil {
		return "", err
	}
	return p.Graph(f, s.Note)
}

// Path is where an artifact of a run lies, to be read only.
func (r *Runner) Path(d artifact.Digest) string { return r.store.Path(d) }
