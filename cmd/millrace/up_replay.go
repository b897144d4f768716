// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/millrace-ml/millrace/featurestore/definition"
	millracev1 "github.com/millrace-ml/millrace/proto/millrace/v1"
	"github.com/millrace-ml/millrace/serving/access"
	"github.com/millrace-ml/millrace/serving/frontend/policy"
)

// replay plays a source's history against the server as its clients would: each event
// is a request for a decision, and its label is pushed when it becomes known. It is
// driven by one goroutine; workers send.
type replay struct {
	options  *projectReplay
	catalog  *definition.Catalog
	source   *definition.Source
	decision *policy.Policy // nil: events are pushed, nothing is decided
	label    int            // place of the field that tells a fraud, -1 for none
	clock    *replayClock
	// start is where simulated time begins, end where the replay does, in microseconds.
	start time.Time
	end   int64
	// resumed: an earlier run came to start.
	resumed  bool
	progress string // file that says how far it came
	// told is up to when an earlier run had told all labels; not after start.
	told time.Time
	// outcomes tells what became of decisions; nil if the project has no labels for them.
	outcomes *replayOutcomes
	// events take the place of the source's inputs, from a moment in microseconds on; nil
	// reads those.
	events func(from int64) (eventReader, error)
	// before is called before an event of a moment is sent, and may wait; nil does not.
	before func(ctx context.Context, at int64)
	// line says in place of the report how the last while went; nil leaves it to the report.
	line func(decisionsPerSecond float64, total replayCounts) string

	jobs   chan job
	report *replayReport
	flight *flight
}

// job is one request that a worker sends.
type job struct {
	decide   *millracev1.DecideRequest
	push     *millracev1.PushRequest
	outcomes *outcomesBatch
	id       uint64
	place    int // in the flight; -1 for labels, which have none
}

const (
	// labelBatch bounds the labels of one push, labelWait is the longest that simulated
	// time goes on before labels that are known are pushed.
	labelBatch = 256
	labelWait  = 10 * time.Minute
)

func replayWorkers() int { return max(4, 4*runtime.GOMAXPROCS(0)) }

// newReplay prepares a replay. A file given takes the place of the source's inputs.
func newReplay(ctx context.Context, p *project, c *definition.Catalog, policies []*policy.Policy, file string) (*replay, error) {
	r := &replay{options: p.Replay, catalog: c, label: -1, progress: filepath.Join(p.State, "replay.json"), end: math.MaxInt64}
	if r.source = c.Source(p.Replay.Source); r.source == nil {
		return nil, fmt.Errorf("source %q is not defined", p.Replay.Source)
	}
	if file != "" {
		if err := useFile(r.source, file); err != nil {
			return nil, err
		}
	}
	if err := r.checkSource(); err != nil {
		return nil, err
	}
	if err := r.chooseDecision(policies); err != nil {
		return nil, err
	}
	if !p.Replay.To.IsZero() {
		r.end = p.Replay.To.UnixMicro()
	}
	if err := r.place(ctx); err != nil {
		return nil, err
	}
	return r, nil
}

// useFile makes a file the only input of a source; the source's meaning does not depend
// on where its inputs lie.
func useFile(s *definition.Source, file string) error {
	formats := map[string]definition.Format{".parquet": definition.Parquet, ".csv": definition.CSV, ".jsonl": definition.JSONLines}
	format, ok := formats[strings.ToLower(filepath.Ext(file))]
	if !ok {
		return fmt.Errorf("--data %s: name it .parquet, .csv or .jsonl", file)
	}
	if _, err := os.Stat(file); err != nil {
		return fmt.Errorf("--data: %w", err)
	}
	s.Inputs = []definition.Input{{Format: format, Path: file, File: "--data", Line: 1}}
	return nil
}

func (r *replay) checkSource() error {
	s := r.source
	switch {
	case !s.Push:
		return fmt.Errorf("source %s takes no pushes; set push: true", s.Name)
	case s.Timestamp < 0 || s.ID < 0:
		return fmt.Errorf("source %s has no timestamp or no id", s.Name)
	case len(s.Inputs) == 0:
		return fmt.Errorf("source %s has no inputs to replay", s.Name)
	}
	for i := range s.Fields {
		if f := &s.Fields[i]; f.Late && (r.options.Label == f.Name || r.options.Label == "" && r.label < 0) {
			r.label = i
		}
	}
	if r.options.Label != "" && r.label < 0 {
		return fmt.Errorf("label: source %s has no late field %s", s.Name, r.options.Label)
	}
	return nil
}

// chooseDecision finds the decision that events ask for.
func (r *replay) chooseDecision(policies []*policy.Policy) error {
	for _, p := range policies {
		if r.options.Decision == p.Name || r.options.Decision == "" && p.Event != nil && p.Event.Source == r.source && r.decision == nil {
			r.decision = p
		}
	}
	if r.decision == nil {
		if r.options.Decision != "" {
			return fmt.Errorf("decision %q is not defined", r.options.Decision)
		}
		return nil
	}
	for _, f := range r.decision.Facts {
		if f.Required && r.source.Field(f.Name) < 0 {
			return fmt.Errorf("decision %s needs %s, which events of %s do not have", r.decision.Name, f.Name, r.source.Name)
		}
	}
	if r.options.Caught == nil {
		r.options.Caught = r.decision.Decisions[1:]
	}
	for _, name := range r.options.Caught {
		if !slices.Contains(r.decision.Decisions, name) {
			return fmt.Errorf("caught: %q is no answer of decision %s", name, r.decision.Name)
		}
	}
	return nil
}

// replayed is how far a replay came.
type replayed struct {
	Source string    `json:"source"`
	At     time.Time `json:"at"`
	// Told is up to when labels are told, if some that became known before At are not.
	Told time.Time `json:"told,omitzero"`
}

// place finds where the replay begins: where an earlier run came to, else where the
// project says.
func (r *replay) place(ctx context.Context) error {
	data, err := os.ReadFile(r.progress)
	if err == nil {
		var last replayed
		if err := json.Unmarshal(data, &last); err != nil || last.Source != r.source.Name || last.At.IsZero() {
			return fmt.Errorf("%s: it is not how far a replay of %s came; remove it together with the state to begin anew", r.progress, r.source.Name)
		}
		r.start, r.resumed = last.At, true
		if r.told = r.start; !last.Told.IsZero() && last.Told.Before(r.start) {
			r.told = last.Told
		}
		return nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if r.start = r.options.From; !r.start.IsZero() {
		return nil
	}
	feed, err := openFeed(ctx, r.source, 0)
	if err != nil {
		return err
	}
	defer feed.close()
	if more, err := feed.next(); err != nil {
		return err
	} else if !more {
		return fmt.Errorf("source %s has no events", r.source.Name)
	}
	r.start = time.UnixMicro(feed.time()).UTC().AddDate(0, 0, r.options.HistoryDays)
	return nil
}

// save notes how far the replay came, so that the next start goes on from there. Events
// before it that were not answered yet come again; the server knows them by their ids.
func (r *replay) save(at int64) error {
	done := replayed{Source: r.source.Name, At: time.UnixMicro(at).UTC()}
	if r.outcomes != nil {
		if told := r.outcomes.position(); told < at {
			done.Told = time.UnixMicro(told).UTC()
		}
	}
	data, err := json.Marshal(done)
	if err != nil {
		return err
	}
	if err := os.WriteFile(r.progress+".new", data, 0o644); err != nil {
		return err
	}
	return os.Rename(r.progress+".new", r.progress)
}

// labelsFrom is when labels became known that are told first, in microseconds.
func (r *replay) labelsFrom() int64 {
	if r.told.IsZero() {
		return r.start.UnixMicro()
	}
	return r.told.UnixMicro()
}

// run replays until the end of the events or ctx. It returns nil when ctx ends: what was
// sent is answered first.
func (r *replay) run(ctx context.Context, address, token string, out io.Writer) error {
	options := []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}
	if token != "" {
		options = append(options, grpc.WithPerRPCCredentials(access.Bearer(token)))
	}
	conn, err := grpc.NewClient(reachable(address), options...)
	if err != nil {
		return err
	}
	defer conn.Close()
	if r.outcomes != nil {
		if err := r.outcomes.resume(ctx); err != nil {
			return fmt.Errorf("predictions that wait for their outcome: %w", err)
		}
	}
	r.jobs = make(chan job)
	r.flight = newFlight(r.clock, r.source.FutureMax.Microseconds())
	r.report = newReplayReport(r, out)
	var workers sync.WaitGroup
	for range replayWorkers() {
		w := &replayWorker{replay: r, decisions: millracev1.NewDecisionsClient(conn), features: millracev1.NewFeaturesClient(conn), feedback: millracev1.NewFeedbackClient(conn)}
		workers.Go(w.run) // ends when jobs is closed and empty
	}
	reporting := make(chan struct{})
	var reporter sync.WaitGroup
	reporter.Go(func() { r.report.run(reporting) })
	err = r.play(ctx)
	close(r.jobs)
	workers.Wait()
	close(reporting)
	reporter.Wait()
	if last := r.flight.answered(); last > 0 {
		err = errors.Join(err, r.save(last))
	}
	r.report.summary(ctx.Err() != nil)
	r.clock.free()
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// reachable is an address that a client of this machine can dial.
func reachable(address string) string {
	host, port, err := net.SplitHostPort(address)
	if ip := net.ParseIP(host); err == nil && ip != nil && ip.IsUnspecified() {
		return net.JoinHostPort("localhost", port)
	}
	return address
}

// play sends events and labels in the order of time.
func (r *replay) play(ctx context.Context) error {
	r.clock.run(r.options.Speed, r.start.UnixMicro())
	events, err := r.openFeed(ctx, r.start.UnixMicro())
	if err != nil {
		return err
	}
	defer events.close()
	labels, err := newLabelFeeds(ctx, r)
	if err != nil {
		return err
	}
	defer labels.close()
	saved := time.Now()
	for ctx.Err() == nil {
		more, err := events.next()
		if err != nil {
			return err
		}
		if !more || events.time() >= r.end {
			break
		}
		if err := labels.until(events.time()); err != nil {
			return err
		}
		if r.before != nil {
			r.before(ctx, events.time())
		}
		if err := r.clock.wait(ctx, events.time()); err != nil {
			break
		}
		r.sendEvent(ctx, events)
		if r.outcomes != nil { // once the clock is near enough to the event for what was known by then
			r.outcomes.until = events.time()
			r.outcomes.flush(false)
		}
		if time.Since(saved) > time.Second {
			saved = time.Now()
			if err := r.save(max(r.flight.answered(), r.start.UnixMicro())); err != nil {
				return err
			}
		}
	}
	if r.outcomes != nil && r.flight.wait(ctx) {
		r.outcomes.flush(true)
	}
	return nil
}

// sendEvent sends an event, once those before it are far enough.
func (r *replay) sendEvent(ctx context.Context, f *feed) {
	j := job{id: f.id()}
	if r.decision == nil || r.decision.Event == nil {
		j.push = &millracev1.PushRequest{Source: r.source.Name, NoWait: true}
		f.appendTo(j.push, func(field *definition.Field) bool { return !field.Late })
	}
	if r.decision != nil {
		j.decide = f.request(r.decision)
	}
	if j.place = r.flight.begin(ctx, f.time()); j.place >= 0 {
		r.jobs <- j // workers take all, and what they do is bounded in time
	}
}

// replayWorker sends requests, one after another.
type replayWorker struct {
	replay    *replay
	decisions millracev1.DecisionsClient
	features  millracev1.FeaturesClient
	feedback  millracev1.FeedbackClient
}

func (w *replayWorker) run() {
	for j := range w.replay.jobs {
		if j.push != nil {
			w.push(&j)
		}
		if j.decide != nil {
			w.decide(&j)
		}
		if j.outcomes != nil {
			w.tell(j.outcomes)
		}
		if j.place >= 0 {
			w.replay.flight.end(j.place)
		}
	}
}

// requestTimeout bounds a request of the replay, which also ends it when the server
// stops.
const requestTimeout = 10 * time.Second

func (w *replayWorker) push(j *job) {
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	answer, err := w.features.Push(ctx, j.push)
	w.replay.report.pushed(answer, err)
}

func (w *replayWorker) decide(j *job) {
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	began := time.Now()
	answer, err := w.decisions.Decide(ctx, j.decide)
	w.replay.report.decided(j.id, time.Since(began), answer, err)
	if o := w.replay.outcomes; o != nil && err == nil {
		o.decided(j.id, answer.PredictionId)
	}
}
