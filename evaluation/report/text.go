// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"io"
	"strings"
)

const (
	// columnsMax is the width that WriteText keeps to.
	columnsMax = 100
	// textSlicesMax and textTestsMax bound the slices and tests shown on a terminal.
	textSlicesMax = 10
	textTestsMax  = 15
	// textRowsMax bounds the lines of the other lists.
	textRowsMax = 50
)

// WriteText writes a summary for a terminal of 100 columns: no colours, no characters that
// a terminal would obey.
func WriteText(w io.Writer, r *Report) error {
	r = finite(r)
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", shortened(r.title(), columnsMax))
	fmt.Fprintf(&b, "%s: %s\n", strings.ToUpper(r.verdictWord()), r.verdictSentence())
	if s := r.severeWords(); s != "" {
		writeWrapped(&b, "SEVERE LEAKAGE: ", s)
	}
	b.WriteString("\n")
	for _, fact := range r.facts() {
		writeWrapped(&b, fmt.Sprintf("%-9s ", fact[0]), fact[1])
	}
	r.textGates(&b)
	r.textMetrics(&b)
	r.textSlices(&b)
	r.textTests(&b)
	if len(r.Leakage) > 0 {
		b.WriteString("\nLEAKAGE\n")
		for _, f := range firstOf(r.Leakage, textRowsMax) {
			mark := "- "
			if f.Severe {
				mark = "! "
			}
			writeWrapped(&b, mark, findingWords(f))
		}
		writeRest(&b, len(r.Leakage), textRowsMax)
	}
	if len(r.Warnings) > 0 {
		b.WriteString("\nWARNINGS\n")
		for _, warning := range firstOf(r.Warnings, textRowsMax) {
			writeWrapped(&b, "- ", visible(warning))
		}
		writeRest(&b, len(r.Warnings), textRowsMax)
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write report as text: %w", err)
	}
	return nil
}

func (r *Report) textGates(b *strings.Builder) {
	if len(r.Gates) == 0 {
		return
	}
	b.WriteString("\nGATES\n")
	for _, g := range firstOf(r.gatesByWeight(), textRowsMax) {
		writeWrapped(b, fmt.Sprintf("%-7s  ", g.status()), visible(g.Name)+": "+visible(g.Condition))
		writeWrapped(b, strings.Repeat(" ", 9), "observed "+visible(g.Observed))
		if !g.Holds && g.Reason != "" {
			writeWrapped(b, strings.Repeat(" ", 9), visible(g.Reason))
		}
	}
	writeRest(b, len(r.Gates), textRowsMax)
}

func (r *Report) textMetrics(b *strings.Builder) {
	if len(r.Metrics) == 0 {
		return
	}
	b.WriteString("\nMETRICS\n")
	t := textTable{head: []string{"metric", "model"}}
	if r.Against != nil {
		t.head = append(t.head, "champion", "difference", "")
	}
	notes := []string{}
	for _, m := range firstOf(r.Metrics, textRowsMax) {
		row := []string{metricName(m), estimate(&m.Value)}
		if r.Against != nil {
			row = append(row, valueOf(m.Against), difference(m.Difference), m.change())
		}
		t.rows = append(t.rows, row)
		if m.Note != "" {
			notes = append(notes, visible(m.Name)+": "+visible(m.Note))
		}
	}
	if r.Against == nil {
		t.addBaselines(r)
	}
	t.write(b)
	writeRest(b, len(r.Metrics), textRowsMax)
	if s := r.intervalWords(); s != "" {
		notes = append(notes, s)
	}
	for _, note := range notes {
		writeWrapped(b, "  ", note)
	}
}

func (r *Report) textSlices(b *strings.Builder) {
	if len(r.Slices) == 0 {
		return
	}
	b.WriteString("\nSLICES, worst first\n")
	t := textTable{head: []string{"slice", "rows", "metric", "model"}}
	if r.Against != nil {
		t.head = append(t.head, "difference", "")
	}
	for _, s := range firstOf(r.Slices, textSlicesMax) {
		if len(s.Metrics) == 0 {
			row := []string{visible(s.Name), count(s.Rows), none, visible(s.Skipped), "", ""}
			t.rows = append(t.rows, row[:len(t.head)])
			continue
		}
		for i, m := range firstOf(s.Metrics, 3) {
			row := []string{visible(s.Name), count(s.Rows), metricName(m), estimate(&m.Value)}
			if i > 0 {
				row[0], row[1] = "", ""
			}
			if r.Against != nil {
				row[3] = valueOf(&m.Value)
				row = append(row, difference(m.Difference), m.change())
			}
			t.rows = append(t.rows, row)
		}
	}
	t.write(b)
	writeRest(b, len(r.Slices), textSlicesMax)
}

func (r *Report) textTests(b *strings.Builder) {
	if len(r.Tests) == 0 {
		return
	}
	b.WriteString("\nTESTS against the champion\n")
	t := textTable{names: 1, head: []string{"test", "of", "against the hypothesis", "p", "adjusted"}}
	for _, test := range firstOf(r.Tests, textTestsMax) {
		t.rows = append(t.rows, []string{visible(test.Name), testWords(test), visible(test.Hypothesis),
			probability(test.P), probability(test.Adjusted)})
	}
	t.write(b)
	writeRest(b, len(r.Tests), textTestsMax)
}

// textTable writes columns as wide as what is in them. Where they are too wide together,
// the column of names gives way down to nameColumnsMin, then the widest.
type textTable struct {
	names int
	head  []string
	rows  [][]string
}

const nameColumnsMin = 14

// addBaselines adds as many baselines as fit beside the model.
func (t *textTable) addBaselines(r *Report) {
	for i := range firstOf(r.Baselines, 3) {
		t.head = append(t.head, modelName(&r.Baselines[i]))
		for j, m := range firstOf(r.Metrics, textRowsMax) {
			value := none
			if i < len(m.Baselines) {
				value = numberOf(m.Baselines[i])
			}
			t.rows[j] = append(t.rows[j], value)
		}
	}
}

func (t *textTable) write(b *strings.Builder) {
	rows := append([][]string{t.head}, t.rows...)
	widths := t.fit(rows)
	for _, row := range rows {
		var line strings.Builder
		for c, cell := range row {
			if c == t.names {
				cell = middleShortened(cell, widths[c])
			}
			cell = shortened(cell, widths[c])
			line.WriteString("  " + cell + strings.Repeat(" ", widths[c]-columnsOf(cell)))
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
}

// fit is the width of each column.
func (t *textTable) fit(rows [][]string) []int {
	widths := make([]int, len(t.head))
	total := 2 * len(widths)
	for c := range widths {
		for _, row := range rows {
			widths[c] = max(widths[c], columnsOf(row[c]))
		}
		total += widths[c]
	}
	for total > columnsMax {
		narrow := t.names
		for c, w := range widths {
			if widths[t.names] <= nameColumnsMin && w > widths[narrow] {
				narrow = c
			}
		}
		widths[narrow]--
		total--
	}
	return widths
}

// writeWrapped writes a text after an indent, over as many lines as it takes; the next
// lines begin under the first.
func writeWrapped(b *strings.Builder, indent, text string) {
	room := columnsMax - columnsOf(indent)
	line := ""
	flush := func() {
		b.WriteString(strings.TrimRight(indent+line, " ") + "\n")
		indent, line = strings.Repeat(" ", columnsOf(indent)), ""
	}
	for _, word := range strings.Fields(text) {
		if line != "" && columnsOf(line)+1+columnsOf(word) > room {
			flush()
		}
		if line != "" {
			line += " "
		}
		line += word
		for columnsOf(line) > room {
			head := cutAt(line, room)
			rest := line[len(head):]
			line = head
			flush()
			line = rest
		}
	}
	flush()
}

func firstOf[T any](in []T, n int) []T { return in[:min(n, len(in))] }

func writeRest(b *strings.Builder, have, shown int) {
	if have > shown {
		fmt.Fprintf(b, "  ... and %s more\n", count(have-shown))
	}
}
