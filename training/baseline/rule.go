// SPDX-License-Identifier: Apache-2.0

package baseline

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"strings"
	"sync"

	"github.com/millrace-ml/millrace/training/learn"
)

type ruleTrainer struct{ text string }

func newRule(v learn.Values) (learn.Trainer, error) {
	text := v.Text("expression")
	if strings.TrimSpace(text) == "" {
		return nil, fmt.Errorf("%w: rule.expression is missing, such as amount > 220", learn.ErrParameters)
	}
	return ruleTrainer{text}, nil
}

// rule is an expression and what its values count for: those of a bool have a score each;
// a number is multiplied and shifted. Null is false, or the mean of the numbers.
type rule struct {
	text         string
	root         *node
	isBool       bool
	yes, no      float32 // of a bool
	slope, shift float32 // of a number
	absent       float32
	features     int
}

var _ learn.Model = (*rule)(nil)

// Fit implements learn.Trainer. The rule itself is not changed; only what its results are
// worth is learnt.
func (r ruleTrainer) Fit(_ context.Context, train, _ *learn.Table, _ learn.FitOptions) (learn.Model, error) {
	if err := checkTable(train); err != nil {
		return nil, err
	}
	root, isBool, err := parseRule(r.text, train.Features)
	if err != nil {
		return nil, fmt.Errorf("%w: rule.expression: %w", learn.ErrParameters, err)
	}
	m := &rule{text: r.text, root: root, isBool: isBool, features: len(train.Features)}
	results := make([]float32, train.Rows())
	m.results(train.Values, results)
	if isBool {
		m.fitBool(train, results)
	} else {
		m.fitNumber(train, results)
	}
	return m, nil
}

// fitBool gives true and false the mean label of their rows, drawn in to the middle by one
// row of each; true is never below false, for that is what the rule says.
func (m *rule) fitBool(t *learn.Table, results []float32) {
	var sums, counts [2]float64
	for i, result := range results {
		side, w := int(truth(result == 1)), float64(t.Weight(i))
		sums[side], counts[side] = sums[side]+w*float64(t.Labels[i]), counts[side]+w
	}
	whole := mean(t)
	if t.Task == learn.Regression {
		m.yes, m.no = float32(meanOr(sums[1], counts[1], whole)), float32(meanOr(sums[0], counts[0], whole))
		return
	}
	yes, no := (sums[1]+whole)/(counts[1]+1), (sums[0]+whole)/(counts[0]+1)
	m.yes, m.no = float32(logit(yes)), float32(logit(no))
	if yes <= no {
		m.yes, m.no = float32(logit(whole)+ruleStep), float32(logit(whole)-ruleStep)
	}
}

// ruleStep keeps true above false where the rows say otherwise.
const ruleStep = 1e-3

func meanOr(sum, count, other float64) float64 {
	if count == 0 {
		return other
	}
	return sum / count
}

// fitNumber scales a score to deviations about the share of class 1, so that the logistic
// function does not flatten it. The prediction of a regression is the number itself.
func (m *rule) fitNumber(t *learn.Table, results []float32) {
	if t.Task == learn.Regression {
		m.slope, m.absent = 1, float32(mean(t))
		return
	}
	var sum, squares, total float64
	for i, x := range results {
		if x-x == 0 {
			w := float64(t.Weight(i))
			sum, total = sum+w*float64(x), total+w
		}
	}
	centre := meanOr(sum, total, 0)
	for i, x := range results {
		if x-x == 0 {
			squares += float64(t.Weight(i)) * (float64(x) - centre) * (float64(x) - centre)
		}
	}
	base := logit(mean(t))
	m.slope, m.absent = 1, float32(base)
	if deviation := math.Sqrt(meanOr(squares, total, 0)); deviation > 1e-30 {
		m.slope = float32(1 / deviation)
	}
	m.shift = float32(base - centre*float64(m.slope))
}

// results computes the rule for all rows.
func (m *rule) results(values [][]float32, to []float32) {
	workers := min(runtime.GOMAXPROCS(0), len(to)/4096+1)
	var wait sync.WaitGroup
	for i := range workers {
		from, end := len(to)*i/workers, len(to)*(i+1)/workers
		wait.Go(func() {
			for row := from; row < end; row++ {
				to[row] = m.root.value(values, row)
			}
		})
	}
	wait.Wait()
}

// Outputs implements learn.Model.
func (m *rule) Outputs() int { return 1 }

// Predict implements learn.Model.
func (m *rule) Predict(values [][]float32, to []float32) {
	m.results(values, to)
	for i, x := range to {
		switch {
		case m.isBool && x == 1:
			to[i] = m.yes
		case m.isBool:
			to[i] = m.no
		case x != x:
			to[i] = m.absent
		default:
			product := x * m.slope // rounded before the sum, as in the graph
			to[i] = product + m.shift
		}
	}
}

// Export implements learn.Model.
func (m *rule) Export(g *learn.Graph) (string, error) {
	e := &ruleExporter{Graph: g, columns: map[int]string{}}
	result := e.node(m.root)
	if len(e.columns) == 0 { // a literal: give it as many rows as there are
		zeros, err := repeated(g, []float32{0})
		if err != nil {
			return "", err
		}
		result = g.Apply("Add", []string{result, zeros})
	}
	if m.isBool {
		yes := g.Apply("Equal", []string{result, e.constant(1)})
		return g.Apply("Where", []string{yes, e.constant(m.yes), e.constant(m.no)}), nil
	}
	score := g.Apply("Add", []string{g.Apply("Mul", []string{result, e.constant(m.slope)}), e.constant(m.shift)})
	return g.Apply("Where", []string{e.isNull(result), e.constant(m.absent), score}), nil
}

// Importance implements learn.Model.
func (m *rule) Importance() []float64 { return nil }

// Describe implements learn.Model.
func (m *rule) Describe() string {
	if m.isBool {
		return fmt.Sprintf("rule %s: score %.4g if true, else %.4g", m.text, m.yes, m.no)
	}
	return "rule " + m.text
}
