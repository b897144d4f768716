// SPDX-License-Identifier: Apache-2.0

// Package quality finds labels that are probably wrong, by confident learning (Northcutt,
// Jiang, Chuang: Confident Learning, JAIR 70, 2021).
//
// Probabilities must be out of sample: from a model that was not trained on the item, as
// cross-validation gives them. Then
//
//	t_j        the mean probability of label j over the items that are labelled j
//	C_ij       how many items labelled i have p_j >= t_j, and the highest p_j of such j
//	Q_ij       C_ij, scaled so that row i sums to the number of items labelled i,
//	           divided by the number of items: the joint of given and true label
//
// An item off the diagonal of C is probably mislabelled. Which items are issues is decided
// by a rule (Rule), and they are ranked by a score (Score), the worst first.
//
// # Invariants
//
//	Q1  The joint sums to 1, and its rows to the shares of the given labels.
//	Q2  The same input gives the same issues in the same order; ties go by place.
//
// Find holds a few numbers for each item and label squared, and starts no goroutines.
package quality

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
)

// ErrInvalid means that the input is wrong; the error has the place.
var ErrInvalid = errors.New("invalid input")

// Bounds of the input.
const (
	// ItemsMax is the largest number of items.
	ItemsMax = 10_000_000
	// LabelsMax is the largest number of labels: the joint has its square.
	LabelsMax = 5000
)

// Rule decides which items are issues.
type Rule string

// The rules, named as in the paper.
const (
	// Confident takes the items off the diagonal of the confident joint.
	Confident Rule = "confident"
	// ByClass takes, of each label i, the n * sum of Q_ij (j != i) items of the lowest
	// probability of i.
	ByClass Rule = "class"
	// ByNoiseRate takes, for each pair i != j, the n * Q_ij items labelled i of the largest
	// p_j - p_i.
	ByNoiseRate Rule = "noise_rate"
	// Both takes what ByClass and ByNoiseRate take both.
	Both Rule = "both"
)

// Score ranks items; lower is worse.
type Score string

// The scores.
const (
	// NormalizedMargin is the probability of the given label less the highest of the
	// others, brought to 0 to 1.
	NormalizedMargin Score = "normalized_margin"
	// SelfConfidence is the probability of the given label.
	SelfConfidence Score = "self_confidence"
)

// Options say how to look; the zero value is what the paper found best on most data.
type Options struct {
	// Rule is empty for Confident, and Score for NormalizedMargin.
	Rule  Rule
	Score Score
}

// Issue is a label that is probably wrong.
type Issue struct {
	// Item is its place, and Given its label.
	Item, Given int
	// Suggested is the most likely other label.
	Suggested int
	// Score is its rank, 0 to 1: lower is worse.
	Score float64
}

// Report is what Find found.
type Report struct {
	// Issues are the labels that are probably wrong, the worst first.
	Issues []Issue
	// Scores are those of all items.
	Scores []float64
	// Thresholds are t_j; for a label that no item has it is infinite.
	Thresholds []float64
	// Counts is the confident joint, by given and true label; an item without a
	// probability above a threshold is not counted.
	Counts [][]int
	// Joint is Q.
	Joint [][]float64
	// Noise is the estimated share of wrong labels: what of Q is off the diagonal.
	Noise float64
}

// Find looks for wrong labels. Labels are places in the rows of probabilities.
func Find(labels []int, probabilities [][]float64, o Options) (*Report, error) {
	o.Rule, o.Score = cmp.Or(o.Rule, Confident), cmp.Or(o.Score, NormalizedMargin)
	if err := check(labels, probabilities, o); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	r := &Report{Thresholds: thresholds(labels, probabilities), Scores: make([]float64, len(labels))}
	for i, row := range probabilities {
		r.Scores[i] = score(row, labels[i], o.Score)
	}
	confident := r.count(labels, probabilities)
	r.calibrate(labels)
	var wrong []bool
	switch o.Rule {
	case Confident:
		wrong = make([]bool, len(labels))
		for i, j := range confident {
			wrong[i] = j >= 0 && j != labels[i]
		}
	case ByClass:
		wrong = r.byClass(labels, probabilities)
	case ByNoiseRate:
		wrong = r.byNoiseRate(labels, probabilities)
	case Both:
		wrong = r.byClass(labels, probabilities)
		for i, also := range r.byNoiseRate(labels, probabilities) {
			wrong[i] = wrong[i] && also
		}
	}
	for i, is := range wrong {
		if is {
			r.Issues = append(r.Issues, Issue{i, labels[i], bestOther(probabilities[i], labels[i]), r.Scores[i]})
		}
	}
	slices.SortStableFunc(r.Issues, func(a, b Issue) int { return cmp.Compare(a.Score, b.Score) })
	return r, nil
}

// Rank is all items as issues, the worst first, whatever a rule would say of them: to look
// at as many as there is time for.
func (r *Report) Rank(labels []int, probabilities [][]float64) []Issue {
	all := make([]Issue, len(r.Scores))
	for i, s := range r.Scores {
		all[i] = Issue{i, labels[i], bestOther(probabilities[i], labels[i]), s}
	}
	slices.SortStableFunc(all, func(a, b Issue) int { return cmp.Compare(a.Score, b.Score) })
	return all
}

func check(labels []int, probabilities [][]float64, o Options) error {
	switch {
	case !slices.Contains([]Rule{Confident, ByClass, ByNoiseRate, Both}, o.Rule):
		return fmt.Errorf("rule: %q is none of %s, %s, %s, %s", o.Rule, Confident, ByClass, ByNoiseRate, Both)
	case o.Score != NormalizedMargin && o.Score != SelfConfidence:
		return fmt.Errorf("score: %q is none of %s, %s", o.Score, NormalizedMargin, SelfConfidence)
	case len(labels) == 0 || len(labels) > ItemsMax || len(labels) != len(probabilities):
		return fmt.Errorf("%d labels and %d rows of probabilities: want as many, 1 to %d", len(labels), len(probabilities), ItemsMax)
	}
	k := len(probabilities[0])
	if k < 2 || k > LabelsMax {
		return fmt.Errorf("probabilities[0]: %d labels, want 2 to %d", k, LabelsMax)
	}
	for i, row := range probabilities {
		if len(row) != k {
			return fmt.Errorf("probabilities[%d]: %d labels, and [0] has %d", i, len(row), k)
		}
		if labels[i] < 0 || labels[i] >= k {
			return fmt.Errorf("labels[%d]: %d is not in 0 to %d", i, labels[i], k-1)
		}
		sum := 0.0
		for j, p := range row {
			if !(p >= 0) {
				return fmt.Errorf("probabilities[%d][%d]: %v is no probability", i, j, p)
			}
			sum += p
		}
		if !(math.Abs(sum-1) <= 1e-3) {
			return fmt.Errorf("probabilities[%d]: sum is %v, want 1", i, sum)
		}
	}
	return nil
}

// thresholds are the mean self-confidences.
func thresholds(labels []int, probabilities [][]float64) []float64 {
	k := len(probabilities[0])
	sums, counts := make([]float64, k), make([]float64, k)
	for i, j := range labels {
		sums[j] += probabilities[i][j]
		counts[j]++
	}
	for j := range sums {
		if counts[j] == 0 {
			sums[j] = math.Inf(1) // nothing is confidently of a label that nobody gave
		} else {
			sums[j] /= counts[j]
		}
	}
	return sums
}

// count fills Counts, and says of each item which label it confidently is, -1 if none.
func (r *Report) count(labels []int, probabilities [][]float64) []int {
	k := len(r.Thresholds)
	r.Counts = make([][]int, k)
	for i := range r.Counts {
		r.Counts[i] = make([]int, k)
	}
	confident := make([]int, len(labels))
	for i, row := range probabilities {
		best := -1
		for j, p := range row {
			if p >= r.Thresholds[j] && (best < 0 || p > row[best]) {
				best = j
			}
		}
		if confident[i] = best; best >= 0 {
			r.Counts[labels[i]][best]++
		}
	}
	return confident
}

// calibrate makes the joint of the counts.
func (r *Report) calibrate(labels []int) {
	k := len(r.Counts)
	given := make([]float64, k)
	for _, j := range labels {
		given[j]++
	}
	r.Joint = make([][]float64, k)
	for i, row := range r.Counts {
		r.Joint[i] = make([]float64, k)
		sum := 0
		for _, c := range row {
			sum += c
		}
		for j, c := range row {
			if sum > 0 {
				r.Joint[i][j] = float64(c) / float64(sum) * given[i] / float64(len(labels))
			}
			if i != j {
				r.Noise += r.Joint[i][j]
			}
		}
		if sum == 0 { // nothing is known of the label, so it is taken to be right
			r.Joint[i][i] = given[i] / float64(len(labels))
		}
	}
}

// byClass marks the items that ByClass takes.
func (r *Report) byClass(labels []int, probabilities [][]float64) []bool {
	wrong := make([]bool, len(labels))
	for j, items := range r.byLabel(labels) {
		share := 0.0
		for other, q := range r.Joint[j] {
			if other != j {
				share += q
			}
		}
		slices.SortStableFunc(items, func(a, b int) int { return cmp.Compare(probabilities[a][j], probabilities[b][j]) })
		for _, i := range items[:rounded(share*float64(len(labels)), len(items))] {
			wrong[i] = true
		}
	}
	return wrong
}

// byNoiseRate marks the items that ByNoiseRate takes.
func (r *Report) byNoiseRate(labels []int, probabilities [][]float64) []bool {
	wrong := make([]bool, len(labels))
	for given, items := range r.byLabel(labels) {
		for other, q := range r.Joint[given] {
			n := rounded(q*float64(len(labels)), len(items))
			if other == given || n == 0 {
				continue
			}
			margin := func(i int) float64 { return probabilities[i][other] - probabilities[i][given] }
			slices.SortStableFunc(items, func(a, b int) int { return cmp.Compare(margin(b), margin(a)) })
			for _, i := range items[:n] {
				wrong[i] = true
			}
		}
	}
	return wrong
}

// rounded is the nearest number of items that there are.
func rounded(n float64, items int) int { return min(items, int(math.Round(n))) }

// byLabel lists the items of each label.
func (r *Report) byLabel(labels []int) [][]int {
	lists := make([][]int, len(r.Counts))
	for i, j := range labels {
		lists[j] = append(lists[j], i)
	}
	return lists
}

// bestOther is the most likely label but the given one.
func bestOther(row []float64, given int) int {
	best := -1
	for j, p := range row {
		if j != given && (best < 0 || p > row[best]) {
			best = j
		}
	}
	return best
}

func score(row []float64, given int, by Score) float64 {
	if by == SelfConfidence {
		return row[given]
	}
	return (row[given] - row[bestOther(row, given)] + 1) / 2
}
