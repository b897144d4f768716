// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"errors"
	"math"
	"testing"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/window"
)

// vector is a row of features, all present.
func vector(p *Policy) (numbers []float64, texts []string, status []window.Status) {
	for i := range p.Service.Features {
		numbers, status = append(numbers, 0.5), append(status, window.Present)
		if p.Service.Features[i].Type == column.String {
			numbers[i], texts = nan, append(texts, "FR")
		}
	}
	return numbers, texts, status
}

const factsPolicy = `
decisions:
  pay:
    service: fraud
    request:
      items: {type: int64, min: 1, max: 100}
      ratio: {type: float64, max: 1}
      first: bool
      at: timestamp
      currency: {type: string, values: [EUR, USD]}
      note: string
    decisions: [ok]
    thresholds: {default: [{decision: ok}]}
`

func TestFacts(t *testing.T) {
	p := parseOne(t, factsPolicy)
	f := p.NewFacts()
	at := p.Place
	for _, c := range []struct {
		name string
		set  func() error
		want string
	}{
		{"number", func() error { return f.SetNumber(at("ratio"), 0.5) }, ""},
		{"number above", func() error { return f.SetNumber(at("ratio"), 1.5) }, "invalid fact: ratio is 1.5, it lies at 1 or below"},
		{"infinite", func() error { return f.SetNumber(at("ratio"), math.Inf(-1)) }, "invalid fact: ratio is infinite"},
		{"integer for a number", func() error { return f.SetInt(at("ratio"), -3) }, ""},
		{"integer", func() error { return f.SetInt(at("items"), 100) }, ""},
		{"integer above", func() error { return f.SetInt(at("items"), 101) }, "invalid fact: items is 101, it lies in 1 to 100"},
		{"integer below", func() error { return f.SetInt(at("items"), 0) }, "invalid fact: items is 0, it lies in 1 to 100"},
		{"whole number", func() error { return f.SetNumber(at("items"), 7) }, ""},
		{"broken number", func() error { return f.SetNumber(at("items"), 7.5) }, "invalid fact: items is 7.5, it takes a whole number (beyond 2^53 give it as an integer)"},
		{"large number", func() error { return f.SetNumber(at("customer_id"), 1e18) }, "invalid fact: customer_id is 1e+18, it takes a whole number (beyond 2^53 give it as an integer)"},
		{"number for a text", func() error { return f.SetNumber(at("note"), 7) }, "invalid fact: note is 7, it takes a string"},
		{"number for a bool", func() error { return f.SetNumber(at("first"), 1) }, ""},
		{"wrong number for a bool", func() error { return f.SetNumber(at("first"), 2) }, "invalid fact: first is 2, it takes a bool"},
		{"integer for a bool", func() error { return f.SetInt(at("first"), 1) }, "invalid fact: first is 1, it takes a bool"},
		{"bool", func() error { return f.SetBool(at("first"), true) }, ""},
		{"bool for a number", func() error { return f.SetBool(at("items"), true) }, "invalid fact: items is true, it takes an int64"},
		{"timestamp", func() error { return f.SetInt(at("at"), 1_700_000_000_000_000) }, ""},
		{"text", func() error { return f.SetText(at("note"), "x") }, ""},
		{"text for a number", func() error { return f.SetText(at("ratio"), "0.5") }, `invalid fact: ratio is the text "0.5", it takes a float64`},
		{"text not allowed", func() error { return f.SetText(at("currency"), "CHF") }, `invalid fact: currency is "CHF", it is one of EUR, USD`},
		{"text allowed", func() error { return f.SetText(at("currency"), "USD") }, ""},
	} {
		err := c.set()
		if (err == nil) != (c.want == "") || err != nil && (err.Error() != c.want || !errors.Is(err, ErrFact)) {
			t.Errorf("%s: got %v, want %s", c.name, err, c.want)
		}
	}
}

func TestFactsAreNullUntilGiven(t *testing.T) {
	p := parseOne(t, factsPolicy)
	f := p.NewFacts()
	missing := func(want string) {
		t.Helper()
		if err := f.Check(); (err == nil) != (want == "") || err != nil && (err.Error() != want || !errors.Is(err, ErrFact)) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	missing("invalid fact: customer_id, terminal_id, amount are required")
	// An integer that no float64 holds is given, but null to conditions.
	for place, v := range []int64{math.MaxInt64, column.IntegerMax} {
		if err := f.SetInt(place, v); err != nil {
			t.Fatal(err)
		}
	}
	if !math.IsNaN(f.Number(0)) || f.Number(1) != column.IntegerMax || !f.Given(0) {
		t.Errorf("numbers are %v and %v", f.Number(0), f.Number(1))
	}
	missing("invalid fact: amount is required")
	if err := f.SetNumber(2, 3); err != nil {
		t.Fatal(err)
	}
	missing("")
	if err := f.SetNumber(2, nan); err != nil || f.Given(2) {
		t.Errorf("NaN is null: %v", err)
	}
	note := p.Place("note")
	if err := f.SetText(note, "x"); err != nil {
		t.Fatal(err)
	}
	f.SetNull(note)
	if text, null := f.Text(note); text != "" || !null || f.Given(note) {
		t.Errorf("the note is %q", text)
	}
	f.Reset()
	missing("invalid fact: customer_id, terminal_id, amount are required")
}

// TestFeatures: a vector goes to its places; texts that are not there are null.
func TestFeatures(t *testing.T) {
	p := parseOne(t, factsPolicy)
	f := p.NewFacts()
	numbers, texts, status := vector(p)
	if err := f.SetFeatures(numbers, texts, status); err != nil {
		t.Fatal(err)
	}
	country := p.FeaturePlace() + len(numbers) - 1
	if text, null := f.Text(country); text != "FR" || null || f.Number(country-1) != 0.5 {
		t.Errorf("the country is %q, null %t", text, null)
	}
	for _, s := range []window.Status{window.NotFound, window.Null, window.OutsideMaxAge} {
		status[len(status)-1] = s
		if err := f.SetFeatures(numbers, texts, status); err != nil {
			t.Fatal(err)
		}
		if _, null := f.Text(country); !null {
			t.Errorf("a text that is %v is not null", s)
		}
	}
	if err := f.SetFeatures(numbers, nil, status); err == nil {
		t.Error("a vector without its text is taken")
	}
	if err := f.SetFeatures(numbers[1:], texts, status[1:]); err == nil {
		t.Error("a short vector is taken")
	}
}
