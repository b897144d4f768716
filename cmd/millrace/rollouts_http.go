// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"time"

	"github.com/millrace-ml/millrace/console"
	"github.com/millrace-ml/millrace/engine/repository"
	"github.com/millrace-ml/millrace/featurestore/latency"
	"github.com/millrace-ml/millrace/serving/access"
	"github.com/millrace-ml/millrace/serving/frontend"
)

// rolloutBodyMax bounds the body of a change.
const rolloutBodyMax = 64 << 10

// rolloutChange is the body of a POST. By and Run say who asks, for the audit trail; Hold
// starts nothing, and only keeps the version that serves from being replaced by a restart.
type rolloutChange struct {
	Model         string  `json:"model"`
	CanaryVersion int64   `json:"canary_version"`
	Share         float64 `json:"share"`
	ShadowVersion int64   `json:"shadow_version"`
	ShadowShare   float64 `json:"shadow_share"`
	By            string  `json:"by"`
	Run           string  `json:"run"`
	Installed     bool    `json:"installed"`
	Hold          bool    `json:"hold"`
}

// rolloutReport is a rollout and what came of it, as JSON.
type rolloutReport struct {
	Decision string `json:"decision"`
	Model    string `json:"model"`
	// Current is the version that serves the rest.
	Current int64 `json:"current_version"`
	// Active is whether there is a rollout; Fault why it does not run although it should.
	Active        bool        `json:"active"`
	Fault         string      `json:"fault,omitempty"`
	CanaryVersion int64       `json:"canary_version,omitempty"`
	Share         float64     `json:"share,omitempty"`
	ShadowVersion int64       `json:"shadow_version,omitempty"`
	ShadowShare   float64     `json:"shadow_share,omitempty"`
	By            string      `json:"by,omitempty"`
	Run           string      `json:"run,omitempty"`
	Installed     bool        `json:"installed,omitempty"`
	Since         *time.Time  `json:"since,omitempty"`
	Canary        rolloutSide `json:"canary"`
	Rest          rolloutSide `json:"rest"`
	// Label is what outcomes are known by, empty for nothing; Outcomes are there from soon
	// after they were first asked for.
	Label    string           `json:"label,omitempty"`
	Outcomes *rolloutOutcomes `json:"outcomes,omitempty"`
}

// rolloutSide is one side's counts; see frontend.RolloutSide.
type rolloutSide struct {
	Decisions    int64            `json:"decisions"`
	Degraded     int64            `json:"degraded"`
	Failed       int64            `json:"failed"`
	Answers      map[string]int64 `json:"answers"`
	Scored       int64            `json:"scored"`
	ScoreMean    float64          `json:"score_mean"`
	ScoreStdDev  float64          `json:"score_std_dev"`
	MicrosMean   float64          `json:"micros_mean"`
	P50Micros    float64          `json:"p50_micros"`
	P95Micros    float64          `json:"p95_micros"`
	P99Micros    float64          `json:"p99_micros"`
	DegradedRate float64          `json:"degraded_rate"`
}

// routes adds the calls. Those that change something are guarded by who takes them.
func (r *rollouts) routes(mux access.Mux) {
	if r == nil {
		return
	}
	const path = "/v1/decisions/{decision}/rollout"
	mux.Handle("GET "+path, http.HandlerFunc(r.serveGet))
	mux.Handle("POST "+path, http.HandlerFunc(r.servePost))
	mux.Handle("DELETE "+path, http.HandlerFunc(r.serveDelete))
}

func (r *rollouts) serveGet(w http.ResponseWriter, q *http.Request) {
	report, err := r.report(q.PathValue("decision"), q.URL.Query().Get("model"))
	answerRollout(w, report, err)
}

func (r *rollouts) servePost(w http.ResponseWriter, q *http.Request) {
	decision := q.PathValue("decision")
	err := r.change(q, decision)
	if err != nil {
		answerRollout(w, nil, err)
		return
	}
	report, err := r.report(decision, "")
	answerRollout(w, report, err)
}

// change does what a body says.
func (r *rollouts) change(q *http.Request, decision string) error {
	var body rolloutChange
	d := json.NewDecoder(http.MaxBytesReader(nil, q.Body, rolloutBodyMax))
	d.DisallowUnknownFields()
	if err := d.Decode(&body); err != nil {
		return fmt.Errorf("%w: body: %w", frontend.ErrInvalid, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: body: more than one JSON value", frontend.ErrInvalid)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(q.Context()), rolloutTimeout)
	defer cancel()
	if body.Hold {
		_, err := r.hold(ctx, decision, body.Model)
		return err
	}
	return r.setNoted(ctx, savedRollout{
		Rollout: frontend.Rollout{Decision: decision, Model: body.Model, CanaryVersion: body.CanaryVersion, Share: body.Share,
			ShadowVersion: body.ShadowVersion, ShadowShare: body.ShadowShare},
		By: calledBy(access.Name(q.Context()), shortText(body.By)), Run: shortText(body.Run), Installed: body.Installed,
	})
}

// shortText bounds what a client says of itself.
func shortText(text string) string { return firstLine(strings.ToValidUTF8(text, "\ufffd"), 200) }

// setNoted is set with an entry in the audit trail.
func (r *rollouts) setNoted(ctx context.Context, one savedRollout) error {
	err := r.set(ctx, one)
	return errors.Join(err, r.note(rolloutEntry("rollout", &one, one.By, describeRollout(&one.Rollout), err)))
}

func (r *rollouts) serveDelete(w http.ResponseWriter, q *http.Request) {
	decision := q.PathValue("decision")
	report, err := r.report(decision, "") // with the last counts
	if err != nil || !report.Active {
		answerRollout(w, report, err)
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(q.Context()), rolloutTimeout)
	defer cancel()
	was, err := r.end(ctx, decision)
	if was != nil {
		by := calledBy(access.Name(q.Context()), shortText(q.URL.Query().Get("by")))
		reason := shortText(q.URL.Query().Get("reason"))
		err = errors.Join(err, r.note(rolloutEntry("end rollout", was, by, cmp.Or(reason, describeRollout(&was.Rollout)), err)))
	}
	report.Active = false
	answerRollout(w, report, err)
}

func rolloutEntry(action string, one *savedRollout, by, detail string, err error) console.Entry {
	e := console.Entry{Who: by, Action: action, Subject: one.Decision, Detail: detail, Link: "/console/decisions/" + one.Decision}
	if one.Run != "" {
		e.Link = "/console/pipelines/" + one.Run
	}
	if err != nil {
		e.Error = err.Error()
	}
	return e
}

// describeRollout says a rollout in words.
func describeRollout(r *frontend.Rollout) string {
	var parts []string
	if r.CanaryVersion > 0 {
		parts = append(parts, fmt.Sprintf("canary version %d for %.4g %%", r.CanaryVersion, 100*r.Share))
	}
	if r.ShadowVersion > 0 {
		parts = append(parts, fmt.Sprintf("shadow version %d on %.4g %%", r.ShadowVersion, 100*r.ShadowShare))
	}
	return strings.Join(parts, ", ")
}

// report is the rollout of a decision as it stands. Without one it is of the model, where
// that is given.
func (r *rollouts) report(decision, model string) (*rolloutReport, error) {
	usual, err := r.modelOf(decision)
	if err != nil {
		return nil, err
	}
	out := &rolloutReport{Decision: decision, Model: cmp.Or(model, usual)}
	if one := r.of(decision); one != nil {
		out.Active, out.Fault, out.Model, out.By, out.Run, out.Installed = true, one.fault, one.Model, one.By, one.Run, one.Installed
		out.Outcomes = r.outcomes.of(one)
		out.CanaryVersion, out.Share, out.ShadowVersion, out.ShadowShare = one.CanaryVersion, one.Share, one.ShadowVersion, one.ShadowShare
	}
	out.Current = r.current(out.Model)
	if label := r.outcomes.label(decision); label != nil {
		out.Label = label.Name
	}
	for _, s := range r.front.Rollouts() {
		if s.Decision == decision {
			since := s.Since.UTC()
			out.Since = &since
			out.Canary, out.Rest = newRolloutSide(s.Names, &s.Canary), newRolloutSide(s.Names, &s.Rest)
		}
	}
	return out, nil
}

func newRolloutSide(names []string, s *frontend.RolloutSide) rolloutSide {
	out := rolloutSide{Decisions: s.Decisions, Degraded: s.Degraded, Failed: s.Failed, Scored: s.Scored, Answers: map[string]int64{}}
	for i, n := range s.Answers {
		out.Answers[names[i]] = n
	}
	if s.Decisions > 0 {
		out.DegradedRate = float64(s.Degraded) / float64(s.Decisions)
	}
	if n := float64(s.Scored); n > 0 {
		out.ScoreMean = s.ScoreSum / n
		out.ScoreStdDev = math.Sqrt(max(0, s.ScoreSquares/n-out.ScoreMean*out.ScoreMean))
	}
	if s.Times.Count > 0 {
		out.MicrosMean = float64(s.Times.Sum.Nanoseconds()) / 1e3 / float64(s.Times.Count)
		out.P50Micros, out.P95Micros, out.P99Micros = timeQuantile(&s.Times, 0.5), timeQuantile(&s.Times, 0.95), timeQuantile(&s.Times, 0.99)
	}
	return out
}

// timeQuantile is read off a histogram, in microseconds, linear within a bucket, whose ends
// are a factor of two apart.
func timeQuantile(s *latency.Snapshot, q float64) float64 {
	rank, below := q*float64(s.Count), 0.0
	for i, n := range s.Counts {
		if n == 0 || below+float64(n) < rank {
			below += float64(n)
			continue
		}
		upper := float64(latency.Bound(min(i, latency.Buckets-1)).Microseconds())
		lower := 0.0
		if i > 0 {
			lower = float64(latency.Bound(i - 1).Microseconds())
		}
		return lower + (upper-lower)*max(0, rank-below)/float64(n)
	}
	return 0
}

func answerRollout(w http.ResponseWriter, report *rolloutReport, err error) {
	status, body := http.StatusOK, any(report)
	if err != nil {
		status, body = rolloutStatus(err), map[string]string{"error": err.Error()}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // a client that is gone needs no answer
}

func rolloutStatus(err error) int {
	switch {
	case errors.Is(err, frontend.ErrInvalid):
		return http.StatusBadRequest
	case errors.Is(err, frontend.ErrUnknown), errors.Is(err, repository.ErrUnknownModel), errors.Is(err, repository.ErrUnknownVersion):
		return http.StatusNotFound
	case errors.Is(err, frontend.ErrClosed), errors.Is(err, repository.ErrClosed):
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}
