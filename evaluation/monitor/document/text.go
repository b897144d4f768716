// SPDX-License-Identifier: Apache-2.0

package document

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// textRowsMax is the most rows of a table in text and Markdown.
const textRowsMax = 20

// WriteText writes the document for a terminal: the tables without the plots.
func WriteText(w io.Writer, d *Document) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%s\n", d.title(), d.Sentence())
	for _, f := range d.facts()[1:] {
		fmt.Fprintf(&b, "%s: %s\n", strings.ToLower(f[0]), f[1])
	}
	for _, s := range d.sections() {
		fmt.Fprintf(&b, "\n%s\n%s\n", strings.ToUpper(s.title), strings.Repeat("-", len(s.title)))
		for _, t := range s.tables {
			if err := t.text(&b); err != nil {
				return err
			}
		}
		for _, note := range s.notes {
			fmt.Fprintf(&b, "%s\n", note)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (t *table) text(w io.Writer) error {
	fmt.Fprintf(w, "%s\n", t.Caption)
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	var head []string
	for _, c := range t.Head {
		head = append(head, strings.ToUpper(c.Text))
	}
	fmt.Fprintln(out, strings.Join(head, "\t"))
	for _, row := range t.Rows[:min(len(t.Rows), textRowsMax)] {
		var texts []string
		for _, c := range row {
			texts = append(texts, c.Text)
		}
		fmt.Fprintln(out, strings.Join(texts, "\t"))
	}
	if err := out.Flush(); err != nil {
		return err
	}
	t.more(w)
	return nil
}

func (t *table) more(w io.Writer) {
	if rest := len(t.Rows) - textRowsMax; rest > 0 {
		fmt.Fprintf(w, "and %d more: --format html or json has them\n", rest)
	}
}

// markdownSpecial are characters that mean something in Markdown or HTML.
var markdownSpecial = strings.NewReplacer("|", `\|`, "<", "&lt;", ">", "&gt;", "&", "&amp;", "`", "\\`", "*", `\*`, "_", `\_`, "[", `\[`, "]", `\]`, "@", "&#64;", "#", "&#35;", "\\", `\\`)

// WriteMarkdown writes the document for a pull request or a ticket.
func WriteMarkdown(w io.Writer, d *Document) error {
	var b strings.Builder
	_, _, mark := d.badge()
	fmt.Fprintf(&b, "## %s %s\n\n%s\n", mark, markdownSpecial.Replace(d.title()), d.Sentence())
	for _, s := range d.sections() {
		fmt.Fprintf(&b, "\n### %s\n", s.title)
		for _, t := range s.tables {
			t.markdown(&b)
		}
		for _, note := range s.notes {
			fmt.Fprintf(&b, "\n%s\n", markdownSpecial.Replace(note))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (t *table) markdown(b *strings.Builder) {
	fmt.Fprintf(b, "\n%s\n\n|", markdownSpecial.Replace(t.Caption))
	for _, c := range t.Head {
		fmt.Fprintf(b, " %s |", markdownSpecial.Replace(c.Text))
	}
	b.WriteString("\n|")
	for _, c := range t.Head {
		b.WriteString(map[bool]string{true: " ---: |", false: " --- |"}[c.Num])
	}
	b.WriteString("\n")
	for _, row := range t.Rows[:min(len(t.Rows), textRowsMax)] {
		b.WriteString("|")
		for _, c := range row {
			fmt.Fprintf(b, " %s |", markdownSpecial.Replace(c.Text))
		}
		b.WriteString("\n")
	}
	if len(t.Rows) > textRowsMax {
		b.WriteString("\n")
		t.more(b)
	}
}
