// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/bench/kernels/boost"
)

func smallModel() (*boost.Model, *boost.Data) {
	d := boost.Synthetic(2000, 1)
	return boost.Train(d, boost.Options{Trees: 5, Leaves: 9, Rate: 0.2, Seed: 3}), d
}

// TestLightGBMTextAnswersAlike walks the text form as LightGBM does.
func TestLightGBMTextAnswersAlike(t *testing.T) {
	m, d := smallModel()
	blocks := strings.Split(string(lightGBM(m)), "Tree=")[1:]
	if len(blocks) != len(m.Trees) {
		t.Fatalf("%d trees, want %d", len(blocks), len(m.Trees))
	}
	for i := range 200 {
		row := d.X[i*boost.Features:][:boost.Features]
		got := 0.0
		for _, block := range blocks {
			got += walkText(t, fields(block), row)
		}
		if want := float64(m.Predict(row)); math.Abs(got-want) > 1e-5*max(1, math.Abs(want)) {
			t.Fatalf("row %d gives %g, want %g", i, got, want)
		}
	}
}

func fields(block string) map[string][]string {
	lists := map[string][]string{}
	for line := range strings.Lines(block) {
		if name, list, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			lists[name] = strings.Fields(list)
		}
	}
	return lists
}

func walkText(t *testing.T, lists map[string][]string, row []float32) float64 {
	t.Helper()
	number := func(text string) float64 {
		v, err := strconv.ParseFloat(text, 64)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	at := 0
	for at >= 0 {
		feature := int(number(lists["split_feature"][at]))
		side := "right_child"
		if float64(row[feature]) <= number(lists["threshold"][at]) {
			side = "left_child"
		}
		at = int(number(lists[side][at]))
	}
	return number(lists["leaf_value"][-1-at])
}

// TestXGBoostNumbers holds the JSON to what XGBoost's reader insists on: reals have a
// fraction or an exponent.
func TestXGBoostNumbers(t *testing.T) {
	m, _ := smallModel()
	encoded, err := json.Marshal(xgBoostTree(0, m.Trees[0]))
	if err != nil {
		t.Fatal(err)
	}
	var tree struct {
		Left       []int             `json:"left_children"`
		Conditions []json.RawMessage `json:"split_conditions"`
		Hessians   []json.RawMessage `json:"sum_hessian"`
	}
	if err := json.Unmarshal(encoded, &tree); err != nil {
		t.Fatal(err)
	}
	if len(tree.Left) != 17 || len(tree.Conditions) != 17 {
		t.Errorf("%d and %d nodes, want 17", len(tree.Left), len(tree.Conditions))
	}
	for _, v := range append(tree.Conditions, tree.Hessians...) {
		if !strings.ContainsAny(string(v), ".e") {
			t.Errorf("%s is written as a whole number", v)
		}
	}
}
