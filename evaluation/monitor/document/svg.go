// SPDX-License-Identifier: Apache-2.0

package document

import (
	"fmt"
	"html"
	"html/template"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/millrace-ml/millrace/evaluation/report"
)

// Drawing: as in package report, pictures are strings of SVG elements whose colours and line
// styles are classes of its style sheet. Sizes are in units of the picture.

const (
	pictureWidth, wideWidth = 400.0, 800.0
	plotLeft, plotRight     = 58.0, 388.0
	plotTop, plotBottom     = 10.0, 180.0
	plotHeight              = 208.0
	// seriesMax bounds the lines of one picture: there are as many styles.
	seriesMax = 6
)

// series is a line over time, with intervals where they are known; NaN is a gap.
type series struct {
	name              string
	at                []int64
	value, low, upper []float64
}

func (s *series) add(at int64, value, low, upper float64) {
	s.at, s.value, s.low, s.upper = append(s.at, at), append(s.value, value), append(s.low, low), append(s.upper, upper)
	if extra := len(s.at) - PointsMax; extra > 0 {
		s.at, s.value, s.low, s.upper = s.at[extra:], s.value[extra:], s.low[extra:], s.upper[extra:]
	}
}

func (s *series) known() int {
	n := 0
	for _, v := range s.value {
		if finite(v) {
			n++
		}
	}
	return n
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// figure is a picture with its words and the table that says the same.
type figure struct {
	id, title, desc, note string
	height                float64
	wide                  bool
	body                  strings.Builder
	legend                []string
	head                  []string
	rows                  [][]string
}

func escaped(s string) string { return html.EscapeString(report.Visible(s)) }

func (f *figure) draw(format string, args ...any) { fmt.Fprintf(&f.body, format, args...) }

func (f *figure) text(x, y float64, class, s string) {
	f.draw(`<text x="%s" y="%s" class="%s">%s</text>`, place(x), place(y), class, escaped(s))
}

func (f *figure) rule(x1, y1, x2, y2 float64, class string) {
	f.draw(`<line x1="%s" y1="%s" x2="%s" y2="%s" class="%s"/>`, place(x1), place(y1), place(x2), place(y2), class)
}

func (f *figure) box(x, y, w, h float64, class string) {
	f.draw(`<rect x="%s" y="%s" width="%s" height="%s" class="%s"/>`, place(x), place(y), place(w), place(h), class)
}

// place writes a coordinate with a tenth of a unit.
func place(v float64) string { return strconv.FormatFloat(math.Round(v*10)/10+0, 'f', -1, 64) }

// axis maps values to places.
type axis struct{ low, high, from, to float64 }

func (a axis) place(v float64) float64 {
	if a.high <= a.low {
		return (a.from + a.to) / 2
	}
	return a.from + (a.to-a.from)*min(1, max(0, (v-a.low)/(a.high-a.low)))
}

// around is an axis over values with a little room.
func around(low, high, from, to float64) axis {
	room := (high - low) * 0.08
	if room == 0 {
		room = max(math.Abs(low)*0.05, 1e-3)
	}
	return axis{low - room, high + room, from, to}
}

// lines draws series over time, those that have values. It is nil if none has two.
func lines(id, title, label string, reference float64, all ...series) *figure {
	var shown []series
	first, last := int64(math.MaxInt64), int64(math.MinInt64)
	low, high := reference, reference
	for _, s := range all {
		if s.known() < 2 || len(shown) == seriesMax {
			continue
		}
		shown = append(shown, s)
		first, last = min(first, s.at[0]), max(last, s.at[len(s.at)-1])
		for i := range s.value {
			for _, v := range []float64{s.value[i], s.low[i], s.upper[i]} {
				if finite(v) && !(low <= v) {
					low = v
				}
				if finite(v) && !(high >= v) {
					high = v
				}
			}
		}
	}
	if len(shown) == 0 {
		return nil
	}
	f := &figure{id: id, title: title, height: plotHeight}
	x, y := axis{float64(first), float64(last), plotLeft, plotRight}, around(low, high, plotBottom, plotTop)
	f.frame(x, y, label)
	if finite(reference) {
		f.rule(plotLeft, y.place(reference), plotRight, y.place(reference), "reference")
	}
	for i := range shown {
		f.band(&shown[i], x, y, i)
	}
	for i := range shown {
		f.line(&shown[i], x, y, i)
		f.legend = append(f.legend, shown[i].name)
	}
	f.desc = fmt.Sprintf("%s over time: %s. The table after the picture has the numbers.", label, strings.Join(f.legend, ", "))
	f.data(shown)
	return f
}

// frame draws both axes.
func (f *figure) frame(x, y axis, label string) {
	f.days(x, plotBottom, plotTop)
	for _, v := range ticks(y.low, y.high, 4) {
		p := y.place(v)
		f.rule(plotLeft, p, plotRight, p, "grid")
		f.text(plotLeft-6, p+4.5, "tick end", strconv.FormatFloat(v, 'g', 5, 64))
	}
	f.draw(`<text transform="translate(12 %s) rotate(-90)" class="label mid">%s</text>`, place((plotTop+plotBottom)/2), escaped(label))
	f.rule(plotLeft, plotBottom, plotRight, plotBottom, "axis")
}

// days draws an axis of time with two to four moments.
func (f *figure) days(x axis, bottom, top float64) {
	layout := "2006-01-02"
	if x.high-x.low < 3*float64(24*time.Hour/time.Microsecond) {
		layout = "01-02 15:04"
	}
	const n = 3
	for i := range n {
		at := x.low + (x.high-x.low)*float64(i)/(n-1)
		p := x.from + (x.to-x.from)*float64(i)/(n-1)
		class := [n]string{"tick", "tick mid", "tick end"}[i]
		f.rule(p, bottom, p, top, "grid")
		if x.high > x.low || i == 1 {
			f.text(p, bottom+17, class, time.UnixMicro(int64(at)).UTC().Format(layout))
		}
	}
}

// ticks are about n round values.
func ticks(low, high float64, n int) []float64 {
	step := math.Pow(10, math.Floor(math.Log10((high-low)/float64(n))))
	for _, m := range []float64{2, 2.5, 2} {
		if (high-low)/step > float64(n)+1 {
			step *= m
		}
	}
	var all []float64
	for i := math.Ceil(low / step); i*step <= high && len(all) < 3*n; i++ {
		all = append(all, math.Round(i*step*1e9)/1e9+0) // not -0
	}
	return all
}

// line draws what is known, in pieces; a value between two gaps is a dot.
func (f *figure) line(s *series, x, y axis, style int) {
	for from := 0; from < len(s.at); {
		to := from
		for to < len(s.at) && finite(s.value[to]) {
			to++
		}
		if to-from == 1 {
			f.draw(`<circle cx="%s" cy="%s" r="2.5" class="mark s%d"/>`, place(x.place(float64(s.at[from]))), place(y.place(s.value[from])), style)
		} else if to > from {
			f.draw(`<path class="series s%d" d="`, style)
			for i := from; i < to; i++ {
				f.draw("%c%s %s", "ML"[min(i-from, 1)], place(x.place(float64(s.at[i]))), place(y.place(s.value[i])))
			}
			f.draw(`"/>`)
		}
		from = to + 1
	}
}

// band shades the intervals.
func (f *figure) band(s *series, x, y axis, style int) {
	within := func(i int) bool { return finite(s.low[i]) && finite(s.upper[i]) }
	for from := 0; from < len(s.at); {
		to := from
		for to < len(s.at) && within(to) {
			to++
		}
		if to-from > 1 {
			f.draw(`<path class="band s%d" d="`, style)
			for i := from; i < to; i++ {
				f.draw("%c%s %s", "ML"[min(i-from, 1)], place(x.place(float64(s.at[i]))), place(y.place(s.upper[i])))
			}
			for i := to - 1; i >= from; i-- {
				f.draw("L%s %s", place(x.place(float64(s.at[i]))), place(y.place(s.low[i])))
			}
			f.draw(`Z"/>`)
		}
		from = to + 1
	}
}

// data is the table of a picture: a row for each moment.
func (f *figure) data(shown []series) {
	f.head = append([]string{"window from"}, f.legend...)
	at := map[int64]int{}
	for j, s := range shown {
		for i, t := range s.at {
			row, ok := at[t]
			if !ok {
				row = len(f.rows)
				at[t] = row
				f.rows = append(f.rows, make([]string, len(shown)+1))
				f.rows[row][0] = when(t)
			}
			f.rows[row][j+1] = between(s.value[i], s.low[i], s.upper[i])
		}
	}
}

// HTML is the figure as an element of the page, well-formed as XML too.
func (f *figure) HTML() template.HTML {
	var b strings.Builder
	width, class := pictureWidth, ""
	if f.wide {
		width, class = wideWidth, ` class="wide"`
	}
	fmt.Fprintf(&b, `<figure id="%s"%s><figcaption>%s</figcaption>`, f.id, class, escaped(f.title))
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %s %s" role="img" aria-labelledby="%s-t %s-d"><title id="%s-t">%s</title><desc id="%s-d">%s</desc>%s</svg>`,
		place(width), place(f.height), f.id, f.id, f.id, escaped(f.title), f.id, escaped(f.desc), f.body.String())
	if len(f.legend) > 0 {
		b.WriteString(`<ul class="legend">`)
		for i, name := range f.legend {
			fmt.Fprintf(&b, `<li><svg viewBox="0 0 24 12" width="24" height="12" aria-hidden="true"><line x1="0" y1="6" x2="24" y2="6" class="series s%d"/></svg> <bdi>%s</bdi></li>`, i, escaped(name))
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

func (f *figure) table(b *strings.Builder) {
	if len(f.rows) == 0 {
		return
	}
	fmt.Fprintf(b, `<details><summary>Data of %s</summary><div class="scroll" tabindex="0" role="region" aria-label="Data of %s"><table><thead><tr>`, escaped(f.title), escaped(f.title))
	for _, h := range f.head {
		fmt.Fprintf(b, `<th scope="col">%s</th>`, escaped(h))
	}
	b.WriteString(`</tr></thead><tbody>`)
	for _, row := range f.rows {
		b.WriteString(`<tr>`)
		for i, text := range row {
			if i == 0 {
				fmt.Fprintf(b, `<th scope="row">%s</th>`, escaped(text))
			} else {
				fmt.Fprintf(b, `<td class="num">%s</td>`, escaped(text))
			}
		}
		b.WriteString(`</tr>`)
	}
	b.WriteString(`</tbody></table></div></details>`)
}
