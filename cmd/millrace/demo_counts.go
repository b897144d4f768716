// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// demoCountsFile keeps what was counted over several starts, in the state folder. What the
// last second before a crash had is not in it.
const demoCountsFile = "demo-counts.json"

// demoCounts are of all starts in a folder.
type demoCounts struct {
	Decisions int64 `json:"decisions"`
	// Outcomes are frauds that were told, the others known by silence; Known and Caught are
	// frauds that are known, and those of them that were reviewed or blocked.
	Outcomes int64 `json:"outcomes"`
	Known    int64 `json:"known"`
	Caught   int64 `json:"caught"`
}

func (c demoCounts) plus(o demoCounts) demoCounts {
	return demoCounts{c.Decisions + o.Decisions, c.Outcomes + o.Outcomes, c.Known + o.Known, c.Caught + o.Caught}
}

// recount reads the counts of earlier starts.
func (d *demo) recount() error {
	text, err := os.ReadFile(d.countsPath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err == nil {
		err = json.Unmarshal(text, &d.mu.earlier)
	}
	if err != nil {
		return fmt.Errorf("%s: %w; it may be removed", d.countsPath(), err)
	}
	return nil
}

func (d *demo) countsPath() string { return filepath.Join(d.up.project.State, demoCountsFile) }

// count takes the counts of this start, and keeps them.
func (d *demo) count(total replayCounts) {
	d.mu.Lock()
	d.mu.counts = demoCounts{total.decisions, total.outcomes, total.frauds, total.caught}
	d.mu.Unlock()
	text, err := json.Marshal(d.counts())
	if err == nil {
		err = writeWhole(d.countsPath(), text)
	}
	if err != nil {
		d.up.log.Warn("what was counted is not kept", "error", err)
	}
}

// counts are those of all starts.
func (d *demo) counts() demoCounts {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.mu.earlier.plus(d.mu.counts)
}
