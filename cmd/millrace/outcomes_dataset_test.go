// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/offline"
	"github.com/millrace-ml/millrace/labeling/groundtruth"
	"github.com/millrace-ml/millrace/serving/frontend/policy"
	"github.com/millrace-ml/millrace/training/split"
)

// setOf makes the rows of a training set as of a moment, of a label with a window of a week.
func setOf(t *testing.T, asked *outcomesSet, asOf time.Time) *setRows {
	t.Helper()
	label := &groundtruth.Definition{Name: "fraud", Decision: "card", Outcome: "is_fraud", Type: groundtruth.TypeBool, Window: 7 * 24 * time.Hour}
	p := &policy.Policy{Name: "card", Service: &definition.Service{Time: 0, Request: []definition.Field{{Name: "at"}}},
		Facts: []definition.Field{{Name: "customer_id", Type: column.Int64}, {Name: "shop", Type: column.String}}}
	s, err := newSetRows(asked, label, p, asOf.UnixMicro())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestOutcomesSetParts: the newest days whose window is over judge, what is close to them is in
// no part, and a decision whose window is not over never judges.
func TestOutcomesSetParts(t *testing.T) {
	asOf := time.Date(2026, 3, 20, 0, 0, 0, 0, time.UTC)
	asked := &outcomesSet{Test: split.Duration(3 * 24 * time.Hour), Gap: split.Duration(6 * time.Hour), Carry: []string{"customer_id", "shop"}}
	s := setOf(t, asked, asOf)
	end := asOf.Add(-7 * 24 * time.Hour)
	for _, c := range []struct {
		at     time.Duration // from the newest mature moment
		source string
		part   string
	}{
		{-30 * 24 * time.Hour, "", "train"}, {-72*time.Hour - 7*time.Hour, "chargeback", "train"}, {-72*time.Hour - 5*time.Hour, "", ""},
		{-72 * time.Hour, "", "test"}, {-time.Hour, "reviewer", "test"}, {5 * time.Hour, "reviewer", ""}, {7 * time.Hour, "reviewer", "train"},
		{6 * 24 * time.Hour, "reviewer", "train"},
	} {
		row := &groundtruth.Row{PredictionID: "p", Time: end.Add(c.at).UnixMicro(), Facts: `{"customer_id":7,"shop":"a \"b\""}`, Extra: []offline.Value{offline.Float64(1)}}
		row.Label = groundtruth.Label{Status: groundtruth.Observed, Value: groundtruth.Bool(true), Source: c.source, Mature: c.at < 0}
		keep, err := s.fill(row, true)
		if err != nil || !keep || len(row.Extra) != 6 {
			t.Fatalf("%v: %v, %v, %v", c.at, keep, err, row.Extra)
		}
		got := ""
		if !row.Extra[3].IsNull() {
			got = row.Extra[3].Text()
		}
		if got != c.part || !row.Extra[1].Bool() || row.Extra[2].Int64() != row.Time || row.Extra[4].Int64() != 7 || row.Extra[5].Text() != `a "b"` {
			t.Errorf("%v: %q, want %q, in %v", c.at, got, c.part, row.Extra)
		}
	}
	values := map[string]any{}
	s.setValues(values)
	if values["train_rows"] != int64(4) || values["test_rows"] != int64(2) || values["early"] != int64(2) ||
		values["from_reviewer"] != int64(3) || values["from_chargeback"] != int64(1) || values["from_silence"] != int64(2) {
		t.Errorf("values %v", values)
	}
	for _, other := range []struct {
		known bool
		extra []offline.Value
	}{{false, []offline.Value{offline.Float64(1)}}, {true, []offline.Value{{}}}} {
		if keep, err := s.fill(&groundtruth.Row{Extra: other.extra}, other.known); keep || err != nil {
			t.Errorf("a row without a vector is kept: %v", err)
		}
	}
	if s.left != 2 {
		t.Errorf("%d rows are left out", s.left)
	}
}

func TestOutcomesSetMistakes(t *testing.T) {
	kind := (&taskHost{}).outcomesKind()
	for with, want := range map[string]string{
		`{"dataset": {"early_from": ["reviewer"], "carry": ["c"], "test": "3d", "gap": "6h"}}`: "",
		`{"dataset": {"gap": "6h"}}`:                              "give test",
		`{"dataset": {}, "early": true}`:                          "leave out early",
		`{"dataset": {"test": "soon"}}`:                           "soon",
		`{"dataset": {"test": "-3d"}}`:                            "-3d",
		`{"dataset": {"early_form": ["reviewer"], "test": "3d"}}`: "early_form",
	} {
		if _, err := kind.Decode([]byte(with)); want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v", with, err)
		}
	}
	label := &groundtruth.Definition{Outcome: "is_fraud"}
	if _, err := newSetRows(&outcomesSet{Carry: []string{"nobody"}}, label, &policy.Policy{Name: "card", Service: &definition.Service{Time: -1}}, 0); err == nil || !strings.Contains(err.Error(), "nobody") {
		t.Errorf("a fact that is none is carried: %v", err)
	}
}
