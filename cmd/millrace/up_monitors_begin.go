// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/millrace-ml/millrace/console"
	"github.com/millrace-ml/millrace/evaluation/monitor"
	"github.com/millrace-ml/millrace/evaluation/monitor/record"
	"github.com/millrace-ml/millrace/featurestore/offline"
	"github.com/millrace-ml/millrace/labeling/groundtruth"
)

// snapshotHead is the first line of a snapshot's file; the monitor's own snapshot is behind
// it.
type snapshotHead struct {
	Version int64 `json:"version"`
	// Sequence is up to where the log was read, Clock how far labels were followed.
	Sequence uint64 `json:"sequence"`
	Clock    int64  `json:"clock"`
	// About is the hash of what the log is read with, besides what the monitor knows.
	About string `json:"about"`
}

// labelsMax bounds the labels that are held while the log is read again.
const labelsMax = 1 << 21

func (w *watcher) snapshotPath(version int64) string {
	return filepath.Join(w.dir, fmt.Sprintf("snapshot-%d", version))
}

// about is the hash of the label, and of what turns the log into predictions.
func (w *watcher) about() string {
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%s\n%x\n%q\n", w.spec.Decision, w.spec.Positive, w.spec.policy.Service.Hash(), w.spec.Config.Slices)
	if w.spec.label != nil {
		fmt.Fprintf(h, "%+v", *w.spec.label)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// save writes a snapshot, durably.
func (w *watcher) save() error {
	began := time.Now()
	state, err := w.monitor.Snapshot()
	if err != nil {
		return err
	}
	head, err := json.Marshal(snapshotHead{w.version, w.tail.After(), w.clock, w.about()})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(w.dir, 0o755); err != nil {
		return err
	}
	if err := replaceSynced(w.snapshotPath(w.version), slices.Concat(head, []byte("\n"), state)); err != nil {
		return err
	}
	w.saved, w.saving, w.dirty = time.Now(), time.Since(began), false
	return nil
}

// follow sees to it that the version that is served is watched. The monitor is nil where it
// cannot be yet.
func (w *watcher) follow(ctx context.Context) error {
	version := w.all.served(w.spec.model())
	switch {
	case version == 0 && w.monitor == nil:
		w.status.wait(fmt.Sprintf("no version of the model %s is served", w.spec.model().Name))
		return nil
	case version == 0 || w.monitor != nil && version == w.version:
		return nil
	}
	if w.monitor != nil {
		if err := w.leave(version); err != nil {
			return err
		}
	}
	if time.Now().Before(w.lookNext) {
		return nil
	}
	looked := time.Now()
	r, err := w.reference(ctx, version, w.mark.now)
	if errors.Is(err, errWarmingUp) {
		w.lookNext = looked.Add(max(time.Second, saveShare*time.Since(looked))) // it reads the log, which takes time
		w.status.wait(err.Error())
		return w.leave(version)
	}
	if err != nil {
		return err
	}
	if err := w.leave(version); err != nil {
		return err
	}
	w.version = version
	return w.open(ctx, r)
}

// leave ends the watching of other versions than one: their alarms are over.
func (w *watcher) leave(version int64) error {
	w.closeLive()
	w.monitor, w.tail = nil, nil
	others, err := filepath.Glob(filepath.Join(w.dir, "snapshot-*"))
	if err != nil {
		return err
	}
	others = slices.DeleteFunc(others, func(path string) bool { return path == w.snapshotPath(version) })
	if len(others) == 0 && (w.version == 0 || w.version == version) {
		return nil
	}
	err = w.dropAll(w.mark.now, fmt.Sprintf("version %d is served", version), func(e *console.AlarmChange) bool {
		return e.Subject == quietSubject || e.Subject == skewSubject
	})
	for _, path := range others {
		err = errors.Join(err, os.Remove(path))
	}
	w.version = 0
	return err
}

// open goes on from the snapshot, or begins anew.
func (w *watcher) open(ctx context.Context, r monitor.Reference) error {
	w.known, w.reader = map[string]string{}, w.spec.reader()
	head, m, err := w.restore(r)
	if err == nil {
		w.monitor, w.clock, w.tail = m, head.Clock, w.tailFrom(head.Sequence)
		w.recall()
		w.status.begin(w)
		if err := w.show(); err != nil {
			return err
		}
		return w.openLive(ctx, groundtruth.Position{Sequence: head.Sequence, Clock: head.Clock})
	}
	if !errors.Is(err, fs.ErrNotExist) {
		w.all.log.Warn("a monitor begins anew", "monitor", w.name, "because", err)
	}
	if w.monitor, err = w.make(r); err != nil {
		w.monitor = nil
		return err
	}
	w.clock = 0
	w.status.begin(w)
	w.status.wait("the log is read")
	if err := w.catchUp(ctx, 0); err != nil {
		return err
	}
	if err := w.reconcile(w.mark.now, "the monitor began anew, and does not find it"); err != nil {
		return err
	}
	w.status.begin(w)
	return w.save()
}

// show puts the newest reports into the metrics, which have none after a start.
func (w *watcher) show() error {
	for _, window := range w.monitor.Config().Windows {
		for _, matured := range []bool{false, true} {
			all, err := w.store.Reports(record.Query{Window: window, Matured: &matured, Limit: 1})
			if err != nil {
				return err
			}
			for i := range all {
				w.status.report(&all[i])
			}
		}
	}
	return nil
}

// make makes a monitor. Where the reference's labels are of no use, such as of one class,
// it does without.
func (w *watcher) make(r monitor.Reference) (*monitor.Monitor, error) {
	m, err := monitor.New(w.spec.Config, r)
	if err == nil || len(r.Scores) == 0 {
		return m, err
	}
	without, other := monitor.New(w.spec.Config, monitor.Reference{Profile: r.Profile})
	if other != nil {
		return nil, err
	}
	w.all.log.Warn("quality is not compared: the labels of the reference are of no use", "monitor", w.name, "because", err)
	return without, nil
}

// restore reads the snapshot of the version.
func (w *watcher) restore(r monitor.Reference) (head snapshotHead, m *monitor.Monitor, err error) {
	data, err := os.ReadFile(w.snapshotPath(w.version))
	if err != nil {
		return head, nil, err
	}
	line, state, _ := bytes.Cut(data, []byte("\n"))
	if err := json.Unmarshal(line, &head); err != nil {
		return head, nil, fmt.Errorf("its snapshot: %w", err)
	}
	if head.About != w.about() {
		return head, nil, errors.New("its label, its slices or the features were changed")
	}
	if w.isBeyond(head.Clock) {
		return head, nil, fmt.Errorf("its snapshot is of %s, and the clock shows %s", timeOf(head.Clock).Format(time.RFC3339), timeOf(w.mark.now).Format(time.RFC3339))
	}
	if durable := w.all.events.Durable(); head.Sequence > durable {
		return head, nil, fmt.Errorf("its snapshot is of sequence %d and the log ends at %d: it is another log, or lost its end", head.Sequence, durable)
	}
	if m, err = monitor.Restore(w.spec.Config, r, state); errors.Is(err, monitor.ErrConfig) {
		m, err = monitor.Restore(w.spec.Config, monitor.Reference{Profile: r.Profile}, state)
	}
	return head, m, err
}

// openLive follows labels from a place on.
func (w *watcher) openLive(ctx context.Context, at groundtruth.Position) (err error) {
	w.closeLive()
	if w.spec.label == nil {
		return nil
	}
	w.live, err = groundtruth.OpenLive(ctx, groundtruth.LiveOptions{
		Log: w.all.events, Label: w.spec.label, Dir: filepath.Join(w.dir, "live"), Resume: at, PredictionsMax: livePredictionsMax, LabelsOnly: true,
		Now: func() time.Time { return timeOf(w.clock) },
	})
	return err
}

// livePredictionsMax bounds the predictions whose labels a monitor follows, at 60 bytes.
const livePredictionsMax = 4 << 20

// reach is the oldest time that a monitor which begins at a moment needs.
func (w *watcher) reach(now int64) int64 {
	c := w.spec.Config
	c.EnsureDefaults()
	longest := time.Duration(c.Windows[len(c.Windows)-1])
	back := longest + time.Duration(c.LabelDelay+c.Lateness+c.FutureMax)
	from := max(0, now-back.Microseconds())
	return from - from%longest.Microseconds()
}

// catchUp reads records up to the mark that the log cannot hand out one after the other any
// more, or that were read before: predictions by their time, and labels as they are known
// now. A label that was corrected meanwhile is the corrected one from the beginning.
func (w *watcher) catchUp(ctx context.Context, after uint64) error {
	to, now := w.mark.next-1, max(w.mark.now, w.clock)
	if err := w.all.events.WaitDurable(ctx, to); err != nil {
		return err
	}
	from := w.reach(now)
	if after > 0 { // windows of the snapshot's time are open, however long ago that is
		from = min(from, w.reach(w.clock))
	}
	labels, err := w.labels(ctx, from, now)
	if err != nil {
		return err
	}
	hear := func(until int64) error {
		for len(labels) > 0 && labels[0].arrival <= until {
			if err := w.take(&labels[0]); err != nil {
				return err
			}
			labels = labels[1:]
		}
		return nil
	}
	began, n, rested := after > 0, 0, time.Now()
	err = w.scan(ctx, offline.Query{From: from}, func(sequence uint64, p *loggedPrediction) error {
		if began = began || p.version == w.version; !began || !w.watches(p) || sequence <= after || sequence > to {
			return nil
		}
		if w.isBeyond(p.Arrival) { // it would close all windows
			w.status.reject()
			return nil
		}
		if n++; n%watchRecords == 0 {
			if err := waitFor(ctx, restAfter(rested)); err != nil {
				return err
			}
			rested = time.Now()
		}
		if err := hear(p.Arrival); err != nil {
			return err
		}
		return w.take(&watched{arrival: p.Arrival, prediction: &p.Prediction})
	})
	if err != nil {
		return err
	}
	if err := hear(now); err != nil {
		return err
	}
	w.clock, w.tail = now, w.tailFrom(to)
	return w.openLive(ctx, groundtruth.Position{Sequence: to, Clock: now})
}

// labels are the outcomes that are known of predictions since a time, as they arrived.
func (w *watcher) labels(ctx context.Context, from, now int64) (all []watched, err error) {
	if w.spec.label == nil {
		return nil, nil
	}
	err = w.joined(ctx, groundtruth.JoinOptions{From: from, AsOf: now}, func(row *groundtruth.Row) error {
		if o, ok := w.outcome(row); ok {
			all = append(all, watched{arrival: o.Arrival, outcome: o})
		}
		if len(all) > labelsMax {
			return fmt.Errorf("there are more than %d labels to read again: take shorter windows", labelsMax)
		}
		return nil
	})
	slices.SortStableFunc(all, func(a, b watched) int {
		return cmp.Or(cmp.Compare(a.arrival, b.arrival), cmp.Compare(a.outcome.ID, b.outcome.ID))
	})
	return all, err
}
