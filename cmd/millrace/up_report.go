// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	millracev1 "github.com/millrace-ml/millrace/proto/millrace/v1"
)

// replayReport counts what a replay does and prints a line a second.
type replayReport struct {
	replay *replay
	out    io.Writer
	began  time.Time

	mu struct {
		sync.Mutex
		second    []time.Duration // latencies since the last line
		decisions int64           // since the last line
		total     replayCounts
		// waiting are the answers whose labels are not known yet, by event.
		waiting map[uint64]bool // caught
	}
}

// replayCounts are those of the whole replay.
type replayCounts struct {
	decisions, degraded, failed, repeated int64
	answers                               map[string]int64
	// labels were pushed, late or unknown ones among the refused.
	labels, refused int64
	// outcomes were told as feedback, known ones again among them.
	outcomes, outcomesRefused int64
	// frauds became known whose decision is known, of which caught were stopped.
	frauds, caught int64
	// stopped payments whose label became known, of which the rest were no frauds.
	stopped    int64
	firstFault string
}

const (
	// reportLatencies bounds the latencies of one second that are looked at.
	reportLatencies = 200_000
	// reportWaiting bounds the answers that wait for their label; those beyond it are in no
	// count of frauds.
	reportWaiting = 2_000_000
)

func newReplayReport(r *replay, out io.Writer) *replayReport {
	p := &replayReport{replay: r, out: out, began: time.Now()}
	p.mu.waiting, p.mu.total.answers = map[uint64]bool{}, map[string]int64{}
	return p
}

// decided counts an answer.
func (p *replayReport) decided(id uint64, took time.Duration, a *millracev1.DecideResponse, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := &p.mu.total
	if err != nil {
		p.faultLocked(err.Error())
		t.failed++
		return
	}
	p.mu.decisions++
	if t.decisions++; len(p.mu.second) < reportLatencies {
		p.mu.second = append(p.mu.second, took)
	}
	t.answers[a.Decision]++
	if a.Degraded {
		p.faultLocked(a.DegradedReason)
		t.degraded++
	}
	if a.Repeated {
		t.repeated++
	}
	if p.replay.label >= 0 && len(p.mu.waiting) < reportWaiting {
		p.mu.waiting[id] = slices.Contains(p.replay.options.Caught, a.Decision)
	}
}

func (p *replayReport) faultLocked(text string) {
	if p.mu.total.firstFault == "" {
		p.mu.total.firstFault = text
	}
}

// pushed counts the answer of a push.
func (p *replayReport) pushed(a *millracev1.PushResponse, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := &p.mu.total
	if err != nil {
		p.faultLocked(err.Error())
		t.failed++
		return
	}
	t.labels += int64(a.Accepted)
	t.refused += int64(len(a.Errors))
	if len(a.Errors) > 0 {
		p.faultLocked(a.Errors[0].Field + " " + a.Errors[0].Message)
	}
}

// told counts the answer about outcomes.
func (p *replayReport) told(a *millracev1.SubmitFeedbackResponse, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := &p.mu.total
	if err != nil {
		p.faultLocked(err.Error())
		t.failed++
		return
	}
	for _, r := range a.GetResults() {
		if r.Error == "" {
			t.outcomes++
			continue
		}
		t.outcomesRefused++
		p.faultLocked("outcome " + r.FeedbackId + ": " + r.Error)
	}
}

// known counts a label that became known.
func (p *replayReport) known(id uint64, fraud bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	caught, decided := p.mu.waiting[id]
	if !decided {
		return
	}
	delete(p.mu.waiting, id)
	if fraud {
		p.mu.total.frauds++
	}
	if caught {
		p.mu.total.stopped++
		if fraud {
			p.mu.total.caught++
		}
	}
}

// run prints a line a second until done is closed.
func (p *replayReport) run(done <-chan struct{}) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	last := time.Now()
	for {
		select {
		case <-done:
			return
		case now := <-ticker.C:
			if text := p.line(now.Sub(last)); text != "" {
				fmt.Fprintln(p.out, text)
			}
			last = now
		}
	}
}

// line tells of the time since the last one.
func (p *replayReport) line(since time.Duration) string {
	p.mu.Lock()
	latencies, decisions := p.mu.second, p.mu.decisions
	p.mu.second, p.mu.decisions = nil, 0
	text, total := p.countsLocked(), p.mu.total
	p.mu.Unlock()
	perSecond := float64(decisions) / since.Seconds()
	if p.replay.line != nil {
		return p.replay.line(perSecond, total)
	}
	slices.Sort(latencies)
	quantile := func(q float64) time.Duration {
		if len(latencies) == 0 {
			return 0
		}
		return latencies[int(q*float64(len(latencies)-1))].Round(10 * time.Microsecond)
	}
	return fmt.Sprintf("%s  %5.0f decisions/s  p50 %v p99 %v  %s", p.replay.clock.now().Format("2006-01-02 15:04"),
		perSecond, quantile(0.5), quantile(0.99), text)
}

// total is what was counted so far; its answers are left out, since counting goes on.
func (p *replayReport) total() replayCounts {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := p.mu.total
	all.answers = nil
	return all
}

func (p *replayReport) countsLocked() string {
	t := &p.mu.total
	var b strings.Builder
	if d := p.replay.decision; d != nil {
		for i, name := range d.Decisions {
			if i > 0 {
				b.WriteString(", ")
			}
			fmt.Fprintf(&b, "%s %d", name, t.answers[name])
		}
	} else {
		fmt.Fprintf(&b, "pushed %d", t.labels)
	}
	if t.frauds > 0 {
		fmt.Fprintf(&b, "; %d frauds known, %d caught (%d%%), %d false alarms", t.frauds, t.caught, 100*t.caught/t.frauds, t.stopped-t.caught)
	}
	for _, c := range []struct {
		n    int64
		what string
	}{{t.degraded, "degraded"}, {t.failed, "failed"}, {t.refused, "pushes refused"}, {t.outcomes, "outcomes told"}, {t.outcomesRefused, "outcomes refused"}, {t.repeated, "repeated"}} {
		if c.n > 0 {
			fmt.Fprintf(&b, "; %d %s", c.n, c.what)
		}
	}
	return b.String()
}

// summary says what the replay did.
func (p *replayReport) summary(stopped bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	how := "replayed"
	if stopped {
		how = "stopped the replay"
	}
	took := time.Since(p.began)
	fmt.Fprintf(p.out, "%s up to %s in %v: %d decisions, %.0f/s; %s\n", how, p.replay.clock.now().Format("2006-01-02 15:04"),
		took.Round(100*time.Millisecond), p.mu.total.decisions, float64(p.mu.total.decisions)/took.Seconds(), p.countsLocked())
	if p.mu.total.firstFault != "" {
		fmt.Fprintf(p.out, "the first fault was: %s\n", p.mu.total.firstFault)
	}
	if !stopped {
		fmt.Fprintln(p.out, "serving goes on; the clock runs on from here")
	}
}
