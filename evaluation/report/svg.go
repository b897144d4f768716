// SPDX-License-Identifier: Apache-2.0

package report

import (
	"cmp"
	"fmt"
	"html"
	"html/template"
	"math"
	"strconv"
	"strings"
)

// Drawing: pictures are strings of SVG elements whose colours and line styles are classes
// of the page's style sheet, so that they follow the reader's light or dark setting. Sizes
// are in units of the picture, about a pixel each on a wide screen.

const (
	pictureWidth = 400.0
	// seriesMax bounds the lines of one picture: there are as many styles.
	seriesMax = 6
	// tableRowsMax bounds the table behind a picture.
	tableRowsMax = 101
)

// figure is a picture with its words and the table that says the same.
type figure struct {
	id, title, desc string
	height          float64
	body            strings.Builder
	legend          []string
	// line is whether the legend shows lines; else it shows filled squares.
	line bool
	head []string
	rows [][]string
	note string
}

func escaped(s string) string { return html.EscapeString(visible(s)) }

func (f *figure) draw(format string, args ...any) { fmt.Fprintf(&f.body, format, args...) }

// text writes at a point; class says how it is set and which end of it is at the point.
func (f *figure) text(x, y float64, class, s string) {
	f.draw(`<text x="%s" y="%s" class="%s">%s</text>`, at(x), at(y), class, escaped(s))
}

func (f *figure) rule(x1, y1, x2, y2 float64, class string) {
	f.draw(`<line x1="%s" y1="%s" x2="%s" y2="%s" class="%s"/>`, at(x1), at(y1), at(x2), at(y2), class)
}

func (f *figure) box(x, y, w, h float64, class string) {
	f.draw(`<rect x="%s" y="%s" width="%s" height="%s" class="%s"/>`, at(x), at(y), at(w), at(h), class)
}

func (f *figure) dot(x, y, r float64, class string) {
	f.draw(`<circle cx="%s" cy="%s" r="%s" class="%s"/>`, at(x), at(y), at(r), class)
}

// path is a line through points of the picture.
func (f *figure) path(xs, ys []float64, class string) {
	f.draw(`<path class="%s" d="`, class)
	for i := range xs {
		f.draw("%c%s %s", "ML"[min(i, 1)], at(xs[i]), at(ys[i]))
	}
	f.draw(`"/>`)
}

// at writes a coordinate with a tenth of a unit.
func at(v float64) string {
	return strconv.FormatFloat(math.Round(v*10)/10+0, 'f', -1, 64)
}

// html is the figure as an element of the page, well-formed as XML too.
func (f *figure) html() template.HTML {
	var b strings.Builder
	fmt.Fprintf(&b, `<figure id="%s"><figcaption>%s</figcaption>`, f.id, escaped(f.title))
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %s %s" role="img" aria-labelledby="%s-t %s-d">`,
		at(pictureWidth), at(f.height), f.id, f.id)
	fmt.Fprintf(&b, `<title id="%s-t">%s</title><desc id="%s-d">%s</desc>%s</svg>`,
		f.id, escaped(f.title), f.id, escaped(f.desc), f.body.String())
	if len(f.legend) > 0 {
		b.WriteString(`<ul class="legend">`)
		for i, name := range f.legend {
			swatch := fmt.Sprintf(`<rect x="2" y="2" width="20" height="8" class="area s%d"/>`, i)
			if f.line {
				swatch = fmt.Sprintf(`<line x1="0" y1="6" x2="24" y2="6" class="series s%d"/>`, i)
			}
			fmt.Fprintf(&b, `<li><svg viewBox="0 0 24 12" width="24" height="12" aria-hidden="true">%s</svg> <bdi>%s</bdi></li>`,
				swatch, escaped(name))
		}
		b.WriteString(`</ul>`)
	}
	if f.note != "" {
		fmt.Fprintf(&b, `<p class="note">%s</p>`, escaped(f.note))
	}
	f.table(&b)
	b.WriteString(`</figure>`)
	return template.HTML(b.String())
}

// table is what the picture shows, folded away.
func (f *figure) table(b *strings.Builder) {
	if len(f.rows) == 0 {
		return
	}
	fmt.Fprintf(b, `<details><summary>Data of %s</summary><div class="scroll" tabindex="0" role="region" aria-label="Data of %s"><table><thead><tr>`,
		escaped(f.title), escaped(f.title))
	for _, h := range f.head {
		fmt.Fprintf(b, `<th scope="col">%s</th>`, cmp.Or(escaped(h), none))
	}
	b.WriteString(`</tr></thead><tbody>`)
	for _, row := range f.rows {
		b.WriteString(`<tr>`)
		for i, cell := range row {
			if i == 0 {
				fmt.Fprintf(b, `<th scope="row">%s</th>`, cmp.Or(escaped(cell), none))
				continue
			}
			fmt.Fprintf(b, `<td class="num">%s</td>`, escaped(cell))
		}
		b.WriteString(`</tr>`)
	}
	b.WriteString(`</tbody></table></div></details>`)
}

// axis maps values to places. With log it does so by the logarithm; lo is above 0 then.
type axis struct {
	lo, hi   float64
	from, to float64
	log      bool
}

func (a axis) place(v float64) float64 {
	lo, hi := a.lo, a.hi
	if a.log {
		lo, hi, v = math.Log10(lo), math.Log10(hi), math.Log10(max(v, a.lo))
	}
	return a.from + (a.to-a.from)*min(1, max(0, (v-lo)/(hi-lo)))
}

// around is an axis over values with a little room. Equal values get room too.
func around(lo, hi, from, to float64) axis {
	if !(lo <= hi) {
		lo, hi = 0, 1
	}
	// Halves first: the distance of two large numbers may be beyond what a float holds.
	room := (hi/2 - lo/2) * 0.1
	if room == 0 {
		room = max(math.Abs(lo)*0.05, 1e-6)
	}
	lo, hi = max(lo-room, -math.MaxFloat64/4), min(hi+room, math.MaxFloat64/4)
	return axis{lo: lo, hi: max(hi, math.Nextafter(lo, math.Inf(1))), from: from, to: to}
}

// ticks are round values on the axis, about as many as asked for.
func (a axis) ticks(n int) []float64 {
	if a.log {
		var out []float64
		for v := 1.0; v <= a.hi && len(out) < 20; v *= 10 {
			if v >= a.lo {
				out = append(out, v)
			}
		}
		return thinned(out, max(2, n))
	}
	step := roundStep((a.hi - a.lo) / float64(n))
	var out []float64
	for i := math.Ceil(a.lo/step - 1e-9); len(out) < 4*n; i++ {
		v := i * step
		if v > a.hi+step*1e-9 {
			break
		}
		out = append(out, v+0)
	}
	return out
}

// roundStep is the smallest of 1, 2 and 5 times a power of ten that is at least v.
func roundStep(v float64) float64 {
	p := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 2, 5} {
		if m*p >= v*(1-1e-9) {
			return m * p
		}
	}
	return 10 * p
}

// tickText writes a tick as short as the distance to the next lets it be.
func tickText(v float64, ticks []float64) string {
	step := 1.0
	if len(ticks) > 1 {
		step = ticks[1] - ticks[0]
	}
	a := math.Abs(v)
	switch {
	case v != 0 && (a < 1e-4 || a >= 1e12):
		return strconv.FormatFloat(v, 'g', 3, 64)
	case a >= 1e9:
		return strconv.FormatFloat(v/1e9, 'g', 4, 64) + "G"
	case a >= 1e6:
		return strconv.FormatFloat(v/1e6, 'g', 4, 64) + "M"
	case a >= 1e4:
		return strconv.FormatFloat(v/1e3, 'g', 4, 64) + "k"
	}
	return strconv.FormatFloat(v, 'f', max(0, int(-math.Floor(math.Log10(step)+1e-9))), 64)
}

// frame draws both axes with ticks and labels.
func (f *figure) frame(x, y axis, xLabel, yLabel string) {
	f.ruler(x, y.from, y.to, xLabel)
	ticks := y.ticks(5)
	for _, v := range ticks {
		p := y.place(v)
		f.rule(x.from, p, x.to, p, "grid")
		f.text(x.from-6, p+4.5, "tick end", tickText(v, ticks))
	}
	f.draw(`<text transform="translate(13 %s) rotate(-90)" class="label mid">%s</text>`,
		at((y.from+y.to)/2), escaped(yLabel))
	f.rule(x.from, y.from, x.to, y.from, "axis")
	f.rule(x.from, y.from, x.from, y.to, "axis")
}

// ruler draws a horizontal axis at the bottom, with lines up to the top.
func (f *figure) ruler(x axis, bottom, top float64, label string) {
	ticks := x.ticks(5)
	for _, v := range ticks {
		p := x.place(v)
		f.rule(p, bottom, p, top, "grid")
		f.text(p, bottom+17, "tick mid", tickText(v, ticks))
	}
	f.text((x.from+x.to)/2, bottom+37, "label mid", label)
}
