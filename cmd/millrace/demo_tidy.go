// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/millrace-ml/millrace/orchestrator"
)

// The demo runs without end, so what it leaves behind is bounded: the event log by
// log.retain of its project, what monitors found by their record, and the rest here.

const (
	// tidyEvery is how often, and tidyAge is what is kept whatever it is.
	tidyEvery = time.Minute
	tidyAge   = 10 * time.Minute
	// tidyRuns keep their artifacts; tidyVersions of the model, before the one that is served,
	// can be gone back to.
	tidyRuns     = 10
	tidyVersions = 20
)

// tidy removes what is old until ctx ends.
func (d *demo) tidy(ctx context.Context) {
	ticker := time.NewTicker(tidyEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		err := removeVersions(filepath.Join(d.up.project.Models, demoModel), d.servedVersion()-tidyVersions)
		if m := d.up.parts.monitors; m != nil && m.pipelines != nil {
			_, collected := m.pipelines.runner.Collect(ctx, orchestrator.CollectOptions{Runs: tidyRuns, Age: tidyAge})
			err = errors.Join(err, collected)
		}
		if err != nil && ctx.Err() == nil {
			d.up.log.Warn("what is old cannot be removed", "error", err)
		}
	}
}

// removeVersions removes the versions of a model before one.
func removeVersions(dir string, before int64) error {
	all, err := modelVersions(dir)
	for _, v := range all {
		if v < before {
			err = errors.Join(err, os.RemoveAll(filepath.Join(dir, strconv.FormatInt(v, 10))))
		}
	}
	return err
}

// newestLines cuts a file of lines down to the newest ones where it has more than twice as
// many, and returns what it has then.
func newestLines(path string, text []byte, most int) ([]byte, error) {
	lines := slices.Collect(bytes.Lines(text))
	if len(lines) <= 2*most {
		return text, nil
	}
	kept := bytes.Join(lines[len(lines)-most:], nil)
	return kept, writeWhole(path, kept)
}
