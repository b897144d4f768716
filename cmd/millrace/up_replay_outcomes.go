// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/offline"
	"github.com/millrace-ml/millrace/featurestore/window"
	"github.com/millrace-ml/millrace/labeling/groundtruth"
	millracev1 "github.com/millrace-ml/millrace/proto/millrace/v1"
)

const (
	// outcomeBatch bounds the outcomes of one call.
	outcomeBatch = 256
	// outcomesWaiting bounds the outcomes that wait for their decisions to be answered and
	// for the clock; beyond it they are sent though the server may refuse them.
	outcomesWaiting = 1 << 16
	// outcomePredictions bounds the predictions whose outcome is not known yet, at about
	// 100 bytes each. Those beyond it are told by entity and time, where a label allows it.
	outcomePredictions = 1 << 20
	// outcomeAttempts bounds how often a batch is sent; ids make a repeat count once.
	outcomeAttempts = 5
	outcomeBackoff  = 50 * time.Millisecond
)

// outcomeSpec is how a late field is told as feedback.
type outcomeSpec struct {
	field  int
	label  *groundtruth.Definition
	kind   millracev1.FeedbackKind
	source string
	// entity are the places of the fields by which the label finds a prediction that is
	// not named; none if it does not.
	entity []int
}

// replayOutcomes tells the server what became of the events that were decided, when it
// becomes known. The ids of the outcomes follow from the events, so an outcome that is
// sent again, by this replay or after a restart, counts once.
//
// add, flush and position belong to the goroutine that plays; the rest may be called
// from any.
type replayOutcomes struct {
	replay  *replay
	log     *offline.Log
	specs   []outcomeSpec
	waiting []outcome
	until   int64 // up to when labels have been read, in microseconds
	last    int   // field that is known last, after which a prediction is forgotten

	mu struct {
		sync.Mutex
		predictions map[uint64]string // by event
		forgot      bool              // some did not fit
		sent        map[int]int64     // not acknowledged batches: when the first of each became known
		batches     int
	}
}

// outcome is what became of an event.
type outcome struct {
	event           uint64
	happened, known int64 // microseconds
	item            *millracev1.FeedbackItem
	entity          map[string]string
	last            bool // nothing more will be known of the event
}

// outcomesBatch is a job of a worker.
type outcomesBatch struct {
	number int
	items  []*millracev1.FeedbackItem
}

// newReplayOutcomes finds which late fields are outcomes of the replay's decision: those
// that have the name of a label's outcome. It is nil if there are none.
func newReplayOutcomes(r *replay, labels []*groundtruth.Definition, log *offline.Log) *replayOutcomes {
	if r.decision == nil {
		return nil
	}
	o := &replayOutcomes{replay: r, log: log, until: r.labelsFrom()}
	o.mu.predictions, o.mu.sent = map[uint64]string{}, map[int]int64{}
	told := map[[2]string]bool{} // one piece of feedback serves all labels of its name and kind
	for i := range r.source.Fields {
		for _, d := range labels {
			key := [2]string{d.Kind.String(), d.Outcome}
			if f := &r.source.Fields[i]; !f.Late || f.Name != d.Outcome || d.Decision != r.decision.Name || told[key] {
				continue
			}
			told[key] = true
			s := outcomeSpec{field: i, label: d, kind: millracev1.FeedbackKind(d.Kind), source: outcomeSource(d)}
			for _, key := range d.Entity {
				if at := r.source.Field(key); at >= 0 {
					s.entity = append(s.entity, at)
				}
			}
			if len(s.entity) < len(d.Entity) {
				s.entity = nil
			}
			o.specs = append(o.specs, s)
		}
	}
	if len(o.specs) == 0 {
		return nil
	}
	o.last = o.specs[0].field
	for _, s := range o.specs {
		if r.source.Fields[s.field].KnownAfter > r.source.Fields[o.last].KnownAfter {
			o.last = s.field
		}
	}
	return o
}

// outcomeSource is who tells the truth in a replay: the source that the label trusts most.
func outcomeSource(d *groundtruth.Definition) string {
	best, name := math.MinInt, "replay"
	for _, s := range d.Sources {
		if s.Name != groundtruth.AnySource && s.Priority > best {
			best, name = s.Priority, s.Name
		}
	}
	return name
}

// named says that a prediction is found again after a restart, since the facts that are
// logged with it have the id of the event. Else outcomes are told by entity and time where
// the label allows it, before and after a restart alike.
func (o *replayOutcomes) named(s *outcomeSpec) bool {
	id := o.replay.source.Fields[o.replay.source.ID].Name
	for i := range o.replay.decision.Facts {
		if o.replay.decision.Facts[i].Name == id {
			return true
		}
	}
	return s.entity == nil
}

// resume finds the predictions whose outcomes are still to come in the log.
func (o *replayOutcomes) resume(ctx context.Context) error {
	r := o.replay
	if !r.resumed {
		return nil
	}
	after := int64(0)
	for _, s := range o.specs {
		after = max(after, r.source.Fields[s.field].KnownAfter.Microseconds())
	}
	scan, err := o.log.Scan(ctx, offline.Query{Stream: groundtruth.PredictionStream, Columns: []string{"decision", "facts"},
		From: max(0, r.labelsFrom()-after-r.source.FutureMax.Microseconds())})
	if errors.Is(err, offline.ErrUnknownStream) {
		return nil
	} else if err != nil {
		return err
	}
	defer scan.Close()
	id := r.source.Fields[r.source.ID].Name
	for scan.Next() {
		record := scan.Record()
		if record.Values[0].Text() != r.decision.Name {
			continue
		}
		var facts map[string]json.RawMessage
		if err := json.Unmarshal([]byte(record.Values[1].Text()), &facts); err != nil {
			return fmt.Errorf("decision %s: facts: %w", record.ID, err)
		}
		raw, ok := facts[id]
		if !ok {
			continue
		}
		text := string(raw)
		if text[0] == '"' {
			if err := json.Unmarshal(raw, &text); err != nil {
				return fmt.Errorf("decision %s: facts: %s: %w", record.ID, id, err)
			}
		}
		o.decided(window.KeyOf(text), strings.Clone(record.ID))
	}
	return scan.Err()
}

// decided remembers which prediction is about an event.
func (o *replayOutcomes) decided(event uint64, prediction string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, known := o.mu.predictions[event]; !known && len(o.mu.predictions) >= outcomePredictions {
		o.mu.forgot = true
		return
	}
	o.mu.predictions[event] = prediction
}

// add takes what became known of an event, which the feed stands at. What silence says as
// well is not told: nobody reports that a payment was none of a thief's.
func (o *replayOutcomes) add(field int, f *feed, known int64) {
	before := len(o.waiting)
	for i := range o.specs {
		s := &o.specs[i]
		if s.field != field || f.column(field).Null(f.row) {
			continue
		}
		value := outcomeValue(s.label.Type, f.column(field), f.row)
		if s.label.Silence == groundtruth.SilenceNegative && value == s.label.Negative {
			continue
		}
		t := outcome{event: f.id(), happened: f.time(), known: known, item: &millracev1.FeedbackItem{
			FeedbackId: fmt.Sprintf("%s.%s/%016x", f.source.Name, f.source.Fields[field].Name, f.id()),
			Name:       s.label.Outcome, Kind: s.kind, Source: s.source, Class: value.Type == groundtruth.TypeClass, Value: wireOutcome(value),
		}}
		for _, at := range s.entity {
			if t.entity == nil {
				t.entity = map[string]string{}
			}
			t.entity[f.source.Fields[at].Name] = cellText(f.column(at), f.row)
		}
		o.waiting = append(o.waiting, t)
	}
	switch {
	case field != o.last:
	case len(o.waiting) > before:
		o.waiting[len(o.waiting)-1].last = true
	default:
		o.mu.Lock()
		delete(o.mu.predictions, f.id())
		o.mu.Unlock()
	}
}

// outcomeValue is a value of a column as a label takes it.
func outcomeValue(t groundtruth.ValueType, c *column.Column, row int) groundtruth.Value {
	switch {
	case c.Type == column.String && t == groundtruth.TypeText:
		return groundtruth.Text(c.Texts[row])
	case c.Type == column.String:
		return groundtruth.Class(c.Texts[row])
	case t == groundtruth.TypeBool, t == groundtruth.TypeNull && c.Type == column.Bool:
		return groundtruth.Bool(c.Number(row) != 0)
	}
	return groundtruth.Number(c.Number(row))
}

func wireOutcome(v groundtruth.Value) *millracev1.Value {
	switch v.Type {
	case groundtruth.TypeBool:
		return &millracev1.Value{Kind: &millracev1.Value_Bool{Bool: v.Number != 0}}
	case groundtruth.TypeNumber:
		return &millracev1.Value{Kind: &millracev1.Value_Number{Number: v.Number}}
	}
	return &millracev1.Value{Kind: &millracev1.Value_Text{Text: v.Text}}
}

// cellText is a cell as the facts of a decision have it.
func cellText(c *column.Column, row int) string {
	switch c.Type {
	case column.String:
		return c.Texts[row]
	case column.Bool:
		return strconv.FormatBool(c.Numbers[row] != 0)
	case column.Float64:
		return strconv.FormatFloat(c.Numbers[row], 'g', -1, 64)
	}
	return strconv.FormatInt(c.Ints[row], 10)
}

// flush sends outcomes whose events are answered, in batches: full ones, or what has
// waited for long, or, at the end, all.
func (o *replayOutcomes) flush(end bool) {
	for len(o.waiting) > 0 {
		if !end && len(o.waiting) < outcomeBatch && o.until-o.waiting[0].known < int64(labelWait/time.Microsecond) {
			return
		}
		n, answered := 0, o.replay.flight.answered()
		for n < min(len(o.waiting), outcomeBatch) && (end || o.waiting[n].happened < answered || len(o.waiting) > outcomesWaiting) {
			n++
		}
		if n == 0 {
			return
		}
		o.send(o.waiting[:n])
		o.waiting = o.waiting[n:]
	}
}

// send hands a batch to a worker.
func (o *replayOutcomes) send(all []outcome) {
	b := &outcomesBatch{}
	oldest := int64(math.MaxInt64)
	o.mu.Lock()
	for i := range all {
		if o.targetLocked(&all[i]) {
			b.items, oldest = append(b.items, all[i].item), min(oldest, all[i].known)
		}
	}
	if len(b.items) > 0 {
		b.number = o.mu.batches
		o.mu.sent[b.number] = oldest
		o.mu.batches++
	}
	o.mu.Unlock()
	if len(b.items) > 0 {
		o.replay.jobs <- job{outcomes: b, place: -1}
	}
}

// targetLocked says what an outcome is about; false if the event was not decided.
func (o *replayOutcomes) targetLocked(t *outcome) bool {
	id, known := o.mu.predictions[t.event]
	named := o.named(o.specOf(t))
	switch {
	case named && known:
		t.item.PredictionId, t.item.EventTime = id, t.known
		if t.last {
			delete(o.mu.predictions, t.event)
		}
	case t.entity != nil && (!named || o.mu.forgot):
		t.item.Entity, t.item.EventTime = t.entity, t.happened
	default:
		return false
	}
	return true
}

func (o *replayOutcomes) specOf(t *outcome) *outcomeSpec {
	for i := range o.specs {
		if o.specs[i].label.Outcome == t.item.Name && o.specs[i].kind == t.item.Kind {
			return &o.specs[i]
		}
	}
	return &o.specs[0] // each outcome comes of one
}

// acknowledged says that the server has a batch. One that it does not have stays in what
// position says, so that the next start sends it again.
func (o *replayOutcomes) acknowledged(number int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.mu.sent, number)
}

// position is up to when the server has all outcomes.
func (o *replayOutcomes) position() int64 {
	at := o.until
	for i := range o.waiting {
		at = min(at, o.waiting[i].known)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, known := range o.mu.sent {
		at = min(at, known)
	}
	return at
}

// tell submits a batch of outcomes, again where the server was busy.
func (w *replayWorker) tell(b *outcomesBatch) {
	wait := outcomeBackoff
	for attempt := 1; ; attempt++ {
		ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
		answer, err := w.feedback.SubmitFeedback(ctx, &millracev1.SubmitFeedbackRequest{Items: b.items})
		cancel()
		again := status.Code(err) == codes.Unavailable || status.Code(err) == codes.ResourceExhausted || status.Code(err) == codes.DeadlineExceeded
		for _, result := range answer.GetResults() {
			again = again || result.Retryable
		}
		if !again || attempt == outcomeAttempts {
			w.replay.report.told(answer, cmp.Or(err, answerFault(answer, len(b.items))))
			if !again && err == nil {
				w.replay.outcomes.acknowledged(b.number)
			}
			return
		}
		_ = waitFor(context.Background(), wait) // bounded by the number of attempts
		wait *= 2
	}
}

func answerFault(a *millracev1.SubmitFeedbackResponse, items int) error {
	if a != nil && len(a.Results) != items {
		return fmt.Errorf("the server answered %d of %d outcomes", len(a.Results), items)
	}
	return nil
}
