// SPDX-License-Identifier: Apache-2.0

package report

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// What the documents have in common: the sentences and the choices of what to show. All
// texts from the report leave here through visible.

func (r *Report) title() string {
	return visible(cmp.Or(r.Title, "Evaluation"))
}

// modelName is "fraud 12", or a dash for a model without a name.
func modelName(m *Model) string {
	if m == nil {
		return none
	}
	return visible(cmp.Or(strings.TrimSpace(m.Name+" "+m.Version), m.Path, none))
}

// verdictWord is the verdict for a heading.
func (r *Report) verdictWord() string {
	switch r.Verdict {
	case Pass:
		return "Pass"
	case Fail:
		return "Fail"
	}
	return "No gates"
}

// verdictSentence says how the verdict came about.
func (r *Report) verdictSentence() string {
	if len(r.Gates) == 0 {
		return "There are no gates: nothing was decided."
	}
	failed, warned := r.broken()
	s := fmt.Sprintf("All %s hold.", counted(len(r.Gates), "gate", "gates"))
	if len(r.Gates) == 1 {
		s = "The gate holds."
	}
	if failed > 0 {
		s = fmt.Sprintf("%d of %s failed.", failed, counted(len(r.Gates), "gate", "gates"))
	} else if warned > 0 {
		s = "No gate failed."
	}
	if warned > 0 {
		s += fmt.Sprintf(" %s.", counted(warned, "warning", "warnings"))
	}
	return s
}

// broken counts the gates that do not hold, those that only warn apart.
func (r *Report) broken() (failed, warned int) {
	for _, g := range r.Gates {
		switch {
		case g.Holds:
		case g.Warning:
			warned++
		default:
			failed++
		}
	}
	return failed, warned
}

// status is a gate in a word.
func (g Gate) status() string {
	switch {
	case g.Holds:
		return "holds"
	case g.Warning:
		return "warning"
	}
	return "failed"
}

// gatesByWeight has the gates that failed first, then those that warn.
func (r *Report) gatesByWeight() []Gate {
	weight := map[string]int{"failed": 0, "warning": 1, "holds": 2}
	sorted := slices.Clone(r.Gates)
	slices.SortStableFunc(sorted, func(a, b Gate) int { return weight[a.status()] - weight[b.status()] })
	return sorted
}

// metricName has an arrow for what is better, which stays on the name's line.
func metricName(m Metric) string {
	switch m.Better {
	case "higher":
		return visible(m.Name) + "\u00a0↑"
	case "lower":
		return visible(m.Name) + "\u00a0↓"
	}
	return visible(m.Name)
}

// change says whether a difference from the champion is to the good: "better", "worse",
// or "" where the interval holds 0, or nothing is known.
func (m Metric) change() string {
	d := m.Difference
	if d == nil || d.Low == nil || d.High == nil || m.Better != "higher" && m.Better != "lower" {
		return ""
	}
	up := *d.Low > 0
	if !up && *d.High >= 0 {
		return ""
	}
	if up == (m.Better == "higher") {
		return "better"
	}
	return "worse"
}

func differenceWords(m Metric) string {
	s := difference(m.Difference)
	if c := m.change(); c != "" {
		s += " " + c
	}
	return s
}

// intervalWords says what the brackets are.
func (r *Report) intervalWords() string {
	for _, m := range r.Metrics {
		if m.Value.Level > 0 && m.Value.Low != nil {
			s := fmt.Sprintf("In brackets: %.4g %% intervals", 100*m.Value.Level)
			if r.Method != "" {
				s += " (" + visible(r.Method) + ")"
			}
			return s + "."
		}
	}
	if r.Method != "" {
		return "Intervals: " + visible(r.Method) + "."
	}
	return ""
}

// facts are what was evaluated, on what and with what, as pairs of a word and a text.
func (r *Report) facts() [][2]string {
	var f [][2]string
	add := func(name, value string) {
		if value != "" {
			f = append(f, [2]string{name, value})
		}
	}
	add("Model", modelFact(&r.Model))
	if r.Against != nil {
		add("Champion", modelFact(r.Against))
	}
	add("Task", visible(r.Task))
	add("Data", r.Data.words())
	add("Rows", r.Data.rowsWords())
	if d := r.Data; d.From != nil && d.To != nil {
		add("Time", moment(*d.From)+" to "+moment(*d.To))
	}
	if d := r.Data; d.Cluster != "" {
		add("Clusters", fmt.Sprintf("%s of %s", count(d.Clusters), visible(d.Cluster)))
	}
	for _, reason := range slices.Sorted(maps.Keys(r.Data.Excluded)) {
		add("Left out", fmt.Sprintf("%s: %s", counted(r.Data.Excluded[reason], "row", "rows"), visible(reason)))
	}
	if !r.Created.IsZero() {
		add("Made", moment(r.Created))
	}
	if r.Millrace != "" {
		add("By", "millrace "+visible(r.Millrace))
	}
	return f
}

func (d Data) words() string {
	s := visible(d.Path)
	if d.SHA256 != "" {
		s = strings.TrimSpace(s + " (sha256 " + visible(d.SHA256) + ")")
	}
	return s
}

func (d Data) rowsWords() string {
	s := count(d.Rows)
	switch {
	case len(d.Classes) > 0 && len(d.Classes) <= 6:
		var parts []string
		for _, class := range slices.Sorted(maps.Keys(d.Classes)) {
			parts = append(parts, visible(class)+": "+count(d.Classes[class]))
		}
		s += " (" + strings.Join(parts, ", ") + ")"
	case len(d.Classes) > 0:
		s += " of " + count(len(d.Classes)) + " classes"
	case d.Positives > 0 && d.Rows > 0:
		s += fmt.Sprintf(" (%s positive, %s)", count(d.Positives), percent(float64(d.Positives)/float64(d.Rows)))
	}
	return s
}

func modelFact(m *Model) string {
	parts := []string{modelName(m)}
	if m.Backend != "" {
		parts = append(parts, visible(m.Backend))
	}
	if m.Bytes > 0 {
		parts = append(parts, sizeOf(m.Bytes))
	}
	if m.Threshold != 0 {
		parts = append(parts, "threshold "+number(m.Threshold))
	}
	if l := m.Latency; l != nil {
		parts = append(parts, fmt.Sprintf("one row %s µs (p99 %s µs)", number(l.RowP50Micros), number(l.RowP99Micros)),
			fmt.Sprintf("%s rows/s in batches of %s", count(int(l.RowsPerSecond)), count(l.BatchRows)))
	}
	if m.SHA256 != "" {
		parts = append(parts, "sha256 "+visible(m.SHA256))
	}
	return strings.Join(parts, ", ")
}

// findingWords is a leak in a line.
func findingWords(f Finding) string {
	s := visible(f.Check)
	if f.Subject != "" {
		s += " " + visible(f.Subject)
	}
	s += ": " + visible(f.Detail)
	if f.Rows > 0 {
		s += " (" + counted(f.Rows, "row", "rows") + ")"
	}
	return s
}

// severe are the findings that make the numbers worthless.
func (r *Report) severe() []Finding {
	var out []Finding
	for _, f := range r.Leakage {
		if f.Severe {
			out = append(out, f)
		}
	}
	return out
}

// severeWords are for beside the verdict, empty without severe findings.
func (r *Report) severeWords() string {
	switch found := r.severe(); len(found) {
	case 0:
		return ""
	case 1:
		return findingWords(found[0])
	default:
		return fmt.Sprintf("%s; and %s more, see below", findingWords(found[0]), count(len(found)-1))
	}
}

// testWords is what a test is of.
func testWords(t Test) string {
	s := visible(t.Metric)
	if t.Slice != "" {
		s += " where " + visible(t.Slice)
	}
	return s
}
