// SPDX-License-Identifier: Apache-2.0

package console

import (
	"bytes"
	"math"
	"testing"

	"github.com/millrace-ml/millrace/training/card"
)

// TestCardWeights reads back what a card says of its features.
func TestCardWeights(t *testing.T) {
	weights := func(features ...card.Feature) map[string]*featureWeight {
		t.Helper()
		var b bytes.Buffer
		if err := card.WriteMarkdown(&b, &card.Card{Name: "fraud", Version: "3", Task: "binary", Features: features}); err != nil {
			t.Fatal(err)
		}
		return cardWeights(b.String())
	}
	got := weights(card.Feature{Name: "odd|<na_me>@1\\&amp;", Type: "float64", Attribution: 0.5, Importance: 9}, card.Feature{Name: "amount", Type: "float64", Attribution: 2, Importance: 1})
	want := map[string]featureWeight{
		"amount":               {Measure: "mean attribution", Value: 2, Share: 1, Rank: 1, Of: 2},
		"odd|<na_me>@1\\&amp;": {Measure: "mean attribution", Value: 0.5, Share: 0.25, Rank: 2, Of: 2},
	}
	if len(got) != len(want) {
		t.Errorf("%d weights, want %d", len(got), len(want))
	}
	for name, w := range want {
		if got[name] == nil || *got[name] != w {
			t.Errorf("%s: %+v, want %+v", name, got[name], w)
		}
	}
	if got := weights(card.Feature{Name: "amount", Type: "float64", Importance: 7, Attribution: math.NaN()}); got["amount"] == nil || got["amount"].Measure != "importance" || got["amount"].Place() != "1 of 1" {
		t.Errorf("a method's own importance: %+v", got["amount"])
	}
	if got := weights(card.Feature{Name: "amount", Type: "float64"}); len(got) != 0 {
		t.Errorf("a card without weights has %d", len(got))
	}
	for _, text := range []string{"", "|", "||", "| feature | type |", "| feature | type | importance |\n| a | b | c |", "| feature | type | importance |\n| a | b | Inf |\\"} {
		if got := cardWeights(text); len(got) != 0 {
			t.Errorf("%q has %d weights", text, len(got))
		}
	}
}
