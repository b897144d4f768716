// SPDX-License-Identifier: Apache-2.0

package document

import (
	"fmt"
	"math"

	"github.com/millrace-ml/millrace/evaluation/monitor"
	"github.com/millrace-ml/millrace/evaluation/monitor/estimate"
	"github.com/millrace-ml/millrace/evaluation/report"
)

// titles are metrics for people.
var titles = map[estimate.Metric]string{
	estimate.AUC: "AUC", estimate.AveragePrecision: "Average precision", estimate.Accuracy: "Accuracy", estimate.Precision: "Precision", estimate.Recall: "Recall",
	estimate.MAE: "Mean absolute error", estimate.RMSE: "RMSE", estimate.Bias: "Bias", estimate.R2: "R²",
}

// Title is a metric for people.
func Title(m estimate.Metric) string {
	if title := titles[m]; title != "" {
		return title
	}
	return string(m)
}

// metric is a metric over time: what labels say, and what was estimated before them. It is
// nil where neither is known.
func (d *Document) metric(m estimate.Metric) *figure {
	realised, estimated := series{name: "realised"}, series{name: "estimated before labels"}
	reference := math.NaN()
	for _, r := range d.Matured {
		if r.Quality == nil {
			continue
		}
		realised.add(r.Start, r.Quality.Values.Of(m), r.Quality.Low.Of(m), r.Quality.High.Of(m))
		for _, t := range r.Quality.Tests {
			if t.Name == string(m) {
				reference = t.Before
			}
		}
	}
	doubtful := 0
	for _, r := range d.Closed {
		if r.Estimated == nil || math.IsNaN(r.Estimated.Values.Of(m)) {
			continue
		}
		if r.Estimated.Unreliable {
			doubtful++
		} else {
			estimated.add(r.Start, r.Estimated.Values.Of(m), r.Estimated.Low.Of(m), r.Estimated.High.Of(m))
		}
	}
	f := lines("metric-"+string(m), titles[m], titles[m], reference, realised, estimated)
	if f != nil {
		f.note = "Shaded: intervals at 95 %."
		if !math.IsNaN(reference) {
			f.note += " The thin dashed line is the reference."
		}
		if doubtful > 0 {
			f.note += fmt.Sprintf(" Left out: %s that %s not to be trusted.", plural(doubtful, "estimate", "estimates"), map[bool]string{true: "is", false: "are"}[doubtful == 1])
		}
	}
	return f
}

func (d *Document) coverage() *figure {
	s := series{name: "with a label"}
	for _, r := range d.Matured {
		if r.Quality != nil {
			s.add(r.Start, 100*r.Quality.Coverage, math.NaN(), math.NaN())
		}
	}
	f := lines("coverage", "Label coverage", "% of rows", math.NaN(), s)
	if f != nil {
		f.note = "The share of rows with a label of their own, when their window matured: one that silence gave does not count."
	}
	return f
}

func (d *Document) scores() *figure {
	s := series{name: "mean score"}
	for _, r := range d.Closed {
		if r.Score != nil {
			s.add(r.Start, r.Score.Mean, math.NaN(), math.NaN())
		}
	}
	return lines("score", "Mean score", "score", math.NaN(), s)
}

func (d *Document) effect(i int, l *ColumnLine) *figure {
	s := series{name: "effect"}
	for j, r := range d.Closed {
		s.add(r.Start, l.Effects[j], math.NaN(), math.NaN())
	}
	return lines(fmt.Sprintf("effect-%d", i), "Effect of drift: "+report.Visible(l.Name), "effect", math.NaN(), s)
}

// missing are the columns whose share of missing values is the largest, and not always 0.
func (d *Document) missing() *figure {
	var all []series
	for _, l := range d.Columns() {
		if most(l.Missing) <= 0 || len(all) == seriesMax {
			continue
		}
		s := series{name: report.Visible(l.Name)}
		for j, r := range d.Closed {
			s.add(r.Start, 100*l.Missing[j], math.NaN(), math.NaN())
		}
		all = append(all, s)
	}
	return lines("missing", "Missing values", "% of rows", math.NaN(), all...)
}

func (d *Document) rows() *figure {
	s := series{name: "rows"}
	for _, r := range d.Closed {
		s.add(r.Start, float64(r.Rows), math.NaN(), math.NaN())
	}
	return lines("rows", "Rows of a window", "rows", math.NaN(), s)
}

func (d *Document) latency() *figure {
	p50, p95, p99 := series{name: "p50"}, series{name: "p95"}, series{name: "p99"}
	for _, r := range d.Closed {
		if r.Latency.P50Micros > 0 {
			p50.add(r.Start, float64(r.Latency.P50Micros), math.NaN(), math.NaN())
			p95.add(r.Start, float64(r.Latency.P95Micros), math.NaN(), math.NaN())
			p99.add(r.Start, float64(r.Latency.P99Micros), math.NaN(), math.NaN())
		}
	}
	return lines("latency", "Latency of answers", "µs", math.NaN(), p50, p95, p99)
}

func (d *Document) decided(names []string) *figure {
	all := make([]series, len(names))
	for i, name := range names {
		all[i].name = report.Visible(name)
		for _, r := range d.Closed {
			if r.Rows > 0 {
				all[i].add(r.Start, 100*float64(r.Decisions[name])/float64(r.Rows), math.NaN(), math.NaN())
			}
		}
	}
	return lines("decided", "Decisions", "% of rows", math.NaN(), all...)
}

// plottedSlicesMax bounds the slices of a plot.
const plottedSlicesMax = seriesMax

// slicePlots are the metrics that are plotted by slice.
func (d *Document) slicePlots() []estimate.Metric {
	if d.Kind == monitor.Regression {
		return []estimate.Metric{estimate.MAE, estimate.Bias}
	}
	return []estimate.Metric{estimate.AUC, estimate.Accuracy}
}

// sliceFigures are two metrics of the first slices over time.
func (d *Document) sliceFigures(parts []monitor.SliceQuality) []*figure {
	var all []*figure
	for _, m := range d.slicePlots() {
		var shown []series
		for _, p := range parts[:min(len(parts), plottedSlicesMax)] {
			s := series{name: report.Visible(p.Slice + "=" + p.Value)}
			for _, r := range d.Matured {
				for _, other := range r.Slices {
					if other.Slice == p.Slice && other.Value == p.Value {
						s.add(r.Start, other.Quality.Values.Of(m), math.NaN(), math.NaN())
					}
				}
			}
			shown = append(shown, s)
		}
		if f := lines("slices-"+string(m), titles[m]+" by slice", titles[m], math.NaN(), shown...); f != nil {
			all = append(all, f)
		}
	}
	return all
}

// Lines of the timeline: at most so many, and how high each is.
const (
	timelineMax  = 40
	timelineLine = 42.0
)

// timeline shows when alarms were raised: a line for each subject.
func (d *Document) timeline() *figure {
	var subjects []string
	bars := map[string][]*Span{}
	for i := range d.Alarms {
		a := &d.Alarms[i]
		if bars[a.Subject] == nil {
			subjects = append(subjects, a.Subject)
		}
		bars[a.Subject] = append(bars[a.Subject], a)
	}
	shown := subjects[:min(len(subjects), timelineMax)]
	f := &figure{id: "timeline", title: "When alarms were raised", wide: true}
	f.desc = "A line for each subject, with a bar from when its alarm was raised until it cleared. The table has the times."
	end := d.To
	for i := range d.Alarms {
		end = max(end, d.Alarms[i].Since, d.Alarms[i].Until)
	}
	x := axis{float64(d.From), float64(end), 8, wideWidth - 8}
	bottom := 8 + timelineLine*float64(len(shown))
	f.height = bottom + 26
	f.days(x, bottom, 4)
	for i, subject := range shown {
		f.spans(bars[subject], x, 8+timelineLine*float64(i))
	}
	if rest := len(subjects) - len(shown); rest > 0 {
		f.note = plural(rest, "more subject is in the table.", "more subjects are in the table.")
	}
	return f
}

// spans draws the alarms of a subject, newest first.
func (f *figure) spans(spans []*Span, x axis, y float64) {
	words := Subject(&spans[0].Alarm) + ": " + string(spans[0].Severity)
	if spans[0].Raised() {
		words += ", still raised"
	}
	if len(spans) > 1 {
		words += fmt.Sprintf(", %d times", len(spans))
	}
	f.text(8, y+14, "tick", words)
	for _, a := range spans {
		class, until := "s1", x.high
		if a.Severity == monitor.Critical {
			class = "bad"
		}
		if !a.Raised() {
			until = float64(a.Until)
		}
		from := x.place(float64(a.Since))
		f.box(from, y+22, max(3, x.place(until)-from), 12, "area "+class)
	}
}
