// SPDX-License-Identifier: Apache-2.0

// Package groundtruth measures the collector of ground truth: outcomes a second that are
// made durable and joined to a log of predictions, how long after the acknowledgement a
// row is handed out, and the memory that all of it takes.
//
// The log, the collector and the live join are in one process, as in the server. The
// predictions have a vector of 30 features and are a week's; every outcome is about one
// drawn at random, so nothing of the index or the files is warmer than the rest.
package groundtruth

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/millrace-ml/millrace/featurestore/offline"
	"github.com/millrace-ml/millrace/labeling/groundtruth"
)

// Config is what is measured.
type Config struct {
	// Dir is a folder for the log and the files of the join.
	Dir string
	// Predictions are logged, Outcomes joined as fast as it goes, and then Rate a second
	// for Paced.
	Predictions, Outcomes, Rate int
	Paced                       time.Duration
	// Batch is the size of a Submit.
	Batch int
	// Seed of the outcomes.
	Seed uint64
	// Progress, if given, is told what happens.
	Progress func(format string, values ...any)
}

// Result is what was measured.
type Result struct {
	Predictions, Outcomes int
	// FillPerSecond is how many predictions a second were logged and taken into the index.
	FillPerSecond float64
	// JoinedPerSecond is outcomes made durable, joined and handed out, closed loop.
	JoinedPerSecond float64
	// PacedPerSecond is the rate that was kept when Rate was asked for, and Lag from the
	// moment an outcome was to be sent until its row was handed out.
	PacedPerSecond float64
	LagP50, LagP99 time.Duration
	// RestartPerSecond is how many predictions a second are read back by a join that is
	// opened again where it was.
	RestartPerSecond float64
	// ResidentMax is the most memory the process ever had, ResidentJoin without what it
	// had before the join was opened. Heap is what is live at the end.
	ResidentMax, ResidentJoin, Heap int64
	// SpillBytes are in files of the join.
	SpillBytes int64
	// Checksum is of the rows handed out.
	Checksum uint64
}

const (
	vectorBytes = 30 * 8
	chunk       = 50_000
	window      = 7 * 24 * time.Hour
)

type lab struct {
	Config
	log       *offline.Log
	stream    *offline.Stream
	collector *groundtruth.Collector
	live      *groundtruth.Live
	random    *rand.Rand
	start     int64 // time of the first prediction
	sent      int
	rows      int
	checksum  uint64
	lags      []time.Duration

	mu struct { // the poller and the sender are two goroutines
		sync.Mutex
		due map[string]time.Time // when outcomes were to be sent, in the paced part
	}
}

// pollEvery is how long a poller rests between two polls, as a server would.
const pollEvery = 20 * time.Millisecond

// Run measures.
func Run(ctx context.Context, c Config) (result *Result, err error) {
	if c.Progress == nil {
		c.Progress = func(string, ...any) {}
	}
	l := &lab{Config: c, random: rand.New(rand.NewPCG(c.Seed, 1)), start: time.Now().Add(-window / 2).UnixMicro()}
	before := residentMax()
	if err := l.open(ctx); err != nil {
		return nil, errors.Join(err, l.close())
	}
	defer func() { err = errors.Join(err, l.close()) }()
	result = &Result{Predictions: c.Predictions, Outcomes: c.Outcomes}
	for _, part := range []func(context.Context, *Result) error{l.fill, l.closed, l.paced} {
		if err := part(ctx, result); err != nil {
			return nil, err
		}
	}
	stats := l.live.Stats()
	if joined := stats.Joined; joined != int64(l.sent) || stats.Predictions != c.Predictions {
		return nil, fmt.Errorf("%d of %d outcomes were joined to %d of %d predictions", joined, l.sent, stats.Predictions, c.Predictions)
	}
	result.ResidentMax = residentMax()
	result.ResidentJoin = result.ResidentMax - before
	runtime.GC()
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	result.Heap, result.SpillBytes, result.Checksum = int64(memory.HeapAlloc), stats.SpillBytes, l.checksum
	return result, l.restart(ctx, result)
}

// restart opens the join again where it was.
func (l *lab) restart(ctx context.Context, result *Result) error {
	position := l.live.Position()
	if err := l.live.Close(); err != nil {
		return err
	}
	began := time.Now()
	if err := l.openLive(ctx, position); err != nil {
		return err
	}
	result.RestartPerSecond = float64(l.Predictions) / time.Since(began).Seconds()
	if s := l.live.Stats(); s.Predictions != l.Predictions || s.Joined != int64(l.sent) {
		return fmt.Errorf("after a restart: %+v", s)
	}
	return nil
}

func (l *lab) open(ctx context.Context) (err error) {
	if l.log, err = offline.Open(ctx, offline.Options{Dir: filepath.Join(l.Dir, "log"), CompactEvery: -1, WaitWhenFull: -1}); err != nil {
		return err
	}
	l.stream, err = l.log.Declare(offline.Schema{Stream: groundtruth.PredictionStream, Columns: []offline.Column{
		{Name: "decision", Type: offline.TypeString}, {Name: "answer", Type: offline.TypeString}, {Name: "score", Type: offline.TypeFloat64},
		{Name: "model", Type: offline.TypeString}, {Name: "facts", Type: offline.TypeString}, {Name: "features_vector", Type: offline.TypeBytes}}})
	if err != nil {
		return err
	}
	if l.collector, err = groundtruth.OpenCollector(ctx, groundtruth.Options{Log: l.log}); err != nil {
		return err
	}
	return l.openLive(ctx, groundtruth.Position{})
}

func (l *lab) openLive(ctx context.Context, from groundtruth.Position) (err error) {
	label := &groundtruth.Definition{Name: "fraud", Decision: "payment", Kind: groundtruth.KindOutcome, Outcome: "is_fraud", Window: window,
		Silence: groundtruth.SilenceNegative, Negative: groundtruth.Bool(false)}
	l.live, err = groundtruth.OpenLive(ctx, groundtruth.LiveOptions{Log: l.log, Label: label, Dir: filepath.Join(l.Dir, "join"), Columns: []string{"features_vector"}, Resume: from})
	return err
}

func (l *lab) close() error {
	var all []error
	if l.live != nil {
		all = append(all, l.live.Close())
	}
	if l.log != nil {
		all = append(all, l.log.Close())
	}
	return errors.Join(all...)
}

// id is that of a prediction: 26 characters, as the front-end makes them.
func id(n int) string { return fmt.Sprintf("01hf%022x", uint64(n)*0x9e3779b97f4a7c15) }

func (l *lab) fill(ctx context.Context, result *Result) error {
	began := time.Now()
	vector := make([]byte, vectorBytes)
	for n := 0; n < l.Predictions; n++ {
		binary.LittleEndian.PutUint64(vector[n%30*8:], uint64(n))
		r := offline.Record{ID: id(n), EventTime: l.start + int64(n), Values: []offline.Value{
			offline.String("payment"), offline.String("approve"), offline.Float64(float64(n%1000) / 1000), offline.String("fraud-trees"),
			offline.String(`{"customer_id":` + strconv.Itoa(n%50_000) + `,"amount":12.5,"terminal_id":77}`), offline.Bytes(vector)}}
		if err := l.stream.Append(ctx, &r); err != nil {
			return err
		}
		if n%chunk == chunk-1 || n == l.Predictions-1 {
			if err := l.log.Sync(ctx); err != nil {
				return err
			}
			if err := l.poll(ctx); err != nil {
				return err
			}
		}
		if n%1_000_000 == 999_999 {
			l.Progress("%d predictions, %d MiB resident at most", n+1, residentMax()>>20)
		}
	}
	result.FillPerSecond = float64(l.Predictions) / time.Since(began).Seconds()
	return nil
}

func (l *lab) poll(ctx context.Context) error {
	return l.live.Poll(ctx, func(r *groundtruth.Row) error {
		l.rows++
		l.checksum = l.checksum*31 + uint64(len(r.PredictionID)) + uint64(r.Label.Value.Number) + uint64(len(r.Extra[0].Bytes()))
		l.mu.Lock()
		defer l.mu.Unlock()
		if at, ok := l.mu.due[r.Label.FeedbackID]; ok {
			l.lags = append(l.lags, time.Since(at))
			delete(l.mu.due, r.Label.FeedbackID)
		}
		return nil
	})
}

// whilePolling runs send, which submits outcomes, beside a poller. It returns when all
// outcomes that were sent are joined.
func (l *lab) whilePolling(ctx context.Context, send func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	sent := make(chan struct{})
	polled := make(chan error, 1)
	go func() {
		for {
			last := false
			select {
			case <-sent:
				last = true
			case <-time.After(pollEvery):
			}
			if err := l.poll(ctx); err != nil || last {
				cancel(err)
				polled <- err
				return
			}
		}
	}()
	err := send(ctx)
	close(sent)
	return errors.Join(err, <-polled)
}

// batch makes outcomes about predictions drawn at random.
func (l *lab) batch(size int) []groundtruth.Feedback {
	items := make([]groundtruth.Feedback, size)
	for i := range items {
		items[i] = groundtruth.Feedback{ID: "f" + strconv.Itoa(l.sent), PredictionID: id(l.random.IntN(l.Predictions)), Name: "is_fraud",
			Value: groundtruth.Bool(l.random.IntN(100) == 0), Source: "chargeback"}
		l.sent++
	}
	return items
}

func (l *lab) submit(ctx context.Context, items []groundtruth.Feedback) error {
	results, err := l.collector.Submit(ctx, items)
	if err != nil {
		return err
	}
	for _, r := range results {
		if r.Status != groundtruth.StatusAccepted {
			return fmt.Errorf("feedback %s: %v", r.FeedbackID, r.Err)
		}
	}
	return nil
}

func (l *lab) closed(ctx context.Context, result *Result) error {
	began := time.Now()
	err := l.whilePolling(ctx, func(ctx context.Context) error {
		for n := 0; n < l.Outcomes; n += l.Batch {
			if err := l.submit(ctx, l.batch(min(l.Batch, l.Outcomes-n))); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	result.JoinedPerSecond = float64(l.Outcomes) / time.Since(began).Seconds()
	return nil
}

// paced sends batches at the times that Rate asks for, however late it is.
func (l *lab) paced(ctx context.Context, result *Result) error {
	l.mu.due = map[string]time.Time{}
	began, sent := time.Now(), 0
	err := l.whilePolling(ctx, func(ctx context.Context) (err error) {
		sent, err = l.keepPace(ctx, began)
		return err
	})
	if err != nil {
		return err
	}
	result.PacedPerSecond = float64(sent) / time.Since(began).Seconds()
	slices.Sort(l.lags)
	if n := len(l.lags); n > 0 {
		result.LagP50, result.LagP99 = l.lags[n/2], l.lags[n*99/100]
	}
	return nil
}

func (l *lab) keepPace(ctx context.Context, began time.Time) (sent int, err error) {
	every := time.Duration(float64(time.Second) * float64(l.Batch) / float64(l.Rate))
	for at := time.Duration(0); at < l.Paced; at += every {
		due := began.Add(at)
		if wait := time.Until(due); wait > 0 {
			select {
			case <-time.After(wait):
			case <-ctx.Done():
				return sent, context.Cause(ctx)
			}
		}
		items := l.batch(l.Batch)
		l.mu.Lock()
		for i := range items {
			l.mu.due[items[i].ID] = due
		}
		l.mu.Unlock()
		if err := l.submit(ctx, items); err != nil {
			return sent, err
		}
		sent += len(items)
	}
	return sent, nil
}

// residentMax is the most memory the process ever had, in bytes; 0 where the system does
// not say.
func residentMax() int64 {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		var kib int64
		if _, err := fmt.Sscanf(line, "VmHWM: %d kB", &kib); err == nil {
			return kib << 10
		}
	}
	return 0
}
