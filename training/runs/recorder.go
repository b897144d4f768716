// SPDX-License-Identifier: Apache-2.0

package runs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// Recorder writes a run while it runs.
type Recorder struct {
	store      *store
	id         string
	n          int64
	parameters map[string]any
	tags       map[string]string
	metrics    map[string]Metric
	artifact   Artifact
	stop       context.CancelFunc
	beating    sync.WaitGroup

	mu     sync.Mutex
	ended  bool
	curves map[string]*curve
}

// curve is what was kept of one: a point of each stride steps.
type curve struct {
	points []Point
	stride int
	last   int // the last step that was kept
}

// ID is the run's.
func (w *Recorder) ID() string { return w.id }

// startHeartbeat starts the goroutine that says that the run lives, which ends with it.
// Beats that fail are not told: the next may succeed, and the run's end is written anyway.
func (w *Recorder) startHeartbeat(every time.Duration) {
	ctx, cancel := context.WithCancel(context.Background())
	w.stop = cancel
	w.beating.Go(func() {
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				_ = w.beat(ctx)
			}
		}
	})
}

// beat also wakes a run that was taken for killed, such as one of a machine that slept.
func (w *Recorder) beat(ctx context.Context) error {
	return w.store.transact(ctx, func(tx executor) error {
		_, err := tx.exec(ctx, `UPDATE runs SET heartbeat = ?, status = 'running', ended = 0 WHERE n = ? AND status IN ('running', 'killed')`, time.Now().UnixMicro(), w.n)
		return err
	})
}

// LogMetrics adds a point to the curve of each metric. Steps of a curve rise; one that is
// not above the last is left out. It is durable when it returns.
func (w *Recorder) LogMetrics(ctx context.Context, step int, metrics map[string]float64) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return fmt.Errorf("run %s has ended", w.id)
	}
	var points []curvePoint
	var thinned []string
	for _, name := range slices.Sorted(maps.Keys(metrics)) {
		if err := checkText("name of a metric", name, TextMax); err != nil {
			return err
		}
		c := w.curves[name]
		if c == nil {
			if len(w.curves) == CurvesMax {
				return fmt.Errorf("%w: run %s has %d curves; %q would be one more", ErrBound, w.id, CurvesMax, name)
			}
			c = &curve{stride: 1}
			w.curves[name] = c
		}
		if len(c.points) > 0 && step < c.last+c.stride {
			continue
		}
		p := Point{step, metrics[name]}
		c.points, c.last = append(c.points, p), step
		points = append(points, curvePoint{name, p})
		if len(c.points) == CurvePointsMax {
			c.thin()
			thinned = append(thinned, name)
		}
	}
	if len(points) == 0 {
		return nil
	}
	if err := w.write(ctx, points, thinned); err != nil {
		return fmt.Errorf("%s: run %s: %w", w.store.place, w.id, err)
	}
	return nil
}

type curvePoint struct {
	metric string
	Point
}

// thin drops every second point.
func (c *curve) thin() {
	kept := c.points[:0]
	for i := 0; i < len(c.points); i += 2 {
		kept = append(kept, c.points[i])
	}
	c.points, c.stride = kept, 2*max(c.stride, (kept[len(kept)-1].Step-kept[0].Step)/(2*(len(kept)-1)))
}

// write adds points, and writes again the curves that became thinner.
func (w *Recorder) write(ctx context.Context, points []curvePoint, thinned []string) error {
	points = slices.DeleteFunc(points, func(p curvePoint) bool { return slices.Contains(thinned, p.metric) })
	for _, name := range thinned {
		for _, p := range w.curves[name].points {
			points = append(points, curvePoint{name, p})
		}
	}
	return w.store.transact(ctx, func(tx executor) error {
		for _, name := range thinned {
			if _, err := tx.exec(ctx, `DELETE FROM curves WHERE run = ? AND metric = ?`, w.n, name); err != nil {
				return err
			}
		}
		for part := range slices.Chunk(points, factsBatch) {
			values := make([]any, 0, 4*len(part))
			for _, p := range part {
				values = append(values, w.n, p.metric, p.Step, finiteOrNil(&p.Value))
			}
			marks := strings.TrimSuffix(strings.Repeat("(?, ?, ?, ?), ", len(part)), ", ")
			if _, err := tx.exec(ctx, "INSERT INTO curves (run, metric, step, value) VALUES "+marks+
				" ON CONFLICT (run, metric, step) DO UPDATE SET value = excluded.value", values...); err != nil {
				return err
			}
		}
		return nil
	})
}

// Finish ends the run as finished.
func (w *Recorder) Finish(ctx context.Context, r Result) error {
	return w.end(ctx, Finished, "", r)
}

// Fail ends the run as failed, for a reason whose text is cut to what the log keeps. It
// works with a context that has ended, so that a cancelled run can be recorded.
func (w *Recorder) Fail(ctx context.Context, reason error, r Result) error {
	text := "unknown"
	if reason != nil {
		text = strings.ToValidUTF8(strings.ReplaceAll(reason.Error(), "\x00", ""), "?")
	}
	if len(text) > errorMax {
		text = strings.ToValidUTF8(text[:errorMax/2], "") + "\n... cut ...\n" + strings.ToValidUTF8(text[len(text)-errorMax/2:], "")
	}
	return w.end(context.WithoutCancel(ctx), Failed, text, r)
}

func (w *Recorder) end(ctx context.Context, status Status, reason string, r Result) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return fmt.Errorf("run %s has ended before", w.id)
	}
	parameters, tags, metrics := merged(w.parameters, r.Parameters), merged(w.tags, r.Tags), merged(w.metrics, r.Metrics)
	if r.Artifact != (Artifact{}) {
		w.artifact = r.Artifact
	}
	facts, err := factsOf(parameters, metrics, tags)
	err = errors.Join(err, checkText("path of the artefact", w.artifact.Path, TextMax), checkText("digest of the artefact", w.artifact.Digest, TextMax))
	if err != nil {
		return fmt.Errorf("run %s: %w", w.id, err)
	}
	err = w.store.transact(ctx, func(tx executor) error {
		now := time.Now().UnixMicro()
		changed, err := tx.exec(ctx, `UPDATE runs SET status = ?, ended = ?, heartbeat = ?, error = ?, parameters = ?, tags = ?, metrics = ?, artifact_path = ?, artifact_digest = ? WHERE n = ?`,
			string(status), now, now, reason, toJSON(parameters), toJSON(tags), toJSON(metrics), w.artifact.Path, w.artifact.Digest, w.n)
		if err != nil {
			return err
		}
		if changed == 0 {
			return fmt.Errorf("%w: it was deleted while it ran", ErrNotFound)
		}
		if err := w.store.insertFacts(ctx, tx, w.n, facts); err != nil {
			return err
		}
		return w.store.setManifest(ctx, tx, w.n, r.Manifest)
	})
	if err != nil {
		return fmt.Errorf("%s: end of run %s: %w", w.store.place, w.id, err)
	}
	w.ended = true
	w.stop()
	w.beating.Wait()
	return nil
}

// Abandon stops the heartbeat of a run whose end cannot be written, such as on a full
// disk. It then shows as killed once the process has ended. After an end it does nothing.
func (w *Recorder) Abandon() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
	w.stop()
	w.beating.Wait()
}

func merged[K comparable, V any](a, b map[K]V) map[K]V {
	m := make(map[K]V, len(a)+len(b))
	maps.Copy(m, a)
	maps.Copy(m, b)
	return m
}
