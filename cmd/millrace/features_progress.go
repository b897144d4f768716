// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
)

// progress keeps one line of a terminal up to date with what long work is at. Where
// there is no terminal it shows nothing.
type progress struct {
	terminal io.Writer
	mu       struct {
		sync.Mutex
		bar   *progressbar.ProgressBar
		phase string
	}
}

func newProgress(out io.Writer) *progress {
	terminal, ok := progressTerminal(out)
	if !ok {
		terminal = nil
	}
	return &progress{terminal: terminal}
}

// set says how much of a phase is done; a total of 0 is one that is not known.
func (p *progress) set(phase string, done, total int64) {
	if p.terminal == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if phase != p.mu.phase || p.mu.bar == nil {
		p.clearLocked()
		if total <= 0 {
			total = -1
		}
		p.mu.phase = phase
		p.mu.bar = progressbar.NewOptions64(total, progressbar.OptionSetWriter(p.terminal), progressbar.OptionSetWidth(30),
			progressbar.OptionSetDescription(phase), progressbar.OptionShowCount(), progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionSetPredictTime(false), progressbar.OptionClearOnFinish())
	}
	_ = p.mu.bar.Set64(done) // a terminal that is gone is no reason to stop
}

// clear removes the line.
func (p *progress) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clearLocked()
}

// clearLocked needs p.mu held.
func (p *progress) clearLocked() {
	if p.mu.bar != nil {
		_ = p.mu.bar.Clear()
	}
	p.mu.bar = nil
}
