// SPDX-License-Identifier: Apache-2.0

package monitor

import (
	"fmt"
	"math"

	"github.com/millrace-ml/millrace/evaluation/monitor/estimate"
)

// conceptOfErrors tests the errors of a matured window of a regression against those of the
// reference: whether they are larger, biased, or biased for some scores.
func (m *Monitor) conceptOfErrors(d due, q *Quality, rows []row) ([]finding, error) {
	scores, labels, _ := m.known(rows)
	shifts, bins, err := m.reference.errors.Shifts(scores, labels)
	if err != nil {
		return nil, err
	}
	q.Bins = bins
	for _, s := range shifts {
		q.Tests = append(q.Tests, ConceptTest{Name: s.Name, Before: s.Before, Now: s.Now, P: s.P})
	}
	check, err := m.reference.errors.Check(scores, labels, m.estimateOptions(d.duration, d.window.Start))
	if err != nil {
		return nil, err
	}
	if q.Check, err = m.check(d, check, scores, labels); err != nil {
		return nil, err
	}
	m.state.Checks[d.duration] = checked{true, *q.Check}
	least := m.config.DropMin * m.reference.values.Of(estimate.MAE)
	return m.conceptFindings(d, q, "%.4g", func(t *ConceptTest) bool {
		if t.Name == string(estimate.MAE) {
			return t.Now-t.Before >= least
		}
		return math.Abs(t.Now-t.Before) >= 2*least
	}), nil
}

// recentErrors are those of the rows that matured last, if that is asked for and they are
// enough, or the reference's.
func (m *Monitor) recentErrors() (estimator, error) {
	if len(m.state.Recent) < 4*m.config.RowsMin {
		return m.reference.estimator(), nil
	}
	scores, labels := make([]float64, len(m.state.Recent)), make([]float64, len(m.state.Recent))
	for i, r := range m.state.Recent {
		scores[i], labels[i] = r[0], r[1]
	}
	e, err := estimate.NewErrors(scores, labels)
	if err != nil {
		return nil, err
	}
	m.recent = e
	return e, nil
}

// errorsFinding alarms where a reliable estimate says that errors are larger than those of the
// reference.
func (m *Monitor) errorsFinding(r *Report) finding {
	e, before := r.Estimated, m.reference.values.Of(estimate.MAE)
	now, low, high := e.Values.Of(estimate.MAE), e.Low.Of(estimate.MAE), e.High.Of(estimate.MAE)
	return finding{
		"estimated:" + r.Window.String() + ":" + string(estimate.MAE), Warning, now > before*(1+m.config.DropMin) && low > before,
		fmt.Sprintf("the mean absolute error is estimated at %.4g (%.4g to %.4g) before labels, %.4g in the reference", now, low, high, before),
	}
}
