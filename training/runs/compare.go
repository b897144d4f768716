// SPDX-License-Identifier: Apache-2.0

package runs

import (
	"context"
	"fmt"
	"maps"
	"slices"
)

// CompareMax bounds how many runs are compared.
const CompareMax = 50

// Difference is a field and what each run has in it; nil where it has none.
type Difference struct {
	Name   string `json:"name"`
	Values []any  `json:"values"`
}

// Comparison is what runs differ in, and all their metrics.
type Comparison struct {
	Runs []Run `json:"runs"`
	// Fields, Parameters, Versions and Tags are those that differ.
	Fields     []Difference `json:"fields,omitempty"`
	Parameters []Difference `json:"parameters,omitempty"`
	Versions   []Difference `json:"versions,omitempty"`
	Tags       []Difference `json:"tags,omitempty"`
	// Metrics are all; a value is a *Metric or nil.
	Metrics []Difference `json:"metrics,omitempty"`
}

// Compare reads runs and sets them beside each other, in the order given.
func Compare(ctx context.Context, s Store, ids ...string) (*Comparison, error) {
	if len(ids) < 2 || len(ids) > CompareMax {
		return nil, fmt.Errorf("%w: %d runs to compare: 2 to %d", ErrQuery, len(ids), CompareMax)
	}
	c := &Comparison{}
	for _, id := range ids {
		r, err := s.Get(ctx, id)
		if err != nil {
			return nil, err
		}
		c.Runs = append(c.Runs, *r)
	}
	fields := func(r *Run) map[string]string {
		return map[string]string{"experiment": r.Experiment, "name": r.Name, "status": string(r.Status), "method": r.Method, "seed": fmt.Sprint(r.Seed), "data_hash": r.DataHash,
			"code_hash": r.CodeHash, "git_commit": r.GitCommit, "artifact": r.Artifact.Digest}
	}
	c.Fields = differing(c.Runs, fields)
	c.Parameters = differing(c.Runs, func(r *Run) map[string]any { return r.Parameters })
	c.Versions = differing(c.Runs, func(r *Run) map[string]string { return r.Versions })
	c.Tags = differing(c.Runs, func(r *Run) map[string]string { return r.Tags })
	c.Metrics = sideBySide(c.Runs, func(r *Run) map[string]*Metric {
		m := make(map[string]*Metric, len(r.Metrics))
		for name, value := range r.Metrics {
			m[name] = &value
		}
		return m
	})
	return c, nil
}

// differing keeps what not all runs have alike.
func differing[V any](all []Run, of func(*Run) map[string]V) []Difference {
	return slices.DeleteFunc(sideBySide(all, of), func(d Difference) bool {
		return !slices.ContainsFunc(d.Values, func(v any) bool { return v != d.Values[0] })
	})
}

func sideBySide[V any](all []Run, of func(*Run) map[string]V) []Difference {
	names := map[string]bool{}
	parts := make([]map[string]V, len(all))
	for i := range all {
		parts[i] = of(&all[i])
		for name := range parts[i] {
			names[name] = true
		}
	}
	var rows []Difference
	for _, name := range slices.Sorted(maps.Keys(names)) {
		d := Difference{name, make([]any, len(all))}
		for i, part := range parts {
			if v, ok := part[name]; ok {
				d.Values[i] = v
			}
		}
		rows = append(rows, d)
	}
	return rows
}
