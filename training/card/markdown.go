// SPDX-License-Identifier: Apache-2.0

package card

import (
	"fmt"
	"io"
	"strings"
)

// WriteMarkdown writes the card for a repository or a wiki.
func WriteMarkdown(w io.Writer, c *Card) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n", mdText(c.title()))
	if s := visible(c.Description); s != "" {
		fmt.Fprintf(&b, "\n%s\n", mdText(s))
	}
	b.WriteString("\n" + mdTable(c.about()))
	for _, part := range c.parts() {
		if part.table == nil && len(part.list) == 0 && part.text == "" {
			continue
		}
		fmt.Fprintf(&b, "\n## %s\n", part.title)
		if part.text != "" {
			fmt.Fprintf(&b, "\n%s\n", mdText(part.text))
		}
		if len(part.list) > 0 {
			b.WriteString("\n")
		}
		for _, s := range part.list {
			fmt.Fprintf(&b, "- %s\n", mdText(s))
		}
		if part.table != nil {
			b.WriteString("\n" + mdTable(part.table))
		}
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write model card as Markdown: %w", err)
	}
	return nil
}

func mdTable(t *table) string {
	var b strings.Builder
	head, rule := make([]string, len(t.Head)), make([]string, len(t.Head))
	for i, h := range t.Head {
		head[i], rule[i] = mdText(h.Text), "---"
		if h.Num {
			rule[i] = "--:"
		}
	}
	fmt.Fprintf(&b, "| %s |\n| %s |\n", strings.Join(head, " | "), strings.Join(rule, " | "))
	for _, row := range t.Rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			if cells[i] = mdText(cell); t.chosen(row) && cell != "" {
				cells[i] = "**" + cells[i] + "**"
			}
		}
		fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | "))
	}
	if t.More > 0 {
		fmt.Fprintf(&b, "\nand %s more\n", count(t.More))
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

// mdText escapes a sentence, a leading character that would begin a list or heading too.
func mdText(s string) string {
	s = mdEscapes.Replace(s)
	if s == "" {
		return ""
	}
	mark := len(s) - len(strings.TrimLeft(s, "0123456789"))
	if mark == len(s) {
		return s
	}
	numbered := mark > 0 && (s[mark] == '.' || s[mark] == ')')
	dashed := mark == 0 && strings.ContainsRune("-+=", rune(s[0]))
	if next := s[mark+1:]; numbered && (next == "" || next[0] == ' ') || dashed && (next == "" || next[0] < '0' || next[0] > '9') {
		return s[:mark] + `\` + s[mark:]
	}
	return s
}
