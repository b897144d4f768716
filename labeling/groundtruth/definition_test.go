// SPDX-License-Identifier: Apache-2.0

package groundtruth

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	all, err := Parse("labels.yaml", []byte(`
labels:
  fraud:
    decision: card_payment
    kind: outcome
    name: is_fraud
    type: bool
    window: 7d
    silence: negative
    sources: [{name: chargeback, priority: 10}, {name: analyst, priority: 5}]
    match: {entity: [customer_id], within: 1h}
  churn: {decision: offer, name: churned, window: 1.5w, silence: negative, type: class, negative: stayed}
  gain: {decision: offer, kind: reward, name: gain, type: number, window: 36h}
`))
	if err != nil {
		t.Fatal(err)
	}
	want := []*Definition{
		{Name: "churn", Decision: "offer", Kind: KindOutcome, Outcome: "churned", Type: TypeClass, Window: 252 * time.Hour, Silence: SilenceNegative, Negative: Class("stayed")},
		{Name: "fraud", Decision: "card_payment", Kind: KindOutcome, Outcome: "is_fraud", Type: TypeBool, Window: 168 * time.Hour, Silence: SilenceNegative, Negative: Bool(false),
			Sources: []Source{{"chargeback", 10}, {"analyst", 5}}, Entity: []string{"customer_id"}, Within: time.Hour},
		{Name: "gain", Decision: "offer", Kind: KindReward, Outcome: "gain", Type: TypeNumber, Window: 36 * time.Hour},
	}
	if !reflect.DeepEqual(all, want) {
		t.Errorf("got %+v", all)
	}
}

func TestParseWrong(t *testing.T) {
	label := func(more string) string {
		return "labels: {a: {decision: d, name: n, window: 1d" + more + "}}"
	}
	for text, want := range map[string]string{
		"":                                       "labels: has none",
		"labels: {}":                             "labels: has none",
		"labels: [1]":                            "f.yaml",
		label(", x: 1"):                          "unknown field",
		label(", match: {entity:!!!ithin: 1h}"):  "cannot be read as YAML", // the parser panics
		label(", window: 2d"):                    "already defined",
		"labels: {a: {name: n, window: 1d}}":     "labels.a.decision: is required",
		"labels: {a: {decision: d}}":             "labels.a.window: is required",
		"labels: {a: {decision: d, window: 1d}}": "labels.a.name: is required",
		label(", kind: correction"):              "labels.a.kind: is none of outcome, reward",
		label(", kind: x"):                       `labels.a.kind: "x" is none of`,
		label(", type: null_"):                   `labels.a.type: "null_" is none of bool, number`,
		label(", silence: maybe"):                "labels.a.silence",
		label(", negative: false"):               "labels.a.negative: is only for",
		label(", silence: negative, type: number, negative: no_"): "labels.a.negative: is a class",
		label(", silence: negative, negative: [1]"):               "labels.a.negative: is no bool",
		label(", match: {entity: [a]}"):                           "labels.a.match.within: is required",
		label(", match: {entity: [a], within: 2d}"):               "labels.a.match.within: 48h0m0s",
		label(", match: {entity: [a, a], within: 1h}"):            "labels.a.match.entity[1]",
		label(", match: {within: 1h}"):                            "labels.a.match.entity: is required",
		label(", sources: [{name: a}, {name: a}]"):                "labels.a.sources[1].name",
		"labels: {a: {decision: d, name: n, window: 1e300d}}":     "is no duration",
		"labels: {a: {decision: d, name: n, window: NaNd}}":       "is no duration",
		"labels: {a: {decision: d, name: n, window: -1h}}":        "labels.a.window: -1h0m0s",
		"labels: {a: {decision: d, name: n, window: d}}":          "is no duration",
		strings.Repeat(" ", definitionBytesMax+1):                 "bytes, at most",
	} {
		if _, err := Parse("f.yaml", []byte(text)); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.80s: want %q, got %v", text, want, err)
		}
	}
}

// TestParseTellsAll: every mistake of a file, in the order of its lines.
func TestParseTellsAll(t *testing.T) {
	_, err := Parse("f.yaml", []byte(`labels:
  late:
    decision: d
    kind: outcom
    name: n
    window: 7 days
    silence: maybe
  twice:
    decision: d
    window: 1d
    sources:
      - {name: a}
      - {name: a}
`))
	want := `f.yaml:4:5: labels.late.kind: "outcom" is none of outcome, reward, correction, label, user
f.yaml:6:5: labels.late.window: "7 days" is no duration such as 1h, 7d or 2w
f.yaml:7:5: labels.late.silence: "maybe" is neither negative nor unknown
f.yaml:8:3: labels.twice.name: is required: that of the outcome
f.yaml:11:5: labels.twice.sources[1].name: "a" is there twice`
	if err == nil || !errors.Is(err, ErrInvalid) || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("labels: {fraud: {decision: d, name: n, window: 7d, silence: negative, sources: [{name: a, priority: 1}], match: {entity: [k], within: 1h}}}")
	f.Fuzz(func(t *testing.T, text string) {
		all, err := Parse("f.yaml", []byte(text))
		if err != nil && !errors.Is(err, ErrInvalid) {
			t.Fatal(err)
		}
		for _, d := range all {
			if err := d.Validate(); err != nil {
				t.Fatal(err)
			}
		}
	})
}
