// SPDX-License-Identifier: Apache-2.0

package card

import (
	"fmt"
	"html/template"
	"math"
	"strings"
)

const (
	// pointsMax bounds the points of a line, curvesMax the curves of a card.
	pointsMax = 500
	curvesMax = 24
	// barsMax bounds the features of the picture.
	barsMax = 20
)

// curves are the learning curves that can be drawn: what is not finite is left out, and of
// more than pointsMax points evenly spaced ones are kept.
func (c *Card) curves() []Curve {
	var out []Curve
	for _, curve := range c.Curves {
		if len(out) == curvesMax {
			break
		}
		x := make([]float64, len(curve.Steps))
		for i, step := range curve.Steps {
			x[i] = float64(step)
		}
		l := drawable(Line{X: x, Y: curve.Values})
		if len(l.X) == 0 {
			continue
		}
		clean := Curve{Name: curve.Name, Values: l.Y}
		for _, v := range l.X {
			clean.Steps = append(clean.Steps, int(v))
		}
		out = append(out, clean)
	}
	return out
}

// drawable is a line without what is not finite, thinned to pointsMax points.
func drawable(l Line) Line {
	out := Line{Name: l.Name}
	for i := range min(len(l.X), len(l.Y)) {
		if finite(l.X[i]) && finite(l.Y[i]) {
			out.X, out.Y = append(out.X, l.X[i]), append(out.Y, l.Y[i])
		}
	}
	if n := len(out.X); n > pointsMax {
		for i := range pointsMax {
			j := i * (n - 1) / (pointsMax - 1)
			out.X[i], out.Y[i] = out.X[j], out.Y[j]
		}
		out.X, out.Y = out.X[:pointsMax], out.Y[:pointsMax]
	}
	return out
}

// measured is what a curve is of: loss for train_loss and valid_loss.
func measured(name string) string {
	if _, rest, found := strings.Cut(name, "_"); found && rest != "" {
		return rest
	}
	return name
}

// curveFigures draws the learning curves, those of one measure together.
func (c *Card) curveFigures() []template.HTML {
	groups := map[string][]Line{}
	var order []string
	for _, curve := range c.curves() {
		m := measured(curve.Name)
		if groups[m] == nil {
			order = append(order, m)
		}
		if len(groups[m]) < seriesMax {
			l := Line{Name: curve.Name, Y: curve.Values}
			for _, s := range curve.Steps {
				l.X = append(l.X, float64(s))
			}
			groups[m] = append(groups[m], l)
		}
	}
	var out []template.HTML
	for i, m := range order {
		f := &figure{id: fmt.Sprintf("curve-%d", i), title: "Learning curve: " + visible(m), height: plotHeight}
		x, y := extent(groups[m])
		f.frame(x, y, "step", shortened(visible(m), 30))
		for n, l := range groups[m] {
			f.legend = append(f.legend, l.Name)
			f.series(l, x, y, n)
		}
		f.desc = "Lines of " + strings.Join(f.legend, ", ") + " by step. The table after the pictures says where they began, ended and were best."
		out = append(out, f.html())
	}
	return out
}

// extent is axes that hold all lines.
func extent(lines []Line) (x, y axis) {
	xLo, xHi, yLo, yHi := math.Inf(1), math.Inf(-1), math.Inf(1), math.Inf(-1)
	for _, l := range lines {
		for i := range l.X {
			xLo, xHi = min(xLo, l.X[i]), max(xHi, l.X[i])
			yLo, yHi = min(yLo, l.Y[i]), max(yHi, l.Y[i])
		}
	}
	x = axis{xLo, xHi, plotLeft, plotRight}
	if !(xLo < xHi) {
		x = around(xLo, xHi, plotLeft, plotRight)
	}
	return x, around(yLo, yHi, plotBottom, plotTop)
}

// barFigure draws what the features that matter most weigh.
func (c *Card) barFigure() template.HTML {
	sorted, attribution, importance := c.weighed()
	if !attribution && !importance {
		return ""
	}
	f := &figure{id: "weights", title: "Importance of features"}
	weight := func(f Feature) float64 { return math.Abs(f.Importance) }
	if attribution {
		f.title = "Mean attribution of features"
		weight = func(f Feature) float64 { return math.Abs(f.Attribution) }
	}
	f.desc = f.title + " as bars, the longest first. The table of features has the numbers."
	most := 0.0
	for _, feature := range sorted {
		most = max(most, weight(feature))
	}
	shown := sorted[:min(len(sorted), barsMax)]
	if len(shown) < len(sorted) {
		f.note = fmt.Sprintf("The first %d of %s features.", len(shown), count(len(sorted)))
	}
	const step = 38
	for i, feature := range shown {
		y := float64(step*i) + 16
		f.text(8, y, "name", shortened(visible(feature.Name), 38))
		f.text(392, y, "tick end", number(weight(feature)))
		f.draw(`<rect x="8" y="%s" width="384" height="9" rx="2" class="track"/>`, at(y+6))
		f.draw(`<rect x="8" y="%s" width="%s" height="9" rx="2" class="bar"/>`, at(y+6), at(384*weight(feature)/most))
	}
	f.height = float64(step*len(shown)) + 6
	return f.html()
}

// reliabilityFigure draws the share of positives over the predicted probability. Where all
// is in a corner, only that corner is drawn.
func (c *Card) reliabilityFigure() template.HTML {
	if c.Calibration == nil {
		return ""
	}
	f := &figure{id: "reliability", title: "Reliability", height: plotHeight,
		note: "Dashed: probabilities that are right."}
	var lines []Line
	hi := 0.0
	for _, l := range c.Calibration.Reliability {
		if l = drawable(l); len(l.X) > 0 && len(lines) < seriesMax {
			lines, f.legend = append(lines, l), append(f.legend, l.Name)
			for i := range l.X {
				hi = max(hi, l.X[i], l.Y[i])
			}
		}
	}
	if len(lines) == 0 {
		return ""
	}
	top := 1.0
	if hi > 0 && hi < 0.5 {
		top = hi * 1.1
	}
	f.desc = "Share of positives over predicted probability: " + strings.Join(f.legend, ", ") + ". On the diagonal probabilities are right."
	x, y := axis{0, top, plotLeft, plotRight}, axis{0, top, plotBottom, plotTop}
	f.frame(x, y, "predicted probability", "share of positives")
	f.rule(x.from, y.from, x.to, y.to, "reference")
	for n, l := range lines {
		f.series(l, x, y, n)
	}
	return f.html()
}
