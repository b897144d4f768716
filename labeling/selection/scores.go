// SPDX-License-Identifier: Apache-2.0

package selection

import (
	"cmp"
	"fmt"
	"math"
)

// Scores are what a strategy that scores items gives to each; higher is more wanted. The
// pool must have what Select would ask for; k_center, badge and random give zeros.
func Scores(pool *Pool, strategy Strategy) []float64 {
	out := make([]float64, pool.Size)
	for i := range out {
		switch strategy {
		case Margin:
			out[i] = marginScore(pool.Probabilities[i])
		case Entropy:
			out[i] = entropy(pool.Probabilities[i])
		case LeastConfidence:
			p, _, _ := twoBest(pool.Probabilities[i])
			out[i] = 1 - p
		case Gradient:
			out[i] = gradientLength(pool.Probabilities[i], pool.embedding(i))
		case Impact:
			out[i] = pool.weight(i) * marginScore(pool.Probabilities[i])
		}
	}
	switch strategy {
	case VoteEntropy:
		voteEntropies(pool.Committee, out)
	case ConsensusKL:
		consensusKLs(pool.Committee, out)
	}
	return out
}

// twoBest is the two largest probabilities, and the place of the first.
func twoBest(row []float64) (first, second float64, at int) {
	first, second = -1, -1
	for j, p := range row {
		switch {
		case p > first:
			first, second, at = p, first, j
		case p > second:
			second = p
		}
	}
	return first, second, at
}

func marginScore(row []float64) float64 {
	first, second, _ := twoBest(row)
	return 1 - (first - second)
}

// entropy is in nats.
func entropy(row []float64) float64 {
	h := 0.0
	for _, p := range row {
		if p > 0 {
			h -= p * math.Log(p)
		}
	}
	return h
}

// gradientLength is the expected length of the gradient of a logistic model's loss, with
// a bias: for label y it is (p - e_y) times (x, 1).
func gradientLength(row []float64, x []float32) float64 {
	squares := 0.0
	for _, p := range row {
		squares += p * p
	}
	length := 0.0
	for _, p := range row {
		length += p * math.Sqrt(max(0, squares-2*p+1))
	}
	return length * math.Sqrt(1+float64(dot(x, x)))
}

// voteEntropies is the entropy of the members' votes for each item.
func voteEntropies(committee [][][]float64, out []float64) {
	votes := make([]float64, len(committee[0][0]))
	for i := range out {
		clear(votes)
		for _, member := range committee {
			_, _, best := twoBest(member[i])
			votes[best] += 1 / float64(len(committee))
		}
		out[i] = entropy(votes)
	}
}

// consensusKLs is the mean divergence of the members from their mean, for each item.
func consensusKLs(committee [][][]float64, out []float64) {
	mean := make([]float64, len(committee[0][0]))
	for i := range out {
		clear(mean)
		for _, member := range committee {
			for j, p := range member[i] {
				mean[j] += p / float64(len(committee))
			}
		}
		out[i] = 0
		for _, member := range committee {
			for j, p := range member[i] {
				if p > 0 {
					out[i] += p * math.Log(p/mean[j]) / float64(len(committee))
				}
			}
		}
		out[i] = max(0, out[i])
	}
}

func (pool *Pool) embedding(i int) []float32 { return pool.Embeddings[i*pool.Dim : (i+1)*pool.Dim] }

func (pool *Pool) weight(i int) float64 {
	if w, has := pool.Weights[pool.Slices[i]]; has {
		return w
	}
	return 1
}

// why says in words what a score means.
func why(pool *Pool, strategy Strategy, item int, score float64) string {
	switch strategy {
	case Margin:
		return fmt.Sprintf("the two most likely labels are only %.3f apart", 1-score)
	case Entropy:
		return fmt.Sprintf("the probabilities are spread: %.2f of %.2f nats", score, math.Log(float64(len(pool.Probabilities[0]))))
	case LeastConfidence:
		return fmt.Sprintf("the most likely label has only probability %.3f", 1-score)
	case VoteEntropy:
		votes := map[int]bool{}
		for _, member := range pool.Committee {
			_, _, best := twoBest(member[item])
			votes[best] = true
		}
		return fmt.Sprintf("%d models vote for %d different labels", len(pool.Committee), len(votes))
	case ConsensusKL:
		return fmt.Sprintf("%d models give different probabilities: %.3f nats from their mean", len(pool.Committee), score)
	case Gradient:
		return fmt.Sprintf("its label would change the model much: expected gradient of length %.3g", score)
	case Impact:
		return fmt.Sprintf("slice %q counts %.3g times, and the two most likely labels are %.3f apart",
			cmp.Or(pool.Slices[item], "(none)"), pool.weight(item), 1-marginScore(pool.Probabilities[item]))
	}
	return ""
}
