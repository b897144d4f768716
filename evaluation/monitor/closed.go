// SPDX-License-Identifier: Apache-2.0

package monitor

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/millrace-ml/millrace/evaluation/interval"
	"github.com/millrace-ml/millrace/evaluation/monitor/drift"
	"github.com/millrace-ml/millrace/evaluation/monitor/estimate"
	"github.com/millrace-ml/millrace/evaluation/monitor/profile"
)

// closed reports a window that is over.
func (m *Monitor) closed(d due) (Report, error) {
	w, length := d.window, m.config.Windows[d.duration]
	r := Report{
		Window: length, Start: w.Start, End: w.Start + length.micros(), At: d.at, Rows: w.Count, Kind: m.config.Kind,
		Freshness: time.Duration(d.at-w.Profile.Newest) * time.Microsecond,
		Latency:   w.Latency.report(), Decisions: w.Decisions,
	}
	rows := picked(&m.config, w.Profile)
	if r.Judged = len(rows) >= m.config.RowsMin; !r.Judged {
		r.Note = fmt.Sprintf("%d rows are fewer than %d", len(rows), m.config.RowsMin)
	}
	with, err := m.baseOf(d.duration)
	if err != nil {
		return r, err
	}
	columns, err := m.columns(with, w.Profile, rows, r.Judged)
	if err != nil {
		return r, err
	}
	m.trail(d.duration, w.Profile)
	last := len(columns) - 1
	if columns[last].MissingShare < 1 {
		score := columns[last]
		r.Score = &score
	}
	r.Columns = columns[:last]
	var findings []finding
	if r.Judged {
		correct(r.Columns)
		findings = m.dataFindings(&r)
		if r.Estimated, err = m.estimated(d.duration, w.Start, rows); err != nil {
			return r, err
		}
		findings = append(findings, m.estimateFindings(&r)...)
	}
	m.rank(r.Columns)
	r.Events = m.judge(d.at, findings)
	return r, nil
}

// baseOf is what windows of a duration are compared with: those before, if that is asked for
// and there were enough, or the reference.
func (m *Monitor) baseOf(duration int) (*base, error) {
	trail := m.state.Trails[duration]
	if m.config.Trailing == 0 || len(trail) < m.config.Trailing {
		return &m.reference.base, nil
	}
	all, err := profile.New(m.reference.profile.Schema, profile.Options{Sample: referenceRows(&m.config)}, m.reference.profile)
	if err != nil {
		return nil, err
	}
	for _, p := range trail {
		if err := all.Merge(p); err != nil {
			return nil, err
		}
	}
	b := newBase(&m.config, all)
	return &b, nil
}

// trail keeps the profile of a window for those that follow.
func (m *Monitor) trail(duration int, p *profile.Profile) {
	if m.config.Trailing == 0 {
		return
	}
	trail := append(m.state.Trails[duration], p)
	m.state.Trails[duration] = slices.Delete(trail, 0, max(0, len(trail)-m.config.Trailing))
}

// columns reports all columns in the configuration's order, and at last the score.
func (m *Monitor) columns(with *base, p *profile.Profile, rows []profile.Row, judged bool) ([]ColumnReport, error) {
	columns := make([]ColumnReport, 0, len(p.Schema))
	numbers, texts := 0, 0
	for i, schema := range p.Schema {
		test := drift.CvM
		if i < len(m.config.Columns) {
			test = m.config.Columns[i].Test
		}
		c := ColumnReport{Name: schema.Name, Mean: math.NaN(), SD: math.NaN(), Effect: math.NaN(), Adjusted: math.NaN()}
		var err error
		if schema.Text {
			err = m.text(&c, with, test, p, rows, texts, judged)
			texts++
		} else {
			err = m.number(&c, with, test, p, rows, numbers, judged)
			numbers++
		}
		if err != nil {
			return nil, fmt.Errorf("column %q: %w", schema.Name, err)
		}
		columns = append(columns, c)
	}
	return columns, nil
}

func share(part, of int64) float64 {
	if of == 0 {
		return 0
	}
	return float64(part) / float64(of)
}

func (m *Monitor) number(c *ColumnReport, with *base, test drift.Test, p *profile.Profile, rows []profile.Row, i int, judged bool) error {
	n := &p.Numbers[i]
	c.Rows, c.MissingShare, c.Infinite = p.Rows, share(n.Missing, p.Rows), n.Infinite
	c.Mean, c.SD = n.Moments()
	if !judged {
		return nil
	}
	values := numbersOf(rows, i)
	against := with.numbers[i].Against(values)
	missing, err := against.Missing()
	if err != nil {
		return err
	}
	c.Missing = &missing
	if there := len(values) - int(math.Round(c.missingOf(rows, i))); there < m.config.RowsMin || with.numbers[i].Rows() == with.numbers[i].MissingRows() {
		return nil
	}
	result, err := against.Test(test, m.config.Level)
	if err != nil {
		return err
	}
	c.Drift, c.Adjusted, c.Effect = &result, result.P, against.Effect()
	out, err := against.OutOfRange()
	if err != nil {
		return err
	}
	c.Range = &out
	if c.Name != scoreColumn {
		c.ScoreShift, err = with.shift(values, i)
	}
	return err
}

// missingOf counts missing values in the rows tested.
func (c *ColumnReport) missingOf(rows []profile.Row, i int) float64 {
	count := 0.0
	for k := range rows {
		if math.IsNaN(rows[k].Numbers[i]) {
			count++
		}
	}
	return count
}

// shift is the change of the mean score by a column, 0 without scores.
func (b *base) shift(values []float64, i int) (float64, error) {
	for _, s := range b.scores {
		if math.IsNaN(s) {
			return 0, nil
		}
	}
	return drift.ScoreShift(numbersOf(b.sample, i), b.scores, values)
}

func (m *Monitor) text(c *ColumnReport, with *base, test drift.Test, p *profile.Profile, rows []profile.Row, i int, judged bool) error {
	t := &p.Texts[i]
	c.Rows, c.MissingShare, c.Distinct = p.Rows, share(t.Missing, p.Rows), t.Distinct()
	if !judged {
		return nil
	}
	current, missing := textsOf(rows, i)
	reference, refMissing := textsOf(with.sample, i)
	result, err := drift.MissingRate(refMissing, len(with.sample), missing, len(rows))
	if err != nil {
		return err
	}
	c.Missing = &result
	if len(rows)-missing < m.config.RowsMin || len(reference) == 0 {
		return nil
	}
	table := drift.NewTable(reference, current)
	found, err := table.Test(test, m.config.Level)
	if err != nil {
		return err
	}
	unseen, err := table.UnseenRows(m.config.Level)
	if err != nil {
		return err
	}
	c.Drift, c.Adjusted, c.Effect, c.Unseen = &found, found.P, table.TotalVariation(), &unseen
	return nil
}

// correct adjusts the p-values of drift for the number of columns.
func correct(columns []ColumnReport) {
	p := make([]float64, len(columns))
	for i, c := range columns {
		p[i] = math.NaN()
		if c.Drift != nil {
			p[i] = c.Drift.P
		}
	}
	for i, adjusted := range drift.BenjaminiHochberg(p) {
		columns[i].Adjusted = adjusted
	}
}

// rank puts the columns first that are likeliest to matter.
func (m *Monitor) rank(columns []ColumnReport) {
	impacts, byName := make([]drift.Impact, len(columns)), map[string]ColumnReport{}
	for i, c := range columns {
		impacts[i] = drift.Impact{Column: c.Name, Importance: m.config.Columns[i].Importance, Shift: c.ScoreShift}
		if c.Adjusted <= m.config.Level {
			impacts[i].Effect = c.Effect // else it may be nothing
		}
		byName[c.Name] = c
	}
	drift.Rank(impacts)
	for i, impact := range impacts {
		columns[i] = byName[impact.Column]
	}
}

// dataFindings judges data quality and drift. The tests of a family are corrected for how
// many they are.
func (m *Monitor) dataFindings(r *Report) []finding {
	var findings []finding
	length := r.Window.String()
	for _, c := range r.Columns {
		if c.Drift != nil {
			findings = append(findings, finding{
				"drift:" + length + ":" + c.Name, Warning, c.Adjusted <= m.config.Level && c.Effect >= m.config.EffectMin,
				fmt.Sprintf("%s drifted: %s %.4g where chance gives %.4g, p %.2g of %d columns, effect %.2f", c.Name, c.Drift.Test, c.Drift.Statistic, c.Drift.Threshold, c.Adjusted, len(r.Columns), c.Effect),
			})
		}
	}
	if s := r.Score; s != nil && s.Drift != nil {
		findings = append(findings, finding{
			"score:" + length, Warning, s.Adjusted <= m.config.Level && s.Effect >= m.config.EffectMin,
			fmt.Sprintf("scores drifted: their mean is %.4g, p %.2g, effect %.2f", s.Mean, s.Adjusted, s.Effect),
		})
	}
	if most := m.config.LatencyP99Max; most > 0 {
		findings = append(findings, finding{
			"latency:" + length + ":p99", Warning, r.Latency.P99Micros > most.micros(),
			fmt.Sprintf("one answer of a hundred takes %s or more, %s is allowed", time.Duration(r.Latency.P99Micros)*time.Microsecond, most),
		})
	}
	return append(findings, m.qualityFindings(r)...)
}

// qualityFindings judges missing values, unseen categories and ranges, as one family.
func (m *Monitor) qualityFindings(r *Report) []finding {
	var findings []finding
	var p []float64
	length := r.Window.String()
	add := func(kind string, c *ColumnReport, result *drift.Result, large bool, reason string) {
		if result == nil {
			return
		}
		findings = append(findings, finding{kind + ":" + length + ":" + c.Name, Warning, large, reason})
		p = append(p, result.P)
	}
	for i := range r.Columns {
		c := &r.Columns[i]
		rows := math.Max(1, float64(c.Rows)*(1-c.MissingShare))
		if c.Missing != nil {
			add("missing", c, c.Missing, math.Abs(c.Missing.Statistic) >= m.config.EffectMin/2,
				fmt.Sprintf("%.1f %% of %s is missing, %+.1f points", 100*c.MissingShare, c.Name, 100*c.Missing.Statistic))
		}
		if c.Unseen != nil {
			add("unseen", c, c.Unseen, c.Unseen.Statistic/float64(c.Unseen.Current) >= m.config.EffectMin/10,
				fmt.Sprintf("%.0f of %d rows of %s have categories that the reference lacks", c.Unseen.Statistic, c.Unseen.Current, c.Name))
		}
		if c.Range != nil {
			add("range", c, c.Range, c.Range.Statistic/float64(c.Range.Current) >= m.config.EffectMin/10,
				fmt.Sprintf("%.0f of %d values of %s are below or above all of the reference", c.Range.Statistic, c.Range.Current, c.Name))
		}
		if c.Infinite > 0 {
			findings = append(findings, finding{"infinite:" + length + ":" + c.Name, Warning, float64(c.Infinite)/rows >= m.config.EffectMin/10, fmt.Sprintf("%d values of %s are infinite", c.Infinite, c.Name)})
			p = append(p, 0)
		} else {
			findings = append(findings, finding{subject: "infinite:" + length + ":" + c.Name})
			p = append(p, math.NaN())
		}
	}
	for i, adjusted := range interval.Holm(p) {
		findings[i].bad = findings[i].bad && adjusted <= m.config.Level
	}
	return findings
}

// checked is a matured window's check of the estimate.
type checked struct {
	Known bool
	Check estimate.Check
}

// estimated estimates quality of the rows with scores. It is nil without a reference.
func (m *Monitor) estimated(duration int, start int64, rows []profile.Row) (*estimate.Estimate, error) {
	if m.reference.estimator() == nil {
		return nil, nil
	}
	scores := numbersOf(rows, len(m.reference.numbers)-1)
	scores = slices.DeleteFunc(scores, func(s float64) bool { return math.IsNaN(s) })
	if len(scores) < m.config.RowsMin {
		return nil, nil
	}
	var check *estimate.Check
	if c := &m.state.Checks[duration]; c.Known {
		check = &c.Check
	}
	from, err := m.estimator()
	if err != nil {
		return nil, err
	}
	return from.Window(scores, check, m.estimateOptions(duration, start))
}

// estimator is that of the rows that matured last, if that is asked for and they are
// enough, or the reference's.
func (m *Monitor) estimator() (estimator, error) {
	if m.recent != nil {
		return m.recent, nil
	}
	if m.config.Kind == Regression {
		return m.recentErrors()
	}
	positives := 0
	for _, r := range m.state.Recent {
		positives += int(r[1])
	}
	if enough := 20 * m.config.PositivesMin; positives < enough || len(m.state.Recent)-positives < enough {
		return m.reference.calibration, nil
	}
	scores, labels := make([]float64, len(m.state.Recent)), make([]float64, len(m.state.Recent))
	for i, r := range m.state.Recent {
		scores[i], labels[i] = r[0], r[1]
	}
	c, err := estimate.Calibrate(scores, labels)
	if err != nil {
		return nil, err
	}
	m.recent = c
	return c, nil
}

// remember keeps rows that matured for calibrations to come.
func (m *Monitor) remember(scores, labels []float64) {
	if m.config.RecalibrateRows == 0 || len(labels) == 0 {
		return
	}
	for i, l := range labels {
		m.state.Recent = append(m.state.Recent, [2]float64{scores[i], l})
	}
	m.state.Recent = slices.Delete(m.state.Recent, 0, max(0, len(m.state.Recent)-m.config.RecalibrateRows))
	m.recent = nil
}

func (m *Monitor) estimateOptions(duration int, start int64) estimate.Options {
	return estimate.Options{
		Threshold: m.config.Threshold, Draws: m.config.Draws, Tolerance: m.config.DropMin, PositivesMin: float64(m.config.PositivesMin),
		Seed: uint64(start) + uint64(duration),
	}
}

// estimateFindings alarms where a reliable estimate says that AUC fell, or errors grew.
func (m *Monitor) estimateFindings(r *Report) []finding {
	e := r.Estimated
	if e == nil || e.Unreliable {
		return nil // nothing is known: an alarm stays as it is
	}
	if m.config.Kind == Regression {
		return []finding{m.errorsFinding(r)}
	}
	before, now := m.reference.auc.Value, e.Values.Of(estimate.AUC)
	return []finding{{
		"estimated:" + r.Window.String() + ":" + string(estimate.AUC), Warning, now < before-m.config.DropMin && e.High[0] < before,
		fmt.Sprintf("AUC is estimated at %.3f (%.3f to %.3f) before labels, %.3f in the reference", now, e.Low[0], e.High[0], before),
	}}
}
