// SPDX-License-Identifier: Apache-2.0

// Package gate decides whether what an evaluation found is good enough. A Gate is a
// condition, written in YAML; Judge holds a report against gates and says in words what
// holds and what does not.
//
//	G1  A gate over something that is missing or not defined does not hold.
//	G2  A gate looks at the report alone, so that it can be judged again later.
//	G3  A gate with Warning set is reported and does not fail the model.
//
// Comparisons are one-sided: where the lower end of a 95 % interval of the difference is
// above -margin, the chance of calling a model not worse that is worse by the margin is at
// most 2.5 % (non-inferiority; Schuirmann 1987, for one side).
//
// All functions are pure.
package gate

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/millrace-ml/millrace/featurestore/expression"
)

// ErrGate means that a gate is not sound: its text has to change.
var ErrGate = errors.New("invalid gate")

// Gate is a condition. One of the conditions is set: AtLeast, AtMost, LowAtLeast,
// HighAtMost, NotWorseThan, Better, BeatsBaselines, Leakage.
type Gate struct {
	// Name is for reports; empty is the metric and the kind of condition.
	Name string `yaml:"name"`
	// Metric is one of the evaluation's, or one of Measures.
	Metric string `yaml:"metric"`
	// Slice is the name of a slice; empty is all rows. EverySlice is every one with metrics.
	Slice      string `yaml:"slice"`
	EverySlice bool   `yaml:"every_slice"`
	// AtLeast and AtMost bound the value itself.
	AtLeast *float64 `yaml:"at_least"`
	AtMost  *float64 `yaml:"at_most"`
	// LowAtLeast bounds the lower end of the value's interval, HighAtMost the upper one.
	LowAtLeast *float64 `yaml:"low_at_least"`
	HighAtMost *float64 `yaml:"high_at_most"`
	// Against is champion, which is all there is to compare with; it may be left out.
	Against string `yaml:"against"`
	// NotWorseThan is the margin, from 0, by which the worse end of the difference's interval
	// may be worse than the champion.
	NotWorseThan *float64 `yaml:"not_worse_than"`
	// Better: the metric is better than the champion's, with a p-value under Alpha, 0 for 0.05.
	Better bool    `yaml:"better"`
	Alpha  float64 `yaml:"alpha"`
	// IfChampion: the gate holds if there is no champion yet.
	IfChampion bool `yaml:"if_champion"`
	// BeatsBaselines: the metric is better than that of every baseline.
	BeatsBaselines bool `yaml:"beats_baselines"`
	// Leakage is none (no finding at all) or not_severe.
	Leakage string `yaml:"leakage"`
	Warning bool   `yaml:"warning"`
}

// Measures are what a gate can bound besides metrics.
var Measures = []string{"latency_p50_micros", "latency_p99_micros", "rows_per_second", "model_bytes", "rows", "positives"}

// alphaDefault is the level of Better.
const alphaDefault = 0.05

// Compares reports whether the gate needs a champion.
func (g *Gate) Compares() bool { return g.NotWorseThan != nil || g.Better }

// kinds names the conditions that are set.
func (g *Gate) kinds() []string {
	var set []string
	for _, c := range []struct {
		name string
		set  bool
	}{
		{"at_least", g.AtLeast != nil}, {"at_most", g.AtMost != nil}, {"low_at_least", g.LowAtLeast != nil},
		{"high_at_most", g.HighAtMost != nil}, {"not_worse_than", g.NotWorseThan != nil}, {"better", g.Better},
		{"beats_baselines", g.BeatsBaselines}, {"leakage", g.Leakage != ""},
	} {
		if c.set {
			set = append(set, c.name)
		}
	}
	return set
}

// Validate reports everything that is wrong with a gate, for an evaluation of these
// metrics. Errors wrap ErrGate. Where there are no names, that of the metric is not checked.
func (g *Gate) Validate(metrics []string) error {
	var wrong []error
	bad := func(format string, args ...any) {
		wrong = append(wrong, fmt.Errorf("%w: "+format, append([]any{ErrGate}, args...)...))
	}
	kinds := g.kinds()
	switch {
	case len(kinds) == 0:
		bad("it has no condition: give one of at_least, at_most, low_at_least, high_at_most, not_worse_than, better, beats_baselines, leakage")
	case len(kinds) > 1:
		bad("%s are several conditions: write a gate for each", strings.Join(kinds, " and "))
	}
	if g.Against != "" && g.Against != "champion" {
		bad("against is %q, it takes champion", g.Against)
	}
	if g.Against != "" && !g.Compares() {
		bad("against goes with not_worse_than or better")
	}
	if g.IfChampion && !g.Compares() {
		bad("if_champion goes with not_worse_than or better")
	}
	if g.NotWorseThan != nil && *g.NotWorseThan < 0 {
		bad("not_worse_than is %v, it takes a margin from 0", *g.NotWorseThan)
	}
	if g.Alpha < 0 || g.Alpha >= 1 || g.Alpha > 0 && !g.Better {
		bad("alpha is %v, it takes a number above 0 and below 1, with better", g.Alpha)
	}
	if g.Leakage != "" && g.Leakage != "none" && g.Leakage != "not_severe" {
		bad("leakage is %q, it takes none or not_severe", g.Leakage)
	}
	g.validateMetric(metrics, bad)
	return errors.Join(wrong...)
}

func (g *Gate) validateMetric(metrics []string, bad func(string, ...any)) {
	measure := slices.Contains(Measures, g.Metric)
	switch {
	case g.Leakage != "":
		if g.Metric != "" || g.Slice != "" || g.EverySlice {
			bad("leakage takes no metric and no slice")
		}
	case g.Metric == "":
		if !g.BeatsBaselines && !g.EverySlice { // they have the first metric as default
			bad("metric is missing")
		}
	case measure:
		if g.AtLeast == nil && g.AtMost == nil || g.Slice != "" || g.EverySlice {
			bad("%s takes at_least or at_most, and no slice", g.Metric)
		}
	case metrics != nil && !slices.Contains(metrics, g.Metric):
		known := slices.Concat(metrics, Measures)
		if c := expression.Closest(g.Metric, known); c != "" {
			bad("metric %q is none of this evaluation; did you mean %s?", g.Metric, c)
		} else {
			bad("metric %q is none of this evaluation, which has %s", g.Metric, strings.Join(known, ", "))
		}
	}
	if g.Slice != "" && g.EverySlice {
		bad("give slice or every_slice, not both")
	}
	if g.BeatsBaselines && (g.Slice != "" || g.EverySlice) {
		bad("beats_baselines is for all rows")
	}
}
