// SPDX-License-Identifier: Apache-2.0

package document

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/millrace-ml/millrace/evaluation/monitor"
	"github.com/millrace-ml/millrace/evaluation/monitor/estimate"
	"github.com/millrace-ml/millrace/evaluation/report"
)

// section is a part of the document, the same in all formats but for the plots.
type section struct {
	id, title string
	notes     []string
	tables    []*table
	figures   []*figure
}

// table is a table. The first cell of a row heads it.
type table struct {
	Caption string
	Head    []column
	Rows    [][]cell
}

type column struct {
	Text string
	Num  bool
}

// cell is a text; Class is good, bad, warn or empty.
type cell struct{ Text, Class string }

func heads(names ...string) []column {
	var all []column
	for _, name := range names {
		text, num := strings.CutPrefix(name, "#")
		all = append(all, column{text, num})
	}
	return all
}

// add adds a row of texts, which are shown as Visible lets them be.
func (t *table) add(texts ...string) []cell {
	row := make([]cell, len(texts))
	for i, text := range texts {
		row[i].Text = report.Visible(text)
	}
	t.Rows = append(t.Rows, row)
	return row
}

// bounded keeps the first rows, and says how many are left out.
func (t *table) bounded() *table {
	if rest := len(t.Rows) - RowsMax; rest > 0 {
		t.Rows = t.Rows[:RowsMax]
		t.Caption += fmt.Sprintf(" (%d more in the report as JSON)", rest)
	}
	return t
}

// shownMax is how many rows of a table are shown at once; the others are folded away.
const shownMax = 8

// Top is what is shown of a table at once.
func (t *table) Top() *table {
	return &table{t.Caption, t.Head, t.Rows[:min(len(t.Rows), shownMax)]}
}

// Rest is what is folded away, nil for nothing.
func (t *table) Rest() *table {
	if len(t.Rows) <= shownMax {
		return nil
	}
	return &table{fmt.Sprintf("%d more", len(t.Rows)-shownMax), t.Head, t.Rows[shownMax:]}
}

// sections are the parts that there is something for.
func (d *Document) sections() []*section {
	var all []*section
	for _, make := range []func() *section{d.alarms, d.quality, d.columns, d.slices, d.data, d.traffic, d.decisions} {
		if s := make(); s != nil && len(s.tables)+len(s.figures)+len(s.notes) > 0 {
			all = append(all, s)
		}
	}
	return all
}

func (d *Document) alarms() *section {
	s := &section{id: "alarms", title: "Alarms"}
	if len(d.Alarms) == 0 {
		s.notes = append(s.notes, "No alarm was raised.")
		return s
	}
	t := &table{Caption: "Alarms, those that are raised first", Head: heads("of", "severity", "since", "until", "#windows", "what was found last")}
	for i := range d.Alarms {
		a := &d.Alarms[i]
		until := "still raised"
		if !a.Raised() {
			until = when(a.Until)
		}
		row := t.add(Subject(&a.Alarm), string(a.Severity), when(a.Since), until, count(int64(a.Windows)), a.Reason)
		row[1].Class = severityClass(a.Severity)
		if a.Raised() {
			row[3].Class = row[1].Class
		}
	}
	s.tables = append(s.tables, t.bounded())
	s.figures = append(s.figures, d.timeline())
	return s
}

func severityClass(s monitor.Severity) string {
	if s == monitor.Critical {
		return "bad"
	}
	return "warn"
}

func (d *Document) quality() *section {
	s := &section{id: "quality", title: "Quality"}
	for _, m := range d.Kind.Metrics() {
		if f := d.metric(m); f != nil {
			s.figures = append(s.figures, f)
		}
	}
	if f := d.coverage(); f != nil {
		s.figures = append(s.figures, f)
	}
	if t := d.realised(); len(t.Rows) > 0 {
		s.tables = append(s.tables, t.bounded())
	}
	if t := d.estimates(); len(t.Rows) > 0 {
		s.tables = append(s.tables, t.bounded())
		s.notes = append(s.notes, d.Kind.Assumptions())
	}
	if t := d.concepts(); len(t.Rows) > 0 {
		s.tables = append(s.tables, t)
	}
	if t := d.biases(); len(t.Rows) > 0 {
		s.tables = append(s.tables, t)
		s.notes = append(s.notes, "The bias is the mean of score less label: above 0 the model predicts too much. Where it depends on the score, the model is off for some rows and the mean over all may hide it.")
	}
	if len(s.tables) == 0 {
		s.notes = append(s.notes, "No labels matured, and there is no reference with labels to estimate from: nothing is known of quality.")
	}
	return s
}

// realised is the quality of windows whose labels are in, newest first.
func (d *Document) realised() *table {
	t := &table{Caption: "Quality that labels say, newest window first", Head: d.qualityHeads("window from", d.Kind.Metrics())}
	if d.Kind != monitor.Regression {
		t.Head = append(t.Head, heads("#cost")...)
	}
	for _, r := range slices.Backward(d.Matured) {
		q := r.Quality
		if q == nil || q.Labelled == 0 {
			continue
		}
		texts := d.qualityTexts(when(r.Start), q, d.Kind.Metrics())
		if d.Kind != monitor.Regression {
			texts = append(texts, number(q.Cost))
		}
		row := t.add(texts...)
		for _, test := range q.Tests {
			if i := slices.Index(d.Kind.Metrics(), estimate.Metric(test.Name)); i >= 0 && test.Change {
				row[len(d.qualityHeads("", nil))+i].Class = "bad"
			}
		}
	}
	return t
}

// qualityHeads are the columns of a table of quality, and qualityTexts a row of it.
func (d *Document) qualityHeads(of string, metrics []estimate.Metric) []column {
	all := heads(of, "#rows", "#with label", "#coverage")
	if d.Kind != monitor.Regression {
		all = append(all, heads("#positives")...)
	}
	for _, m := range metrics {
		title := Title(m)
		if title != strings.ToUpper(title) { // else it is an abbreviation
			title = strings.ToLower(title)
		}
		all = append(all, heads("#"+title)...)
	}
	return all
}

func (d *Document) qualityTexts(of string, q *monitor.Quality, metrics []estimate.Metric) []string {
	texts := []string{of, count(int64(q.Rows)), count(int64(q.Labelled)), percent(q.Coverage)}
	if d.Kind != monitor.Regression {
		texts = append(texts, count(int64(q.Positives)))
	}
	for _, m := range metrics {
		texts = append(texts, ofMetric(q.Values, q.Low, q.High, m))
	}
	return texts
}

// biases are those by bins of the score, of the newest window that has some.
func (d *Document) biases() *table {
	t := &table{Head: heads("scores from", "to", "#rows", "#bias", "#reference", "#p")}
	for _, r := range slices.Backward(d.Matured) {
		if r.Quality == nil || len(r.Quality.Bins) == 0 {
			continue
		}
		t.Caption = "Bias by score, window from " + when(r.Start)
		for _, b := range r.Quality.Bins {
			t.add(number(b.From), number(b.To), count(int64(b.Rows)), between(b.Bias, b.Low, b.High), number(b.Before), probability(b.P))
		}
		return t
	}
	return t
}

// estimates are those made before labels, newest first, with what came true.
func (d *Document) estimates() *table {
	first := d.Kind.Metrics()[0]
	t := &table{Caption: "Quality estimated before labels, newest window first", Head: heads("window from", "#"+Title(first)+" estimated", "#"+Title(first)+" realised", "#off by", "to be trusted")}
	realised := map[int64]float64{}
	for _, r := range d.Matured {
		if r.Quality != nil {
			realised[r.Start] = r.Quality.Values.Of(first)
		}
	}
	for _, r := range slices.Backward(d.Closed) {
		e := r.Estimated
		if e == nil {
			continue
		}
		came, ok := realised[r.Start]
		if !ok {
			came = math.NaN()
		}
		trust := "yes"
		if e.Unreliable {
			trust = "no: " + strings.Join(e.Reasons, "; ")
		}
		row := t.add(when(r.Start), ofMetric(e.Values, e.Low, e.High, first), number(came), number(e.Values.Of(first)-came), trust)
		if e.Unreliable {
			row[4].Class = "warn"
		}
	}
	return t
}

// concepts are the tests of the newest window that has some.
func (d *Document) concepts() *table {
	t := &table{Head: heads("of", "#reference", "#window", "#p", "#p adjusted (Holm)", "changed")}
	for _, r := range slices.Backward(d.Matured) {
		if r.Quality == nil || len(r.Quality.Tests) == 0 {
			continue
		}
		t.Caption = "Has what inputs mean changed? Tests of the window from " + when(r.Start)
		for _, test := range r.Quality.Tests {
			changed := "no"
			if test.Change {
				changed = "yes"
			}
			row := t.add(test.Name, number(test.Before), number(test.Now), probability(test.P), probability(test.Adjusted), changed)
			if test.Change {
				row[5].Class = "bad"
			}
		}
		return t
	}
	return t
}

// plottedColumnsMax bounds the plots of columns: the first ones.
const plottedColumnsMax = 6

func (d *Document) columns() *section {
	s := &section{id: "columns", title: "Columns and score"}
	if f := d.scores(); f != nil {
		s.figures = append(s.figures, f)
	}
	t := &table{Caption: "Columns, those likeliest to have mattered first", Head: heads("column", "alarms of drift", "#score moved by", "#effect, newest", "#effect, most", "#p adjusted, newest", "#mean, newest", "#missing, newest")}
	for i, l := range d.Columns() {
		effect, p := none, none
		if l.Last.Drift != nil {
			effect, p = number(l.Last.Effect), probability(l.Last.Adjusted)
		}
		top := none
		if v := most(l.Effects); v >= 0 {
			top = number(v)
		}
		row := t.add(l.Name, count(int64(l.Drifted)), number(l.Shift), effect, top, p, number(l.Last.Mean), percent(l.Last.MissingShare))
		if l.Drifted > 0 {
			row[1].Class = "warn"
		}
		if f := d.effect(i, &l); f != nil && i < plottedColumnsMax {
			s.figures = append(s.figures, f)
		}
	}
	if len(t.Rows) > 0 {
		s.tables = append(s.tables, t.bounded())
		s.notes = append(s.notes, "The effect is how far a column moved from the reference: standard deviations of a number, the share of rows with other categories. What moved by chance is left out of alarms: p-values hold at any size of a window and are corrected for the number of columns (Benjamini and Hochberg). \"Score moved by\" is how much the mean score would change by this column alone.")
	}
	return s
}

func (d *Document) slices() *section {
	s := &section{id: "slices", title: "Slices"}
	for _, r := range slices.Backward(d.Matured) {
		parts := d.slicesOf(&r)
		if len(parts) == 0 {
			continue
		}
		metrics := slices.DeleteFunc(slices.Clone(d.Kind.Metrics()), func(m estimate.Metric) bool { return m == estimate.AveragePrecision })
		t := &table{Caption: "Quality by slice, window from " + when(r.Start), Head: d.qualityHeads("slice", metrics)}
		for _, p := range parts {
			t.add(d.qualityTexts(p.Slice+"="+p.Value, &p.Quality, metrics)...)
		}
		s.tables = append(s.tables, t.bounded())
		s.figures = append(s.figures, d.sliceFigures(parts)...)
		return s
	}
	if d.Slice != "" {
		s.notes = append(s.notes, fmt.Sprintf("No window that matured has a slice %s.", report.Visible(d.Slice)))
	}
	return s
}

// data is data quality: what columns lack or have that the reference does not.
func (d *Document) data() *section {
	s := &section{id: "data", title: "Data quality"}
	t := &table{Caption: "Columns in the newest window", Head: heads("column", "#missing", "#against the reference, points", "#unseen categories, rows", "#out of range, rows", "#infinite", "#different values")}
	for _, l := range d.Columns() {
		c := &l.Last
		unseen, outside, points := none, none, none
		if c.Unseen != nil {
			unseen = number(c.Unseen.Statistic)
		}
		if c.Range != nil {
			outside = number(c.Range.Statistic)
		}
		if c.Missing != nil {
			points = fmt.Sprintf("%+.1f", 100*c.Missing.Statistic)
		}
		row := t.add(l.Name, percent(c.MissingShare), points, unseen, outside, count(c.Infinite), number(c.Distinct))
		if c.Infinite > 0 {
			row[5].Class = "bad"
		}
	}
	if len(t.Rows) > 0 {
		s.tables = append(s.tables, t.bounded())
		if f := d.missing(); f != nil {
			s.figures = append(s.figures, f)
		}
	}
	return s
}

func (d *Document) traffic() *section {
	s := &section{id: "traffic", title: "Rows, freshness and latency"}
	t := &table{Caption: "Windows, newest first", Head: heads("window from", "#rows", "#p50 µs", "#p95 µs", "#p99 µs", "#newest row before", "judged")}
	for _, r := range slices.Backward(d.Closed) {
		latency := []string{none, none, none}
		if r.Latency.P50Micros > 0 {
			latency = []string{count(r.Latency.P50Micros), count(r.Latency.P95Micros), count(r.Latency.P99Micros)}
		}
		judged := "yes"
		if !r.Judged {
			judged = "no: " + r.Note
		}
		t.add(when(r.Start), count(r.Rows), latency[0], latency[1], latency[2], duration(r.Freshness.Microseconds()), judged)
	}
	if len(t.Rows) > 0 {
		s.tables = append(s.tables, t.bounded())
		s.figures = append(s.figures, d.rows(), d.latency())
		s.figures = slices.DeleteFunc(s.figures, func(f *figure) bool { return f == nil })
	}
	return s
}

func (d *Document) decisions() *section {
	s := &section{id: "decisions", title: "Decisions"}
	names := d.decisionNames()
	if len(names) == 0 {
		return s
	}
	t := &table{Caption: "Decisions, newest window first", Head: append(heads("window from"), heads(prefixed(names)...)...)}
	for _, r := range slices.Backward(d.Closed) {
		texts := []string{when(r.Start)}
		for _, name := range names {
			texts = append(texts, fmt.Sprintf("%d, %s", r.Decisions[name], percent(float64(r.Decisions[name])/float64(r.Rows))))
		}
		t.add(texts...)
	}
	s.tables = append(s.tables, t.bounded())
	if f := d.decided(names); f != nil {
		s.figures = append(s.figures, f)
	}
	return s
}

func prefixed(names []string) []string {
	var all []string
	for _, name := range names {
		all = append(all, "#"+report.Visible(name))
	}
	return all
}

// decisionsMax is the most decisions that are shown: the most frequent.
const decisionsMax = 6

func (d *Document) decisionNames() []string {
	counts := map[string]int64{}
	for _, r := range d.Closed {
		for name, n := range r.Decisions {
			counts[name] += n
		}
	}
	names := slices.Sorted(maps.Keys(counts))
	slices.SortStableFunc(names, func(a, b string) int { return int(counts[b] - counts[a]) })
	return names[:min(len(names), decisionsMax)]
}
