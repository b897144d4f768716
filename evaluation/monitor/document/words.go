// SPDX-License-Identifier: Apache-2.0

package document

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/millrace-ml/millrace/evaluation/monitor"
	"github.com/millrace-ml/millrace/evaluation/monitor/estimate"
	"github.com/millrace-ml/millrace/evaluation/report"
)

// none stands for a number that is not defined.
const none = "–"

// kinds says what subjects of alarms are, for people.
var kinds = map[string]string{
	"drift": "drift of", "score": "drift of the score", "missing": "missing values of", "unseen": "unseen categories of", "range": "values out of range of",
	"infinite": "infinite values of", "latency": "latency", "estimated": "estimated", "concept": "realised", "online": "stream of errors",
}

// Subject says what an alarm is of: "drift of amount, windows of 1d".
func Subject(a *monitor.Alarm) string {
	kind, window, what := Parts(a.Subject)
	words, ok := kinds[kind]
	if !ok {
		return report.Visible(a.Subject)
	}
	if what != "" && kind != "online" {
		words += " " + what
	}
	if window != "" {
		words += ", windows of " + window
	}
	return report.Visible(words)
}

// number writes a value with three or four digits that matter.
func number(v float64) string {
	a := math.Abs(v)
	switch {
	case math.IsNaN(v) || math.IsInf(v, 0):
		return none
	case v == math.Trunc(v) && a < 1e7:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case a < 1e-4 || a >= 1e7:
		return strconv.FormatFloat(v, 'e', 2, 64)
	case a < 1:
		return strconv.FormatFloat(v, 'f', 4, 64)
	}
	return strconv.FormatFloat(v, 'f', max(0, 3-int(math.Log10(a))), 64)
}

// between writes a value with its interval, where it is known.
func between(v, low, high float64) string {
	if math.IsNaN(v) || math.IsNaN(low) || math.IsNaN(high) {
		return number(v)
	}
	return number(v) + " [" + number(low) + ", " + number(high) + "]"
}

func ofMetric(v, low, high estimate.Values, m estimate.Metric) string {
	return between(v.Of(m), low.Of(m), high.Of(m))
}

func percent(share float64) string {
	if math.IsNaN(share) {
		return none
	}
	return strconv.FormatFloat(100*share, 'f', 1, 64) + " %"
}

func count(n int64) string { return strconv.FormatInt(n, 10) }

func probability(p float64) string {
	switch {
	case math.IsNaN(p):
		return none
	case p < 0.001:
		return "< 0.001"
	}
	return strconv.FormatFloat(p, 'f', 3, 64)
}

// when writes a time in microseconds since 1970, in UTC: the minute is enough.
func when(micros int64) string { return time.UnixMicro(micros).UTC().Format("2006-01-02 15:04") }

// duration writes a time in microseconds.
func duration(micros int64) string {
	d := time.Duration(micros) * time.Microsecond
	if d >= time.Hour {
		d = d.Round(time.Minute)
	}
	return monitor.Duration(d).String()
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// Sentence says how things are, in one line.
func (d *Document) Sentence() string {
	raised, critical := 0, 0
	for i := range d.Alarms {
		if d.Alarms[i].Raised() {
			raised++
			if d.Alarms[i].Severity == monitor.Critical {
				critical++
			}
		}
	}
	switch {
	case len(d.Reports) == 0:
		return "Nothing was found yet: no window closed."
	case raised == 0:
		return fmt.Sprintf("No alarm is raised; %s over the time.", plural(len(d.Alarms), "was", "were"))
	case critical > 0:
		return fmt.Sprintf("%s raised, %d critical.", plural(raised, "alarm is", "alarms are"), critical)
	}
	return fmt.Sprintf("%s raised, none critical.", plural(raised, "alarm is", "alarms are"))
}
