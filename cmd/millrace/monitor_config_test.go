// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/evaluation/monitor"
	"github.com/millrace-ml/millrace/labeling/groundtruth"
)

// monitorsFrom reads a file of monitors in the example project.
func monitorsFrom(t *testing.T, text string) ([]*monitorSpec, error) {
	t.Helper()
	p, err := loadProject(exampleFolder)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "monitors.yaml")
	writeText(t, path, text)
	p.Monitors = []string{path}
	return loadMonitors(p)
}

// TestMonitorsDocument: what the reference shows is a monitor of the example.
func TestMonitorsDocument(t *testing.T) {
	text, err := os.ReadFile(moduleRoot + "/docs/reference/monitors.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "```yaml\n")
	block, _, _ := strings.Cut(rest, "```")
	all, err := monitorsFrom(t, block)
	if err != nil || len(all) != 1 {
		t.Fatalf("%v, %v", all, err)
	}
	m := all[0]
	c := m.Config
	if m.Name != "fraud" || !m.Reference.Version || m.Reference.Log.Days != monitor.DaysDefault || time.Duration(m.QuietMax) != 2*time.Hour ||
		time.Duration(c.LabelDelay) != 7*24*time.Hour || !c.SilenceIsNegative || len(c.Columns) != 2 || c.Columns[1].Importance != 2 || c.Columns[1].Test != "psi" ||
		len(m.slices) != 2 || m.slices[0].feature < 0 || m.slices[1].feature >= 0 || m.model().Name != "fraud" || c.Threshold != 0.3 {
		t.Errorf("%+v", m.Spec)
	}
}

func TestMonitorFileMistakes(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"words", `
monitors:
  fraud:
    decision: card_paymnet
  "bad name":
    windows: [1d, 25h]
    level: 2
    reference: log
    alarms: {webhook: ftp://x}
    colums: [amount]
`, []string{"monitors.yaml:10:5: monitors.bad name.colums: unknown key", "monitors.bad name: the name has other characters", "decision is missing",
			`monitors.bad name.reference: is "`, "alarms.webhook: needs an address"}},
		{"decision", "monitors: {a: {decision: card_paymnet}}\n", []string{`monitors.a.decision: there is no decision "card_paymnet"; did you mean card_payment?`}},
		{"parts", `
monitors:
  a: {decision: card_payment, label: frod, columns: [amout], slices: [contry], windows: [1d, 36h], level: 0.7, quiet_max: soon}
`, []string{`quiet_max: `, `"soon" is no duration`}},
		{"meaning", `
monitors:
  a: {decision: card_payment, label: frod, columns: [amout], slices: [contry], windows: [1d, 36h], level: 0.7}
`, []string{`a.label: there is no label "frod"; known: fraud`, `a.columns[0]: fraud has no feature "amout"; did you mean amount?`, `a.slices[0]: "contry" is no feature`,
			"a.windows[1]: 36h has to be longer", "a.level: 0.7 has to be between"}},
		{"reference", "monitors: {a: {decision: card_payment, reference: {file: x.parquet, log: {days: 2}}}}\n", []string{"either of a file or of the log"}},
		{"days", "monitors: {a: {decision: card_payment, reference: {log: {days: -2}}, positive: fraud}}\n", []string{"reference.log.days: needs 1 to", "a.positive: there is no label"}},
		{"two", "monitors: {a: {decision: card_payment, quiet_max: -1h}, b: {decision: nothing}}\n", []string{"a.quiet_max: it cannot be negative", `b.decision: there is no decision "nothing"`}},
		{"kind", "monitors: {a: {decision: card_payment, label: fraud, kind: regression, threshold: 0.5}}\n", []string{"a.kind: the label fraud is a bool", "a.threshold: it is of labels that are 0 or 1"}},
		{"no kind", "monitors: {a: {decision: card_payment, kind: ranking}}\n", []string{`a.kind: "ranking" is neither binary nor regression`}},
		{"nothing", "x-notes: none\n", []string{"monitors is missing"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := monitorsFrom(t, c.text)
			if err == nil {
				t.Fatal("it is taken")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("no %q in\n%v", want, err)
				}
			}
		})
	}
}

// TestPositive: labels are true or false, or the monitor says what stands for true. Others are
// refused with a word of what to do, in place of a monitor that never knows a label.
func TestPositive(t *testing.T) {
	for _, c := range []struct {
		of       groundtruth.ValueType
		positive string
		want     string
	}{
		{groundtruth.TypeBool, "", ""}, {groundtruth.TypeBool, "true", ""}, {groundtruth.TypeBool, "false", "leave positive out"},
		{groundtruth.TypeNumber, "", "for amounts leave kind out"}, {groundtruth.TypeNumber, "high", "is no number"}, {groundtruth.TypeNumber, "1", ""},
		{groundtruth.TypeClass, "", "the class that stands for 1"}, {groundtruth.TypeClass, "fraud", ""}, {groundtruth.TypeText, "", "the class that stands for 1"},
	} {
		m := &monitorSpec{Spec: &monitor.Spec{Label: "l", Positive: c.positive}, label: &groundtruth.Definition{Type: c.of}}
		said := ""
		m.checkPositive(func(path, format string, args ...any) { said = path + ": " + fmt.Sprintf(format, args...) })
		if c.want == "" && said != "" || c.want != "" && (!strings.HasPrefix(said, "positive: ") || !strings.Contains(said, c.want)) {
			t.Errorf("%s %q: %q, want %q", c.of, c.positive, said, c.want)
		}
	}
}

// TestKindOfLabel: amounts are told by the label's type, and what does not go with them is said.
func TestKindOfLabel(t *testing.T) {
	silent := func(v groundtruth.Value) *groundtruth.Definition {
		return &groundtruth.Definition{Type: v.Type, Silence: groundtruth.SilenceNegative, Negative: v}
	}
	of := func(v groundtruth.ValueType) *groundtruth.Definition { return &groundtruth.Definition{Type: v} }
	for _, c := range []struct {
		label    *groundtruth.Definition
		kind     monitor.Kind
		positive string
		want     monitor.Kind
		said     string
	}{
		{of(groundtruth.TypeNumber), "", "", monitor.Regression, ""},
		{of(groundtruth.TypeNumber), monitor.Regression, "", monitor.Regression, ""},
		{of(groundtruth.TypeNumber), "", "1", "", ""},
		{of(groundtruth.TypeNumber), monitor.Binary, "", monitor.Binary, "positive: positive is missing"},
		{of(groundtruth.TypeNumber), monitor.Regression, "1", monitor.Regression, "positive: a regression has no value"},
		{of(groundtruth.TypeNull), monitor.Regression, "", monitor.Regression, ""},
		{of(groundtruth.TypeBool), "", "", "", ""},
		{of(groundtruth.TypeBool), monitor.Regression, "", monitor.Regression, "kind: the label l is a bool"},
		{of(groundtruth.TypeClass), monitor.Regression, "", monitor.Regression, "kind: the label l is a class"},
		{silent(groundtruth.Number(0)), "", "", monitor.Regression, ""},
		{silent(groundtruth.Number(5)), "", "", monitor.Regression, "label: silence stands for 5"},
	} {
		m := &monitorSpec{Spec: &monitor.Spec{Label: "l", Positive: c.positive, Config: monitor.Config{Kind: c.kind}}, label: c.label}
		said := ""
		m.completeKind(func(path, format string, args ...any) { said = path + ": " + fmt.Sprintf(format, args...) })
		if m.Config.Kind != c.want || c.said == "" && said != "" || !strings.HasPrefix(said, c.said) {
			t.Errorf("%s, kind %q, positive %q: %q and %q, want %q and %q", c.label.Type, c.kind, c.positive, m.Config.Kind, said, c.want, c.said)
		}
	}
	m := &monitorSpec{Spec: &monitor.Spec{Config: monitor.Config{Kind: monitor.Regression}}}
	if v, ok := m.outcome(groundtruth.Number(-2.5)); v != -2.5 || !ok {
		t.Errorf("an amount is %v, %v", v, ok)
	}
	if _, ok := m.outcome(groundtruth.Bool(true)); ok {
		t.Error("true is taken for an amount")
	}
}
