// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/featurestore/definition"
)

var update = flag.Bool("update", false, "record what the tests see in testdata")

var nan = math.NaN()

// TestMistakes holds the messages of testdata/mistakes.txt to what Parse says: each case is
// a file and all that is wrong with it.
func TestMistakes(t *testing.T) {
	const file = "testdata/mistakes.txt"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	c := catalog(t)
	var seen strings.Builder
	for _, section := range strings.Split("\n"+string(text), "\n== ")[1:] {
		name, rest, _ := strings.Cut(section, "\n")
		input, want, found := strings.Cut(rest, "-- errors\n")
		if !found {
			t.Fatalf("%s: case %q has no errors", file, name)
		}
		policies, err := Parse(c, "d.yaml", []byte(input))
		if err == nil {
			t.Errorf("%s: accepted, %d policies", name, len(policies))
			continue
		}
		var mistakes definition.Errors
		if !errors.As(err, &mistakes) || policies != nil {
			t.Errorf("%s: %T and %d policies", name, err, len(policies))
		}
		got := err.Error()
		if want = strings.TrimSpace(want); got != want && !*update {
			t.Errorf("%s:\ngot\n%s\nwant\n%s", name, got, want)
		}
		fmt.Fprintf(&seen, "== %s\n%s-- errors\n%s\n\n", name, input, got)
	}
	if *update {
		if err := os.WriteFile(file, []byte(strings.TrimSuffix(seen.String(), "\n")), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestMistakesAreBounded: a file full of mistakes gives the first 50.
func TestMistakesAreBounded(t *testing.T) {
	var text strings.Builder
	text.WriteString("decisions:\n")
	for i := range 200 {
		fmt.Fprintf(&text, "  d%d: {servise: fraud}\n", i)
	}
	_, err := Parse(catalog(t), "d.yaml", []byte(text.String()))
	var mistakes definition.Errors
	if !errors.As(err, &mistakes) || len(mistakes) != errorsMax+1 {
		t.Fatalf("%d mistakes: %v", len(mistakes), err)
	}
	if last := mistakes[errorsMax]; last.Message != "there may be more mistakes, which are not shown" {
		t.Errorf("the last is %v", last)
	}
}

// TestFilesAreBounded: files that would cost a parser much are refused before it runs.
func TestFilesAreBounded(t *testing.T) {
	many := func(line string, n int) string { return "decisions:\n" + strings.Repeat(line, n) }
	for name, one := range map[string]struct{ text, want string }{
		"bytes":   {many("# comment\n", 60_000), "d.yaml: the file has 600011 bytes, at most 524288 are allowed"},
		"lists":   {strings.Repeat("[", 100_000), "d.yaml:1:33: values are nested more than 32 deep"},
		"maps":    {strings.Repeat("{a: ", 100_000), "d.yaml:1:129: values are nested more than 32 deep"},
		"dashes":  {strings.Repeat("- ", 100_000), "d.yaml:1:65: values are nested more than 32 deep"},
		"tags":    {strings.Repeat("!!a ", 100_000), ""},
		"keys":    {many("  a: b\n", 20_000), "d.yaml:10001:4: the file has more than 10000 keys: split it"},
		"indents": {"a:\n" + strings.Repeat(" ", 101) + "b: c\n", "d.yaml:2:102: the line is indented by more than 100 characters"},
		"circle":  {"decisions: &a {x: *a}\n", ""},
		"aliases": {"x-a: &a [1, 1]\nx-b: &b [*a, *a]\ndecisions: {d: {service: fraud, decisions: *b, thresholds: *a}}\n", ""},
		"latin":   {"decisions: {d: {description: gr\xf6\xdfer}}\n", "d.yaml: the file is not UTF-8"},
		"control": {"decisions: \x00\x01\n", ""},
	} {
		_, err := Parse(catalog(t), "d.yaml", []byte(one.text))
		if err == nil || one.want != "" && err.Error() != one.want {
			t.Errorf("%s: %.300v", name, err)
		}
	}
}

// TestSeveralFiles: files make one list, and names are unique over all.
func TestSeveralFiles(t *testing.T) {
	folder := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const decision = "{service: fraud, decisions: [ok], thresholds: {default: [{decision: ok}]}}\n"
	a := write("a.yaml", "decisions:\n  b: "+decision+"  a: "+decision)
	b := write("b.yaml", "decisions:\n  c: "+decision)
	again := write("again.yaml", "decisions:\n  c: "+decision)
	missing := filepath.Join(folder, "missing.yaml")

	policies, err := Load(catalog(t), a, b)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range policies {
		names = append(names, fmt.Sprintf("%s %s:%d", p.Name, filepath.Base(p.File), p.Line))
	}
	if got := strings.Join(names, ", "); got != "b a.yaml:2, a a.yaml:3, c b.yaml:2" {
		t.Errorf("policies are %s", got)
	}
	if policies, err := Load(catalog(t)); err != nil || len(policies) != 0 {
		t.Errorf("no file: %v, %v", policies, err)
	}
	_, err = Load(catalog(t), b, missing, again)
	want := missing + ": no such file or directory\n" + again + ":2:3: decisions.c: given twice, first in " + b + ":2"
	if err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
	if _, err := Load(nil, a); err == nil || !strings.Contains(err.Error(), "unknown service fraud") {
		t.Errorf("without definitions: %v", err)
	}
}

// TestAnchors: what is written once may be used again.
func TestAnchors(t *testing.T) {
	p := parseOne(t, `
x-strict: &strict [{from: 0.2, decision: block}, {decision: approve}]
decisions:
  pay:
    service: fraud
    decisions: [approve, block]
    segments: [{name: large, when: &large amount > 500}]
    thresholds: {default: [{decision: approve}], large: *strict}
    after: [{when: *large, decision: block}]
`)
	q := parseOne(t, `
decisions:
  pay:
    service: fraud
    decisions: [approve, block]
    segments: [{name: large, when: amount > 500}]
    thresholds:
      default: [{decision: approve}]
      large:
        - {from: 0.2, decision: block}
        - {decision: approve}
    after: [{when: amount > 500, decision: block}]
`)
	if changes := Compare(p, q); len(changes) > 0 || p.Version() != q.Version() {
		t.Errorf("%s and %s differ: %v", p.Version(), q.Version(), changes)
	}
}

func FuzzParse(f *testing.F) {
	text, err := os.ReadFile("testdata/decisions.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	mistakes, err := os.ReadFile("testdata/mistakes.txt")
	if err != nil {
		f.Fatal(err)
	}
	for _, section := range strings.Split(string(mistakes), "\n== ") {
		_, section, _ = strings.Cut(section, "\n")
		input, _, _ := strings.Cut(section, "-- errors\n")
		f.Add([]byte(input))
	}
	c := catalog(f)
	f.Fuzz(func(t *testing.T, text []byte) {
		policies, err := Parse(c, "d.yaml", text)
		if err != nil {
			if len(policies) > 0 {
				t.Fatalf("%d policies and %v", len(policies), err)
			}
			return
		}
		again, err := Parse(c, "d.yaml", text)
		if err != nil {
			t.Fatal(err)
		}
		for i, p := range policies {
			if p.Version() != again[i].Version() {
				t.Fatalf("versions %s and %s of one text", p.Version(), again[i].Version())
			}
			checkDecides(t, p)
		}
	})
}

// checkDecides holds a policy to P1: whatever the score, there is an answer that the
// policy may give, and so has its fallback.
func checkDecides(t *testing.T, p *Policy) {
	t.Helper()
	f, o := p.NewFacts(), Outcome{}
	check := func() {
		if o.Place >= len(p.Decisions) || p.Decisions[o.Place] != o.Decision || len(o.Reasons) > p.ExplainMax {
			t.Fatalf("decision %q, place %d of %q, %d reasons", o.Decision, o.Place, p.Decisions, len(o.Reasons))
		}
	}
	if p.Before(f, &o) {
		check()
	}
	for arm := range p.Arms {
		for _, score := range []float64{-math.MaxFloat64, -1, 0, 0.5, 1, math.MaxFloat64} {
			if !p.Decide(f, arm, score, &o) {
				t.Fatalf("no decision for a score of %v", score)
			}
			check()
		}
		for _, score := range []float64{nan, math.Inf(1), math.Inf(-1)} {
			if p.Decide(f, arm, score, &o) {
				t.Fatalf("a decision for a score of %v", score)
			}
		}
	}
	for i := range p.Ladder {
		if answered := p.Fallback(i, f, &o); answered {
			check()
		} else if i == len(p.Ladder)-1 {
			t.Fatal("the fallback has no answer")
		}
	}
}
