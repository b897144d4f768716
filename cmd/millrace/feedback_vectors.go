// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"math"
	"slices"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/offline"
	"github.com/millrace-ml/millrace/featurestore/plan"
	"github.com/millrace-ml/millrace/labeling/groundtruth"
	"github.com/millrace-ml/millrace/labeling/groundtruth/table"
	"github.com/millrace-ml/millrace/serving/frontend/policy"
)

// vectorColumns turns the logged vector of a row into a column for each feature.
type vectorColumns struct {
	service *definition.Service
	version string
	columns []offline.Column
	logged  plan.LoggedVector
	values  []offline.Value
}

// newVectorColumns names the columns by the features of the decision's service now; a
// feature with the name of a column that every table has gets feature_ before it.
func newVectorColumns(policies []*policy.Policy, decision string) (*vectorColumns, error) {
	at := slices.IndexFunc(policies, func(p *policy.Policy) bool { return p.Name == decision })
	if at < 0 || policies[at].Service == nil {
		return nil, fmt.Errorf("--vectors: decision %s has no feature service", decision)
	}
	s := policies[at].Service
	v := &vectorColumns{service: s, version: plan.ShortHash(s.Hash()), values: make([]offline.Value, len(s.Features))}
	taken := map[string]bool{}
	for _, name := range table.Names() {
		taken[name] = true
	}
	for i := range s.Features {
		f := &s.Features[i]
		one := offline.Column{Name: f.Name, Type: offline.TypeFloat64}
		if taken[f.Name] {
			one.Name = "feature_" + f.Name
		}
		if f.Type == column.String {
			one.Type = offline.TypeString
		}
		v.columns = append(v.columns, one)
	}
	return v, nil
}

// decode replaces the vector in row.Extra by its features; false if other definitions made
// it, and then they are null.
func (v *vectorColumns) decode(row *groundtruth.Row) (bool, error) {
	raw := row.Extra
	for i := range v.values {
		v.values[i] = offline.Value{}
	}
	row.Extra = v.values
	if len(raw) == 0 || raw[0].IsNull() {
		return true, nil // the policy answered without features
	}
	if err := plan.DecodeVector(raw, &v.logged); err != nil {
		return false, fmt.Errorf("prediction %s: %w", row.PredictionID, err)
	}
	if v.logged.Service != v.service.Name || v.logged.Version != v.version || len(v.logged.Numbers) != len(v.values) {
		return false, nil
	}
	texts := v.logged.Texts
	for i, x := range v.logged.Numbers {
		if v.columns[i].Type == offline.TypeString {
			if len(texts) > 0 {
				v.values[i], texts = offline.String(texts[0]), texts[1:]
			}
		} else if !math.IsNaN(x) {
			v.values[i] = offline.Float64(x)
		}
	}
	return true, nil
}
