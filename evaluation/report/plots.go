// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"html/template"
	"math"
	"strings"
)

// The place of a plot in its picture.
const (
	plotLeft, plotRight = 58.0, 382.0
	plotTop, plotBottom = 10.0, 280.0
	plotHeight          = 325.0
)

// figures draws every plot that there is something for.
func (r *Report) figures() []template.HTML {
	var all []*figure
	p := r.Plots
	all = append(all, lines("roc", "ROC", p.ROC, "false-positive rate", "recall (true-positive rate)",
		func(f *figure, x, y axis) { f.rule(x.from, y.from, x.to, y.to, "reference") }))
	all = append(all, lines("precision-recall", "Precision and recall", p.PrecisionRecall, "recall", "precision",
		func(f *figure, x, y axis) {
			if r.Data.Positives > 0 && r.Data.Positives <= r.Data.Rows {
				base := y.place(float64(r.Data.Positives) / float64(r.Data.Rows))
				f.rule(x.from, base, x.to, base, "reference")
				f.note = "The thin dashed line is the share of positives: what guessing gets."
			}
		}))
	all = append(all, reliability(p.Reliability), histograms(p.Scores), confusion(p.Confusion))
	all = append(all, scatter(p.Residuals)...)
	var out []template.HTML
	for _, f := range all {
		if f != nil {
			out = append(out, f.html())
		}
	}
	return out
}

// drawable are the curves with points, at most as many as there are styles.
func drawable(curves []Curve) []Curve {
	var out []Curve
	for _, c := range curves {
		if len(c.X) > 0 && len(out) < seriesMax {
			out = append(out, c)
		}
	}
	return out
}

func names(curves []Curve) []string {
	var out []string
	for _, c := range curves {
		out = append(out, c.Name)
	}
	return out
}

// lines draws curves on the unit square.
func lines(id, title string, curves []Curve, xLabel, yLabel string, reference func(f *figure, x, y axis)) *figure {
	curves = drawable(curves)
	if len(curves) == 0 {
		return nil
	}
	f := &figure{id: id, title: title, height: plotHeight, line: true, legend: names(curves)}
	f.desc = fmt.Sprintf("%s over %s of %s. The table after the picture has the numbers.",
		yLabel, xLabel, strings.Join(names(curves), ", "))
	x, y := axis{0, 1, plotLeft, plotRight, false}, axis{0, 1, plotBottom, plotTop, false}
	f.frame(x, y, xLabel, yLabel)
	reference(f, x, y)
	for i := len(curves) - 1; i >= 0; i-- {
		f.curve(curves[i], x, y, fmt.Sprintf("series s%d", i))
	}
	f.curveTable(curves, xLabel, yLabel)
	return f
}

// curve draws a line; a single point is a dot.
func (f *figure) curve(c Curve, x, y axis, class string) {
	if len(c.X) == 1 {
		f.dot(x.place(c.X[0]), y.place(c.Y[0]), 4, class+" mark")
		return
	}
	xs, ys := make([]float64, len(c.X)), make([]float64, len(c.Y))
	for i := range xs {
		xs[i], ys[i] = x.place(c.X[i]), y.place(c.Y[i])
	}
	f.path(xs, ys, class)
}

// curveTable puts curves below each other, each thinned to its share of the rows.
func (f *figure) curveTable(curves []Curve, xLabel, yLabel string) {
	f.head = []string{"line", xLabel, yLabel}
	counted := false
	for _, c := range curves {
		counted = counted || len(c.Counts) > 0
	}
	if counted {
		f.head = append(f.head, "rows")
	}
	for _, c := range curves {
		at := make([]int, len(c.X))
		for i := range at {
			at[i] = i
		}
		for _, i := range thinned(at, max(2, tableRowsMax/len(curves))) {
			row := []string{c.Name, number(c.X[i]), number(c.Y[i])}
			if len(c.Counts) > 0 {
				row = append(row, count(c.Counts[i]))
			} else if counted {
				row = append(row, none)
			}
			f.rows = append(f.rows, row)
		}
	}
}

// reliability draws the share of positives over the predicted probability, and below it how
// many rows are behind each point. Where all is in a corner, only that corner is drawn.
func reliability(curves []Curve) *figure {
	curves = drawable(curves)
	if len(curves) == 0 {
		return nil
	}
	const strip = 70
	f := &figure{id: "reliability", title: "Reliability", height: plotHeight, line: true, legend: names(curves)}
	f.desc = "Share of positives over predicted probability of " + strings.Join(names(curves), ", ") +
		"; on the diagonal probabilities are right. Bars below count rows. The table after the picture has the numbers."
	top, rows := reliabilityReach(curves)
	if rows > 0 {
		f.height, f.note = plotHeight+strip, "Bars: rows behind each point, on a logarithmic scale. Dashed: probabilities that are right."
	}
	x, y := axis{0, top, plotLeft, plotRight, false}, axis{0, top, plotBottom, plotTop, false}
	f.frame(x, y, "predicted probability", "share of positives")
	f.rule(x.from, y.from, x.to, y.to, "reference")
	for i := len(curves) - 1; i >= 0; i-- {
		c, class := curves[i], fmt.Sprintf("series s%d", i)
		f.curve(c, x, y, class)
		for j := range c.X {
			if len(c.X) > 1 {
				f.dot(x.place(c.X[j]), y.place(c.Y[j]), 3.5, class+" mark")
			}
			if len(c.Counts) > 0 && c.Counts[j] > 0 {
				h := 4 + (strip-24)*math.Log1p(float64(c.Counts[j]))/math.Log1p(float64(rows))
				f.box(x.place(c.X[j])-4+5*float64(i), plotHeight+strip-10-h, 5, h, fmt.Sprintf("area s%d", i))
			}
		}
	}
	if rows > 0 {
		f.rule(plotLeft, plotHeight+strip-10, plotRight, plotHeight+strip-10, "axis")
		f.text(plotLeft-6, plotHeight+strip-14, "tick end", "rows")
	}
	f.curveTable(curves, "predicted", "positive")
	return f
}

// reliabilityReach is how far the axes go, and the most rows behind a point.
func reliabilityReach(curves []Curve) (top float64, rows int) {
	hi := 0.0
	for _, c := range curves {
		for i := range c.X {
			hi = max(hi, c.X[i], c.Y[i])
			if len(c.Counts) > 0 {
				rows = max(rows, c.Counts[i])
			}
		}
	}
	if hi <= 0 || hi >= 0.5 {
		return 1, rows
	}
	step := roundStep(hi / 5)
	return min(1, step*math.Ceil(hi/step)), rows
}

// histograms draws how the scores of each class lie, as rows for each bin. Where the classes
// are of very different size the scale is logarithmic, else the smaller could not be seen.
func histograms(hs []Histogram) *figure {
	if len(hs) == 0 {
		return nil
	}
	hs = firstOf(hs, seriesMax)
	f := &figure{id: "scores", title: "Scores by class", height: plotHeight}
	lo, hi := math.Inf(1), math.Inf(-1)
	most, least := 0, math.MaxInt
	for _, h := range hs {
		f.legend = append(f.legend, h.Name)
		lo, hi = min(lo, h.Edges[0]), max(hi, h.Edges[len(h.Edges)-1])
		peak := 0
		for _, n := range h.Counts {
			peak = max(peak, n)
		}
		most, least = max(most, peak), min(least, max(1, peak))
	}
	f.desc = "Rows by score, for each class: " + strings.Join(f.legend, ", ") + ". The table after the picture has the numbers."
	if !(lo < hi) {
		lo, hi = lo-0.5, lo+0.5
	}
	x := axis{lo, hi, plotLeft, plotRight, false}
	y := axis{0, max(1, float64(most)) * 1.05, plotBottom, plotTop, false}
	label := "rows"
	if most/least >= 20 || len(hs) == 1 && most > 1000 {
		y = axis{0.7, float64(most) * 1.5, plotBottom, plotTop, true}
		label = "rows (logarithmic)"
	}
	f.frame(x, y, "score", label)
	for i, h := range hs {
		f.steps(h, x, y, i)
	}
	f.scoreTable(hs)
	return f
}

// steps draws a histogram as an outline over a faint area.
func (f *figure) steps(h Histogram, x, y axis, series int) {
	xs, ys := []float64{x.place(h.Edges[0])}, []float64{y.from}
	for i, n := range h.Counts {
		p := y.from
		if n > 0 {
			p = y.place(float64(n))
		}
		xs, ys = append(xs, x.place(h.Edges[i]), x.place(h.Edges[i+1])), append(ys, p, p)
	}
	xs, ys = append(xs, x.place(h.Edges[len(h.Edges)-1])), append(ys, y.from)
	f.path(xs, ys, fmt.Sprintf("steps s%d", series))
}

func (f *figure) scoreTable(hs []Histogram) {
	f.head = []string{"class", "from", "to", "rows"}
	for _, h := range hs {
		at := make([]int, len(h.Counts))
		for i := range at {
			at[i] = i
		}
		for _, i := range thinned(at, max(2, tableRowsMax/len(hs))) {
			f.rows = append(f.rows, []string{h.Name, number(h.Edges[i]), number(h.Edges[i+1]), count(h.Counts[i])})
		}
	}
}

// scatter draws what was predicted over the truth, and the residuals over what was
// predicted, the same points turned so that a bias shows.
func scatter(curves []Curve) []*figure {
	curves = drawable(curves)
	if len(curves) == 0 {
		return nil
	}
	turned := make([]Curve, len(curves))
	for i, c := range curves {
		t := Curve{Name: c.Name}
		for j := range c.X {
			if d := c.Y[j] - c.X[j]; isFinite(d) {
				t.X, t.Y = append(t.X, c.Y[j]), append(t.Y, d)
			}
		}
		turned[i] = t
	}
	return []*figure{
		points("predicted", "Predicted and true", curves, "true", "predicted", func(f *figure, x, y axis) {
			lo, hi := max(x.lo, y.lo), min(x.hi, y.hi)
			if lo < hi {
				f.rule(x.place(lo), y.place(lo), x.place(hi), y.place(hi), "reference")
			}
		}),
		points("residuals", "Residuals", turned, "predicted", "predicted less true", func(f *figure, x, y axis) {
			if y.lo < 0 && y.hi > 0 {
				f.rule(x.from, y.place(0), x.to, y.place(0), "reference")
			}
		}),
	}
}

// points draws curves as dots, on axes that hold them all.
func points(id, title string, curves []Curve, xLabel, yLabel string, reference func(f *figure, x, y axis)) *figure {
	if curves = drawable(curves); len(curves) == 0 {
		return nil
	}
	f := &figure{id: id, title: title, height: plotHeight, legend: names(curves)}
	f.desc = fmt.Sprintf("%s over %s of %s, a dot for each row. The table after the picture has the numbers.",
		yLabel, xLabel, strings.Join(names(curves), ", "))
	xLo, xHi, yLo, yHi := math.Inf(1), math.Inf(-1), math.Inf(1), math.Inf(-1)
	for _, c := range curves {
		for i := range c.X {
			xLo, xHi = min(xLo, c.X[i]), max(xHi, c.X[i])
			yLo, yHi = min(yLo, c.Y[i]), max(yHi, c.Y[i])
		}
	}
	x, y := around(xLo, xHi, plotLeft, plotRight), around(yLo, yHi, plotBottom, plotTop)
	f.frame(x, y, xLabel, yLabel)
	reference(f, x, y)
	for i, c := range curves {
		for j := range c.X {
			f.dot(x.place(c.X[j]), y.place(c.Y[j]), 2.5, fmt.Sprintf("point s%d", i))
		}
	}
	f.curveTable(curves, xLabel, yLabel)
	return f
}
