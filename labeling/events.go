// SPDX-License-Identifier: Apache-2.0

package labeling

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/millrace-ml/millrace/featurestore/offline"
)

// The streams of the event log that the store writes.
const (
	ProjectStream    = "labeling_projects"
	TaskStream       = "labeling_tasks"
	PredictionStream = "labeling_predictions"
	LeaseStream      = "labeling_leases"
	// AnnotationStream has what people said, for whoever trains or evaluates: see
	// AnnotationSchema.
	AnnotationStream = "annotations"
)

// Values of the column kind of AnnotationStream.
const (
	// KindAnnotation is a label that counts.
	KindAnnotation = "annotation"
	// KindSkip is a task that somebody cannot or will not label.
	KindSkip = "skip"
	// KindPostpone is a task that somebody wants back later.
	KindPostpone = "postpone"
	// KindReview is the final word on a task.
	KindReview = "review"
	// KindRetracted takes back whatever the event was.
	KindRetracted = "retracted"
)

// AnnotationSchema is the stream of annotations. Event time is when somebody answered;
// item_time is when what they looked at happened; prediction is the pre-label that the
// task had then.
func AnnotationSchema() offline.Schema {
	return offline.Schema{Stream: AnnotationStream, Columns: []offline.Column{
		{Name: "project", Type: offline.TypeString}, {Name: "task", Type: offline.TypeString},
		{Name: "annotator", Type: offline.TypeString}, {Name: "kind", Type: offline.TypeString},
		{Name: "value", Type: offline.TypeString}, {Name: "lead_ms", Type: offline.TypeInt64},
		{Name: "comment", Type: offline.TypeString}, {Name: "gold", Type: offline.TypeBool},
		{Name: "item_time", Type: offline.TypeTimestamp}, {Name: "model", Type: offline.TypeString},
		{Name: "model_version", Type: offline.TypeString}, {Name: "prediction", Type: offline.TypeString},
		{Name: "propensity", Type: offline.TypeFloat64},
	}}
}

func otherSchemas() []offline.Schema {
	project := offline.Column{Name: "project", Type: offline.TypeString}
	id := offline.Column{Name: "task", Type: offline.TypeString}
	suggestion := offline.Column{Name: "suggestion", Type: offline.TypeString}
	return []offline.Schema{
		{Stream: ProjectStream, Columns: []offline.Column{{Name: "definition", Type: offline.TypeString}}},
		{Stream: TaskStream, Columns: []offline.Column{project, id, {Name: "at", Type: offline.TypeTimestamp},
			{Name: "data", Type: offline.TypeString}, {Name: "gold", Type: offline.TypeString}, suggestion}},
		{Stream: PredictionStream, Columns: []offline.Column{project, id, suggestion}},
		{Stream: LeaseStream, Columns: []offline.Column{project, id, {Name: "who", Type: offline.TypeString},
			{Name: "review", Type: offline.TypeBool}, {Name: "expires", Type: offline.TypeTimestamp}}},
	}
}

// declare opens the streams.
func (s *Store) declare() error {
	s.streams = map[string]*offline.Stream{}
	for _, schema := range append(otherSchemas(), AnnotationSchema()) {
		stream, err := s.o.Log.Declare(schema)
		if err != nil {
			return fmt.Errorf("stream %q: %w", schema.Stream, err)
		}
		s.streams[schema.Stream] = stream
	}
	return nil
}

// append puts an event into the log's queue and returns its sequence. s.mu must be held,
// so that sequences follow the order in which the state changes.
func (s *Store) append(ctx context.Context, stream, id string, at time.Time, values ...offline.Value) (uint64, error) {
	seq, err := s.streams[stream].AppendSequence(ctx, &offline.Record{ID: id, EventTime: at.UnixMicro(), Values: values})
	if err != nil {
		return 0, fmt.Errorf("%s %q: %w", stream, id, err)
	}
	return seq, nil
}

// durable waits for an event, without s.mu. What is applied stays applied if it fails: the
// log goes on trying, and asking again for the same thing waits again.
func (s *Store) durable(ctx context.Context, seq uint64) error {
	if seq == 0 {
		return nil
	}
	return s.o.Log.WaitDurable(ctx, seq)
}

func (s *Store) appendProject(ctx context.Context, p *Project, now time.Time) (uint64, error) {
	b, err := json.Marshal(p)
	if err != nil {
		return 0, fmt.Errorf("project %q: %w", p.Name, err)
	}
	return s.append(ctx, ProjectStream, p.Name, now, offline.String(string(b)))
}

func (s *Store) appendTask(ctx context.Context, project string, t *Task, now time.Time) (uint64, error) {
	gold, suggestion := offline.Value{}, offline.Value{}
	if t.Gold != nil {
		gold = offline.String(t.Gold.Key())
	}
	if !t.empty() {
		b, err := json.Marshal(t.Suggestion)
		if err != nil {
			return 0, err
		}
		suggestion = offline.String(string(b))
	}
	return s.append(ctx, TaskStream, project+"/"+t.ID, now, offline.String(project), offline.String(t.ID),
		offline.Timestamp(t.At.UnixMicro()), offline.String(string(t.Data)), gold, suggestion)
}

func (s *Store) appendSuggestion(ctx context.Context, t *task, g *Suggestion, now time.Time) (uint64, error) {
	b, err := json.Marshal(g)
	if err != nil {
		return 0, err
	}
	return s.append(ctx, PredictionStream, t.p.Name+"/"+t.ID, now, offline.String(t.p.Name), offline.String(t.ID), offline.String(string(b)))
}

// entryID is the id of an entry's events.
func entryID(t *task, who string, review bool) string {
	if review {
		who = "!review" // a task has one review, whoever gives it
	}
	return t.p.Name + "/" + who + "/" + t.ID
}

func (s *Store) appendLease(ctx context.Context, t *task, who string, review bool, expires, now time.Time) (uint64, error) {
	return s.append(ctx, LeaseStream, entryID(t, who, review), now, offline.String(t.p.Name), offline.String(t.ID),
		offline.String(who), offline.Bool(review), offline.Timestamp(expires.UnixMicro()))
}

func (s *Store) appendAnswer(ctx context.Context, t *task, who string, review bool, a *answer) (uint64, error) {
	var value, model, version, guess, propensity offline.Value
	if !a.value.empty() || a.kind == KindAnnotation || a.kind == KindReview {
		value = offline.String(a.value.Key())
	}
	if g := t.Prediction; g != nil {
		model, version, guess = offline.String(g.Model), offline.String(g.Version), offline.String(g.Value.Key())
	}
	if c := t.Chosen; c != nil && c.Propensity > 0 {
		propensity = offline.Float64(c.Propensity)
	}
	return s.append(ctx, AnnotationStream, entryID(t, who, review), a.at, offline.String(t.p.Name), offline.String(t.ID),
		offline.String(who), offline.String(a.kind), value, offline.Int64(a.lead.Milliseconds()), offline.String(a.comment),
		offline.Bool(t.Gold != nil), offline.Timestamp(t.At.UnixMicro()), model, version, guess, propensity)
}

// visit reads every version of every event of a stream, in no particular order.
func (s *Store) visit(ctx context.Context, stream string, columns int, f func(*offline.Record) error) (err error) {
	names := make([]string, 0, columns)
	for _, c := range s.streams[stream].Schema().Columns[:columns] {
		names = append(names, c.Name)
	}
	scan, err := s.o.Log.Scan(ctx, offline.Query{Stream: stream, Columns: names, Versions: offline.AllVersions})
	if err != nil {
		return fmt.Errorf("stream %q: %w", stream, err)
	}
	defer func() { err = errors.Join(err, scan.Close()) }()
	for scan.Next() {
		if err := f(scan.Record()); err != nil {
			return fmt.Errorf("stream %q, event %q: %w", stream, scan.Record().ID, err)
		}
	}
	return scan.Err()
}
