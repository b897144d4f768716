// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"slices"
	"unsafe"

	"github.com/millrace-ml/millrace/evaluation/monitor"
	"github.com/millrace-ml/millrace/featurestore/offline"
	"github.com/millrace-ml/millrace/labeling/groundtruth"
)

// watched is a prediction or an outcome, in the order of arrival.
type watched struct {
	arrival    int64
	prediction *monitor.Prediction
	outcome    monitor.Outcome
}

// watchBatch is the events of one look at the log. Its memory is used again for the next:
// the predictions, of which there are watchRecords at most, and their texts.
type watchBatch struct {
	events      []watched
	predictions []monitor.Prediction
	used        int
	// texts is where the texts of predictions are. What was written is not written again
	// before reset, so that texts may refer to it, also where it has grown since.
	texts []byte
}

// reset lets go of the events.
func (b *watchBatch) reset() {
	if b.predictions == nil {
		b.predictions = make([]monitor.Prediction, watchRecords)
	}
	b.events, b.used, b.texts = b.events[:0], 0, b.texts[:0]
}

// add takes a copy of a prediction. There are not more than watchRecords between two resets.
func (b *watchBatch) add(p *monitor.Prediction) {
	own := &b.predictions[b.used]
	b.used++
	numbers, texts, parts := own.Numbers[:0], own.Texts[:0], own.Slices[:0]
	*own = *p
	own.ID, own.Version, own.Arm, own.Decision, own.Entity = b.text(p.ID), b.text(p.Version), b.text(p.Arm), b.text(p.Decision), b.text(p.Entity)
	own.Numbers = append(numbers, p.Numbers...)
	for _, t := range p.Texts {
		texts = append(texts, b.text(t))
	}
	for _, t := range p.Slices {
		parts = append(parts, b.text(t))
	}
	own.Texts, own.Slices = texts, parts
	b.events = append(b.events, watched{arrival: p.Arrival, prediction: own})
}

// text is a copy of a text, good until reset.
func (b *watchBatch) text(t string) string {
	if t == "" {
		return ""
	}
	from := len(b.texts)
	b.texts = append(b.texts, t...)
	return unsafe.String(&b.texts[from], len(t))
}

// sort puts the events in the order of their arrival, in which most are.
func (b *watchBatch) sort() {
	byArrival := func(x, y watched) int { return cmp.Compare(x.arrival, y.arrival) }
	if !slices.IsSortedFunc(b.events, byArrival) {
		slices.SortStableFunc(b.events, byArrival)
	}
}

// tailFrom follows the log from a sequence on, and decodes what predictions and their labels
// are made of. What a live join needs of decisions, predictionReader needs as well.
func (w *watcher) tailFrom(after uint64) *offline.Tail {
	only := map[string][]string{groundtruth.PredictionStream: predictionColumns()}
	if w.spec.label != nil {
		only[groundtruth.OutcomeStream] = nil
	}
	return w.all.events.Tail(after).Only(only)
}
