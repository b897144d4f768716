// SPDX-License-Identifier: Apache-2.0

package report

import (
	"bytes"
	"encoding/json"
	"io"
	"math"
	"slices"
)

// finite copies a report so that every number in it is finite and every plot is within its
// bounds: all writers start from it, so that none has to think of NaN, of curves of unequal
// length or of a million points. What r points to is not changed.
func finite(r *Report) *Report {
	c := *r
	c.Version = Version
	c.Model = finiteModel(r.Model)
	if r.Against != nil {
		m := finiteModel(*r.Against)
		c.Against = &m
	}
	c.Baselines = mapped(r.Baselines, finiteModel)
	c.Metrics = mapped(r.Metrics, finiteMetric)
	if c.Metrics == nil {
		c.Metrics = []Metric{}
	}
	c.Slices = mapped(r.Slices, func(s Slice) Slice {
		s.Metrics = mapped(s.Metrics, finiteMetric)
		return s
	})
	c.Tests = mapped(r.Tests, func(t Test) Test {
		t.Statistic, t.P, t.Adjusted = finiteNumber(t.Statistic), finiteNumber(t.P), finiteNumber(t.Adjusted)
		return t
	})
	if c.Verdict == "" {
		c.Verdict = NoGates
	}
	for _, group := range c.Plots.curves() {
		*group.curves = mapped(*group.curves, finiteCurve)
	}
	c.Plots.Scores = finiteHistograms(r.Plots.Scores)
	c.Plots.Confusion = squareConfusion(r.Plots.Confusion)
	return &c
}

func mapped[T any](in []T, f func(T) T) []T {
	if in == nil {
		return nil
	}
	out := make([]T, len(in))
	for i, v := range in {
		out[i] = f(v)
	}
	return out
}

func isFinite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

func finiteNumber(p *float64) *float64 {
	if p == nil || !isFinite(*p) {
		return nil
	}
	return p
}

// finiteOrZero is for numbers that JSON leaves out when they are 0.
func finiteOrZero(v float64) float64 {
	if !isFinite(v) {
		return 0
	}
	return v
}

func finiteModel(m Model) Model {
	m.Threshold = finiteOrZero(m.Threshold)
	if m.Latency != nil {
		l := *m.Latency
		l.RowP50Micros, l.RowP99Micros = finiteOrZero(l.RowP50Micros), finiteOrZero(l.RowP99Micros)
		l.RowsPerSecond = finiteOrZero(l.RowsPerSecond)
		m.Latency = &l
	}
	return m
}

func finiteMetric(m Metric) Metric {
	m.Value = finiteEstimate(m.Value)
	for _, p := range []**Estimate{&m.Against, &m.Difference} {
		if *p != nil {
			e := finiteEstimate(**p)
			*p = &e
		}
	}
	m.Baselines = mapped(m.Baselines, finiteNumber)
	return m
}

func finiteEstimate(e Estimate) Estimate {
	e.Value, e.Low, e.High = finiteNumber(e.Value), finiteNumber(e.Low), finiteNumber(e.High)
	e.Level = finiteOrZero(e.Level)
	return e
}

// finiteCurve leaves out points that are not finite, and of more than PointsMax points keeps
// the first, the last and evenly spaced ones between.
func finiteCurve(c Curve) Curve {
	n := min(len(c.X), len(c.Y))
	counted := len(c.Counts) > 0
	if counted {
		n = min(n, len(c.Counts))
	}
	keep := make([]int, 0, min(n, PointsMax))
	for i := range n {
		if isFinite(c.X[i]) && isFinite(c.Y[i]) {
			keep = append(keep, i)
		}
	}
	keep = thinned(keep, PointsMax)
	out := Curve{Name: c.Name, X: make([]float64, len(keep)), Y: make([]float64, len(keep))}
	for j, i := range keep {
		out.X[j], out.Y[j] = c.X[i], c.Y[i]
		if counted {
			out.Counts = append(out.Counts, c.Counts[i])
		}
	}
	return out
}

// thinned keeps at most n of the elements, evenly spaced, with the first and the last.
// n is at least 2.
func thinned[T any](in []T, n int) []T {
	if len(in) <= n {
		return in
	}
	out := make([]T, n)
	for i := range out {
		out[i] = in[i*(len(in)-1)/(n-1)]
	}
	return out
}

// finiteHistograms leaves out histograms that cannot be drawn: edges that are missing, not
// finite or not rising.
func finiteHistograms(in []Histogram) []Histogram {
	var out []Histogram
	for _, h := range in {
		rising := slices.IsSorted(h.Edges) && len(h.Edges) > 0 && isFinite(h.Edges[0]) && isFinite(h.Edges[len(h.Edges)-1])
		if rising && len(h.Edges) == len(h.Counts)+1 && len(h.Counts) > 0 && len(h.Counts) <= PointsMax {
			out = append(out, h)
		}
	}
	return out
}

// squareConfusion is c, or nil where its rows and columns do not fit its classes.
func squareConfusion(c *Confusion) *Confusion {
	if c == nil || len(c.Classes) == 0 || len(c.Counts) != len(c.Classes) {
		return nil
	}
	for _, row := range c.Counts {
		if len(row) != len(c.Classes) {
			return nil
		}
	}
	return c
}

// unmarshalStrict refuses fields that v does not have and anything after the value.
func unmarshalStrict(data []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return err
	}
	if _, err := dec.Token(); err != io.EOF {
		return errTrailing
	}
	return nil
}
