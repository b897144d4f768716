// SPDX-License-Identifier: Apache-2.0

// Package blend learns with several methods and averages what they say.
//
// A member is a method with its parameters. It may be fitted several times (bags), each
// time to rows drawn anew: all of them, with replacement (Breiman 1996, "Bagging
// predictors"; each row counts as often as a Poisson variable of mean 1 says, Oza and
// Russell 2001), or all positive rows and a share of the negative ones (Liu, Wu and Zhou
// 2009, "Exploratory undersampling for class-imbalance learning"). Leaving negative rows
// out multiplies odds by 1/share, which is taken back from the raw scores (King and Zeng
// 2001, "Logistic regression in rare events data", prior correction).
//
// The raw score is the weighted mean of the members' raw scores, that of a member the mean
// of its bags': of logits for classes (a geometric mean of odds), of values otherwise.
//
// Invariants: equal tables, parameters and seeds give equal models, with any number of
// workers; a member is the same model in any blend, so one that is there twice adds nothing.
// The exported graph has the members' graphs and adds their scores up.
//
// Concurrency: as package learn has it. Members are fitted one after another.
package blend

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/goccy/go-yaml"

	"github.com/millrace-ml/millrace/training/learn"
)

// Bounds of a blend.
const (
	membersMax = 16
	bagsMax    = 100
	// membersBytesMax bounds the text of the members.
	membersBytesMax = 64 << 10
)

// Member is one method of a blend.
type Member struct {
	Method     string       `yaml:"method"`
	Parameters learn.Values `yaml:"parameters"`
	// Weight is how much its scores count, 0 for 1.
	Weight float64 `yaml:"weight"`
	// Bags is how often it is fitted, 0 for once; at most 100.
	Bags int `yaml:"bags"`
	// Negatives is the share of the rows of class 0 that a bag learns from, 0 for all.
	Negatives float64 `yaml:"negatives"`
	// Bootstrap draws the rows of a bag with replacement.
	Bootstrap bool `yaml:"bootstrap"`
	// trainer is made of the method; seed is of all the above but the weight and the bags.
	trainer learn.Trainer
	seed    uint64
}

// Method is blends of the methods given.
func Method(methods []*learn.Method) *learn.Method {
	return &learn.Method{
		Name:  "blend",
		Doc:   "weighted mean of other methods, each fitted once or to several samples of the rows",
		Tasks: []learn.Task{learn.Binary, learn.Multiclass, learn.Regression},
		Parameters: []learn.Parameter{{
			Name: "members", Kind: learn.Text, Default: "[{method: trees, bags: 5, bootstrap: true}]",
			Doc: "a YAML list of {method, parameters, weight, bags, negatives, bootstrap}",
		}},
		New: func(v learn.Values) (learn.Trainer, error) {
			members, err := Parse(v.Text("members"))
			if err != nil {
				return nil, err
			}
			return New(methods, members)
		},
	}
}

// Parse reads a list of members. Errors wrap learn.ErrParameters.
func Parse(text string) (members []Member, err error) {
	if len(text) > membersBytesMax {
		return nil, fmt.Errorf("%w: blend.members has more than %d bytes", learn.ErrParameters, membersBytesMax)
	}
	defer func() { // the parser is not ours: a fault in it is a refused text, no crash
		if fault := recover(); fault != nil {
			members, err = nil, fmt.Errorf("%w: blend.members cannot be parsed: %v", learn.ErrParameters, fault)
		}
	}()
	if err := yaml.UnmarshalWithOptions([]byte(text), &members, yaml.Strict()); err != nil {
		return nil, fmt.Errorf("%w: blend.members: %s", learn.ErrParameters, yaml.FormatError(err, false, true))
	}
	return members, nil
}

// New makes a trainer of members, whose methods are some of those given. All that is
// wrong is reported; errors wrap learn.ErrParameters.
func New(methods []*learn.Method, members []Member) (learn.Trainer, error) {
	if len(members) == 0 || len(members) > membersMax {
		return nil, fmt.Errorf("%w: blend.members has %d members; give 1 to %d", learn.ErrParameters, len(members), membersMax)
	}
	t := &trainer{members: slices.Clone(members)}
	var problems []error
	for i := range t.members {
		if err := t.members[i].complete(methods); err != nil {
			problems = append(problems, fmt.Errorf("blend.members[%d]: %w", i, err))
		}
		t.weight += t.members[i].Weight
	}
	return t, errors.Join(problems...)
}

func (m *Member) complete(methods []*learn.Method) error {
	if m.Weight == 0 {
		m.Weight = 1
	}
	m.Bags = max(m.Bags, 1)
	if m.Negatives == 0 {
		m.Negatives = 1
	}
	switch {
	case !(m.Weight > 0 && m.Weight <= 1e6):
		return fmt.Errorf("%w: weight is %v; it is above 0 and at most a million", learn.ErrParameters, m.Weight)
	case m.Bags > bagsMax:
		return fmt.Errorf("%w: %d bags, at most %d", learn.ErrParameters, m.Bags, bagsMax)
	case !(m.Negatives > 0 && m.Negatives <= 1):
		return fmt.Errorf("%w: negatives is %v, no share of the rows", learn.ErrParameters, m.Negatives)
	}
	i := slices.IndexFunc(methods, func(method *learn.Method) bool { return method.Name == m.Method })
	if i < 0 {
		return fmt.Errorf("%w: there is no method %q to blend", learn.ErrParameters, m.Method)
	}
	values, err := methods[i].Complete(m.Parameters)
	if err != nil {
		return err
	}
	if m.seed, err = m.hash(values); err != nil {
		return err
	}
	m.trainer, err = methods[i].New(values)
	return err
}

// hash makes the chance of a member depend on what it is, not on its place, so that it is
// the same model by itself and in any blend.
func (m *Member) hash(values learn.Values) (uint64, error) {
	text, err := json.Marshal([]any{m.Method, values, m.Negatives, m.Bootstrap})
	if err != nil {
		return 0, fmt.Errorf("%w: %w", learn.ErrParameters, err)
	}
	h := fnv.New64a()
	_, _ = h.Write(text)
	return h.Sum64(), nil
}

type trainer struct {
	members []Member
	weight  float64
}

// Fit implements learn.Trainer. A step of the progress is one fit of a member.
func (t *trainer) Fit(ctx context.Context, train, valid *learn.Table, o learn.FitOptions) (learn.Model, error) {
	total, done := 0, 0
	for _, m := range t.members {
		total += m.Bags
		if m.Negatives < 1 && train.Task != learn.Binary {
			return nil, fmt.Errorf("%w: blend: a share of the negatives has no meaning for the task %s", learn.ErrParameters, train.Task)
		}
	}
	blended := &model{outputs: train.Outputs()}
	for i := range t.members {
		m := &t.members[i]
		for bag := range m.Bags {
			random := rand.New(rand.NewPCG(o.Seed, m.seed+uint64(bag)))
			inner, err := m.trainer.Fit(ctx, m.sample(train, random), valid, learn.FitOptions{Seed: random.Uint64(), Workers: o.Workers})
			if err != nil {
				return nil, fmt.Errorf("member %d, %s, bag %d: %w", i, m.Method, bag+1, err)
			}
			weight := m.Weight / t.weight / float64(m.Bags)
			blended.parts = append(blended.parts, part{name: m.Method, model: inner, weight: float32(weight)})
			blended.shift += float32(weight * math.Log(m.Negatives))
			done++
			if o.Progress != nil {
				if err := o.Progress(done, total, map[string]float64{}); err != nil {
					return nil, err
				}
			}
		}
	}
	return blended, nil
}

// sample draws the rows of a bag, in their order.
func (m *Member) sample(t *learn.Table, random *rand.Rand) *learn.Table {
	if !m.Bootstrap && m.Negatives == 1 {
		return t
	}
	rows := make([]int32, 0, t.Rows())
	for row := range int32(t.Rows()) {
		if m.Negatives < 1 && t.Labels[row] == 0 && random.Float64() >= m.Negatives {
			continue
		}
		times := 1
		if m.Bootstrap {
			times = poisson(random)
		}
		for range times {
			rows = append(rows, row)
		}
	}
	return t.Select(rows)
}

// poisson draws a number of mean 1, 20 at most: more has a chance under 1e-18.
func poisson(random *rand.Rand) int {
	left, chance := random.Float64(), math.Exp(-1)
	for n := range 20 {
		if left -= chance; left < 0 {
			return n
		}
		chance /= float64(n + 1)
	}
	return 20
}
