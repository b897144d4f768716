// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/millrace-ml/millrace/orchestrator/artifact"
)

// CollectOptions say what is kept.
type CollectOptions struct {
	// Runs is how many of the newest runs of each pipeline keep their artifacts; 0 is 20.
	Runs int
	// Age is what is kept whatever it is for; 0 is one hour. It has to be longer than tasks
	// that other processes run take to be recorded after they end.
	Age time.Duration
}

// Collect removes artifacts that no newer run has made or used, entries of the cache
// without artifacts, and results of single tasks whose runs nobody touched for a hundred
// times Age. It returns how many artifacts it removed. Runs may go on meanwhile.
func (r *Runner) Collect(ctx context.Context, o CollectOptions) (removed int, err error) {
	if o.Runs == 0 {
		o.Runs = 20
	}
	if o.Age == 0 {
		o.Age = time.Hour
	}
	keep := r.kept(o.Runs)
	if err := r.exportedDigests(time.Now().Add(-100*o.Age), keep); err != nil {
		return 0, err
	}
	removed, err = r.store.Collect(ctx, o.Age, func(d artifact.Digest) bool { return keep[d] || r.inUse(d) })
	return removed, errors.Join(err, r.collectCache(ctx))
}

// inUse says whether a run that goes on has an artifact: it may have found it in the cache
// since Collect began.
func (r *Runner) inUse(d artifact.Digest) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id := range r.mu.active {
		if run := r.mu.runs[id]; run != nil && run.has(d) {
			return true
		}
	}
	return false
}

func (r *RunStatus) has(d artifact.Digest) bool {
	for i := range r.Tasks {
		for _, out := range r.Tasks[i].Outputs {
			if out.Digest == d {
				return true
			}
		}
	}
	return false
}

// kept are the artifacts of the newest runs, and of those that have not ended.
func (r *Runner) kept(runs int) map[artifact.Digest]bool {
	keep, count := map[artifact.Digest]bool{}, map[string]int{}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range slices.Backward(r.mu.order) {
		run := r.mu.runs[id]
		if count[run.Pipeline]++; count[run.Pipeline] > runs && run.Status.Ended() {
			continue
		}
		for i := range run.Tasks {
			for _, out := range run.Tasks[i].Outputs {
				keep[out.Digest] = true
			}
		}
	}
	return keep
}

// exportedDigests adds the artifacts of tasks that were run one by one, and removes the
// records of runs that are older.
func (r *Runner) exportedDigests(before time.Time, keep map[artifact.Digest]bool) error {
	root := filepath.Join(r.options.Dir, "exported")
	runs, err := os.ReadDir(root)
	if err != nil {
		return err
	}
	for _, run := range runs {
		dir := filepath.Join(root, run.Name())
		if info, err := run.Info(); err == nil && info.ModTime().Before(before) {
			if err := os.RemoveAll(dir); err != nil {
				return err
			}
			continue
		}
		files, err := filepath.Glob(filepath.Join(dir, "*"+resultSuffix))
		if err != nil {
			return err
		}
		for _, f := range files {
			var s TaskStatus
			data, err := os.ReadFile(f)
			if err != nil || json.Unmarshal(data, &s) != nil {
				continue // being replaced, or of nobody
			}
			for _, out := range s.Outputs {
				keep[out.Digest] = true
			}
		}
	}
	return nil
}

// collectCache removes entries whose artifacts are gone, and what a crash left of new ones.
func (r *Runner) collectCache(ctx context.Context) error {
	return filepath.WalkDir(filepath.Join(r.options.Dir, "cache"), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		key := filepath.Base(filepath.Dir(path)) + strings.TrimSuffix(e.Name(), ".json")
		if len(key) == 64 {
			if _, ok := r.lookup(ctx, key); ok {
				return nil
			}
		} else if info, err := e.Info(); err != nil || time.Since(info.ModTime()) < time.Hour {
			return nil // somebody may be writing it
		}
		return removeIfThere(path)
	})
}
