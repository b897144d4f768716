// SPDX-License-Identifier: Apache-2.0

package document

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"strings"

	"github.com/millrace-ml/millrace/evaluation/monitor"
	"github.com/millrace-ml/millrace/evaluation/report"
)

//go:embed page.tmpl
var pageText string

var page = template.Must(template.New("page").Parse(pageText))

// pageData is what the template reads. All texts have gone through report.Visible.
type pageData struct {
	Style                               template.CSS
	Title, Badge, Class, Mark, Sentence string
	Sections                            []pageSection
	Facts                               [][2]string
}

type pageSection struct {
	ID, Title     string
	Notes         []string
	Tables        []*table
	Wide, Figures []template.HTML
}

// WriteHTML writes one page that needs nothing else. It is well-formed XML as well.
func WriteHTML(w io.Writer, d *Document) error {
	p := pageData{Style: report.Style(), Title: d.title(), Sentence: d.Sentence(), Facts: d.facts()}
	p.Badge, p.Class, p.Mark = d.badge()
	for _, s := range d.sections() {
		part := pageSection{ID: s.id, Title: s.title, Tables: s.tables, Notes: s.notes}
		for _, f := range s.figures {
			if f.wide {
				part.Wide = append(part.Wide, f.HTML())
			} else {
				part.Figures = append(part.Figures, f.HTML())
			}
		}
		p.Sections = append(p.Sections, part)
	}
	if err := page.Execute(w, p); err != nil {
		return fmt.Errorf("write what the monitor found as HTML: %w", err)
	}
	return nil
}

func (d *Document) title() string { return "Monitor " + report.Visible(d.Monitor) }

func (d *Document) badge() (word, class, mark string) {
	switch {
	case len(d.Reports) == 0:
		return "Nothing yet", "warn", "○"
	case d.Worst() == monitor.Critical:
		return "Critical", "bad", "✗"
	case d.Worst() != "":
		return "Warning", "warn", "!"
	}
	return "No alarm", "good", "✓"
}

func (d *Document) facts() [][2]string {
	var windows []string
	for _, w := range d.Windows {
		windows = append(windows, w.String())
	}
	facts := [][2]string{{"Monitor", report.Visible(d.Monitor)}}
	if len(d.Reports) > 0 {
		facts = append(facts, [2]string{"Time", when(d.From) + " to " + when(d.To) + " UTC"},
			[2]string{"Windows", strings.Join(windows, ", ") + "; those of " + d.Window.String() + " are shown"},
			[2]string{"Of these", plural(len(d.Closed), "closed", "closed") + ", " + plural(len(d.Matured), "matured", "matured")})
	}
	if d.Source != "" {
		facts = append(facts, [2]string{"From", report.Visible(d.Source)})
	}
	if !d.Made.IsZero() {
		facts = append(facts, [2]string{"Made", d.Made.UTC().Format("2006-01-02 15:04:05 UTC")})
	}
	return facts
}
