// SPDX-License-Identifier: Apache-2.0

package runs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// store is a log in a database.
type store struct {
	place string
	database
}

var _ Store = (*store)(nil)

func (s *store) Close() error { return s.close() }

// fact is a parameter, metric or tag as filters see it.
type fact struct {
	name   string
	number *float64
	text   *string
}

// Start implements Store.
func (s *store) Start(ctx context.Context, r Run) (*Recorder, error) {
	if r.Started.IsZero() {
		r.Started = time.Now()
	}
	r.ID, r.Status, r.Ended = newID(r.Started), Running, time.Time{}
	w := &Recorder{store: s, id: r.ID, parameters: r.Parameters, tags: r.Tags, metrics: r.Metrics, artifact: r.Artifact, curves: map[string]*curve{}}
	if err := s.insert(ctx, w, &r); err != nil {
		return nil, fmt.Errorf("%s: run of experiment %q: %w", s.place, r.Experiment, err)
	}
	w.startHeartbeat(heartbeatEvery)
	return w, nil
}

func (s *store) insert(ctx context.Context, w *Recorder, r *Run) error {
	if err := r.check(); err != nil {
		return err
	}
	facts, err := factsOf(r.Parameters, r.Metrics, r.Tags)
	if err != nil {
		return err
	}
	columns := []string{"id", "experiment", "name", "status", "started", "ended", "parent", "method", "seed", "data_hash", "code_hash", "git_commit",
		"artifact_path", "artifact_digest", "error", "owner", "heartbeat", "parameters", "metrics", "tags", "versions"}
	values := []any{r.ID, r.Experiment, r.Name, string(r.Status), r.Started.UnixMicro(), int64(0), r.Parent, r.Method, int64(r.Seed), r.DataHash, r.CodeHash, r.GitCommit,
		r.Artifact.Path, r.Artifact.Digest, "", self().String(), time.Now().UnixMicro(), toJSON(r.Parameters), toJSON(r.Metrics), toJSON(r.Tags), toJSON(r.Versions)}
	marks := strings.TrimSuffix(strings.Repeat("?, ", len(columns)), ", ")
	return s.transact(ctx, func(tx executor) error {
		statement := fmt.Sprintf("INSERT INTO runs (%s) VALUES (%s) RETURNING n", strings.Join(columns, ", "), marks)
		if err := tx.each(ctx, func(row scanner) error { return row.Scan(&w.n) }, statement, values...); err != nil {
			return err
		}
		if err := s.insertFacts(ctx, tx, w.n, facts); err != nil {
			return err
		}
		return s.setManifest(ctx, tx, w.n, r.Manifest)
	})
}

func (s *store) setManifest(ctx context.Context, tx executor, n int64, manifest json.RawMessage) error {
	if manifest == nil {
		return nil
	}
	if !json.Valid(manifest) {
		return errors.New("the manifest is not JSON")
	}
	if err := checkText("manifest", string(manifest), DocumentMax); err != nil {
		return err
	}
	_, err := tx.exec(ctx, `INSERT INTO manifests (run, document) VALUES (?, ?) ON CONFLICT (run) DO UPDATE SET document = excluded.document`, n, string(manifest))
	return err
}

// factsBatch is how many facts go into one statement.
const factsBatch = 50

func (s *store) insertFacts(ctx context.Context, tx executor, n int64, facts []fact) error {
	for part := range slices.Chunk(facts, factsBatch) {
		values := make([]any, 0, 4*len(part))
		for _, f := range part {
			values = append(values, n, f.name, f.number, f.text)
		}
		marks := strings.TrimSuffix(strings.Repeat("(?, ?, ?, ?), ", len(part)), ", ")
		if _, err := tx.exec(ctx, "INSERT INTO facts (run, name, number, text) VALUES "+marks+
			" ON CONFLICT (run, name) DO UPDATE SET number = excluded.number, text = excluded.text", values...); err != nil {
			return err
		}
	}
	return nil
}

// check reports what the log does not keep.
func (r *Run) check() error {
	if r.Experiment == "" {
		return errors.New("the experiment has no name")
	}
	var problems []error
	for _, t := range []struct{ what, text string }{
		{"experiment", r.Experiment}, {"name", r.Name}, {"parent", r.Parent}, {"method", r.Method}, {"data hash", r.DataHash},
		{"code hash", r.CodeHash}, {"commit", r.GitCommit}, {"path of the artefact", r.Artifact.Path}, {"digest of the artefact", r.Artifact.Digest},
	} {
		problems = append(problems, checkText(t.what, t.text, TextMax))
	}
	if len(r.Versions) > FactsMax {
		problems = append(problems, fmt.Errorf("%w: %d versions; at most %d", ErrBound, len(r.Versions), FactsMax))
	}
	for name, version := range r.Versions {
		problems = append(problems, checkText("version of "+name, name+version, TextMax))
	}
	return errors.Join(problems...)
}

// factsOf lists what filters can ask for.
func factsOf(parameters map[string]any, metrics map[string]Metric, tags map[string]string) ([]fact, error) {
	for what, n := range map[string]int{"parameters": len(parameters), "metrics": len(metrics), "tags": len(tags)} {
		if n > FactsMax {
			return nil, fmt.Errorf("%w: %d %s; at most %d", ErrBound, n, what, FactsMax)
		}
	}
	var facts []fact
	for _, name := range slices.Sorted(maps.Keys(parameters)) {
		f, err := parameterFact(name, parameters[name])
		if err != nil {
			return nil, fmt.Errorf("parameter %q: %w", name, err)
		}
		facts = append(facts, f)
	}
	for _, name := range slices.Sorted(maps.Keys(metrics)) {
		if v := metrics[name].Value; finite(v) {
			facts = append(facts, fact{name: "metrics." + name, number: &v})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(tags)) {
		facts = append(facts, fact{name: "tags." + name, text: new(tags[name])})
	}
	for _, f := range facts {
		if err := checkText("name "+f.name[:min(len(f.name), 40)], f.name, TextMax); err != nil {
			return nil, err
		}
		if f.text != nil {
			if err := checkText(f.name, *f.text, TextMax); err != nil {
				return nil, err
			}
		}
	}
	return facts, nil
}

func parameterFact(name string, value any) (fact, error) {
	f := fact{name: "params." + name}
	switch v := value.(type) {
	case int:
		f.number = new(float64(v))
	case int64:
		f.number = new(float64(v))
	case uint64:
		f.number = new(float64(v))
	case float64:
		if !finite(v) {
			return f, fmt.Errorf("%v is no number that can be kept", v)
		}
		f.number = &v
	case bool:
		f.text = new(fmt.Sprint(v))
	case string:
		f.text = &v
	default:
		return f, fmt.Errorf("a value of type %T; it is a number, a text or a truth", value)
	}
	return f, nil
}

// toJSON writes a map of the log, whose values have been checked.
func toJSON(v any) string {
	data, err := json.Marshal(v)
	if err != nil || string(data) == "null" {
		return "{}"
	}
	return string(data)
}

// Delete implements Store.
func (s *store) Delete(ctx context.Context, id string) error {
	r, err := s.Get(ctx, id)
	if err != nil {
		return err
	}
	if r.Status == Running {
		return fmt.Errorf("%s: run %s is running: stop it first", s.place, r.ID)
	}
	err = s.transact(ctx, func(tx executor) error {
		var n int64
		if err := tx.each(ctx, func(row scanner) error { return row.Scan(&n) }, `SELECT n FROM runs WHERE id = ?`, r.ID); err != nil {
			return err
		}
		for _, table := range []string{"facts WHERE run", "curves WHERE run", "manifests WHERE run", "runs WHERE n"} {
			if _, err := tx.exec(ctx, "DELETE FROM "+table+" = ?", n); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("%s: delete run %s: %w", s.place, r.ID, err)
	}
	return nil
}
