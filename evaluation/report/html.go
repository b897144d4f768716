// SPDX-License-Identifier: Apache-2.0

package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
)

//go:embed page.tmpl
var pageText string

//go:embed page.css
var pageStyle string

var page = template.Must(template.New("page").Parse(pageText))

const (
	// pageSlicesMax bounds the slices of the page, pageRowsMax the rows of other tables.
	pageSlicesMax = 300
	pageRowsMax   = 500
)

// table is a table of the page. On a narrow screen its rows become blocks in which each
// cell has its column's name before it.
type table struct {
	Caption string
	Head    []column
	Rows    [][]cell
}

type column struct {
	Text string
	Num  bool
}

// cell is a text; Class is good, bad, warn or empty. The first of a row heads the row.
type cell struct {
	Text, Class string
}

// pageData is what the template reads. All texts have gone through visible.
type pageData struct {
	Style    template.CSS
	Title    string
	Verdict  string
	Class    string
	Mark     string
	Sentence string
	Facts    [][2]string
	Severe   string
	Gates    *table
	Metrics  *table
	Notes    []string
	Forest   template.HTML
	Plots    []template.HTML
	Charts   []template.HTML
	Slices   *table
	Tests    *table
	Leakage  *table
	Warnings []string
}

// WriteHTML writes one page that needs nothing else: no script, no request to any host.
// Plots are SVG, with a table of their numbers behind each. The same report gives the same
// bytes. The page is well-formed XML as well.
func WriteHTML(w io.Writer, r *Report) error {
	r = finite(r)
	d := pageData{
		Style: template.CSS(pageStyle), Title: r.title(), Verdict: r.verdictWord(), Class: "warn", Mark: "○",
		Sentence: r.verdictSentence(), Facts: r.facts(), Forest: r.forest(),
		Plots: r.figures(), Charts: r.sliceCharts(), Severe: r.severeWords(),
	}
	switch r.Verdict {
	case Pass:
		d.Class, d.Mark = "good", "✓"
	case Fail:
		d.Class, d.Mark = "bad", "✗"
	}
	d.Gates, d.Metrics, d.Slices = r.gateTable(), r.metricTable(), r.sliceTable()
	d.Tests, d.Leakage = r.testTable(), r.leakageTable()
	for _, m := range firstOf(r.Metrics, pageRowsMax) {
		if m.Note != "" {
			d.Notes = append(d.Notes, visible(m.Name)+": "+visible(m.Note))
		}
	}
	if s := r.intervalWords(); s != "" {
		d.Notes = append(d.Notes, s)
	}
	for _, s := range firstOf(r.Warnings, pageRowsMax) {
		d.Warnings = append(d.Warnings, visible(s))
	}
	if err := page.Execute(w, d); err != nil {
		return fmt.Errorf("write report as HTML: %w", err)
	}
	return nil
}

func (r *Report) gateTable() *table {
	if len(r.Gates) == 0 {
		return nil
	}
	class := map[string]string{"holds": "good", "failed": "bad", "warning": "warn"}
	mark := map[string]string{"holds": "✓ ", "failed": "✗ ", "warning": "! "}
	t := &table{Caption: "Gates, those that failed first",
		Head: []column{{Text: "gate"}, {Text: "state"}, {Text: "condition"}, {Text: "observed"}, {Text: "why"}}}
	for _, g := range r.gatesByWeight() {
		reason := ""
		if !g.Holds {
			reason = visible(g.Reason)
		}
		s := g.status()
		t.Rows = append(t.Rows, []cell{{Text: visible(g.Name)}, {mark[s] + s, class[s]}, {Text: visible(g.Condition)},
			{Text: visible(g.Observed)}, {Text: reason}})
	}
	return t.bounded(pageRowsMax)
}

func (r *Report) metricTable() *table {
	if len(r.Metrics) == 0 {
		return nil
	}
	t := &table{Caption: "Metrics of all rows", Head: []column{{Text: "metric"}, {"model", true}}}
	if r.Against != nil {
		t.Head = append(t.Head, column{"champion", true}, column{"difference", true})
	}
	for i := range firstOf(r.Baselines, 8) {
		t.Head = append(t.Head, column{"baseline " + modelName(&r.Baselines[i]), true})
	}
	for _, m := range r.Metrics {
		row := []cell{{Text: metricName(m)}, {Text: estimate(&m.Value)}}
		if r.Against != nil {
			row = append(row, cell{Text: estimate(m.Against)}, differenceCell(m))
		}
		for i := range firstOf(r.Baselines, 8) {
			value := none
			if i < len(m.Baselines) {
				value = numberOf(m.Baselines[i])
			}
			row = append(row, cell{Text: value})
		}
		t.Rows = append(t.Rows, row)
	}
	return t.bounded(pageRowsMax)
}

func differenceCell(m Metric) cell {
	return cell{differenceWords(m), map[string]string{"better": "good", "worse": "bad"}[m.change()]}
}

func (r *Report) sliceTable() *table {
	if len(r.Slices) == 0 {
		return nil
	}
	t := &table{Caption: "Slices, worst first",
		Head: []column{{Text: "slice"}, {"rows", true}, {Text: "metric"}, {"model", true}}}
	if r.Against != nil {
		t.Head = append(t.Head, column{"champion", true}, column{"difference", true})
	}
	for _, s := range firstOf(r.Slices, pageSlicesMax) {
		first := []cell{{Text: visible(s.Name)}, {Text: count(s.Rows)}}
		if len(s.Metrics) == 0 {
			row := append(first, cell{Text: visible(s.Skipped)})
			t.Rows = append(t.Rows, append(row, make([]cell, len(t.Head)-len(row))...))
		}
		for _, m := range s.Metrics {
			row := append(first[:2:2], cell{Text: metricName(m)}, cell{Text: estimate(&m.Value)})
			if r.Against != nil {
				row = append(row, cell{Text: estimate(m.Against)}, differenceCell(m))
			}
			t.Rows = append(t.Rows, row)
		}
	}
	if rest := len(r.Slices) - pageSlicesMax; rest > 0 {
		t.Caption += fmt.Sprintf(" (%s more in the report as JSON)", count(rest))
	}
	return t
}

func (r *Report) testTable() *table {
	if len(r.Tests) == 0 {
		return nil
	}
	t := &table{Caption: "Tests against the champion, on the same rows", Head: []column{{Text: "test"}, {Text: "of"},
		{Text: "against the hypothesis"}, {"statistic", true}, {"p", true}, {"p adjusted (Holm)", true}}}
	for _, test := range r.Tests {
		t.Rows = append(t.Rows, []cell{{Text: visible(test.Name)}, {Text: testWords(test)}, {Text: visible(test.Hypothesis)},
			{Text: numberOf(test.Statistic)}, {Text: probability(test.P)}, {Text: probability(test.Adjusted)}})
	}
	return t.bounded(pageRowsMax)
}

func (r *Report) leakageTable() *table {
	if len(r.Leakage) == 0 {
		return nil
	}
	t := &table{Caption: "What looks like the truth in the features",
		Head: []column{{Text: "check"}, {Text: "severity"}, {Text: "of"}, {Text: "found"}, {"rows", true}}}
	for _, f := range r.Leakage {
		severity, rows := cell{"! worth a look", "warn"}, none
		if f.Severe {
			severity = cell{"✗ severe", "bad"}
		}
		if f.Rows > 0 {
			rows = count(f.Rows)
		}
		t.Rows = append(t.Rows, []cell{{Text: visible(f.Check)}, severity, {Text: visible(f.Subject)},
			{Text: visible(f.Detail)}, {Text: rows}})
	}
	return t.bounded(pageRowsMax)
}

// bounded cuts a table, saying so in its caption.
func (t *table) bounded(rows int) *table {
	if rest := len(t.Rows) - rows; rest > 0 {
		t.Rows = t.Rows[:rows]
		t.Caption += fmt.Sprintf(" (%s more in the report as JSON)", count(rest))
	}
	return t
}
