// SPDX-License-Identifier: Apache-2.0

package card

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

const (
	// featuresMax, candidatesMax and entriesMax bound what is shown of lists.
	featuresMax   = 200
	candidatesMax = 100
	entriesMax    = 200
	// metricsMax bounds the metrics that candidates are compared by.
	metricsMax = 8
)

// table is a table of both documents; all its texts are visible ones. The first cell of a
// row heads it.
type table struct {
	Caption string
	Head    []column
	Rows    [][]string
	// More counts the rows left out.
	More int
	// marked is the head of the row that stands out.
	marked string
}

type column struct {
	Text string
	Num  bool
}

func (t *table) chosen(row []string) bool { return t.marked != "" && row[0] == t.marked }

// part is a part of the card.
type part struct {
	id, title string
	text      string
	list      []string
	table     *table
}

func (c *Card) title() string {
	return visible(cmp.Or(strings.TrimSpace(c.Name+" "+c.Version), "Model"))
}

func (c *Card) parts() []part {
	return []part{
		{id: "limits", title: "Where not to trust it", list: c.limits()},
		{id: "candidates", title: "What was tried", text: c.choice(), table: c.candidates()},
		{id: "features", title: "What it looks at", table: c.features()},
		{id: "training", title: "How it learnt", table: c.curveEnds()},
		{id: "calibration", title: "Calibration", text: c.calibrationText(), table: c.calibration()},
		{id: "data", title: "What it learnt from", table: c.data()},
		{id: "manifest", title: "To make it again", table: c.manifest()},
	}
}

// about is the card in a few lines.
func (c *Card) about() *table {
	t := &table{Caption: "About the model", Head: []column{{Text: ""}, {Text: ""}}}
	t.fact("Model", c.Summary)
	t.fact("Task", c.Task)
	t.fact("Predicts", c.Target)
	t.fact("Features", fmt.Sprintf("%d", len(c.Features)))
	t.fact("Feature service", c.Service)
	if !c.Created.IsZero() {
		t.fact("Made", moment(c.Created))
	}
	if c.Millrace != "" {
		t.fact("By", "millrace "+c.Millrace)
	}
	return t
}

func (t *table) fact(name, value string) {
	if value = visible(value); value != "" {
		t.Rows = append(t.Rows, []string{name, value})
	}
}

func (c *Card) limits() []string {
	var out []string
	for _, s := range c.Limits[:min(len(c.Limits), entriesMax)] {
		if s = visible(s); s != "" {
			out = append(out, s)
		}
	}
	return out
}

// choice says what was chosen, and by what.
func (c *Card) choice() string {
	for _, candidate := range c.Candidates {
		if !candidate.Chosen {
			continue
		}
		s := "Chosen: " + visible(candidate.Name)
		if c.Metric != "" {
			s += fmt.Sprintf(", by %s (%s)", visible(c.Metric), number(value(candidate.Metrics, c.Metric)))
			if c.Better != "" {
				s += ", of which " + visible(c.Better) + " is better"
			}
		}
		return s + "."
	}
	return ""
}

// value is a metric, NaN where there is none.
func value(metrics map[string]float64, name string) float64 {
	if v, ok := metrics[name]; ok {
		return v
	}
	return math.NaN()
}

// metricNames are all metrics of the candidates, what was chosen by first.
func (c *Card) metricNames() []string {
	all := map[string]bool{}
	for _, candidate := range c.Candidates {
		for name := range candidate.Metrics {
			all[name] = true
		}
	}
	var names []string
	if all[c.Metric] {
		names = append(names, c.Metric)
		delete(all, c.Metric)
	}
	names = append(names, slices.Sorted(maps.Keys(all))...)
	return names[:min(len(names), metricsMax)]
}

// ranked are the candidates: the chosen one, the others, the baselines, those that failed;
// the better ones first.
func (c *Card) ranked() []Candidate {
	class := func(a Candidate) int {
		switch {
		case a.Chosen:
			return 0
		case a.Error != "":
			return 3
		case a.Baseline:
			return 2
		}
		return 1
	}
	sign := -1.0
	if c.Better == "lower" {
		sign = 1
	}
	sorted := slices.Clone(c.Candidates)
	slices.SortStableFunc(sorted, func(a, b Candidate) int {
		va, vb := sign*value(a.Metrics, c.Metric), sign*value(b.Metrics, c.Metric)
		if math.IsNaN(va) != math.IsNaN(vb) { // what is not known goes last
			va, vb = oneIf(math.IsNaN(va)), oneIf(math.IsNaN(vb))
		}
		return cmp.Or(class(a)-class(b), cmp.Compare(va, vb))
	})
	return sorted
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func (c *Card) candidates() *table {
	if len(c.Candidates) == 0 {
		return nil
	}
	t := &table{Caption: "Candidates: means over the folds", Head: []column{{Text: "candidate"}, {Text: "method"}}}
	if slices.ContainsFunc(c.Candidates, func(candidate Candidate) bool { return len(candidate.Spread) > 0 }) {
		t.Caption += " ± standard deviations"
	}
	names := c.metricNames()
	for _, name := range names {
		t.Head = append(t.Head, column{visible(name), true})
	}
	timed := slices.ContainsFunc(c.Candidates, func(candidate Candidate) bool { return candidate.Seconds > 0 })
	if timed {
		t.Head = append(t.Head, column{"seconds", true})
	}
	t.Head = append(t.Head, column{Text: "parameters"})
	for _, candidate := range c.ranked() {
		if len(t.Rows) == candidatesMax {
			t.More = len(c.Candidates) - candidatesMax
			break
		}
		row := []string{visible(candidate.Name), methodWords(candidate)}
		for _, name := range names {
			cell := number(value(candidate.Metrics, name))
			if d := value(candidate.Spread, name); finite(d) && cell != none {
				cell += " ± " + number(d)
			}
			row = append(row, cell)
		}
		if timed {
			row = append(row, number(candidate.Seconds))
		}
		row = append(row, parameterWords(candidate))
		if candidate.Chosen {
			row[0] += " (chosen)"
			t.marked = row[0]
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

func methodWords(c Candidate) string {
	s := visible(c.Method)
	if c.Baseline {
		s += ", baseline"
	}
	if c.Trials > 0 {
		s += fmt.Sprintf(", %s trials", count(c.Trials))
	}
	return s
}

func parameterWords(c Candidate) string {
	if c.Error != "" {
		return "out: " + visible(c.Error)
	}
	var parts []string
	if c.Summary != "" {
		parts = append(parts, c.Summary)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Parameters)) {
		parts = append(parts, fmt.Sprintf("%s=%v", name, c.Parameters[name]))
	}
	return visible(strings.Join(parts, ", "))
}

// weighed are the features that matter most first: by attribution if it is known of any,
// else by importance.
func (c *Card) weighed() (sorted []Feature, attribution, importance bool) {
	sorted = slices.Clone(c.Features)
	for i := range sorted {
		f := &sorted[i]
		if !finite(f.Attribution) {
			f.Attribution = 0
		}
		if !finite(f.Importance) {
			f.Importance = 0
		}
		attribution, importance = attribution || f.Attribution != 0, importance || f.Importance != 0
	}
	slices.SortStableFunc(sorted, func(a, b Feature) int {
		return cmp.Or(cmp.Compare(math.Abs(b.Attribution), math.Abs(a.Attribution)),
			cmp.Compare(math.Abs(b.Importance), math.Abs(a.Importance)))
	})
	return sorted, attribution, importance
}

func (c *Card) features() *table {
	if len(c.Features) == 0 {
		return nil
	}
	sorted, attribution, importance := c.weighed()
	t := &table{Caption: "Features", Head: []column{{Text: "feature"}, {Text: "type"}}}
	if attribution {
		t.Head = append(t.Head, column{"mean attribution", true})
	}
	if importance {
		t.Head = append(t.Head, column{"importance", true})
	}
	t.More = max(0, len(sorted)-featuresMax)
	for _, f := range sorted[:len(sorted)-t.More] {
		row := []string{visible(f.Name), visible(f.Type)}
		if attribution {
			row = append(row, number(f.Attribution))
		}
		if importance {
			row = append(row, number(f.Importance))
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

// curveEnds is where the learning curves were best and where they ended.
func (c *Card) curveEnds() *table {
	t := &table{Caption: "Learning curves", Head: []column{{Text: "curve"}, {"steps", true}, {"first", true}, {"lowest", true},
		{"highest", true}, {"last", true}}}
	for _, curve := range c.curves() {
		n := len(curve.Values)
		t.Rows = append(t.Rows, []string{visible(curve.Name), count(curve.Steps[n-1]), number(curve.Values[0]),
			number(slices.Min(curve.Values)), number(slices.Max(curve.Values)), number(curve.Values[n-1])})
	}
	if len(t.Rows) == 0 {
		return nil
	}
	return t
}

func (c *Card) calibrationText() string {
	if c.Calibration == nil {
		return ""
	}
	s := "Scores are made probabilities"
	if c.Calibration.Method != "" {
		s += " by " + visible(c.Calibration.Method)
	}
	if c.Calibration.Rows > 0 {
		s += ", fitted on " + count(c.Calibration.Rows) + " rows that nothing else was fitted on"
	}
	return s + "."
}

func (c *Card) calibration() *table {
	if c.Calibration == nil {
		return nil
	}
	all := maps.Clone(c.Calibration.Before)
	if all == nil {
		all = map[string]float64{}
	}
	maps.Copy(all, c.Calibration.After)
	if len(all) == 0 {
		return nil
	}
	t := &table{Caption: "Metrics without and with calibration", Head: []column{{Text: "metric"}, {"without", true}, {"with", true}}}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if len(t.Rows) == entriesMax {
			t.More = len(all) - entriesMax
			break
		}
		t.Rows = append(t.Rows, []string{visible(name), number(value(c.Calibration.Before, name)), number(value(c.Calibration.After, name))})
	}
	return t
}

func (c *Card) data() *table {
	d := c.Data
	t := &table{Caption: "Training data", Head: []column{{Text: ""}, {Text: ""}}}
	t.fact("File", d.Path)
	t.fact("Hash", d.Hash)
	if d.Rows > 0 {
		t.fact("Rows", count(d.Rows))
	}
	if d.Positives > 0 && d.Rows > 0 {
		t.fact("Positive", fmt.Sprintf("%s (%.3g %%)", count(d.Positives), 100*float64(d.Positives)/float64(d.Rows)))
	}
	if !d.From.IsZero() && !d.To.IsZero() {
		t.fact("Time", moment(d.From)+" to "+moment(d.To))
	}
	t.fact("Split", d.Split)
	for _, reason := range slices.Sorted(maps.Keys(d.Excluded)) {
		t.fact("Left out", count(d.Excluded[reason])+" rows: "+reason)
	}
	for _, class := range slices.Sorted(maps.Keys(d.Classes)) {
		t.fact("Class "+visible(class), count(d.Classes[class])+" rows")
	}
	return t.bounded()
}

func (c *Card) manifest() *table {
	t := &table{Caption: "Manifest", Head: []column{{Text: ""}, {Text: ""}}}
	for _, name := range slices.Sorted(maps.Keys(c.Manifest)) {
		t.fact(visible(name), c.Manifest[name])
	}
	return t.bounded()
}

// bounded cuts a table of facts, and is nil for one without any.
func (t *table) bounded() *table {
	if len(t.Rows) == 0 {
		return nil
	}
	t.More = max(0, len(t.Rows)-entriesMax)
	t.Rows = t.Rows[:len(t.Rows)-t.More]
	return t
}
