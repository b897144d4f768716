// SPDX-License-Identifier: Apache-2.0

package evaluation

import (
	"math"
	"slices"

	"github.com/millrace-ml/millrace/evaluation/metric"
	"github.com/millrace-ml/millrace/evaluation/report"
)

const (
	reliabilityBins = 10
	scoreBins       = 40
	// confusionMax is the most classes of which a matrix is drawn.
	confusionMax = 30
)

// plots makes the data of the page's plots.
func (e *run) plots() {
	p := &e.report.Plots
	for _, m := range []struct {
		name   string
		scores []float64
	}{{"model", e.scores}, {"champion", e.againstScores}} {
		switch {
		case m.scores == nil:
		case e.task == metric.Binary:
			roc, pr := e.curves(m.name, m.scores)
			p.ROC, p.PrecisionRecall = append(p.ROC, roc), append(p.PrecisionRecall, pr)
			if !e.spec.Uncalibrated {
				p.Reliability = append(p.Reliability, e.reliability(m.name, m.scores))
			}
		case e.task == metric.Regression:
			p.Residuals = append(p.Residuals, thinned(m.name, e.labels, m.scores))
		}
	}
	if e.task == metric.Binary {
		p.Scores = e.histograms()
	}
	if e.task == metric.Binary || e.task == metric.Multiclass {
		p.Confusion = e.confusion()
	}
}

// byScore are the rows with the highest scores first.
func byScore(scores []float64) []int32 {
	order := make([]int32, len(scores))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(a, b int32) int {
		switch x, y := scores[a], scores[b]; {
		case x > y:
			return -1
		case x < y:
			return 1
		}
		return int(a - b)
	})
	return order
}

// curves walks down the scores. Rows of equal scores are one step.
func (e *run) curves(name string, scores []float64) (roc, pr report.Curve) {
	roc, pr = report.Curve{Name: name, X: []float64{0}, Y: []float64{0}}, report.Curve{Name: name}
	positives, negatives := 0., 0.
	for i, label := range e.labels {
		positives, negatives = positives+label*e.weight(i), negatives+(1-label)*e.weight(i)
	}
	order := byScore(scores)
	hits, misses := 0., 0.
	for at := 0; at < len(order); {
		score := scores[order[at]]
		for ; at < len(order) && scores[order[at]] == score; at++ {
			i := int(order[at])
			hits, misses = hits+e.labels[i]*e.weight(i), misses+(1-e.labels[i])*e.weight(i)
		}
		roc.X, roc.Y = append(roc.X, misses/negatives), append(roc.Y, hits/positives)
		pr.X, pr.Y = append(pr.X, hits/positives), append(pr.Y, hits/(hits+misses))
	}
	return thinCurve(roc), thinCurve(pr)
}

func (e *run) weight(row int) float64 {
	if e.weights == nil {
		return 1
	}
	return e.weights[row]
}

// thinCurve keeps at most PointsMax points, evenly along the line, ends included.
func thinCurve(c report.Curve) report.Curve {
	n := len(c.X)
	if n <= report.PointsMax {
		return c
	}
	length := make([]float64, n)
	for i := 1; i < n; i++ {
		length[i] = length[i-1] + math.Abs(c.X[i]-c.X[i-1]) + math.Abs(c.Y[i]-c.Y[i-1])
	}
	thin := report.Curve{Name: c.Name}
	last := -1
	for k := range report.PointsMax {
		want := length[n-1] * float64(k) / (report.PointsMax - 1)
		i, _ := slices.BinarySearch(length, want)
		if i = min(i, n-1); k == report.PointsMax-1 {
			i = n - 1
		}
		if i == last {
			continue
		}
		last = i
		thin.X, thin.Y = append(thin.X, c.X[i]), append(thin.Y, c.Y[i])
	}
	return thin
}

// thinned takes points evenly.
func thinned(name string, x, y []float64) report.Curve {
	c := report.Curve{Name: name}
	step := max(1, (len(x)+report.PointsMax-1)/report.PointsMax)
	for i := 0; i < len(x); i += step {
		c.X, c.Y = append(c.X, x[i]), append(c.Y, y[i])
	}
	return c
}

// reliability is the share of positives against the mean score, in bins of equal size.
func (e *run) reliability(name string, scores []float64) report.Curve {
	c := report.Curve{Name: name}
	order := byScore(scores)
	slices.Reverse(order)
	for from, bin := 0, 1; bin <= reliabilityBins && from < len(order); bin++ {
		to := max(bin*len(order)/reliabilityBins, from)
		for to > from && to < len(order) && scores[order[to]] == scores[order[to-1]] {
			to++ // equal scores are in one bin
		}
		var score, label, weight float64
		for _, i := range order[from:to] {
			w := e.weight(int(i))
			score, label, weight = score+w*scores[i], label+w*e.labels[i], weight+w
		}
		if to > from {
			c.X, c.Y, c.Counts = append(c.X, score/weight), append(c.Y, label/weight), append(c.Counts, to-from)
		}
		from = to
	}
	return c
}

// histograms count the model's scores by class.
func (e *run) histograms() []report.Histogram {
	low, high := 0., 1.
	if e.spec.Uncalibrated {
		low, high = slices.Min(e.scores), slices.Max(e.scores)
	}
	if high <= low {
		high = low + 1
	}
	edges := make([]float64, scoreBins+1)
	for i := range edges {
		edges[i] = low + (high-low)*float64(i)/scoreBins
	}
	all := make([]report.Histogram, 2)
	for class := range all {
		all[class] = report.Histogram{Name: e.classes[class], Edges: edges, Counts: make([]int, scoreBins)}
	}
	for i, v := range e.scores {
		bin := int((v - low) / (high - low) * scoreBins)
		all[int(e.labels[i])].Counts[min(max(bin, 0), scoreBins-1)]++
	}
	return all
}

func (e *run) confusion() *report.Confusion {
	n := len(e.classes)
	if n > confusionMax {
		return nil
	}
	c := &report.Confusion{Classes: e.classes, Counts: make([][]int, n)}
	for i := range c.Counts {
		c.Counts[i] = make([]int, n)
	}
	for i, label := range e.labels {
		c.Counts[int(label)][e.predicted(e.scores, i)]++
	}
	return c
}
