// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

func logPath(dir, run, task, item string) string {
	return filepath.Join(runDir(dir, run), instanceName(task, item)+".log")
}

// taskLog is the log of a task. When it is full it becomes the older half, and what was
// that is removed.
type taskLog struct {
	path string
	most int64
	mu   struct {
		sync.Mutex
		file *os.File
		size int64
	}
}

func openLog(path string, most int64) (*taskLog, error) {
	l := &taskLog{path: path, most: most}
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	return l, l.openLocked()
}

// openLocked opens the file. l.mu must be held, or nobody else know l yet.
func (l *taskLog) openLocked() error {
	f, err := os.OpenFile(l.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o666)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	l.mu.file, l.mu.size = f, info.Size()
	return nil
}

// Write never fails for want of room: a task does not fail because its log cannot be kept.
func (l *taskLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for rest := p; len(rest) > 0 && l.mu.file != nil; {
		piece := rest[:min(int64(len(rest)), l.most)]
		if l.mu.size+int64(len(piece)) > l.most && l.mu.size > 0 && !l.turnLocked() {
			break
		}
		n, err := l.mu.file.Write(piece)
		l.mu.size += int64(n)
		if err != nil {
			break
		}
		rest = rest[len(piece):]
	}
	return len(p), nil
}

// turnLocked begins a new file. l.mu must be held.
func (l *taskLog) turnLocked() bool {
	err := errors.Join(l.mu.file.Close(), os.Rename(l.path, l.path+".1"))
	l.mu.file = nil
	return err == nil && l.openLocked() == nil
}

// mark writes a line of the runner's own.
func (l *taskLog) mark(format string, args ...any) {
	_, _ = fmt.Fprintf(l, "%s -- %s\n", time.Now().UTC().Format(time.RFC3339), fmt.Sprintf(format, args...)) // never fails
}

// Close closes the file. Writes after it are dropped.
func (l *taskLog) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.file == nil {
		return nil
	}
	err := l.mu.file.Close()
	l.mu.file = nil
	return err
}

// readLog copies the log of a task to w.
func readLog(dir, run, task, item string, w io.Writer) error {
	path := logPath(dir, run, task, item)
	found := false
	for _, name := range []string{path + ".1", path} {
		f, err := os.Open(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read log: %w", err)
		}
		found = true
		_, err = io.Copy(w, f)
		if err = errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("read log: %w", err)
		}
	}
	if !found {
		return fmt.Errorf("log of task %s of run %s %w: it did not run, or its result came from the cache", instanceName(task, item), run, ErrNotFound)
	}
	return nil
}

// Progress is how far a task is.
type Progress struct {
	Task  string    `json:"task"` // with its item
	Done  int64     `json:"done"`
	Total int64     `json:"total,omitempty"`
	Phase string    `json:"phase,omitempty"`
	Time  time.Time `json:"time"`
}

// progressEvery is how often progress is written for other processes.
const progressEvery = time.Second

// progress gives the function by which a task says how far it is: it tells the observer,
// and from time to time other processes by a file.
func (e *engine) progress(run *RunStatus, s *TaskStatus) func(done, total int64, phase string) {
	var mu sync.Mutex
	var last time.Time
	name, attempt := s.Name(), s.Attempt
	path := filepath.Join(e.runDir(run.ID), "progress", name+".json")
	return func(done, total int64, phase string) {
		if e.options.Observe != nil {
			e.options.Observe(Event{Run: run.ID, Pipeline: run.Pipeline, Task: name, Status: StatusRunning, Attempt: attempt, Done: done, Total: total, Phase: phase})
		}
		mu.Lock()
		defer mu.Unlock()
		now := time.Now()
		if now.Sub(last) < progressEvery {
			return
		}
		last = now
		if data, err := json.Marshal(Progress{name, done, total, phase, now.UTC()}); err == nil {
			_ = writeFile(path, data, false) // progress that is not seen does no harm
		}
	}
}
