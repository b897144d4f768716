// SPDX-License-Identifier: Apache-2.0

package learn

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/millrace-ml/millrace/training/blend"
)

// measured is a chosen candidate with its values.
type measured struct {
	Name    string             `json:"name"`
	Family  string             `json:"family"`
	Members any                `json:"members"`
	Values  map[string]float64 `json:"values"`
	Splits  map[string]any     `json:"splits,omitempty"`
	Seconds float64            `json:"seconds"`
}

// Single measures the published single split: the best value of our trainers, metric by
// metric, as the published table has a row for each model. Each family of trainers takes
// part with the parameters that were chosen on the validation splits.
func Single(ctx context.Context, l *Lab) ([]float64, any, error) {
	chosen, err := loadChosen()
	if err != nil {
		return nil, nil, err
	}
	names := slices.Collect(maps.Values(chosen.Families))
	models, err := l.measureChosen(ctx, names, singleStart)
	if err != nil {
		return nil, nil, err
	}
	values := make([]float64, len(metricNames))
	best := map[string]string{}
	for _, m := range models {
		for i, name := range metricNames {
			if v := m.Values[name]; v > values[i] {
				values[i], best[name] = v, m.Name
			}
		}
	}
	return values, map[string]any{"split": singleStart[0], "best": best, "models": models, "chosen on": chosen.Splits, "candidates tried": len(chosen.Tried)}, nil
}

// Tuned measures the mean of the four test splits, of the one model that was best on the
// validation splits, refitted on each.
func Tuned(ctx context.Context, l *Lab) ([]float64, any, error) {
	chosen, err := loadChosen()
	if err != nil {
		return nil, nil, err
	}
	names := []string{chosen.Best}
	if !l.Quick { // the others are for information
		for _, name := range slices.Sorted(maps.Values(chosen.Families)) {
			if name != chosen.Best {
				names = append(names, name)
			}
		}
	}
	models, err := l.measureChosen(ctx, names, testStarts)
	if err != nil {
		return nil, nil, err
	}
	i := slices.IndexFunc(models, func(m measured) bool { return m.Name == chosen.Best })
	values := make([]float64, len(metricNames))
	for k, name := range metricNames {
		values[k] = models[i].Values[name]
	}
	return values, map[string]any{"model": chosen.Best, "models": models, "chosen on": chosen.Splits, "candidates tried": len(chosen.Tried)}, nil
}

// measureChosen fits candidates by name on splits, in the order of candidates.yaml.
func (l *Lab) measureChosen(ctx context.Context, names, starts []string) ([]measured, error) {
	c, err := l.openCards(ctx)
	if err != nil {
		return nil, err
	}
	list, err := loadCandidates()
	if err != nil {
		return nil, err
	}
	if l.Quick {
		starts = starts[:1]
	}
	var models []measured
	for _, one := range list {
		if !slices.Contains(names, one.Name) {
			continue
		}
		if l.Quick {
			one.Members = []blend.Member{one.Members[0]}
			one.Members[0].Bags = min(one.Members[0].Bags, 2)
		}
		l.progress("%s on %d splits", one.Name, len(starts))
		trainer, err := one.trainer()
		if err != nil {
			return nil, err
		}
		began := time.Now()
		means, each, err := c.measure(ctx, trainer, starts)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", one.Name, err)
		}
		m := measured{Name: one.Name, Family: one.Family, Members: one.Members, Values: byName(means), Splits: map[string]any{}, Seconds: time.Since(began).Seconds()}
		for i, start := range starts {
			m.Splits[start] = byName(each[i])
		}
		models = append(models, m)
	}
	if len(models) != len(slices.Compact(slices.Sorted(slices.Values(names)))) {
		return nil, fmt.Errorf("chosen.json names %v, of which candidates.yaml has %d", names, len(models))
	}
	return models, nil
}
