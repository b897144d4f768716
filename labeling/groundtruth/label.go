// SPDX-License-Identifier: Apache-2.0

package groundtruth

import (
	"github.com/millrace-ml/millrace/featurestore/offline"
)

// LabelStatus says what is known of a prediction.
type LabelStatus uint8

const (
	// Pending has no label, and one may still come: it is censored, not negative.
	Pending LabelStatus = iota
	// Observed has the label that feedback gave.
	Observed
	// Silent is mature without feedback, which stands for the negative value.
	Silent
	// Unknown is mature without feedback, which means nothing.
	Unknown
)

var labelNames = [...]string{Pending: "pending", Observed: "observed", Silent: "silent", Unknown: "unknown"}

// String is the name of the status.
func (s LabelStatus) String() string { return nameOf(labelNames[:], int(s)) }

// Label is what is known of a prediction at an instant. Labels are equal if they are ==.
type Label struct {
	Status LabelStatus
	// Value is that of Observed and Silent.
	Value Value
	// Time is when it happened: the event time of the feedback that counts, or the end of
	// the window. Known is when that was learned: the arrival, or the end of the window.
	// Microseconds since 1970, 0 if there is no label.
	Time, Known int64
	// Source, FeedbackID and Weight are those of the feedback that counts; Weight of
	// Silent is 1.
	Source, FeedbackID string
	Weight             float64
	// Mature says that the window was over: now > time of the prediction + window.
	Mature bool
	// Candidates is how much feedback counted, versions as one; Contradicted says that it
	// was not of one mind.
	Candidates   int
	Contradicted bool
}

// Censored says that the label is not there yet, and may come.
func (l *Label) Censored() bool { return l.Status == Pending }

// candidate is the latest version of a piece of feedback about a prediction.
type candidate struct {
	record         string // id in the log
	feedback       string
	kind           Kind
	value          Value
	source         string
	event, arrival int64
	sequence       uint64
	weight         float64
	byEntity       bool
}

func (o *Outcome) candidate() candidate {
	return candidate{record: o.record, feedback: o.ID, kind: o.Kind, value: o.Value, source: o.Source, event: o.EventTime,
		arrival: o.Arrival, sequence: o.Sequence, weight: o.Weight, byEntity: o.PredictionID == ""}
}

// counts tells whether feedback is about a prediction of a time, and of what priority.
func (d *Definition) counts(t int64, c *candidate) (priority int, ok bool) {
	if c.value.Type == TypeNull || (c.kind != d.Kind && c.kind != KindCorrection) || (d.Type != TypeNull && c.value.Type != d.Type) {
		return 0, false
	}
	if !d.inWindow(t, c.event, c.byEntity) {
		return 0, false
	}
	return d.priority(c.source)
}

// inWindow tells whether what happened at event counts for a prediction of time t.
func (d *Definition) inWindow(t, event int64, byEntity bool) bool {
	if byEntity {
		return event >= t && event-t <= d.Within.Microseconds()
	}
	return event >= t-EarlyMax.Microseconds() && event-t <= d.Window.Microseconds()
}

// mature tells whether the window of a prediction is over.
func (d *Definition) mature(t, now int64) bool { return now-t > d.Window.Microseconds() }

// decide is the label of a prediction of time t. Of the feedback that counts, that of
// the highest priority wins; of these the latest event, then arrival, then place in the
// log.
func (d *Definition) decide(t int64, mature bool, all []candidate) Label {
	l := Label{Mature: mature}
	var best *candidate
	bestPriority := 0
	for i := range all {
		c := &all[i]
		priority, ok := d.counts(t, c)
		if !ok {
			continue
		}
		l.Candidates++
		if best != nil && best.value != c.value {
			l.Contradicted = true
		}
		if best == nil || priority > bestPriority || (priority == bestPriority && newer(c, best)) {
			best, bestPriority = c, priority
		}
	}
	switch {
	case best != nil:
		l.Status, l.Value, l.Time, l.Known = Observed, best.value, best.event, best.arrival
		l.Source, l.FeedbackID, l.Weight = best.source, best.feedback, best.weight
	case !mature:
	case d.Silence == SilenceNegative:
		end := t + d.Window.Microseconds()
		l.Status, l.Value, l.Time, l.Known, l.Weight = Silent, d.Negative, end, end, 1
	default:
		l.Status = Unknown
	}
	return l
}

func newer(a, b *candidate) bool {
	if c := compareInts(a.event, b.event, a.arrival, b.arrival); c != 0 {
		return c > 0
	}
	return a.sequence > b.sequence
}

// supersedes tells whether a is a later version than b of the same feedback.
func (a *candidate) supersedes(b *candidate) bool {
	if a.arrival != b.arrival {
		return a.arrival > b.arrival
	}
	return a.sequence > b.sequence
}

// latest keeps the latest version of each piece of feedback. It works in place.
func latest(all []candidate) []candidate {
	kept := all[:0]
next:
	for i := range all {
		for k := range kept {
			if kept[k].record == all[i].record {
				if all[i].supersedes(&kept[k]) {
					kept[k] = all[i]
				}
				continue next
			}
		}
		kept = append(kept, all[i])
	}
	return kept
}

// Row is a prediction and its label.
type Row struct {
	// PredictionID, Time (when the features were asked for) and Arrival, microseconds.
	PredictionID  string
	Time, Arrival int64
	// Decision is the name in the policy file, Answer what was decided.
	Decision, Answer     string
	Model                string
	ModelVersion         int64
	PolicyVersion        string
	Arm, Segment, Reason string
	// Score is NaN if no model answered; Propensity NaN if none was logged.
	Score, Propensity float64
	// Degraded says that the fallback ladder answered.
	Degraded bool
	// Facts are those of the request, as JSON.
	Facts string
	// Extra are the values of the columns that were asked for, in their order; null where
	// a record has none.
	Extra []offline.Value
	Label Label
}
