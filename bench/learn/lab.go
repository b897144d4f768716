// SPDX-License-Identifier: Apache-2.0

// Package learn holds what the benchmark suite "learn" measures: how good our trainers
// are on published data, how fast trees are fitted and models judged, and what a pipeline
// costs.
//
// The payments follow the published protocol of their data set: models learn from seven
// days, seven days pass until labels are known, and they are judged by the seven days
// after, without customers known to be defrauded. Parameters were chosen on splits that
// end before those that are reported begin: candidates.yaml has all that were tried, and
// chosen.json what came out (see Choose). What is compared takes turns.
//
// Where the published data is not there, its rows stay unmeasured.
package learn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"
)

// Options say how to measure.
type Options struct {
	// Folder is where files go.
	Folder string
	// Binary is the program under test.
	Binary string
	// Source is the folder of the module's source, whose example is the project measured.
	Source string
	// Data is the folder of the published data sets; empty leaves what needs them unmeasured.
	Data string
	// Python has the packages of trees/requirements.txt; empty leaves the comparison of tree
	// trainers unmeasured.
	Python string
	Quick  bool
	// Progress is told what is being measured.
	Progress func(text string)
}

// Lab keeps what several measurements share. It belongs to one goroutine.
type Lab struct {
	Options
	cards *cards
}

// NewLab returns a lab.
func NewLab(o Options) *Lab { return &Lab{Options: o} }

// errNoData means that there is no published data to measure with.
var errNoData = errors.New("the published data sets are not there (../shared/data beside the source)")

// published is the path of a file of published data.
func (l *Lab) published(parts ...string) (string, error) {
	if l.Data == "" {
		return "", errNoData
	}
	path, err := filepath.Abs(filepath.Join(append([]string{l.Data}, parts...)...))
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("%w: %w", errNoData, err)
	}
	return path, nil
}

func (l *Lab) progress(format string, args ...any) {
	if l.Progress != nil {
		l.Progress(fmt.Sprintf(format, args...))
	}
}

// outputBytes is how much of a program's output an error shows.
const outputBytes = 4 << 10

// run runs the program under test in a folder and returns how long it took and what it
// wrote to its standard output.
func (l *Lab) run(ctx context.Context, dir string, args ...string) (time.Duration, []byte, error) {
	binary, err := filepath.Abs(l.Binary)
	if err != nil {
		return 0, nil, err
	}
	c := exec.CommandContext(ctx, binary, args...)
	c.Dir = dir
	var said, complained limited
	c.Stdout, c.Stderr = &said, &complained
	began := time.Now()
	if err := c.Run(); err != nil {
		return 0, nil, fmt.Errorf("%v: %w; it wrote:\n%s\n%s", args, err, tail(said.text), tail(complained.text))
	}
	return time.Since(began), said.text, nil
}

// limited keeps the first megabyte of what is written to it.
type limited struct{ text []byte }

var _ io.Writer = (*limited)(nil)

func (w *limited) Write(p []byte) (int, error) {
	w.text = append(w.text, p[:min(len(p), 1<<20-len(w.text))]...)
	return len(p), nil
}

func tail(text []byte) []byte { return text[max(0, len(text)-outputBytes):] }

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	if len(sorted) == 0 {
		return 0
	}
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}
