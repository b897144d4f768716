// SPDX-License-Identifier: Apache-2.0

package blend

import (
	"fmt"
	"strings"

	"github.com/millrace-ml/millrace/training/learn"
)

// part is a fitted member, or one bag of it.
type part struct {
	name   string
	model  learn.Model
	weight float32
}

// model implements learn.Model. Weights of parts add up to 1; shift is added to all scores.
type model struct {
	parts   []part
	outputs int
	shift   float32
}

var _ learn.Model = (*model)(nil)

// Outputs implements learn.Model.
func (m *model) Outputs() int { return m.outputs }

// Predict implements learn.Model.
func (m *model) Predict(values [][]float32, to []float32) {
	one := make([]float32, len(to))
	for i := range to {
		to[i] = m.shift
	}
	for _, p := range m.parts {
		p.model.Predict(values, one)
		for i, score := range one {
			to[i] += p.weight * score
		}
	}
}

// Export implements learn.Model.
func (m *model) Export(g *learn.Graph) (string, error) {
	sum := g.Floats("blend_shift", []float32{m.shift}, 1, 1)
	for i, p := range m.parts {
		scores, err := p.model.Export(g)
		if err != nil {
			return "", fmt.Errorf("part %d, %s: %w", i+1, p.name, err)
		}
		weight := g.Floats("blend_weight", []float32{p.weight}, 1, 1)
		sum = g.Apply("Add", []string{sum, g.Apply("Mul", []string{scores, weight})})
	}
	return sum, nil
}

// Importance implements learn.Model: the weighted mean of the parts' shares.
func (m *model) Importance() []float64 {
	var sums []float64
	for _, p := range m.parts {
		values := p.model.Importance()
		total := 0.0
		for _, v := range values {
			total += v
		}
		if len(values) == 0 || !(total > 0) {
			continue
		}
		if sums == nil {
			sums = make([]float64, len(values))
		}
		for f, v := range values {
			sums[f] += float64(p.weight) * v / total
		}
	}
	return sums
}

// Describe implements learn.Model.
func (m *model) Describe() string {
	var texts []string
	for i := 0; i < len(m.parts); {
		bags := 1
		for i+bags < len(m.parts) && m.parts[i+bags].name == m.parts[i].name {
			bags++
		}
		texts = append(texts, fmt.Sprintf("%d x %s (%s)", bags, m.parts[i].name, m.parts[i].model.Describe()))
		i += bags
	}
	return "mean of " + strings.Join(texts, ", ")
}
