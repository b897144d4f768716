// SPDX-License-Identifier: Apache-2.0

package aggregate

import (
	"fmt"
	"math"
)

// Majority is, for each item, the share of the votes that each label has, weighed by
// voter; nil weights count all the same. Votes are by item and voter. An item that nobody
// voted on has the same share for all labels.
func Majority(votes [][]int, labels int, weights []float64) ([][]float64, error) {
	voters, err := check(votes, labels)
	if err != nil {
		return nil, err
	}
	if weights != nil && len(weights) != voters {
		return nil, fmt.Errorf("%w: %d weights for %d voters", ErrInvalid, len(weights), voters)
	}
	for r, w := range weights {
		if !(w >= 0) || math.IsInf(w, 0) {
			return nil, fmt.Errorf("%w: weights[%d]: %v is below 0 or not finite", ErrInvalid, r, w)
		}
	}
	out := make([][]float64, len(votes))
	for i, row := range votes {
		out[i] = make([]float64, labels)
		for r, v := range row {
			switch {
			case v == Abstain:
			case weights == nil:
				out[i][v]++
			default:
				out[i][v] += weights[r]
			}
		}
		normalize(out[i])
	}
	return out, nil
}

// normalize makes numbers sum to 1; all the same if they sum to 0.
func normalize(row []float64) {
	sum := 0.0
	for _, x := range row {
		sum += x
	}
	for j := range row {
		if sum > 0 {
			row[j] /= sum
		} else {
			row[j] = 1 / float64(len(row))
		}
	}
}

// Best is the most likely label of each row, of equal ones the first.
func Best(rows [][]float64) []int {
	out := make([]int, len(rows))
	for i, row := range rows {
		for j, p := range row {
			if p > row[out[i]] {
				out[i] = j
			}
		}
	}
	return out
}

// Rule says when a label is good enough; zero fields ask for nothing.
type Rule struct {
	// Votes is how many there must be at least.
	Votes int
	// Probability is how likely the label must be, and Margin by how much more than the
	// next.
	Probability, Margin float64
}

// Decision is what a rule makes of an item.
type Decision struct {
	Label       int
	Probability float64
	// Review says why somebody has to look; empty if the label is good enough.
	Review string
}

// Decide applies the rule to each item. A tie is never good enough.
func (rule Rule) Decide(votes [][]int, probabilities [][]float64) ([]Decision, error) {
	if len(votes) != len(probabilities) {
		return nil, fmt.Errorf("%w: votes of %d items and probabilities of %d", ErrInvalid, len(votes), len(probabilities))
	}
	best := Best(probabilities)
	out := make([]Decision, len(votes))
	for i, row := range probabilities {
		n, second := 0, 0.0
		for _, v := range votes[i] {
			if v != Abstain {
				n++
			}
		}
		for j, p := range row {
			if j != best[i] {
				second = max(second, p)
			}
		}
		d := Decision{Label: best[i]}
		if len(row) > 0 {
			d.Probability = row[best[i]]
		}
		switch margin := d.Probability - second; {
		case n < rule.Votes:
			d.Review = fmt.Sprintf("%d votes, want %d", n, rule.Votes)
		case margin < 1e-12:
			d.Review = "a tie"
		case d.Probability < rule.Probability:
			d.Review = fmt.Sprintf("probability %.3f, want %.3f", d.Probability, rule.Probability)
		case margin < rule.Margin:
			d.Review = fmt.Sprintf("%.3f more likely than the next, want %.3f", margin, rule.Margin)
		}
		out[i] = d
	}
	return out, nil
}
