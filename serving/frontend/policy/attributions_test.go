// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// attributed is a policy with attributions, over the features amount, during_night,
// customer_payments__payments_1d, mean_7d, risk_7d and country.
func attributed(tb testing.TB, attributions string) *Policy {
	tb.Helper()
	return parseOne(tb, `
decisions:
  pay:
    service: fraud
    decisions: [ok, no]
    reasons: {RULE: by a rule, AMOUNT: the amount, HABITS: the habits, RISK: the terminal, PLACE: the country}
    thresholds: {default: [{from: 0.5, decision: no}, {decision: ok}]}
    explain:
      max: 3
      rules: [{code: RULE, when: amount > 100}]
      attributions: `+attributions+"\n")
}

func codesOf(o *Outcome) string {
	var codes []string
	for _, r := range o.Reasons {
		codes = append(codes, r.Code)
	}
	return strings.Join(codes, " ")
}

// TestAttribute: which features' contributions become which reasons.
func TestAttribute(t *testing.T) {
	const codes = "codes: {amount: AMOUNT, \"*_7d\": HABITS, risk_7d: RISK, country: PLACE}"
	for _, c := range []struct {
		attributions  string
		contributions []float64 // amount, night, payments, mean_7d, risk_7d, country
		amount        float64
		want          string
	}{
		{"{" + codes + "}", []float64{1, 5, 5, 2, 3, 0}, 0, "RISK HABITS AMOUNT"},
		{"{" + codes + "}", []float64{1, 5, 5, 2, 3, 0}, 200, "RULE RISK HABITS"},
		{"{" + codes + ", top: 1}", []float64{1, 5, 5, 2, 3, 0}, 200, "RULE RISK"},
		{"{" + codes + ", min_share: 0.15}", []float64{1, 5, 5, 2, 3, 0}, 0, "RISK"},
		{"{" + codes + ", min_share: 0.125}", []float64{1, 5, 5, 2, 3, 0}, 0, "RISK HABITS"},
		{"{" + codes + "}", []float64{-1, 5, 5, -2, 0, nan}, 0, ""},
		{"{" + codes + ", direction: down}", []float64{-1, 5, 5, -2, 3, nan}, 0, "HABITS AMOUNT"},
		{"{" + codes + ", direction: either}", []float64{-1, 5, 5, -4, 3, nan}, 0, "HABITS RISK AMOUNT"},
		{"{" + codes + ", direction: either, min_share: 0.2}", []float64{-1, 5, 5, -4, 3, nan}, 0, "HABITS"},
		// Features of one code count together, also against each other.
		{"{codes: {\"*_7d\": HABITS, amount: AMOUNT}}", []float64{3, 0, 0, 2, 2, 0}, 0, "HABITS AMOUNT"},
		{"{codes: {\"*_7d\": HABITS, amount: AMOUNT}}", []float64{1, 0, 0, 4, -4, 0}, 0, "AMOUNT"},
		{"{codes: {amount: RULE, country: PLACE}}", []float64{3, 0, 0, 0, 0, 1}, 200, "RULE PLACE"},
		{"{codes: {amount: RULE, country: PLACE}, top: 1}", []float64{3, 0, 0, 0, 0, 1}, 200, "RULE"},
		{"{codes: {\"*\": AMOUNT}}", []float64{0, 0, 1, 0, 0, 0}, 0, "AMOUNT"},
		{"{}", []float64{1, 5, 5, 2, 3, 0}, 0, ""},
	} {
		p := attributed(t, c.attributions)
		f, o := p.NewFacts(), Outcome{}
		set(t, p, f, map[string]any{"amount": c.amount})
		for range 2 { // the second time in used memory
			if !p.Decide(f, 0, 0.7, &o) {
				t.Fatal("not decided")
			}
			p.Attribute(c.contributions, &o)
			if got := codesOf(&o); got != c.want {
				t.Errorf("%s of %v: %q, want %q", c.attributions, c.contributions, got, c.want)
			}
		}
	}
}

// TestAttributes: they are computed where asked for, or where the condition holds.
func TestAttributes(t *testing.T) {
	for attributions, want := range map[string]string{
		"{}":                       "false true false true",
		"{when: decision == 'no'}": "false true true true",
		"{when: \"score < 0.2 and segment != 'large'\"}": "true true false true",
	} {
		p := attributed(t, attributions)
		f, o := p.NewFacts(), Outcome{}
		var got []string
		for _, score := range []float64{0.1, 0.9} {
			set(t, p, f, nil)
			p.Decide(f, 0, score, &o)
			got = append(got, fmt.Sprint(p.Attributes(f, false)), fmt.Sprint(p.Attributes(f, true)))
		}
		if got := strings.Join(got, " "); got != want {
			t.Errorf("%s: %s, want %s", attributions, got, want)
		}
	}
	p := parseOne(t, "decisions: {pay: {service: fraud, decisions: [ok], thresholds: {default: [{decision: ok}]}}}")
	if p.Attributes(p.NewFacts(), true) {
		t.Error("a policy without attributions has some")
	}
}

// TestReserve: the time that has to be left follows the budget.
func TestReserve(t *testing.T) {
	for settings, want := range map[string]time.Duration{
		"explain: {attributions: {}}":                                   time.Millisecond,
		"explain: {attributions: {}}, budget: {total: 50ms}":            5 * time.Millisecond,
		"explain: {attributions: {reserve: 3ms}}":                       3 * time.Millisecond,
		"explain: {attributions: {reserve: 3ms}}, budget: {total: 4ms}": 3 * time.Millisecond,
	} {
		p := parseOne(t, "decisions: {pay: {service: fraud, decisions: [ok], thresholds: {default: [{decision: ok}]}, "+settings+"}}")
		if got := p.Attributions.Reserve; got != want {
			t.Errorf("%s: %v, want %v", settings, got, want)
		}
	}
}

func TestPatterns(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"*", "", true}, {"*", "abc", true}, {"a*", "abc", true}, {"a*", "bac", false}, {"*c", "abc", true}, {"*c", "acb", false},
		{"a*c", "ac", true}, {"a*c", "a", false}, {"a*a", "a", false}, {"a*b*c", "axbxbxc", true}, {"a*b*c", "axc", false},
		{"*ab*ab*", "aab", false}, {"*ab*ab*", "ab_ab", true}, {"**", "x", true}, {"abc", "abc", true}, {"abc", "abcd", false},
	} {
		if got := matches(c.pattern, c.name); got != c.want {
			t.Errorf("%s, %s: %t", c.pattern, c.name, got)
		}
	}
}

// TestAttributeAllocates nothing once its memory is there.
func TestAttributeAllocates(t *testing.T) {
	p := attributed(t, "{codes: {amount: AMOUNT, \"*_7d\": HABITS}}")
	f, o := p.NewFacts(), Outcome{}
	contributions := []float64{1, 2, 3, 4, 5, 6}
	n := testing.AllocsPerRun(100, func() {
		p.Decide(f, 0, 0.7, &o)
		if p.Attributes(f, true) {
			p.Attribute(contributions, &o)
		}
	})
	if n != 0 || codesOf(&o) != "HABITS AMOUNT" {
		t.Errorf("%v allocations, %s", n, codesOf(&o))
	}
}
