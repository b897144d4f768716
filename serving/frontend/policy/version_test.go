// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestVersionIsOfTheMeaning: each change of testdata/decisions.yaml that may change an
// answer changes the version, and others do not.
func TestVersionIsOfTheMeaning(t *testing.T) {
	text, err := os.ReadFile("testdata/decisions.yaml")
	if err != nil {
		t.Fatal(err)
	}
	was := example(t)
	seen := map[string]string{was.Version(): "the example"}
	change := func(old, new string) *Policy {
		t.Helper()
		if strings.Count(string(text), old) != 1 {
			t.Fatalf("%q is not there once", old)
		}
		return parseOne(t, strings.Replace(string(text), old, new, 1))
	}
	for _, c := range [][2]string{
		{"card_payment:", "card_payments:"},
		{"    event: payments\n", ""},
		{"version: champion", "version: 3"},
		{"output: probabilities", "output: scores"},
		{"class: 1}", "class: 0}"},
		{"channel: string", "channel: {type: string, values: [pos, web]}"},
		{"currency: {type: string, required: true", "currency: {type: string"},
		{"max: 100}", "max: 101}"},
		{"items: {type: int64", "items: {type: float64"},
		{"unit: customer_id", "unit: terminal_id"},
		{"field: transaction_id, ttl: 12h", "ttl: 12h"},
		{"ttl: 12h", "ttl: 11h"},
		{"total: 50ms", "total: 51ms"},
		{"features: 5ms", "features: 6ms"},
		{"model: 20ms", "model: 21ms"},
		{"unusual hour", "an unusual hour"},
		{"[approve, review, block]", "[approve, review, block, ask]"},
		{"[1, 2]", "[1, 2, 3]"},
		{"name: blocked_terminal,", "name: blocked,"},
		{"decision: block, reason: BLOCKED_TERMINAL", "decision: review, reason: BLOCKED_TERMINAL"},
		{", reason: BLOCKED_TERMINAL", ""},
		{"amount > 500}", "amount > 501}"},
		{"from: 0.8", "from: 0.81"},
		{"{from: 0.8, decision: block, reason: HIGH_RISK}, ", ""},
		{"score > 0.3 and", "score >= 0.3 and"},
		{"max: 3", "max: 2"},
		{"code: NIGHT, when", "code: FOREIGN, when"},
		{"amount: AMOUNT", "amount: HABITS"},
		{"\"*_7d\": HABITS, ", ""},
		{"top: 2", "top: 1"},
		{"min_share: 0.15", "min_share: 0.2"},
		{"direction: up", "direction: down"},
		{"        when: decision != 'approve'\n", ""},
		{"reserve: 2ms", "reserve: 3ms"},
		{"salt: 2026-q4", "salt: 2026-q5"},
		{"name: control", "name: champion"},
		{"version: challenger", "version: newest"},
		{"from: 0.4", "from: 0.45"},
		{"share: 0.2", "share: 0.3"},
		{"fraud_next", "fraud_last"},
		{"      - previous_version\n", ""},
		{"amount > 1000", "amount > 1001"},
		{"default: {decision: approve, reason: MODEL_DOWN}", "default: {decision: review, reason: MODEL_DOWN}"},
	} {
		p := change(c[0], c[1])
		if other, again := seen[p.Version()]; again {
			t.Errorf("%q instead of %q has the version of %s", c[1], c[0], other)
		}
		seen[p.Version()] = fmt.Sprintf("%q instead of %q", c[1], c[0])
		if len(Compare(was, p)) == 0 {
			t.Errorf("%q instead of %q is no change", c[1], c[0])
		}
	}
	for _, c := range [][2]string{
		{"# Every key of a decision.\n", "# Another comment.\n\n"},
		{"approve, review or block a card payment", "what to do"},
		{"amount > 500}", "\"amount  >  500\"}"},
		{"decision == 'approve' and score", "decision == \"approve\" && score"},
		{"ttl: 12h", "ttl: 720m"},
		{"from: 0.8", "from: 0.80"},
		{"\"*_7d\": HABITS, risk_7d: FOREIGN", "risk_7d: FOREIGN, mean_7d: HABITS"},
		{"\"*_7d\": HABITS", "\"mean_*\": HABITS"},
		{"        direction: up\n", ""},
		{"values: [EUR, USD]", "values: [USD, EUR]"},
		{"share: 0.1\n", "share: 1e-1\n"},
		{"model: {version: challenger}", "model: {name: fraud, version: challenger}"},
	} {
		if p := change(c[0], c[1]); p.Version() != was.Version() || len(Compare(was, p)) > 0 {
			t.Errorf("%q instead of %q changes the version: %v", c[1], c[0], Compare(was, p))
		}
	}
	const reason = "      NIGHT: unusual hour\n"
	moved := strings.Replace(strings.Replace(string(text), reason, "", 1), "    reasons:\n", "    reasons:\n"+reason, 1)
	if p := parseOne(t, moved); p.Version() != was.Version() {
		t.Errorf("the order of reasons changes the version: %v", Compare(was, p))
	}
	if len(was.Version()) != 12 {
		t.Errorf("the version is %s", was.Version())
	}
}

func TestCompare(t *testing.T) {
	const old = `
decisions:
  pay:
    service: fraud
    decisions: [approve, block]
    before: [{name: big, when: amount > 500, decision: block}]
    thresholds: {default: [{from: 0.8, decision: block}, {decision: approve}]}
`
	const new = `
decisions:
  pay:
    service: fraud
    decisions: [approve, block]
    reasons: {RISK: risky}
    before: [{name: big, when: "amount  > 600", decision: block}]
    thresholds: {default: [{from: 0.9, decision: block, reason: RISK}, {decision: approve}]}
`
	var got []string
	for _, c := range Compare(parseOne(t, old), parseOne(t, new)) {
		got = append(got, fmt.Sprintf("%s: %q -> %q", c.Path, c.Old, c.New))
	}
	want := `before[0].when: "amount > 500" -> "amount  > 600"
reasons.RISK: "" -> "risky"
thresholds.default[0].from: "0.8" -> "0.9"
thresholds.default[0].reason: "" -> "RISK"`
	if s := strings.Join(got, "\n"); s != want {
		t.Errorf("got\n%s\nwant\n%s", s, want)
	}
}
