// SPDX-License-Identifier: Apache-2.0

package monitor

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"sort"

	"github.com/millrace-ml/millrace/evaluation/interval"
	"github.com/millrace-ml/millrace/evaluation/monitor/estimate"
	"github.com/millrace-ml/millrace/evaluation/monitor/online"
)

// matured reports a window whose labels are in.
func (m *Monitor) matured(d due) (Report, error) {
	length := m.config.Windows[d.duration]
	r := Report{Window: length, Start: d.window.Start, End: d.window.Start + length.micros(), At: d.at, Matured: true, Rows: d.window.Count, Kind: m.config.Kind}
	rows := m.labelled(r.Start, r.End)
	q, err := m.quality(rows, r.Rows)
	if err != nil {
		return r, err
	}
	r.Quality = q
	if r.Slices, err = m.slices(rows); err != nil {
		return r, err
	}
	var findings []finding
	if d.duration == 0 {
		f, err := m.stream(rows)
		if err != nil {
			return r, err
		}
		findings = f
	}
	if q.Labelled >= m.config.RowsMin {
		more, err := m.concept(d, q, rows)
		if err != nil {
			return r, err
		}
		r.Judged = len(q.Tests) > 0
		findings = append(findings, more...)
	}
	if d.duration == len(m.config.Windows)-1 {
		scores, labels, _ := m.known(rows)
		m.remember(scores, labels) // after all checks, which must not have seen them
	}
	if !r.Judged {
		with := fmt.Sprintf(" with %d positives", q.Positives)
		if m.config.Kind == Regression {
			with = ""
		}
		r.Note = fmt.Sprintf("%d labels%s are too few to judge, or there is no reference with labels", q.Labelled, with)
	}
	r.Events = m.judge(d.at, findings)
	return r, nil
}

// labelled are the rows from start to end by time. What silence says is not in them yet.
func (m *Monitor) labelled(start, end int64) []row {
	list := m.state.Windows[0]
	var rows []row
	for _, w := range list[sort.Search(len(list), func(i int) bool { return list[i].Start >= start }):] {
		if w.Start >= end {
			break
		}
		rows = append(rows, w.Rows...)
	}
	slices.SortFunc(rows, func(a, b row) int { return cmp.Or(cmp.Compare(a.Time, b.Time), cmp.Compare(a.Key, b.Key)) })
	return rows
}

// known splits rows in scores and labels of those that have one, their own or by silence.
func (m *Monitor) known(rows []row) (scores, labels []float64, own int) {
	for i := range rows {
		label := rows[i].Label
		if !math.IsNaN(label) {
			own++
		} else if label = 0; !m.config.SilenceIsNegative {
			continue
		}
		scores, labels = append(scores, rows[i].Score), append(labels, label)
	}
	return scores, labels, own
}

// quality is the realised quality of rows, of a window that had so many.
func (m *Monitor) quality(rows []row, all int64) (*Quality, error) {
	scores, labels, own := m.known(rows)
	q := &Quality{Rows: int(all), Labelled: len(labels), Cost: math.NaN(), Sampled: share(int64(len(rows)), all), Coverage: share(int64(own), int64(len(rows)))}
	q.Values, q.Low, q.High = estimate.Unknown(), estimate.Unknown(), estimate.Unknown()
	if len(labels) == 0 {
		return q, nil
	}
	var err error
	if m.config.Kind == Regression {
		q.Values, q.Low, q.High, err = estimate.RealisedAmounts(scores, labels, 0.95)
		return q, err
	}
	if q.Values, err = estimate.Realised(scores, labels, m.config.Threshold); err != nil {
		return nil, err
	}
	var confusion [2][2]int // by label, by decision
	for i, l := range labels {
		decision := 0
		if scores[i] >= m.config.Threshold {
			decision = 1
		}
		confusion[int(l)][decision]++
	}
	q.Positives = confusion[1][0] + confusion[1][1]
	wilson := func(metric estimate.Metric, hits, trials int) {
		i := slices.Index(estimate.Metrics, metric)
		if low, high, err := interval.Wilson(hits, trials, 0.95); err == nil {
			q.Low[i], q.High[i] = low, high
		}
	}
	wilson(estimate.Accuracy, confusion[0][0]+confusion[1][1], len(labels))
	wilson(estimate.Precision, confusion[1][1], confusion[0][1]+confusion[1][1])
	wilson(estimate.Recall, confusion[1][1], q.Positives)
	if auc, err := interval.AUCOf(labels, scores, nil); err == nil { // else there are too few of a class
		q.Low[0], q.High[0] = auc.Interval(0.95)
	}
	q.Cost = (m.config.CostFalsePositive*float64(confusion[0][1]) + m.config.CostFalseNegative*float64(confusion[1][0])) / float64(len(labels))
	return q, nil
}

// slices is the quality by slice, by their names. Values that few rows have are there too,
// with intervals as wide as that makes them.
func (m *Monitor) slices(rows []row) ([]SliceQuality, error) {
	var found []SliceQuality
	for i, name := range m.config.Slices {
		parts := map[uint16][]row{}
		for _, r := range rows {
			parts[r.Slices[i]] = append(parts[r.Slices[i]], r)
		}
		for value, part := range parts {
			q, err := m.quality(part, int64(len(part)))
			if err != nil {
				return nil, err
			}
			text := otherName
			if int(value) < len(m.state.Names[i]) {
				text = m.state.Names[i][value]
			}
			found = append(found, SliceQuality{name, text, *q})
		}
	}
	slices.SortFunc(found, func(a, b SliceQuality) int {
		return cmp.Or(cmp.Compare(a.Slice, b.Slice), cmp.Compare(a.Value, b.Value))
	})
	return found, nil
}

// stream feeds the errors of a window to the online detector.
func (m *Monitor) stream(rows []row) ([]finding, error) {
	scores, labels, _ := m.known(rows)
	if len(labels) == 0 {
		return nil, nil
	}
	if m.config.Kind == Regression && m.reference.errors == nil {
		return nil, nil // nothing says which errors are large
	}
	var worse *online.Change
	for i, l := range labels {
		change, err := m.state.Adwin.Add(m.wrong(scores[i], l))
		if err != nil {
			return nil, err
		}
		if change != nil && change.After > change.Before {
			worse = change
		}
	}
	f := finding{subject: "online:" + m.config.Windows[0].String() + ":errors", severity: Critical}
	if worse != nil {
		of := "the share of errors rose"
		if m.config.Kind == Regression {
			of = "errors grew: the chance that one is larger than one of the reference rose"
		}
		f.bad, f.reason = true, fmt.Sprintf("%s from %.3f to %.3f", of, worse.Before, worse.After)
	}
	return []finding{f}, nil
}

// wrong is how wrong a prediction was, 0 to 1: of a regression by the place of its error among
// those of the reference.
func (m *Monitor) wrong(score, label float64) float64 {
	if m.config.Kind == Regression {
		return m.reference.errors.Rank(math.Abs(score - label))
	}
	if (score >= m.config.Threshold) != (label == 1) {
		return 1
	}
	return 0
}

// concept tests a matured window against the reference: whether its ranks and decisions
// are worse, and whether its scores still mean what they meant. Their p-values are corrected
// together (Holm).
func (m *Monitor) concept(d due, q *Quality, rows []row) ([]finding, error) {
	ref := m.reference
	if ref.errors != nil {
		return m.conceptOfErrors(d, q, rows)
	}
	if ref.calibration == nil {
		return nil, nil
	}
	scores, labels, _ := m.known(rows)
	accuracy, before := q.Values.Of(estimate.Accuracy), ref.values.Of(estimate.Accuracy)
	q.Tests = []ConceptTest{{Name: "accuracy", Before: before, Now: accuracy, P: worse(before, accuracy, ref.rows, len(labels))}}
	if enough := m.config.PositivesMin; q.Positives >= enough && len(labels)-q.Positives >= enough {
		auc, err := interval.AUCOf(labels, scores, nil)
		if err != nil {
			return nil, err
		}
		z := (auc.Value - ref.auc.Value) / math.Hypot(auc.SE, ref.auc.SE)
		q.Tests = append(q.Tests, ConceptTest{Name: "roc_auc", Before: ref.auc.Value, Now: auc.Value, P: below(z)})
		check, err := ref.calibration.Check(scores, labels, m.estimateOptions(d.duration, d.window.Start))
		if err != nil {
			return nil, err
		}
		if q.Check, err = m.check(d, check, scores, labels); err != nil {
			return nil, err
		}
		m.state.Checks[d.duration] = checked{true, *q.Check}
		n := float64(len(labels))
		q.Tests = append(q.Tests, ConceptTest{Name: "positives", Before: check.Expected / n, Now: check.Positives / n, P: check.P})
	}
	return m.conceptFindings(d, q, "%.3f", func(t *ConceptTest) bool {
		if t.Name == "positives" {
			return math.Abs(t.Now-t.Before) >= 10*m.config.DropMin*t.Before
		}
		return t.Before-t.Now >= m.config.DropMin
	}), nil
}

// conceptFindings corrects tests together (Holm), and alarms of those that are sure and whose
// change is large.
func (m *Monitor) conceptFindings(d due, q *Quality, form string, large func(t *ConceptTest) bool) (findings []finding) {
	p := make([]float64, len(q.Tests))
	for i, t := range q.Tests {
		p[i] = t.P
	}
	for i, adjusted := range interval.Holm(p) {
		t := &q.Tests[i]
		t.Adjusted = adjusted
		t.Change = adjusted <= m.config.Level && large(t)
		findings = append(findings, finding{
			"concept:" + m.config.Windows[d.duration].String() + ":" + t.Name, Critical, t.Change,
			fmt.Sprintf("%s is "+form+" where "+form+" was expected, of %d labels, p %.2g", t.Name, t.Now, t.Before, q.Labelled, adjusted),
		})
	}
	return findings
}

// check is that of the estimator in use, given that of the reference.
func (m *Monitor) check(d due, reference *estimate.Check, scores, labels []float64) (*estimate.Check, error) {
	from, err := m.estimator()
	if err != nil || from == m.reference.estimator() {
		return reference, err
	}
	return from.Check(scores, labels, m.estimateOptions(d.duration, d.window.Start))
}

// below is the chance of a normal number below z, 1 where it is not known.
func below(z float64) float64 {
	if math.IsNaN(z) {
		return 1
	}
	return math.Erfc(-z/math.Sqrt2) / 2
}

// worse is the one-sided p-value of a share that fell.
func worse(before, now float64, rowsBefore, rows int) float64 {
	a, b := float64(rowsBefore), float64(rows)
	pooled := (before*a + now*b) / (a + b)
	return below((now - before) / math.Sqrt(pooled*(1-pooled)*(1/a+1/b)))
}
