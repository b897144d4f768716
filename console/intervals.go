// SPDX-License-Identifier: Apache-2.0

package console

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/millrace-ml/millrace/evaluation/report"
)

// intervals shows estimates below each other on one scale.
type intervals struct {
	Width, Height int
	Lines         []intervalLine
	Low, High     string
}

// intervalLine is an estimate; it has no ends without an interval.
type intervalLine struct {
	Y, X, From, To float64
	Text           string
	Place          int // of the report
}

const (
	intervalsWidth = 260
	intervalRow    = 14
)

// drawIntervals puts estimates on a scale from the least end to the greatest. Those that are
// not defined have no line.
func drawIntervals(all []*report.Estimate) intervals {
	low, high := math.Inf(1), math.Inf(-1)
	for _, e := range all {
		for _, v := range ends(e) {
			low, high = min(low, v), max(high, v)
		}
	}
	d := intervals{Width: intervalsWidth, Height: intervalRow * len(all)}
	if !(low <= high) {
		return d
	}
	d.Low, d.High = formatNumber(low), formatNumber(high)
	scale := func(v float64) float64 {
		if high == low {
			return intervalsWidth / 2
		}
		return tenth(6 + (v-low)/(high-low)*(intervalsWidth-12))
	}
	for i, e := range all {
		of := ends(e)
		if of == nil {
			continue
		}
		d.Lines = append(d.Lines, intervalLine{Y: float64(i*intervalRow + intervalRow/2), X: scale(*e.Value), From: scale(of[0]), To: scale(of[len(of)-1]),
			Place: i, Text: string(rune('A'+i)) + ": " + formatEstimate(e)})
	}
	return d
}

// ends are the finite low end, value and high end of an estimate.
func ends(e *report.Estimate) []float64 {
	if e == nil || e.Value == nil || known(*e.Value) == nil {
		return nil
	}
	if e.Low == nil || e.High == nil || known(*e.Low) == nil || known(*e.High) == nil {
		return []float64{*e.Value}
	}
	return []float64{min(*e.Low, *e.Value), *e.Value, max(*e.High, *e.Value)}
}

// reliabilityCurve is how a report's probabilities held, in a square of reliabilitySize.
type reliabilityCurve struct {
	Letter, Path string
	Place        int
	Points       []curvePoint
}

type curvePoint struct {
	X, Y float64
	Text string
}

const reliabilitySize = 280

// reliabilityOf is the curve of a report's model, nil without one.
func reliabilityOf(r *report.Report) *report.Curve {
	curves := r.Plots.Reliability
	if len(curves) == 0 || len(curves[0].X) == 0 || len(curves[0].X) != len(curves[0].Y) {
		return nil
	}
	return &curves[0]
}

// drawReliability draws the calibration of each report's model, up to the highest
// probability there is: that of rare positives is far below 1.
func drawReliability(reports []compared) (all []reliabilityCurve, to string) {
	most := 0.0
	for _, r := range reports {
		if c := reliabilityOf(r.Report); c != nil {
			most = max(most, slices.Max(c.X), slices.Max(c.Y))
		}
	}
	if !(most > 0) {
		most = 1
	}
	for i, r := range reports {
		curve := reliabilityOf(r.Report)
		if curve == nil {
			continue
		}
		c := reliabilityCurve{Letter: r.Letter, Place: i}
		var b strings.Builder
		for j, x := range curve.X {
			y := curve.Y[j]
			p := curvePoint{X: tenth(x / most * reliabilitySize), Y: tenth((1 - y/most) * reliabilitySize), Text: fmt.Sprintf("%s: predicted %.3g, observed %.3g", r.Letter, x, y)}
			fmt.Fprintf(&b, "%g,%g ", p.X, p.Y)
			c.Points = append(c.Points, p)
		}
		c.Path = b.String()
		all = append(all, c)
	}
	return all, formatNumber(most)
}
