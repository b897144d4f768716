// SPDX-License-Identifier: Apache-2.0

package baseline

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/millrace-ml/millrace/training/learn"
)

// The values of the parameter value.
const (
	valueMean   = "mean"
	valueMedian = "median"
)

type constantTrainer struct{ value string }

// constant is the same scores for every row.
type constant struct {
	scores []float32
	text   string
}

var _ learn.Model = (*constant)(nil)

// Fit implements learn.Trainer.
func (c constantTrainer) Fit(_ context.Context, train, _ *learn.Table, _ learn.FitOptions) (learn.Model, error) {
	if err := checkTable(train); err != nil {
		return nil, err
	}
	if train.Task == learn.Regression {
		value := mean(train)
		if c.value == valueMedian {
			value = median(train)
		}
		return &constant{[]float32{float32(value)}, fmt.Sprintf("always %.6g, the %s", value, c.value)}, nil
	}
	shares := classShares(train)
	if train.Task == learn.Binary {
		return &constant{[]float32{float32(logit(shares[1]))}, fmt.Sprintf("always %.4g, the share of class 1", shares[1])}, nil
	}
	scores := make([]float32, len(shares))
	for k, share := range shares {
		scores[k] = float32(math.Log(max(share, 1e-6)))
	}
	return &constant{scores, fmt.Sprintf("always the shares of %d classes", len(shares))}, nil
}

func mean(t *learn.Table) float64 {
	var sum, total float64
	for i, y := range t.Labels {
		w := float64(t.Weight(i))
		sum, total = sum+w*float64(y), total+w
	}
	return sum / total
}

// median is the label at which half of the weight is reached; the middle of two if it is
// reached between them.
func median(t *learn.Table) float64 {
	order := make([]int, t.Rows())
	total := 0.0
	for i := range order {
		order[i] = i
		total += float64(t.Weight(i))
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(t.Labels[a], t.Labels[b]) })
	seen := 0.0
	for at, i := range order {
		seen += float64(t.Weight(i))
		if seen == total/2 && at+1 < len(order) {
			return (float64(t.Labels[i]) + float64(t.Labels[order[at+1]])) / 2
		}
		if seen > total/2 {
			return float64(t.Labels[i])
		}
	}
	return float64(t.Labels[order[len(order)-1]])
}

func classShares(t *learn.Table) []float64 {
	shares := make([]float64, max(t.Outputs(), 2))
	total := 0.0
	for i, y := range t.Labels {
		w := float64(t.Weight(i))
		shares[int(y)], total = shares[int(y)]+w, total+w
	}
	for k := range shares {
		shares[k] /= total
	}
	return shares
}

// Outputs implements learn.Model.
func (c *constant) Outputs() int { return len(c.scores) }

// Predict implements learn.Model.
func (c *constant) Predict(_ [][]float32, to []float32) {
	for at := 0; at < len(to); at += len(c.scores) {
		copy(to[at:], c.scores)
	}
}

// Export implements learn.Model.
func (c *constant) Export(g *learn.Graph) (string, error) { return repeated(g, c.scores) }

// Importance implements learn.Model.
func (c *constant) Importance() []float64 { return nil }

// Describe implements learn.Model.
func (c *constant) Describe() string { return c.text }
