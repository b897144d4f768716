// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"io"
	"strings"
)

const (
	// markdownBytesMax keeps below what a comment may have on GitHub (65,536 characters).
	markdownBytesMax = 60000
	// markdownSlicesMax bounds the slices shown at once, markdownRowsMax the rows of the
	// tables that are folded away.
	markdownSlicesMax = 10
	markdownRowsMax   = 100
	// markdownTableBytesMax and markdownListBytesMax end what has long texts before it takes
	// all the room there is.
	markdownTableBytesMax = 11000
	markdownListBytesMax  = 6000
)

// WriteMarkdown writes a comment for a pull request: the verdict, the gates with reasons,
// metrics beside the champion's, the worst slices, and the rest folded away. It has at most
// 60,000 bytes; parts that do not fit are left out, saying so.
func WriteMarkdown(w io.Writer, r *Report) error {
	r = finite(r)
	var b strings.Builder
	for _, part := range []func(*Report) string{
		(*Report).mdHead, (*Report).mdGates, (*Report).mdMetrics, (*Report).mdSlices,
		(*Report).mdLeakage, (*Report).mdWarnings, (*Report).mdTests, (*Report).mdBaselines,
		(*Report).mdAllSlices, (*Report).mdFacts,
	} {
		text := part(r)
		if b.Len()+len(text) > markdownBytesMax {
			text = "\n_A part was left out here, the report in JSON or HTML has it._\n"
		}
		b.WriteString(text)
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write report as Markdown: %w", err)
	}
	return nil
}

func (r *Report) mdHead() string {
	mark := map[Verdict]string{Pass: "✅", Fail: "❌"}[r.Verdict]
	if mark == "" {
		mark = "ℹ️"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "## %s %s: %s\n\n**%s** %s", mark, r.verdictWord(), mdText(r.title()), r.verdictSentence(),
		mdName(modelName(&r.Model)))
	if r.Against != nil {
		fmt.Fprintf(&b, " against champion %s", mdName(modelName(r.Against)))
	}
	fmt.Fprintf(&b, " on %s", counted(r.Data.Rows, "row", "rows"))
	if r.Data.Path != "" {
		fmt.Fprintf(&b, " of %s", mdName(visible(r.Data.Path)))
	}
	b.WriteString(".\n")
	if s := r.severeWords(); s != "" {
		fmt.Fprintf(&b, "\n> 🔴 **Severe leakage**: %s\n", mdText(s))
	}
	return b.String()
}

func (r *Report) mdGates() string {
	if len(r.Gates) == 0 {
		return ""
	}
	mark := map[string]string{"holds": "✅", "failed": "❌ failed", "warning": "⚠️ warning"}
	rows := [][]string{}
	for _, g := range r.gatesByWeight() {
		reason := ""
		if !g.Holds {
			reason = mdText(visible(g.Reason))
		}
		rows = append(rows, []string{mark[g.status()], mdName(visible(g.Name)), mdText(visible(g.Condition)),
			mdText(visible(g.Observed)), reason})
	}
	return "\n### Gates\n\n" + mdTable([]string{"", "gate", "condition", "observed", "why"}, "", rows, markdownRowsMax)
}

func (r *Report) mdMetrics() string {
	if len(r.Metrics) == 0 {
		return ""
	}
	head, align := []string{"metric", "model"}, " r"
	if r.Against != nil {
		head, align = append(head, "champion", "difference", ""), " rrr "
	}
	rows := [][]string{}
	var notes []Metric
	for _, m := range r.Metrics {
		rows = append(rows, r.mdMetric(m))
		if m.Note != "" {
			notes = append(notes, m)
		}
	}
	s := "\n### Metrics\n\n" + mdTable(head, align, rows, markdownRowsMax)
	if notes != nil {
		s += "\n" + mdList(notes, func(m Metric) string { return mdName(visible(m.Name)) + ": " + mdText(visible(m.Note)) })
	}
	if words := r.intervalWords(); words != "" {
		s += "\n<sub>" + mdText(words) + "</sub>\n"
	}
	return s
}

// mdMetric is a row: name, value and, where there is a champion, its value and what is
// between them.
func (r *Report) mdMetric(m Metric) []string {
	row := []string{mdMetricName(m), estimate(&m.Value)}
	if r.Against == nil {
		return row
	}
	return append(row, estimate(m.Against), difference(m.Difference), mdChange(m))
}

func mdMetricName(m Metric) string {
	return mdName(visible(m.Name)) + strings.TrimPrefix(metricName(m), visible(m.Name))
}

func mdChange(m Metric) string {
	return map[string]string{"better": "🟢 better", "worse": "🔴 worse"}[m.change()]
}

func (r *Report) mdSlices() string {
	if len(r.Slices) == 0 {
		return ""
	}
	s := "\n### Worst slices\n\n" + r.mdSliceTable(firstOf(r.Slices, markdownSlicesMax))
	if rest := len(r.Slices) - markdownSlicesMax; rest > 0 {
		s += fmt.Sprintf("\n%s below.\n", counted(rest, "more slice", "more slices"))
	}
	return s
}

func (r *Report) mdAllSlices() string {
	if len(r.Slices) <= markdownSlicesMax {
		return ""
	}
	return mdFolded("More slices", r.mdSliceTable(r.Slices[markdownSlicesMax:]))
}

func (r *Report) mdSliceTable(slices []Slice) string {
	head, align := []string{"slice", "rows", "metric", "model"}, " r r"
	if r.Against != nil {
		head, align = append(head, "champion", "difference", ""), " r rrr "
	}
	rows := [][]string{}
	for _, s := range slices {
		if len(s.Metrics) == 0 {
			row := make([]string, len(head))
			row[0], row[1], row[2] = mdName(visible(s.Name)), count(s.Rows), mdText(visible(s.Skipped))
			rows = append(rows, row)
		}
		for i, m := range s.Metrics {
			row := append([]string{"", ""}, r.mdMetric(m)...)
			if i == 0 {
				row[0], row[1] = mdName(visible(s.Name)), count(s.Rows)
			}
			rows = append(rows, row)
		}
	}
	return mdTable(head, align, rows, markdownRowsMax)
}

func (r *Report) mdLeakage() string {
	if len(r.Leakage) == 0 {
		return ""
	}
	return "\n### Leakage\n\n" + mdList(r.Leakage, func(f Finding) string {
		if f.Severe {
			return "🔴 **severe**: " + mdText(findingWords(f))
		}
		return "⚠️ " + mdText(findingWords(f))
	})
}

func (r *Report) mdWarnings() string {
	if len(r.Warnings) == 0 {
		return ""
	}
	return "\n### Warnings\n\n" + mdList(r.Warnings, func(s string) string { return "⚠️ " + mdText(visible(s)) })
}

// mdList writes items, as many as there is room for.
func mdList[T any](items []T, write func(T) string) string {
	var b strings.Builder
	for i, item := range items {
		if i == markdownRowsMax || b.Len() > markdownListBytesMax {
			fmt.Fprintf(&b, "- and %s more\n", count(len(items)-i))
			break
		}
		fmt.Fprintf(&b, "- %s\n", write(item))
	}
	return b.String()
}

func (r *Report) mdTests() string {
	if len(r.Tests) == 0 {
		return ""
	}
	rows := [][]string{}
	for _, t := range r.Tests {
		rows = append(rows, []string{mdName(visible(t.Name)), mdText(testWords(t)), mdText(visible(t.Hypothesis)),
			numberOf(t.Statistic), mdText(probability(t.P)), mdText(probability(t.Adjusted))})
	}
	return mdFolded("Tests against the champion", mdTable(
		[]string{"test", "of", "against the hypothesis", "statistic", "p", "p adjusted (Holm)"}, "   rrr", rows, markdownRowsMax))
}

func (r *Report) mdBaselines() string {
	if len(r.Baselines) == 0 || len(r.Metrics) == 0 {
		return ""
	}
	head, align := []string{"metric", "model"}, " r"
	for i := range firstOf(r.Baselines, 8) {
		head, align = append(head, mdName(modelName(&r.Baselines[i]))), align+"r"
	}
	rows := [][]string{}
	for _, m := range r.Metrics {
		row := []string{mdMetricName(m), numberOf(m.Value.Value)}
		for i := range firstOf(r.Baselines, 8) {
			value := none
			if i < len(m.Baselines) {
				value = numberOf(m.Baselines[i])
			}
			row = append(row, value)
		}
		rows = append(rows, row)
	}
	return mdFolded("Baselines", mdTable(head, align, rows, markdownRowsMax))
}

func (r *Report) mdFacts() string {
	rows := [][]string{}
	for _, fact := range r.facts() {
		rows = append(rows, []string{fact[0], mdText(fact[1])})
	}
	return mdFolded("Data and models", mdTable([]string{"", ""}, "", rows, markdownRowsMax))
}

func mdFolded(summary, text string) string {
	return "\n<details>\n<summary>" + summary + "</summary>\n\n" + text + "\n</details>\n"
}

// mdTable writes rows of cells that are Markdown already. Align has an r for each column
// that is to be flush right.
func mdTable(head []string, align string, rows [][]string, rowsMax int) string {
	var b strings.Builder
	line := func(cells []string) { b.WriteString("| " + strings.Join(cells, " | ") + " |\n") }
	line(head)
	rule := make([]string, len(head))
	for i := range rule {
		rule[i] = "---"
		if i < len(align) && align[i] == 'r' {
			rule[i] = "--:"
		}
	}
	line(rule)
	shown := 0
	for shown < min(len(rows), rowsMax) && b.Len() < markdownTableBytesMax {
		line(rows[shown])
		shown++
	}
	if rest := len(rows) - shown; rest > 0 {
		fmt.Fprintf(&b, "\n%s in the report in JSON or HTML.\n", counted(rest, "more row is", "more rows are"))
	}
	return b.String()
}

// mdEscapes are the characters that Markdown, HTML or a table would read. An empty comment
// keeps code hosts from taking a name for somebody to be told and a text for a link.
var mdEscapes = strings.NewReplacer(
	"&", "&amp;", "<", "&lt;", ">", "&gt;", "|", "&#124;",
	`\`, `\\`, "`", "\\`", "*", `\*`, "_", `\_`, "[", `\[`, "]", `\]`, "~", `\~`, "$", `\$`,
	"@", "@<!-- -->", "#", "#<!-- -->", "://", ":<!-- -->//", "www.", "www<!-- -->.",
)

// mdText escapes a sentence.
func mdText(s string) string { return mdEscapes.Replace(s) }

// mdName writes a name from the data as code, which nothing reads for markup.
func mdName(s string) string {
	if s == "" {
		return none
	}
	if !strings.ContainsAny(s, "`|\\") {
		return "`" + s + "`"
	}
	return "<code>" + mdText(s) + "</code>"
}
