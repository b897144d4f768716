// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"os"
	"testing"

	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/window"
)

// moreServices are beside those of testdata/features.yaml.
const moreServices = `
  plain:
    entities: [customer]
    features: [{name: id, from: customer_id}]
  taken:
    model: fraud
    request: {score: float64}
    features: [score, {name: segment, expression: "score > 1 ? 'a' : 'b'", type: string}]
`

func catalog(tb testing.TB) *definition.Catalog {
	tb.Helper()
	text, err := os.ReadFile("testdata/features.yaml")
	if err != nil {
		tb.Fatal(err)
	}
	c, err := definition.Parse("features.yaml", append(text, moreServices...))
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// parseOne parses a file with one decision.
func parseOne(tb testing.TB, text string) *Policy {
	tb.Helper()
	all, err := Parse(catalog(tb), "decisions.yaml", []byte(text))
	if err != nil {
		tb.Fatal(err)
	}
	if len(all) != 1 {
		tb.Fatalf("%d policies", len(all))
	}
	return all[0]
}

func example(tb testing.TB) *Policy {
	tb.Helper()
	all, err := Load(catalog(tb), "testdata/decisions.yaml")
	if err != nil {
		tb.Fatal(err)
	}
	return all[0]
}

// set sets facts and features by name; what is not named is null. A number is for any
// numeric type.
func set(tb testing.TB, p *Policy, f *Facts, values map[string]any) {
	tb.Helper()
	f.Reset()
	features := p.Service.Features
	numbers, status := make([]float64, len(features)), make([]window.Status, len(features))
	var texts []string
	for i := range features {
		v, given := values[features[i].Name]
		if text, ok := v.(string); ok && given {
			texts = append(texts, text)
		} else if len(p.nulls) > len(texts) && p.nulls[len(texts)].feature == i {
			texts = append(texts, "")
		}
		numbers[i], status[i] = nan, window.Null
		if x, ok := v.(float64); ok {
			numbers[i] = x
		}
		if given {
			status[i] = window.Present
		}
	}
	if err := f.SetFeatures(numbers, texts, status); err != nil {
		tb.Fatal(err)
	}
	for name, v := range values {
		place := p.Place(name)
		if place < 0 {
			continue
		}
		var err error
		switch v := v.(type) {
		case float64:
			err = f.SetNumber(place, v)
		case string:
			err = f.SetText(place, v)
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
}
