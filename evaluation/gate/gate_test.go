// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/evaluation/report"
)

func p(v float64) *float64 { return &v }

func estimate(value, low, high float64) report.Estimate {
	return report.Estimate{Value: p(value), Low: p(low), High: p(high), Level: 0.95}
}

// sample is a report with a metric of which more is better, one of which less is, and one
// that is not defined.
func sample() *report.Report {
	difference, loss := estimate(0.02, -0.01, 0.05), estimate(0.3, 0.1, 0.5)
	return &report.Report{
		Model:     report.Model{Name: "m", Bytes: 1000, Latency: &report.Latency{RowP50Micros: 5, RowP99Micros: 9, RowsPerSecond: 1e6}},
		Against:   &report.Model{Name: "c"},
		Baselines: []report.Model{{Name: "half"}, {Name: "rule"}},
		Data:      report.Data{Rows: 500, Positives: 20},
		Metrics: []report.Metric{
			{Name: "auc", Better: "higher", Value: estimate(0.9, 0.86, 0.93), Difference: &difference, Baselines: []*float64{p(0.5), p(0.7)}},
			{Name: "loss", Better: "lower", Value: estimate(0.4, 0.3, 0.5), Difference: &loss, Baselines: []*float64{p(0.7), p(0.35)}},
			{Name: "odd", Better: "higher", Note: "one class only", Difference: &report.Estimate{}, Baselines: []*float64{nil, nil}},
			{Name: "count", Value: estimate(3, 1, 5), Difference: &difference, Baselines: []*float64{p(1), p(1)}},
		},
		Slices: []report.Slice{
			{Name: "channel=web", Rows: 300, Metrics: []report.Metric{{Name: "auc", Better: "higher", Value: estimate(0.8, 0.7, 0.9), Difference: &difference}}},
			{Name: "channel=pos", Rows: 190, Metrics: []report.Metric{{Name: "auc", Better: "higher", Value: estimate(0.95, 0.9, 0.99), Difference: &loss}}},
			{Name: "channel=atm", Rows: 10, Skipped: "10 rows"},
		},
		Tests: []report.Test{
			{Name: PairedBootstrap, Metric: "auc", Hypothesis: NoDifference, P: p(0.04)},
			{Name: PairedBootstrap, Metric: "auc", Slice: "channel=pos", Hypothesis: NoDifference, P: p(0.001), Adjusted: p(0.2)},
			{Name: PairedBootstrap, Metric: "loss", Hypothesis: NoDifference, P: p(0.001)},
		},
		Leakage: []report.Finding{{Check: "duplicates", Detail: "some rows repeat"}},
	}
}

func TestJudge(t *testing.T) {
	tests := map[string]struct {
		gate   Gate
		holds  bool
		reason string
	}{
		"at least":               {Gate{Metric: "auc", AtLeast: p(0.9)}, true, ""},
		"below":                  {Gate{Metric: "auc", AtLeast: p(0.91)}, false, "auc is 0.9, below 0.91"},
		"at most":                {Gate{Metric: "loss", AtMost: p(0.3)}, false, "above 0.3"},
		"low":                    {Gate{Metric: "auc", LowAtLeast: p(0.87)}, false, "the lower end of the interval of auc is 0.86"},
		"high":                   {Gate{Metric: "loss", HighAtMost: p(0.5)}, true, ""},
		"not defined":            {Gate{Metric: "odd", AtLeast: p(0)}, false, "not defined: one class only"},
		"not measured":           {Gate{Metric: "mae", AtMost: p(1)}, false, "was not measured"},
		"not worse":              {Gate{Metric: "auc", NotWorseThan: p(0.02)}, true, ""},
		"may be worse":           {Gate{Metric: "auc", NotWorseThan: p(0.01)}, false, "may be worse than the champion's by 0.01, the margin is 0.01"},
		"loss is worse":          {Gate{Metric: "loss", NotWorseThan: p(0.4)}, false, "by 0.5"},
		"neither better":         {Gate{Metric: "count", NotWorseThan: p(1)}, false, "neither"},
		"undefined difference":   {Gate{Metric: "odd", NotWorseThan: p(1)}, false, "not defined"},
		"better":                 {Gate{Metric: "auc", Better: true}, true, ""},
		"better at 1 %":          {Gate{Metric: "auc", Better: true, Alpha: 0.01}, false, "by chance: p = 0.04"},
		"not better":             {Gate{Metric: "loss", Better: true}, false, "is not better"},
		"better undefined":       {Gate{Metric: "odd", Better: true}, false, "not defined"},
		"better in a slice":      {Gate{Metric: "auc", Slice: "channel=pos", Better: true}, false, "p = 0.2"},
		"no test":                {Gate{Metric: "auc", Slice: "channel=web", Better: true}, false, "the p-value of auc where channel=web is not defined"},
		"slice":                  {Gate{Metric: "auc", Slice: "channel=web", AtLeast: p(0.8)}, true, ""},
		"no slice":               {Gate{Metric: "auc", Slice: "channel=phone", AtLeast: p(0.8)}, false, "slices are channel=web"},
		"small slice":            {Gate{Metric: "auc", Slice: "channel=atm", AtLeast: p(0.8)}, false, "was not measured: 10 rows"},
		"not in the slice":       {Gate{Metric: "loss", Slice: "channel=web", AtMost: p(9)}, false, "was not measured"},
		"every slice":            {Gate{EverySlice: true, NotWorseThan: p(0.02)}, true, ""},
		"not every slice":        {Gate{EverySlice: true, AtLeast: p(0.9)}, false, "where channel=web"},
		"beats baselines":        {Gate{BeatsBaselines: true}, true, ""},
		"loses to a baseline":    {Gate{Metric: "loss", BeatsBaselines: true}, false, "the baseline rule 0.35"},
		"undefined of baselines": {Gate{Metric: "odd", BeatsBaselines: true}, false, "not defined"},
		"bytes":                  {Gate{Metric: "model_bytes", AtMost: p(999)}, false, "above 999"},
		"latency":                {Gate{Metric: "latency_p99_micros", AtMost: p(9)}, true, ""},
		"speed":                  {Gate{Metric: "rows_per_second", AtLeast: p(2e6)}, false, "below 2000000"},
		"rows":                   {Gate{Metric: "rows", AtLeast: p(500)}, true, ""},
		"positives":              {Gate{Metric: "positives", AtLeast: p(21)}, false, "below 21"},
		"leakage":                {Gate{Leakage: "none"}, false, "some rows repeat"},
		"severe leakage":         {Gate{Leakage: "not_severe"}, true, ""},
	}
	for name, test := range tests {
		if err := test.gate.Validate(nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		r := sample()
		Judge([]Gate{test.gate}, r)
		g := r.Gates[0]
		verdict := map[bool]report.Verdict{true: report.Pass, false: report.Fail}[test.holds]
		if g.Holds != test.holds || r.Verdict != verdict || !strings.Contains(g.Reason, test.reason) || (g.Reason == "") != test.holds || g.Condition == "" || g.Name == "" {
			t.Errorf("%s: %+v, %s", name, g, r.Verdict)
		}
	}
}

// TestWhatIsMissingFails is G1 for reports in which all is missing.
func TestWhatIsMissingFails(t *testing.T) {
	nan := math.NaN()
	empty := &report.Report{}
	undefined := &report.Report{Against: &report.Model{}, Baselines: []report.Model{{Name: "b"}}, Warnings: []string{LeakageUnchecked},
		Metrics: []report.Metric{{Name: "auc", Better: "higher", Value: report.Estimate{Value: &nan, Low: &nan, High: &nan}, Difference: &report.Estimate{Value: &nan, Low: &nan}, Baselines: []*float64{&nan}}}}
	for _, g := range []Gate{
		{Metric: "auc", AtLeast: p(-9)}, {Metric: "auc", AtMost: p(9)}, {Metric: "auc", LowAtLeast: p(-9)}, {Metric: "auc", HighAtMost: p(9)},
		{Metric: "auc", NotWorseThan: p(9)}, {Metric: "auc", Better: true}, {EverySlice: true, AtLeast: p(-9)}, {Metric: "auc", BeatsBaselines: true},
		{Metric: "model_bytes", AtMost: p(9)}, {Metric: "latency_p50_micros", AtMost: p(9)},
	} {
		for _, r := range []*report.Report{empty, undefined} {
			if Judge([]Gate{g}, r); r.Verdict != report.Fail || r.Gates[0].Reason == "" {
				t.Errorf("%+v holds: %+v", g, r.Gates)
			}
		}
	}
	if Judge([]Gate{{Leakage: "none"}}, undefined); undefined.Verdict != report.Fail {
		t.Error("leakage that was not looked for passes")
	}
}

func TestVerdict(t *testing.T) {
	good, bad := Gate{Metric: "auc", AtLeast: p(0)}, Gate{Metric: "auc", AtLeast: p(2)}
	warning := bad
	warning.Warning = true
	for _, test := range []struct {
		gates []Gate
		want  report.Verdict
	}{{nil, report.NoGates}, {[]Gate{good}, report.Pass}, {[]Gate{good, bad}, report.Fail}, {[]Gate{bad, good}, report.Fail}, {[]Gate{good, warning}, report.Pass}, {[]Gate{warning}, report.Pass}} {
		r := sample()
		if Judge(test.gates, r); r.Verdict != test.want {
			t.Errorf("%d gates give %s, want %s", len(test.gates), r.Verdict, test.want)
		}
	}
	first := &report.Report{Metrics: sample().Metrics}
	if Judge([]Gate{{Metric: "auc", Better: true, IfChampion: true}}, first); first.Verdict != report.Pass {
		t.Errorf("without a champion: %+v", first.Gates)
	}
}

func TestValidate(t *testing.T) {
	for want, g := range map[string]Gate{
		"no condition":           {Metric: "auc"},
		"several conditions":     {Metric: "auc", AtLeast: p(1), Better: true},
		"metric is missing":      {AtLeast: p(1)},
		"did you mean auc":       {Metric: "auk", AtLeast: p(1)},
		"takes champion":         {Metric: "auc", Better: true, Against: "best"},
		"against goes with":      {Metric: "auc", AtLeast: p(1), Against: "champion"},
		"if_champion goes with":  {Metric: "auc", AtLeast: p(1), IfChampion: true},
		"margin from 0":          {Metric: "auc", NotWorseThan: p(-1)},
		"alpha":                  {Metric: "auc", Better: true, Alpha: 1},
		"none or not_severe":     {Leakage: "some"},
		"no metric and no slice": {Leakage: "none", Metric: "auc"},
		"at_least or at_most":    {Metric: "model_bytes", Better: true},
		"not both":               {Metric: "auc", AtLeast: p(1), Slice: "a", EverySlice: true},
		"for all rows":           {BeatsBaselines: true, Slice: "a"},
	} {
		if err := g.Validate([]string{"auc"}); !errors.Is(err, ErrGate) || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v gives %v, want %q", g, err, want)
		}
	}
}
