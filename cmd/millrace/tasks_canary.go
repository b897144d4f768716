// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/millrace-ml/millrace/orchestrator"
	millracev1 "github.com/millrace-ml/millrace/proto/millrace/v1"
)

// canaryWith is what a canary task is told.
type canaryWith struct {
	// Decision is whose model is split, Model its name in the repository.
	Decision string `json:"decision"`
	Model    string `json:"model"`
	// Share of the units has the canary; the task waits for so many Decisions of it.
	Share     float64 `json:"share"`
	Decisions int64   `json:"decisions"`
	// Timeout bounds the wait, such as 10m.
	Timeout string `json:"timeout"`
	// MaxDegraded bounds by how much the canary's share of degraded answers exceeds that of
	// the rest; MaxLatencyRatio the ratio of their 95 % quantiles of time; MaxScoreShift the
	// difference of their mean scores, where it is given.
	MaxDegraded     *float64 `json:"max_degraded"`
	MaxLatencyRatio float64  `json:"max_latency_ratio"`
	MaxScoreShift   *float64 `json:"max_score_shift"`
	// WaitOutcomes waits until so many decisions of the canary have a mature label as well, of
	// the decision's first one that is true or false; MaxBrierRise bounds by how much the
	// canary's Brier score exceeds that of the rest, where it is given.
	WaitOutcomes int64    `json:"wait_outcomes"`
	MaxBrierRise *float64 `json:"max_brier_rise"`
	// IfRunning skips the canary where no server answers, in place of failing.
	IfRunning bool `json:"if_running"`
	// WithoutReport tries what nobody has judged.
	WithoutReport bool `json:"without_report"`
	// HTTP and Server are the server's HTTP and gRPC addresses, if not the project's.
	HTTP   string `json:"http"`
	Server string `json:"server"`

	timeout time.Duration
}

// canaryPoll is how often the server's counts are read.
const canaryPoll = 250 * time.Millisecond

// canaryTimeoutMax bounds the wait for decisions.
const canaryTimeoutMax = 30 * 24 * time.Hour

func (h *taskHost) canaryKind() orchestrator.Kind {
	return orchestrator.Kind{
		Name: "canary", Doc: "tries a model on a share of a decision's traffic, and compares it with the one that serves", Version: taskVersion, Uncached: true,
		Inputs: []orchestrator.Port{
			{Name: "model", Doc: "a folder with model.onnx"},
			{Name: "report", Optional: true, Doc: "the report that decides whether it is tried, as evaluate writes it"},
			{Name: "reference", Optional: true, Doc: "rows that the version is compared with later; installed with it"},
		},
		Outputs: []orchestrator.Port{{Name: "record", File: "canary.json", Optional: true, Doc: "the comparison, as JSON"}},
		Decode: func(with []byte) (orchestrator.Task, error) {
			w, err := decodeCanary(with)
			if err != nil {
				return nil, err
			}
			return orchestrator.TaskFunc(func(ctx context.Context, c *orchestrator.Call) error { return h.canary(ctx, c, w) }), nil
		},
	}
}

// decodeCanary reads and checks `with`, and reports all that is wrong with it.
func decodeCanary(with []byte) (*canaryWith, error) {
	w := &canaryWith{Share: 0.1, Decisions: 500, Timeout: "10m", MaxLatencyRatio: 2}
	if err := decodeWith(with, w); err != nil {
		return nil, err
	}
	var faults []error
	refuse := func(bad bool, format string, args ...any) {
		if bad {
			faults = append(faults, fmt.Errorf("with."+format, args...))
		}
	}
	if err := checkModelName(w.Model); err != nil {
		refuse(true, "model: %w", err)
	}
	if w.MaxDegraded == nil {
		usual := 0.01
		w.MaxDegraded = &usual
	}
	var err error
	w.timeout, err = time.ParseDuration(w.Timeout)
	refuse(w.Decision == "" || w.Decision != filepath.Base(w.Decision), "decision: %q is no name of a decision", w.Decision)
	refuse(!(w.Share >= 0.0001 && w.Share < 1), "share: %v, it lies in 0.0001 to below 1, so that there is a rest to compare with", w.Share)
	refuse(w.Decisions < 1, "decisions: %d, give 1 or more", w.Decisions)
	refuse(err != nil || w.timeout <= 0 || w.timeout > canaryTimeoutMax, "timeout: %q is no duration such as 10m, at most %v", w.Timeout, canaryTimeoutMax)
	refuse(!(*w.MaxDegraded >= 0 && *w.MaxDegraded <= 1), "max_degraded: %v, it lies in 0 to 1", *w.MaxDegraded)
	refuse(!(w.MaxLatencyRatio >= 1), "max_latency_ratio: %v, give 1 or more", w.MaxLatencyRatio)
	refuse(w.MaxScoreShift != nil && !(*w.MaxScoreShift > 0), "max_score_shift: give more than 0")
	refuse(w.WaitOutcomes < 0, "wait_outcomes: %d, give 0 or more", w.WaitOutcomes)
	refuse(w.MaxBrierRise != nil && !(*w.MaxBrierRise >= 0), "max_brier_rise: give 0 or more")
	refuse(w.MaxBrierRise != nil && w.WaitOutcomes == 0, "max_brier_rise: it needs wait_outcomes")
	return w, errors.Join(faults...)
}

// canaryTrial is one trial of a model.
type canaryTrial struct {
	host   *taskHost
	with   *canaryWith
	call   *orchestrator.Call
	server *rolloutClient
	// version is where the model was installed; fresh that this run did it.
	version int64
	fresh   bool
}

func (h *taskHost) canary(ctx context.Context, c *orchestrator.Call, w *canaryWith) error {
	address := cmp.Or(w.HTTP, h.httpAddress())
	t := &canaryTrial{host: h, with: w, call: c, server: &rolloutClient{address: address, token: h.tokenFor(address), decision: w.Decision, model: w.Model}}
	model, err := os.ReadFile(filepath.Join(c.Inputs["model"], "model.onnx"))
	if err != nil {
		return err
	}
	sum := sha256.Sum256(model)
	p := promotion{Model: w.Model, SHA256: hex.EncodeToString(sum[:])}
	if err := p.judge(c.Inputs["report"], &promoteWith{WithoutReport: w.WithoutReport || c.Inputs["report"] == ""}); err != nil {
		return err
	}
	if len(p.Reasons) > 0 {
		return t.skip(false, "not tried: "+p.Reasons[0])
	}
	if h.dry {
		return t.skip(true, "not tried: this is a trial of the pipeline, nothing is changed")
	}
	state, err := t.server.get(ctx)
	if errors.Is(err, errNoServer) && w.IfRunning {
		return t.skip(true, err.Error()+"; if_running is set, so the model goes on without a canary")
	} else if err != nil {
		return fmt.Errorf("a canary needs the server of the project: %w", err)
	}
	if t.serves(state.Current, p.SHA256) {
		t.version = state.Current
		return t.skip(true, fmt.Sprintf("version %d is this model, and serves already", t.version))
	}
	if err := t.begin(ctx, state, p.SHA256); err != nil {
		return err
	}
	verdict, err := t.watch(ctx)
	return t.finish(ctx, verdict, err)
}

// skip ends without a trial.
func (t *canaryTrial) skip(passed bool, why string) error {
	fmt.Fprintln(t.call.Log, why)
	return setAll(t.call, map[string]any{"passed": passed, "tried": false, "reason": firstLine(why, 500), "version": t.version})
}

// serves says whether a version is the very model.
func (t *canaryTrial) serves(version int64, digest string) bool {
	text, err := os.ReadFile(filepath.Join(t.host.project.Models, t.with.Model, strconv.FormatInt(version, 10), "model.onnx"))
	sum := sha256.Sum256(text)
	return err == nil && hex.EncodeToString(sum[:]) == digest
}

// begin installs the model beside what serves, and splits the traffic. What an earlier run
// of a pipeline left behind is taken back first; what a person started is left alone.
func (t *canaryTrial) begin(ctx context.Context, state *rolloutReport, digest string) error {
	w := t.with
	if state.Active && state.Run == "" {
		return fmt.Errorf("%w: decision %s has a rollout by %s already (version %d): end it first", orchestrator.ErrPermanent, w.Decision, state.By, max(state.CanaryVersion, state.ShadowVersion))
	}
	// From here on a restart of the server serves what it serves now, whatever is installed.
	if err := t.server.post(ctx, &rolloutChange{Model: w.Model, Hold: true}); err != nil {
		return err
	}
	dir := filepath.Join(t.host.project.Models, w.Model)
	var err error
	if t.version, t.fresh, err = installVersion(t.call.Inputs["model"], t.call.Inputs["reference"], dir, digest); err != nil {
		return err
	}
	if state.Active && state.CanaryVersion != t.version {
		fmt.Fprintf(t.call.Log, "run %s left version %d as a canary: it is taken back\n", state.Run, state.CanaryVersion)
		if err := t.takeBack(ctx, state.CanaryVersion, state.Installed, "left behind by run "+state.Run); err != nil {
			return err
		}
	} else if state.Active {
		t.fresh = t.fresh || state.Installed
	}
	change := &rolloutChange{Model: w.Model, CanaryVersion: t.version, Share: w.Share, By: "pipeline " + t.call.Pipeline, Run: t.call.Run, Installed: t.fresh}
	if err := t.server.post(ctx, change); err != nil {
		err = fmt.Errorf("version %d of %s cannot be a canary: %w", t.version, w.Model, err)
		return errors.Join(err, t.takeBack(context.WithoutCancel(ctx), t.version, t.fresh, "it could not be started"))
	}
	fmt.Fprintf(t.call.Log, "version %d of %s answers %.4g %% of %s\n", t.version, w.Model, 100*w.Share, w.Decision)
	return nil
}

// watch waits until there are enough decisions, the time is over, or it is certain that the
// canary fails.
func (t *canaryTrial) watch(ctx context.Context) (*canaryVerdict, error) {
	deadline := time.NewTimer(t.with.timeout)
	defer deadline.Stop()
	tick := time.NewTicker(canaryPoll)
	defer tick.Stop()
	for {
		state, err := t.server.get(ctx)
		switch {
		case err != nil && !errors.Is(err, errNoServer):
			return nil, err
		case err != nil: // it may be starting again: the timeout decides
		case !state.Active || state.CanaryVersion != t.version:
			return nil, fmt.Errorf("%w: the canary of %s was ended by somebody else", orchestrator.ErrPermanent, t.with.Decision)
		case t.with.WaitOutcomes > 0 && state.Label == "":
			return nil, fmt.Errorf("%w: with.wait_outcomes: no label of the project's feedback is of decision %s and true or false", orchestrator.ErrPermanent, t.with.Decision)
		case state.Fault != "":
			return nil, fmt.Errorf("the server does not run the canary: %s", state.Fault)
		default:
			t.progress(state)
			if v := judgeCanary(t.with, state); v.Ended {
				return v, nil
			}
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			return nil, t.late(state)
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func (t *canaryTrial) progress(state *rolloutReport) {
	if n := t.with.WaitOutcomes; n > 0 && state.Canary.Decisions >= t.with.Decisions && state.Outcomes != nil {
		t.call.Progress(min(state.Outcomes.Canary.Known, n), n, "outcomes of the canary")
		return
	}
	t.call.Progress(min(state.Canary.Decisions, t.with.Decisions), t.with.Decisions, "decisions of the canary")
}

// late says what did not come in time; state is nil if the server did not answer last.
func (t *canaryTrial) late(state *rolloutReport) error {
	w := t.with
	switch {
	case state == nil:
		return fmt.Errorf("the server does not answer any more, after %s", w.Timeout)
	case state.Canary.Decisions < w.Decisions || w.WaitOutcomes == 0:
		return fmt.Errorf("%d of %d decisions of the canary came in %s (of the rest %d): give it more time or another share", state.Canary.Decisions, w.Decisions, w.Timeout, state.Rest.Decisions)
	case state.Outcomes == nil:
		return fmt.Errorf("no outcome of the canary was known in %s: give it more time", w.Timeout)
	}
	return fmt.Errorf("%d of %d outcomes of the canary were known in %s: give it more time", state.Outcomes.Canary.Known, w.WaitOutcomes, w.Timeout)
}

// finish tells what came of it. A canary that passed stays until promote swaps it in; one
// that did not is taken back, unless the run is only interrupted: it is resumed then.
func (t *canaryTrial) finish(ctx context.Context, v *canaryVerdict, err error) error {
	if err != nil && ctx.Err() != nil && !errors.Is(context.Cause(ctx), orchestrator.ErrCancelled) && !errors.Is(context.Cause(ctx), orchestrator.ErrTimeout) {
		return err
	}
	if err == nil {
		if err = v.tell(t); err == nil && !v.Passed {
			err = fmt.Errorf("%w: the canary failed: %s", orchestrator.ErrPermanent, v.Reasons[0])
		}
	}
	if err == nil {
		return nil
	}
	// What is taken back must be, also when the run was cancelled.
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	why := firstLine(strings.TrimPrefix(err.Error(), orchestrator.ErrPermanent.Error()+": "), 150)
	return errors.Join(err, t.takeBack(clean, t.version, t.fresh, why))
}

// takeBack ends a canary, and removes its version from the repository if a canary put it
// there. What somebody else has started in its place goes on.
func (t *canaryTrial) takeBack(ctx context.Context, version int64, installed bool, why string) error {
	state, err := t.server.get(ctx)
	if err == nil && state.Active && state.CanaryVersion == version {
		state, err = t.server.end(ctx, "pipeline "+t.call.Pipeline, why)
	}
	if err != nil {
		return err
	}
	if !installed || version == 0 || version == state.Current || state.Active && version == state.ShadowVersion {
		return nil
	}
	dir := filepath.Join(t.host.project.Models, t.with.Model)
	if err := os.RemoveAll(filepath.Join(dir, strconv.FormatInt(version, 10))); err != nil {
		return err
	}
	if err := syncDir(dir); err != nil {
		return err
	}
	// A swap to what serves gives the choice back to the version policy, if it agrees.
	return t.host.askServer(ctx, cmp.Or(t.with.Server, t.host.grpcAddress()), func(ctx context.Context, s server) error {
		_, err := s.admin.SwapVersion(ctx, &millracev1.SwapVersionRequest{Model: t.with.Model, Version: state.Current, KeepOld: true})
		return err
	})
}

// tell writes the comparison where the pipeline, and people, can use it.
func (v *canaryVerdict) tell(t *canaryTrial) error {
	for _, line := range v.Lines {
		fmt.Fprintln(t.call.Log, line)
	}
	for _, reason := range v.Reasons {
		fmt.Fprintf(t.call.Log, "failed: %s\n", reason)
	}
	err := setAll(t.call, map[string]any{
		"passed": v.Passed, "tried": true, "version": t.version, "decisions": v.Canary.Decisions, "degraded": v.Canary.DegradedRate,
		"latency_ratio": v.LatencyRatio, "score_shift": v.ScoreShift, "brier_rise": v.BrierRise,
	})
	if err != nil || t.call.Outputs["record"] == "" {
		return err
	}
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(t.call.Outputs["record"], append(text, '\n'), 0o644)
}
