// SPDX-License-Identifier: Apache-2.0

package learn

import (
	"context"
	_ "embed" // candidates.yaml and chosen.json
	"encoding/json"
	"fmt"

	"github.com/goccy/go-yaml"

	"github.com/millrace-ml/millrace/training"
	"github.com/millrace-ml/millrace/training/blend"
	"github.com/millrace-ml/millrace/training/learn"
)

//go:embed candidates.yaml
var candidatesText []byte

//go:embed chosen.json
var chosenText []byte

// candidate is a model that competes: a blend, which may have a single member.
type candidate struct {
	Name string `yaml:"name" json:"name"`
	// Family is what the candidates of one kind compete in: a winner is chosen of each.
	Family  string         `yaml:"family" json:"family"`
	Members []blend.Member `yaml:"members" json:"members"`
}

// Tried is a candidate with its means over the validation splits.
type Tried struct {
	Name   string `json:"name"`
	Family string `json:"family"`
	// Values are by metric.
	Values map[string]float64 `json:"validation"`
	// Sum is what was chosen by: that of the values.
	Sum float64 `json:"sum"`
}

// Chosen is what a choice on the validation splits came to.
type Chosen struct {
	Splits []string `json:"splits"`
	// Families has the name of the best candidate of each family, and Best that of all.
	Families map[string]string `json:"families"`
	Best     string            `json:"best"`
	// Tried are all candidates, those that were not chosen too.
	Tried []Tried `json:"tried"`
}

func loadCandidates() ([]candidate, error) {
	var list []candidate
	if err := yaml.UnmarshalWithOptions(candidatesText, &list, yaml.Strict()); err != nil {
		return nil, fmt.Errorf("candidates.yaml: %w", err)
	}
	seen := map[string]bool{}
	for _, c := range list {
		if seen[c.Name] || c.Family == "" {
			return nil, fmt.Errorf("candidates.yaml: %q has no family, or is there twice", c.Name)
		}
		seen[c.Name] = true
		if _, err := c.trainer(); err != nil {
			return nil, fmt.Errorf("candidates.yaml: %s: %w", c.Name, err)
		}
	}
	return list, nil
}

func loadChosen() (*Chosen, error) {
	var c Chosen
	if err := json.Unmarshal(chosenText, &c); err != nil {
		return nil, fmt.Errorf("chosen.json: %w", err)
	}
	return &c, nil
}

func (c *candidate) trainer() (learn.Trainer, error) { return blend.New(training.Methods(), c.Members) }

// Choose fits all candidates on the validation splits and chooses of each family, and of
// all, the one with the largest sum of the means of ROC AUC, average precision and card
// precision. It takes ten minutes of two cores; chosen.json is what it came to:
//
//	MILLRACE_BENCH_CHOOSE=1 go test -count=1 -v -timeout 2h -run Choose ./bench/learn
func Choose(ctx context.Context, l *Lab) (*Chosen, error) {
	c, err := l.openCards(ctx)
	if err != nil {
		return nil, err
	}
	list, err := loadCandidates()
	if err != nil {
		return nil, err
	}
	chosen := &Chosen{Splits: validationStarts, Families: map[string]string{}}
	best, known := map[string]float64{}, map[string][]float32{}
	for i, one := range list {
		l.progress("candidate %d of %d, %s", i+1, len(list), one.Name)
		means, err := c.try(ctx, one.Members, known)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", one.Name, err)
		}
		t := Tried{Name: one.Name, Family: one.Family, Values: byName(means)}
		for _, v := range means {
			t.Sum += v
		}
		l.progress("%s: %.4f", one.Name, means)
		chosen.Tried = append(chosen.Tried, t)
		if t.Sum > best[one.Family] {
			best[one.Family], chosen.Families[one.Family] = t.Sum, one.Name
		}
		if t.Sum > best[""] {
			best[""], chosen.Best = t.Sum, one.Name
		}
	}
	return chosen, nil
}

// try returns the means of a blend's metrics over the validation splits. Members are the
// same models in all blends, so each is fitted once: known has their scores.
func (c *cards) try(ctx context.Context, members []blend.Member, known map[string][]float32) ([]float64, error) {
	means := make([]float64, len(c.metrics))
	for _, start := range validationStarts {
		f, err := c.fold(start)
		if err != nil {
			return nil, err
		}
		sum := make([]float32, f.test.Rows())
		for _, m := range members {
			weight := m.Weight
			if weight == 0 {
				weight = 1
			}
			scores, err := f.scores(ctx, m, known)
			if err != nil {
				return nil, fmt.Errorf("split %s: %w", start, err)
			}
			for i, score := range scores {
				sum[i] += float32(weight) * score
			}
		}
		values, err := c.judgeScores(sum, f.test)
		if err != nil {
			return nil, fmt.Errorf("split %s: %w", start, err)
		}
		for i, v := range values {
			means[i] += v / float64(len(validationStarts))
		}
	}
	return means, nil
}

// scores are what a member by itself says of the rows of test.
func (f *fold) scores(ctx context.Context, m blend.Member, known map[string][]float32) ([]float32, error) {
	m.Weight = 1
	text, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	key := f.name + string(text)
	if scores, ok := known[key]; ok {
		return scores, nil
	}
	trainer, err := blend.New(training.Methods(), []blend.Member{m})
	if err != nil {
		return nil, err
	}
	model, err := trainer.Fit(ctx, f.train, nil, learn.FitOptions{Seed: seed})
	if err != nil {
		return nil, err
	}
	known[key] = make([]float32, f.test.Rows())
	model.Predict(f.test.Values, known[key])
	return known[key], nil
}

// seed makes the chance of all fits of payments.
const seed = 1

// byName names the metrics.
func byName(values []float64) map[string]float64 {
	named := make(map[string]float64, len(values))
	for i, v := range values {
		named[metricNames[i]] = v
	}
	return named
}
