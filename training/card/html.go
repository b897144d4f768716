// SPDX-License-Identifier: Apache-2.0

package card

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

// pageData is what the template reads; its texts are visible ones.
type pageData struct {
	Style              template.CSS
	Title, Description string
	About              pageTable
	Parts              []pagePart
}

type pagePart struct {
	ID, Title, Text string
	List            []string
	Table           *pageTable
	Figures         []template.HTML
}

type pageTable struct {
	*table
	// Facts have no head: the first cell names the second.
	Facts bool
}

// Chosen is whether a row stands out.
func (t *pageTable) Chosen(row []string) bool { return t.chosen(row) }

// Rest says how many rows were left out.
func (t *pageTable) Rest() string { return count(t.More) }

// WriteHTML writes one page that needs nothing else: no script, no request to any host. It
// is well-formed XML as well.
func WriteHTML(w io.Writer, c *Card) error {
	d := pageData{Style: template.CSS(pageStyle), Title: c.title(), Description: visible(c.Description),
		About: pageTable{c.about(), true}}
	figures := map[string][]template.HTML{
		"features": {c.barFigure()}, "training": c.curveFigures(), "calibration": {c.reliabilityFigure()},
	}
	for _, part := range c.parts() {
		p := pagePart{ID: part.id, Title: part.title, Text: part.text, List: part.list}
		for _, f := range figures[part.id] {
			if f != "" {
				p.Figures = append(p.Figures, f)
			}
		}
		if part.table != nil {
			p.Table = &pageTable{part.table, part.table.Head[0].Text == ""}
		}
		if p.Table != nil || p.Text != "" || len(p.List) > 0 || len(p.Figures) > 0 {
			d.Parts = append(d.Parts, p)
		}
	}
	if err := page.Execute(w, d); err != nil {
		return fmt.Errorf("write model card as HTML: %w", err)
	}
	return nil
}
