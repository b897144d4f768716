// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/millrace-ml/millrace/evaluation/report"
)

// Judge fills in the Gates and the Verdict of a report. The gates were validated.
func Judge(gates []Gate, r *report.Report) {
	r.Gates, r.Verdict = nil, report.NoGates
	for i := range gates {
		j := judge{Gate: &gates[i], r: r}
		r.Gates = append(r.Gates, j.gate())
	}
	for _, g := range r.Gates {
		switch {
		case !g.Holds && !g.Warning:
			r.Verdict = report.Fail
		case r.Verdict == report.NoGates:
			r.Verdict = report.Pass
		}
	}
}

// judge holds one gate against a report.
type judge struct {
	*Gate
	r *report.Report
}

// outcome is what was found: reason is empty if the gate holds.
type outcome struct{ observed, reason string }

func (j *judge) gate() report.Gate {
	if j.Metric == "" && j.Leakage == "" && len(j.r.Metrics) > 0 {
		g := *j.Gate
		g.Metric = j.r.Metrics[0].Name
		j.Gate = &g
	}
	g := report.Gate{Name: j.Name, Condition: j.condition(), Warning: j.Warning}
	if g.Name == "" {
		g.Name = j.label()
	}
	o := j.outcome()
	g.Observed, g.Reason, g.Holds = o.observed, o.reason, o.reason == ""
	return g
}

func (j *judge) outcome() outcome {
	switch {
	case j.Leakage != "":
		return j.leakage()
	case slices.Contains(Measures, j.Metric):
		return j.measure()
	case j.Compares() && j.r.Against == nil:
		if j.IfChampion {
			return outcome{observed: "no champion yet"}
		}
		return outcome{"no champion", "there is no champion to compare with: give one, or if_champion: true"}
	case j.EverySlice:
		return j.everySlice()
	case j.Slice != "":
		return j.oneSlice()
	case j.BeatsBaselines:
		return j.baselines()
	}
	return j.metricOf(j.r.Metrics, "")
}

// label is a short name: what is looked at, and the condition's key.
func (j *judge) label() string {
	switch {
	case j.Leakage != "":
		return "leakage " + j.Leakage
	case j.EverySlice:
		return j.Metric + " " + j.kinds()[0] + " in every slice"
	case j.Slice != "":
		return j.Metric + " " + j.kinds()[0] + " where " + j.Slice
	}
	return j.Metric + " " + j.kinds()[0]
}

// condition is the gate in words.
func (j *judge) condition() string {
	level := 95.
	if m := find(j.r.Metrics, j.Metric); m != nil && m.Value.Level > 0 {
		level = m.Value.Level * 100
	}
	where := ""
	switch {
	case j.EverySlice:
		where = " in every slice"
	case j.Slice != "":
		where = " where " + j.Slice
	}
	subject := j.Metric + where
	switch {
	case j.AtLeast != nil:
		return fmt.Sprintf("%s is at least %s", subject, number(*j.AtLeast))
	case j.AtMost != nil:
		return fmt.Sprintf("%s is at most %s", subject, number(*j.AtMost))
	case j.LowAtLeast != nil:
		return fmt.Sprintf("%s is at least %s (lower end of the %s %% interval)", subject, number(*j.LowAtLeast), number(level))
	case j.HighAtMost != nil:
		return fmt.Sprintf("%s is at most %s (upper end of the %s %% interval)", subject, number(*j.HighAtMost), number(level))
	case j.NotWorseThan != nil:
		return fmt.Sprintf("%s is not worse than the champion's by %s or more (%s %% interval)", subject, number(*j.NotWorseThan), number(level))
	case j.Better:
		return fmt.Sprintf("%s is better than the champion's (p < %s)", subject, number(j.alpha()))
	case j.BeatsBaselines:
		return subject + " is better than that of every baseline"
	case j.Leakage == "none":
		return "nothing looks like leakage"
	}
	return "no severe leakage"
}

func (g *Gate) alpha() float64 {
	if g.Alpha > 0 {
		return g.Alpha
	}
	return alphaDefault
}

func (j *judge) metricOf(metrics []report.Metric, slice string) outcome {
	m := find(metrics, j.Metric)
	if m == nil {
		return outcome{"not measured", j.Metric + " was not measured"}
	}
	where := ""
	if slice != "" {
		where = " where " + slice
	}
	switch {
	case j.NotWorseThan != nil:
		return j.notWorse(m, where)
	case j.Better:
		return j.better(m, slice, where)
	case j.LowAtLeast != nil:
		return atLeast("the lower end of the interval of "+m.Name+where, describe(m.Value), m.Value.Low, *j.LowAtLeast, m.Note)
	case j.HighAtMost != nil:
		return atMost("the upper end of the interval of "+m.Name+where, describe(m.Value), m.Value.High, *j.HighAtMost, m.Note)
	case j.AtLeast != nil:
		return atLeast(m.Name+where, describe(m.Value), m.Value.Value, *j.AtLeast, m.Note)
	}
	return atMost(m.Name+where, describe(m.Value), m.Value.Value, *j.AtMost, m.Note)
}

func atLeast(subject, observed string, v *float64, bound float64, note string) outcome {
	if undefined(v) {
		return outcome{observed, absent(subject, note)}
	}
	if *v >= bound {
		return outcome{observed: observed}
	}
	return outcome{observed, fmt.Sprintf("%s is %s, below %s", subject, number(*v), number(bound))}
}

func atMost(subject, observed string, v *float64, bound float64, note string) outcome {
	if undefined(v) {
		return outcome{observed, absent(subject, note)}
	}
	if *v <= bound {
		return outcome{observed: observed}
	}
	return outcome{observed, fmt.Sprintf("%s is %s, above %s", subject, number(*v), number(bound))}
}

func absent(subject, note string) string {
	if note != "" {
		note = ": " + note
	}
	return fmt.Sprintf("%s is not defined%s", subject, note)
}

// sign is 1 where more of a metric is better, -1 where less is, 0 where neither.
func sign(m *report.Metric) float64 {
	switch m.Better {
	case "higher":
		return 1
	case "lower":
		return -1
	}
	return 0
}

// notWorse looks at the worse end of the difference's interval.
func (j *judge) notWorse(m *report.Metric, where string) outcome {
	subject, s := m.Name+where, sign(m)
	if s == 0 {
		return outcome{"", subject + ": neither more nor less of it is better"}
	}
	if m.Difference == nil {
		return outcome{"not compared", subject + " was not compared with the champion"}
	}
	observed := "difference " + describe(*m.Difference)
	worst := m.Difference.Low
	if s < 0 {
		worst = m.Difference.High
	}
	if undefined(worst) {
		return outcome{observed, absent("the interval of the difference of "+subject, m.Note)}
	}
	if worse := -s * *worst; worse >= *j.NotWorseThan {
		return outcome{observed, fmt.Sprintf("%s may be worse than the champion's by %s, the margin is %s", subject, number(worse), number(*j.NotWorseThan))}
	}
	return outcome{observed: observed}
}

// better looks at the direction of the difference and at the p-value of the paired test,
// with Holm's correction where there is one.
func (j *judge) better(m *report.Metric, slice, where string) outcome {
	subject, s := m.Name+where, sign(m)
	if s == 0 {
		return outcome{"", subject + ": neither more nor less of it is better"}
	}
	if m.Difference == nil || undefined(m.Difference.Value) {
		return outcome{"not compared", absent("the difference of "+subject, m.Note)}
	}
	observed := "difference " + describe(*m.Difference)
	p := j.p(m.Name, slice)
	if p == nil || undefined(p) {
		return outcome{observed, absent("the p-value of "+subject, m.Note)}
	}
	observed += ", p = " + number(*p)
	switch {
	case s**m.Difference.Value <= 0:
		return outcome{observed, subject + " is not better than the champion's"}
	case *p >= j.alpha():
		return outcome{observed, fmt.Sprintf("%s may be better by chance: p = %s, it has to be under %s", subject, number(*p), number(j.alpha()))}
	}
	return outcome{observed: observed}
}

func (j *judge) p(metric, slice string) *float64 {
	for _, t := range j.r.Tests {
		if t.Name == PairedBootstrap && t.Metric == metric && t.Slice == slice && t.Hypothesis == NoDifference {
			if t.Adjusted != nil {
				return t.Adjusted
			}
			return t.P
		}
	}
	return nil
}

// What the test that Better looks at is called in a report.
const (
	PairedBootstrap = "paired_bootstrap"
	NoDifference    = "no difference"
)

func (j *judge) oneSlice() outcome {
	i := slices.IndexFunc(j.r.Slices, func(s report.Slice) bool { return s.Name == j.Slice })
	if i < 0 {
		return outcome{"no such slice", fmt.Sprintf("there is no slice %s; slices are %s", j.Slice, sliceNames(j.r.Slices))}
	}
	if s := &j.r.Slices[i]; s.Skipped != "" {
		return outcome{fmt.Sprintf("%d rows", s.Rows), fmt.Sprintf("the slice %s was not measured: %s", s.Name, s.Skipped)}
	}
	return j.metricOf(j.r.Slices[i].Metrics, j.Slice)
}

func sliceNames(all []report.Slice) string {
	const most = 12
	var names []string
	for i := range all {
		if i == most {
			names = append(names, fmt.Sprintf("%d more", len(all)-most))
			break
		}
		names = append(names, all[i].Name)
	}
	if names == nil {
		return "none"
	}
	return strings.Join(names, ", ")
}

// everySlice holds if the condition holds for each slice that has metrics. Those that are
// too small were left out on purpose, and are counted.
func (j *judge) everySlice() outcome {
	const shown = 5
	var failed []string
	measured := 0
	for i := range j.r.Slices {
		s := &j.r.Slices[i]
		if s.Skipped != "" {
			continue
		}
		measured++
		if o := j.metricOf(s.Metrics, s.Name); o.reason != "" {
			failed = append(failed, o.reason)
		}
	}
	observed := fmt.Sprintf("%d of %d slices hold", measured-len(failed), measured)
	if left := len(j.r.Slices) - measured; left > 0 {
		observed += fmt.Sprintf(", %d not measured", left)
	}
	switch {
	case measured == 0:
		return outcome{observed, "no slice was measured"}
	case len(failed) > shown:
		failed = append(failed[:shown], fmt.Sprintf("%d more slices", len(failed)-shown))
	}
	return outcome{observed, strings.Join(failed, "; ")}
}

func (j *judge) baselines() outcome {
	m := find(j.r.Metrics, j.Metric)
	switch {
	case m == nil:
		return outcome{"not measured", j.Metric + " was not measured"}
	case len(j.r.Baselines) == 0 || len(m.Baselines) != len(j.r.Baselines):
		return outcome{describe(m.Value), "there is no baseline to beat"}
	case undefined(m.Value.Value):
		return outcome{describe(m.Value), absent(m.Name, m.Note)}
	case sign(m) == 0:
		return outcome{"", m.Name + ": neither more nor less of it is better"}
	}
	var observed, failed []string
	for i, b := range m.Baselines {
		name := j.r.Baselines[i].Name
		if undefined(b) {
			failed = append(failed, fmt.Sprintf("%s of the baseline %s is not defined", m.Name, name))
			continue
		}
		observed = append(observed, name+" "+number(*b))
		if sign(m)*(*m.Value.Value-*b) <= 0 {
			failed = append(failed, fmt.Sprintf("%s is %s, that of the baseline %s %s", m.Name, number(*m.Value.Value), name, number(*b)))
		}
	}
	return outcome{describe(m.Value) + " against " + strings.Join(observed, ", "), strings.Join(failed, "; ")}
}

func (j *judge) leakage() outcome {
	var found []string
	severe := 0
	for _, f := range j.r.Leakage {
		if f.Severe {
			severe++
		}
		if f.Severe || j.Leakage == "none" {
			found = append(found, f.Detail)
		}
	}
	observed := fmt.Sprintf("%d findings, %d of them severe", len(j.r.Leakage), severe)
	if len(found) > 0 {
		return outcome{observed, strings.Join(found, "; ")}
	}
	if j.r.Warnings != nil && slices.Contains(j.r.Warnings, LeakageUnchecked) {
		return outcome{observed, LeakageUnchecked}
	}
	return outcome{observed: observed}
}

// LeakageUnchecked is the warning of a report whose leakage checks did not see the
// training rows.
const LeakageUnchecked = "leakage: training rows were not given, so that times, duplicates and entities were not compared with them"

func (j *judge) measure() outcome {
	v := j.measured()
	if v == nil {
		return outcome{"not measured", j.Metric + " was not measured"}
	}
	if j.AtLeast != nil {
		return atLeast(j.Metric, number(*v), v, *j.AtLeast, "")
	}
	return atMost(j.Metric, number(*v), v, *j.AtMost, "")
}

func (j *judge) measured() *float64 {
	m := &j.r.Model
	switch j.Metric {
	case "rows":
		return of(float64(j.r.Data.Rows))
	case "positives":
		return of(float64(j.r.Data.Positives))
	case "model_bytes":
		if m.Bytes > 0 {
			return of(float64(m.Bytes))
		}
	case "latency_p50_micros":
		if m.Latency != nil {
			return &m.Latency.RowP50Micros
		}
	case "latency_p99_micros":
		if m.Latency != nil {
			return &m.Latency.RowP99Micros
		}
	case "rows_per_second":
		if m.Latency != nil {
			return &m.Latency.RowsPerSecond
		}
	}
	return nil
}

func of(v float64) *float64 { return &v }

func find(metrics []report.Metric, name string) *report.Metric {
	for i := range metrics {
		if metrics[i].Name == name {
			return &metrics[i]
		}
	}
	return nil
}

func undefined(v *float64) bool { return v == nil || math.IsNaN(*v) }

// number is short: four digits that count, or all of a whole number.
func number(v float64) string {
	if v == math.Trunc(v) && math.Abs(v) < 1e15 {
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}

// describe is an estimate with its interval.
func describe(e report.Estimate) string {
	if undefined(e.Value) {
		return "not defined"
	}
	text := number(*e.Value)
	if !undefined(e.Low) && !undefined(e.High) {
		text += fmt.Sprintf(" [%s, %s]", number(*e.Low), number(*e.High))
	}
	return text
}
