// SPDX-License-Identifier: Apache-2.0

package labeling

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/featurestore/offline"
)

// clock is a clock that tests set.
type clock struct{ at time.Time }

func newClock() *clock                   { return &clock{time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)} }
func (c *clock) now() time.Time          { return c.at }
func (c *clock) advance(d time.Duration) { c.at = c.at.Add(d) }

func openLog(t testing.TB, dir string, c *clock) *offline.Log {
	t.Helper()
	l, err := offline.Open(context.Background(), offline.Options{Dir: dir, Now: c.now, CompactEvery: -1, SegmentBytes: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() }) // a test that closed it itself has looked
	return l
}

func openStore(t testing.TB, l *offline.Log, c *clock) *Store {
	t.Helper()
	s, err := Open(context.Background(), Options{Log: l, Now: c.now, Seed: 7})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// newStore is a store of its own with a clock.
func newStore(t testing.TB) (*Store, *clock) {
	t.Helper()
	c := newClock()
	return openStore(t, openLog(t, t.TempDir(), c), c), c
}

// copyDir copies the files of a folder as they are now, like a disk that a killed process
// leaves behind.
func copyDir(t testing.TB, from string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(to, "LOCK")); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return to
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func colors() Project {
	return Project{Name: "colors", Labels: LabelSet{Kind: Single, Labels: []Label{{Name: "red", Key: "r"}, {Name: "green"}, {Name: "blue"}}}}
}

func define(t testing.TB, s *Store, p Project) {
	t.Helper()
	if err := s.Define(context.Background(), p); err != nil {
		t.Fatal(err)
	}
}

func numbered(n int) []Task {
	tasks := make([]Task, n)
	for i := range tasks {
		tasks[i] = Task{ID: fmt.Sprintf("t%d", i), Data: json.RawMessage(fmt.Sprintf(`{"text":"number %d"}`, i))}
	}
	return tasks
}

func ids(all []Assignment) []string {
	out := []string{}
	for _, a := range all {
		out = append(out, a.Task.ID)
	}
	return out
}
