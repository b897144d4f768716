// SPDX-License-Identifier: Apache-2.0

package report

import (
	"cmp"
	"fmt"
	"html/template"
	"math"
)

const (
	// sliceChartsMax bounds the metrics that are drawn by slice, sliceChartMax the slices
	// of one picture.
	sliceChartsMax = 3
	sliceChartMax  = 15
	// forestMax bounds the metrics of the picture of differences.
	forestMax = 20
)

// sliceCharts draws metrics by slice, those of the report's first metrics that slices have.
func (r *Report) sliceCharts() []template.HTML {
	var out []template.HTML
	for _, m := range firstOf(r.Metrics, pageRowsMax) {
		if len(out) == sliceChartsMax {
			break
		}
		if f := r.sliceChart(m, len(out)); f != nil {
			out = append(out, f.html())
		}
	}
	return out
}

// sliced is a metric of a slice, by the slice's name.
type sliced struct {
	name string
	rows int
	m    Metric
}

// slicedBy is what slices have of a metric.
func (r *Report) slicedBy(name string) []sliced {
	var found []sliced
	for _, s := range r.Slices {
		for _, m := range s.Metrics {
			if m.Name == name && m.Value.Value != nil {
				found = append(found, sliced{s.Name, s.Rows, m})
				break
			}
		}
	}
	return found
}

// sliceChart has a line with a dot for each slice, the champion's below the model's, and
// the model's value of all rows as a line from top to bottom.
func (r *Report) sliceChart(whole Metric, n int) *figure {
	found := r.slicedBy(whole.Name)
	if len(found) == 0 {
		return nil
	}
	shown := firstOf(found, sliceChartMax)
	lo, hi, champion := reachOf(shown, whole)
	f := &figure{id: fmt.Sprintf("slices-%d", n), title: metricName(whole) + " by slice", line: true}
	f.desc = fmt.Sprintf("%s with its interval for each of %s. The table after the picture has the numbers.",
		whole.Name, counted(len(shown), "slice", "slices"))
	f.legend = []string{"model " + modelName(&r.Model)}
	step := 40.0
	if champion {
		f.legend, step = append(f.legend, "champion "+modelName(r.Against)), 50
	}
	if len(found) > len(shown) {
		f.note = fmt.Sprintf("The %d worst of %s.", len(shown), counted(len(found), "slice", "slices"))
	}
	bottom := step*float64(len(shown)) + 6
	f.height = bottom + 45
	x := around(lo, hi, 16, 384)
	f.ruler(x, bottom, 6, whole.Name)
	f.rule(x.from, bottom, x.to, bottom, "axis")
	if whole.Value.Value != nil {
		p := x.place(*whole.Value.Value)
		f.rule(p, bottom, p, 6, "reference")
		f.note += " Dashed: all rows."
	}
	for i, s := range shown {
		y := step*float64(i) + 20
		f.text(10, y, "name", middleShortened(visible(s.name), 38))
		f.text(390, y, "tick end", count(s.rows)+" rows")
		f.interval(x, y+13, &s.m.Value, "series s0")
		if s.m.Against != nil {
			f.interval(x, y+23, s.m.Against, "series s1")
		}
	}
	f.sliceData(shown, champion)
	return f
}

// reachOf is the range of all values and intervals, and whether any is the champion's.
func reachOf(shown []sliced, whole Metric) (lo, hi float64, champion bool) {
	lo, hi = math.Inf(1), math.Inf(-1)
	for _, s := range shown {
		stretch(&s.m.Value, &lo, &hi)
		if s.m.Against != nil {
			champion = true
			stretch(s.m.Against, &lo, &hi)
		}
	}
	stretch(&whole.Value, &lo, &hi)
	return lo, hi, champion
}

func (f *figure) sliceData(shown []sliced, champion bool) {
	f.head = []string{"slice", "rows", "model"}
	if champion {
		f.head = append(f.head, "champion")
	}
	for _, s := range shown {
		row := []string{s.name, count(s.rows), estimate(&s.m.Value)}
		if champion {
			row = append(row, estimate(s.m.Against))
		}
		f.rows = append(f.rows, row)
	}
}

// stretch makes lo and hi hold an estimate.
func stretch(e *Estimate, lo, hi *float64) {
	for _, p := range []*float64{e.Value, e.Low, e.High} {
		if p != nil {
			*lo, *hi = min(*lo, *p), max(*hi, *p)
		}
	}
}

// interval draws a value as a dot on its interval.
func (f *figure) interval(x axis, y float64, e *Estimate, class string) {
	if e.Low != nil && e.High != nil {
		f.rule(x.place(*e.Low), y, x.place(*e.High), y, class+" solid")
		for _, end := range []float64{*e.Low, *e.High} {
			f.rule(x.place(end), y-3.5, x.place(end), y+3.5, class+" solid")
		}
	}
	if e.Value == nil {
		return
	}
	p := x.place(*e.Value)
	if class == "series s1" {
		f.draw(`<path class="%s mark" d="M%s %sl5 5l-5 5l-5 -5z"/>`, class, at(p), at(y-5))
		return
	}
	f.dot(p, y, 4.5, class+" mark")
}

// forest draws the differences from the champion. Metrics have scales of their own, thus
// each line has: what they share is the middle, no difference, and that better is right.
func (r *Report) forest() template.HTML {
	f := &figure{id: "differences", title: "Differences from the champion"}
	f.desc = "Difference of each metric from the champion's with its interval; right of the middle the model is better. The table after the picture has the numbers."
	f.note = "Each metric has a scale of its own. Right of the middle is better, whether the metric is to be high or low."
	f.head = []string{"metric", "difference", "the model is"}
	y := 26.0
	for _, m := range r.Metrics {
		d := m.Difference
		if d == nil || d.Value == nil || len(f.rows) == forestMax {
			continue
		}
		f.forestLine(m, y)
		f.rows = append(f.rows, []string{metricName(m), difference(d), cmp.Or(m.change(), none)})
		y += 42
	}
	if len(f.rows) == 0 {
		return ""
	}
	f.height = y + 10
	f.text(192, 14, "tick end", "← worse")
	f.text(208, 14, "tick", "better →")
	return f.html()
}

func (f *figure) forestLine(m Metric, y float64) {
	d := *m.Difference
	reach := math.Abs(*d.Value)
	for _, p := range []*float64{d.Low, d.High} {
		if p != nil {
			reach = max(reach, math.Abs(*p))
		}
	}
	if reach == 0 {
		reach = 1
	}
	reach = min(reach, math.MaxFloat64/4)
	x := axis{-reach, reach, 20, 380, false}
	if m.Better == "lower" {
		x.from, x.to = x.to, x.from
	}
	class := map[string]string{"better": "series good", "worse": "series bad"}[m.change()]
	if class == "" {
		class = "series s5"
	}
	f.text(10, y+14, "name", middleShortened(metricName(m), 20))
	f.text(390, y+14, "tick end", difference(m.Difference))
	f.rule(20, y+25, 380, y+25, "grid")
	f.rule(200, y+17, 200, y+33, "axis")
	f.interval(x, y+25, &d, class)
}
