// SPDX-License-Identifier: Apache-2.0

package optimize

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// judge compares the outputs with the labels. Outputs of whole numbers and texts are
// predicted labels; those of floats are scores of classes or predicted numbers.
func (c *comparison) judge(o *Options) ([]Metric, error) {
	var metrics []Metric
	scored := false
	var problems []error
	for _, d := range c.outputs {
		p := c.kept[d.Output]
		if p == nil || o.Output != "" && o.Output != d.Output {
			continue
		}
		if p.beforeTexts != nil {
			if o.Task != TaskRegression && p.columns == 1 {
				metrics = append(metrics, labelAccuracy(d.Output, p, o.Data.Labels))
			}
			continue
		}
		if scored || p.before == nil {
			continue
		}
		list, err := p.judge(d.Output, o)
		if err != nil {
			problems = append(problems, fmt.Errorf("output %q: %w", d.Output, err))
			continue
		}
		metrics, scored = append(metrics, list...), true
	}
	if len(metrics) > 0 {
		return metrics, nil
	}
	if len(problems) == 0 {
		problems = append(problems, errors.New("no output has one row of labels, scores or numbers for each row of the data"))
	}
	return nil, fmt.Errorf("labels: %w", errors.Join(problems...))
}

// labelAccuracy is how often an output is the label.
func labelAccuracy(output string, p *pair, labels []string) Metric {
	right := func(said []string) float64 {
		n := 0
		for i, label := range labels {
			if sameLabel(said[i], label) {
				n++
			}
		}
		return float64(n) / float64(len(labels))
	}
	return Metric{"accuracy", output, right(p.beforeTexts), right(p.afterTexts)}
}

// sameLabel compares labels as numbers where they are some, so that 1 is 1.0.
func sameLabel(a, b string) bool {
	if a == b {
		return true
	}
	x, errX := strconv.ParseFloat(a, 64)
	y, errY := strconv.ParseFloat(b, 64)
	return errX == nil && errY == nil && x == y
}

// judge compares floats with the labels, by the task or, where that is open, by what
// they look like.
func (p *pair) judge(output string, o *Options) ([]Metric, error) {
	labels := o.Data.Labels
	if o.Task == TaskRegression || o.Task == TaskAuto && p.columns == 1 && !binary01(labels) {
		return p.regression(output, labels)
	}
	columns := max(2, p.columns)
	classes, err := classIndices(labels, columns)
	if err != nil {
		return nil, err
	}
	before, after := probabilities(p.before, p.before, p.columns), probabilities(p.before, p.after, p.columns)
	metrics := []Metric{
		{"accuracy", output, accuracy(before, classes, columns), accuracy(after, classes, columns)},
		{"log_loss", output, logLoss(before, classes, columns), logLoss(after, classes, columns)},
	}
	if columns == 2 {
		x, okX := auc(before, classes)
		y, okY := auc(after, classes)
		if okX && okY {
			metrics = append(metrics, Metric{"auc", output, x, y})
		}
	}
	return metrics, nil
}

func (p *pair) regression(output string, labels []string) ([]Metric, error) {
	if p.columns != 1 {
		return nil, fmt.Errorf("%d columns for one label", p.columns)
	}
	values := make([]float64, len(labels))
	for i, label := range labels {
		var err error
		if values[i], err = strconv.ParseFloat(label, 64); err != nil || !isFinite(values[i]) {
			return nil, fmt.Errorf("label %.40q of row %d (counted from 0) is not a number", label, i)
		}
	}
	rmse := func(list []float64) float64 {
		return math.Sqrt(mean(list, values, func(d float64) float64 { return d * d }))
	}
	mae := func(list []float64) float64 { return mean(list, values, math.Abs) }
	return []Metric{{"rmse", output, rmse(p.before), rmse(p.after)}, {"mae", output, mae(p.before), mae(p.after)}}, nil
}

func mean(x, y []float64, loss func(float64) float64) float64 {
	total := 0.0
	for i := range x {
		total += loss(x[i] - y[i])
	}
	return total / float64(len(x))
}

// binary01 reports whether all labels are 0 or 1.
func binary01(labels []string) bool {
	return !slices.ContainsFunc(labels, func(l string) bool { return !sameLabel(l, "0") && !sameLabel(l, "1") })
}

// classIndices are the labels as columns: whole numbers from 0 as they are, others in
// their order, which is how training tools number classes.
func classIndices(labels []string, columns int) ([]int, error) {
	indices := make([]int, len(labels))
	direct := true
	for i, label := range labels {
		x, err := strconv.ParseFloat(label, 64)
		direct = direct && err == nil && x == math.Trunc(x) && x >= 0 && x < float64(columns)
		if direct {
			indices[i] = int(x)
		}
	}
	if direct {
		return indices, nil
	}
	classes := slices.Clone(labels)
	slices.SortFunc(classes, compareLabels)
	classes = slices.CompactFunc(classes, sameLabel)
	if len(classes) != columns {
		return nil, fmt.Errorf("the labels are of %d classes, the scores of %d: number the labels from 0", len(classes), columns)
	}
	for i, label := range labels {
		indices[i] = slices.IndexFunc(classes, func(class string) bool { return sameLabel(class, label) })
	}
	return indices, nil
}

func compareLabels(a, b string) int {
	x, errX := strconv.ParseFloat(a, 64)
	y, errY := strconv.ParseFloat(b, 64)
	if errX == nil && errY == nil {
		return cmp.Compare(x, y)
	}
	return strings.Compare(a, b)
}

// probabilities are scores as one probability for each class. Whether they are some
// already, or logits, is told by those of before, so that both sides are seen alike.
func probabilities(before, scores []float64, columns int) []float64 {
	logits := areLogits(before, columns)
	if columns == 1 {
		list := make([]float64, 0, 2*len(scores))
		for _, x := range scores {
			if logits {
				x = 1 / (1 + math.Exp(-x))
			}
			list = append(list, 1-x, x)
		}
		return list
	}
	if !logits {
		return scores
	}
	list := slices.Clone(scores)
	for from := 0; from < len(list); from += columns {
		softmax(list[from : from+columns])
	}
	return list
}

func areLogits(scores []float64, columns int) bool {
	for from := 0; from < len(scores); from += columns {
		sum := 0.0
		for _, x := range scores[from : from+columns] {
			if x < 0 || x > 1 {
				return true
			}
			sum += x
		}
		if columns > 1 && math.Abs(sum-1) > 1e-3 {
			return true
		}
	}
	return false
}

func softmax(list []float64) {
	top, sum := slices.Max(list), 0.0
	for i, x := range list {
		list[i] = math.Exp(x - top)
		sum += list[i]
	}
	for i := range list {
		list[i] /= sum
	}
}

func accuracy(p []float64, classes []int, columns int) float64 {
	right := 0
	for i, class := range classes {
		if argMax(p[i*columns:(i+1)*columns]) == class {
			right++
		}
	}
	return float64(right) / float64(len(classes))
}

// logLoss cuts probabilities off where their logarithm would be without bound.
func logLoss(p []float64, classes []int, columns int) float64 {
	total := 0.0
	for i, class := range classes {
		total -= math.Log(max(1e-15, min(1, p[i*columns+class])))
	}
	return total / float64(len(classes))
}

// auc is the area under the ROC curve of two classes, by the ranks of the scores, equal
// ones sharing theirs. It reports false where a class is missing.
func auc(p []float64, classes []int) (float64, bool) {
	order := make([]int, len(classes))
	positives := 0
	for i, class := range classes {
		order[i] = i
		positives += class
	}
	negatives := len(classes) - positives
	if positives == 0 || negatives == 0 {
		return 0, false
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(p[2*a+1], p[2*b+1]) })
	ranks := 0.0
	for from := 0; from < len(order); {
		to := from
		for to < len(order) && p[2*order[to]+1] == p[2*order[from]+1] {
			to++
		}
		if to == from { // a score that is not a number equals nothing
			to++
		}
		for _, i := range order[from:to] {
			ranks += float64(classes[i]) * float64(from+to+1) / 2
		}
		from = to
	}
	half := float64(positives) * float64(positives+1) / 2
	return (ranks - half) / (float64(positives) * float64(negatives)), true
}
