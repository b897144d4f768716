// SPDX-License-Identifier: Apache-2.0

package card

import (
	"fmt"
	"html"
	"html/template"
	"math"
	"strconv"
	"strings"
)

const (
	// pictureWidth is in units of a picture, about a pixel each on a wide screen.
	pictureWidth = 400.0
	// The place of a plot in its picture.
	plotLeft, plotRight = 62.0, 382.0
	plotTop, plotBottom = 10.0, 240.0
	plotHeight          = 285.0
	// seriesMax bounds the lines of a picture: there are as many styles.
	seriesMax = 6
)

// figure is a picture: SVG elements whose colours are classes of the page's style sheet.
type figure struct {
	id, title, desc string
	height          float64
	body            strings.Builder
	legend          []string
	note            string
}

func escaped(s string) string { return html.EscapeString(visible(s)) }

func (f *figure) draw(format string, args ...any) { fmt.Fprintf(&f.body, format, args...) }

func (f *figure) text(x, y float64, class, s string) {
	f.draw(`<text x="%s" y="%s" class="%s">%s</text>`, at(x), at(y), class, escaped(s))
}

func (f *figure) rule(x1, y1, x2, y2 float64, class string) {
	f.draw(`<line x1="%s" y1="%s" x2="%s" y2="%s" class="%s"/>`, at(x1), at(y1), at(x2), at(y2), class)
}

// at writes a coordinate with a tenth of a unit.
func at(v float64) string { return strconv.FormatFloat(math.Round(v*10)/10+0, 'f', -1, 64) }

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
			fmt.Fprintf(&b, `<li><svg viewBox="0 0 24 12" width="24" height="12" aria-hidden="true"><line x1="0" y1="6" x2="24" y2="6" class="series s%d"/></svg> <bdi>%s</bdi></li>`,
				i, escaped(name))
		}
		b.WriteString(`</ul>`)
	}
	if f.note != "" {
		fmt.Fprintf(&b, `<p class="note">%s</p>`, escaped(f.note))
	}
	b.WriteString(`</figure>`)
	return template.HTML(b.String())
}

// axis maps values to places.
type axis struct{ lo, hi, from, to float64 }

func (a axis) place(v float64) float64 {
	return a.from + (a.to-a.from)*min(1, max(0, (v-a.lo)/(a.hi-a.lo)))
}

// around is an axis over values with a little room. Equal values get room too.
func around(lo, hi, from, to float64) axis {
	// Halves first: the distance of two large numbers may be beyond what a float holds.
	room := (hi/2 - lo/2) * 0.1
	if room == 0 {
		room = max(math.Abs(lo)*0.05, 1e-6)
	}
	lo, hi = max(lo-room, -math.MaxFloat64/4), min(hi+room, math.MaxFloat64/4)
	return axis{lo, max(hi, math.Nextafter(lo, math.Inf(1))), from, to}
}

// ticks are about five round values on the axis.
func (a axis) ticks() []float64 {
	rough := (a.hi - a.lo) / 5
	power := math.Pow(10, math.Floor(math.Log10(rough)))
	step := 10 * power
	for _, m := range []float64{5, 2, 1} {
		if m*power >= rough*(1-1e-9) {
			step = m * power
		}
	}
	var out []float64
	for i := math.Ceil(a.lo/step - 1e-9); len(out) < 20 && i*step <= a.hi+step*1e-9; i++ {
		out = append(out, i*step+0)
	}
	return out
}

// tickText writes a tick as short as the distance to the next lets it be.
func tickText(v float64, ticks []float64) string {
	step := 1.0
	if len(ticks) > 1 {
		step = ticks[1] - ticks[0]
	}
	switch a := math.Abs(v); {
	case v != 0 && (a < 1e-4 || a >= 1e9):
		return strconv.FormatFloat(v, 'g', 3, 64)
	case a >= 1e6:
		return strconv.FormatFloat(v/1e6, 'g', 4, 64) + "M"
	case a >= 1e4:
		return strconv.FormatFloat(v/1e3, 'g', 4, 64) + "k"
	}
	return strconv.FormatFloat(v, 'f', max(0, int(-math.Floor(math.Log10(step)+1e-9))), 64)
}

// frame draws both axes with ticks and labels.
func (f *figure) frame(x, y axis, xLabel, yLabel string) {
	ticks := x.ticks()
	for _, v := range ticks {
		f.rule(x.place(v), y.from, x.place(v), y.to, "grid")
		f.text(x.place(v), y.from+17, "tick mid", tickText(v, ticks))
	}
	ticks = y.ticks()
	for _, v := range ticks {
		f.rule(x.from, y.place(v), x.to, y.place(v), "grid")
		f.text(x.from-6, y.place(v)+4.5, "tick end", tickText(v, ticks))
	}
	f.text((x.from+x.to)/2, y.from+37, "label mid", xLabel)
	f.draw(`<text transform="translate(13 %s) rotate(-90)" class="label mid">%s</text>`, at((y.from+y.to)/2), escaped(yLabel))
	f.rule(x.from, y.from, x.to, y.from, "axis")
	f.rule(x.from, y.from, x.from, y.to, "axis")
}

// series draws a line; a single point is a dot.
func (f *figure) series(l Line, x, y axis, n int) {
	if len(l.X) == 1 {
		f.draw(`<circle cx="%s" cy="%s" r="4" class="mark s%d"/>`, at(x.place(l.X[0])), at(y.place(l.Y[0])), n)
		return
	}
	f.draw(`<path class="series s%d" d="`, n)
	for i := range l.X {
		f.draw("%c%s %s", "ML"[min(i, 1)], at(x.place(l.X[i])), at(y.place(l.Y[i])))
	}
	f.draw(`"/>`)
}
