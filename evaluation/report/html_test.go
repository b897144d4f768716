// SPDX-License-Identifier: Apache-2.0

package report

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// element is an element of a page with its attributes and all text in it.
type element struct {
	name  string
	attrs map[string]string
	text  string
	in    []string
}

// elements parses a page as XML: WriteHTML promises that it is that too, and no text of a
// report could then have become markup unseen.
func elements(t *testing.T, page string) []element {
	t.Helper()
	dec := xml.NewDecoder(strings.NewReader(page))
	var all []element
	var open []int
	var path []string
	for {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatalf("the page is no XML: %v", err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			e := element{name: token.Name.Local, attrs: map[string]string{}, in: append([]string(nil), path...)}
			for _, a := range token.Attr {
				e.attrs[a.Name.Local] = a.Value
			}
			open, path, all = append(open, len(all)), append(path, e.name), append(all, e)
		case xml.EndElement:
			open, path = open[:len(open)-1], path[:len(path)-1]
		case xml.CharData:
			for _, i := range open {
				all[i].text += string(token)
			}
		}
	}
}

func named(all []element, name string) []element {
	var out []element
	for _, e := range all {
		if e.name == name {
			out = append(out, e)
		}
	}
	return out
}

var samples = map[string]func() *Report{
	"card": cardReport, "hostile": hostileReport, "value": valueReport,
	"classes": func() *Report { return classReport(6) }, "many": func() *Report { return classReport(77) },
	"empty": func() *Report { return &Report{} },
}

func TestHTMLNeedsNothingElse(t *testing.T) {
	for name, sample := range samples {
		page := written(t, "html", sample())
		for _, e := range elements(t, page) {
			switch e.name {
			case "script", "img", "link", "iframe", "object", "embed", "base", "form", "image", "use", "foreignObject":
				t.Errorf("%s: the page has a <%s>", name, e.name)
			}
			for a, v := range e.attrs {
				if strings.HasPrefix(a, "on") || a == "src" || a == "srcset" {
					t.Errorf("%s: <%s> has the attribute %s", name, e.name, a)
				}
				if a == "href" && !strings.HasPrefix(v, "#") {
					t.Errorf("%s: a link to %q", name, v)
				}
			}
			if e.name == "style" && (strings.Contains(e.text, "url(") || strings.Contains(e.text, "@import")) {
				t.Errorf("%s: the style sheet asks for something", name)
			}
		}
	}
}

func TestHTMLIsAccessible(t *testing.T) {
	for name, sample := range samples {
		all := elements(t, written(t, "html", sample()))
		ids := map[string]element{}
		for _, e := range all {
			if id := e.attrs["id"]; id != "" {
				if _, twice := ids[id]; twice {
					t.Errorf("%s: two elements have the id %q", name, id)
				}
				ids[id] = e
			}
		}
		for _, e := range all {
			if e.name == "svg" && e.attrs["aria-hidden"] == "" && e.attrs["role"] != "img" {
				t.Errorf("%s: a picture that is neither hidden nor an image", name)
			}
			for _, id := range strings.Fields(e.attrs["aria-labelledby"]) {
				if ids[id].text == "" {
					t.Errorf("%s: <%s> is labelled by %q, which has no text", name, e.name, id)
				}
			}
			if href := e.attrs["href"]; href != "" && ids[href[1:]].name == "" {
				t.Errorf("%s: a link to %q, which is not there", name, href)
			}
			if e.name == "th" && e.attrs["scope"] == "" {
				t.Errorf("%s: a head of a table without scope: %q", name, e.text)
			}
			if e.name == "th" && strings.TrimSpace(e.text) == "" {
				t.Errorf("%s: an empty head of a table", name)
			}
		}
		if n := len(named(all, "h1")); n != 1 {
			t.Errorf("%s: %d first headings", name, n)
		}
		if html := named(all, "html"); len(html) != 1 || html[0].attrs["lang"] != "en" {
			t.Errorf("%s: the page does not say its language", name)
		}
	}
}

func TestHTMLHasAllPlots(t *testing.T) {
	want := map[string][]string{
		"card":  {"differences", "roc", "precision-recall", "reliability", "scores", "confusion", "slices-0", "slices-1"},
		"value": {"predicted", "residuals"}, "many": {"confusion"}, "empty": nil,
	}
	for name, ids := range want {
		var got []string
		all := elements(t, written(t, "html", samples[name]()))
		for _, e := range named(all, "figure") {
			got = append(got, e.attrs["id"])
			if !strings.Contains(e.text, "Data of") {
				t.Errorf("%s: no table behind %s", name, e.attrs["id"])
			}
		}
		if strings.Join(got, " ") != strings.Join(ids, " ") {
			t.Errorf("%s: figures %v, want %v", name, got, ids)
		}
	}
}

func TestHTMLTextsStayTexts(t *testing.T) {
	page := written(t, "html", hostileReport())
	all := elements(t, page)
	if h1 := named(all, "h1")[0].text; !strings.HasPrefix(h1, "<script>alert(1)</script>\"'><img src=x") {
		t.Errorf("the title reads %q", h1)
	}
	for _, bad := range []string{"\x1b", "\x00", "\u202e", "\xff", "NaN", "Inf"} {
		if strings.Contains(page, bad) {
			t.Errorf("the page has %q", bad)
		}
	}
}

var coordinate = regexp.MustCompile(`-?[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?`)

// TestPlotsStayInPictures draws numbers at the ends of what there is: every coordinate is
// in its picture.
func TestPlotsStayInPictures(t *testing.T) {
	big := math.MaxFloat64
	e := Estimate{Value: ptr(big), Low: ptr(-big), High: ptr(big)}
	extremes := []Curve{{Name: "a", X: []float64{-big, big}, Y: []float64{big, -big}, Counts: []int{0, math.MaxInt}},
		{Name: "b", X: []float64{5e-324}, Y: []float64{-5e-324}}, {Name: "c", X: []float64{7, 7}, Y: []float64{1e16, 1e16}}}
	r := &Report{Against: &Model{}, Metrics: []Metric{{Name: "m", Value: e, Against: &e, Difference: &e, Better: "lower"}},
		Slices: []Slice{{Name: "s", Metrics: []Metric{{Name: "m", Value: e, Against: &e}}}},
		Plots: Plots{ROC: extremes, PrecisionRecall: extremes, Reliability: extremes, Residuals: extremes,
			Scores: []Histogram{{Name: "h", Edges: []float64{-big, 0, big}, Counts: []int{1, math.MaxInt}}}}}
	seen := 0
	for _, el := range elements(t, written(t, "html", r)) {
		for _, a := range []string{"x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "d", "width", "height"} {
			if el.name == "svg" {
				continue
			}
			for _, s := range coordinate.FindAllString(el.attrs[a], -1) {
				seen++
				if v, err := strconv.ParseFloat(s, 64); err != nil || v < -10 || v > 1000 {
					t.Errorf("<%s %s=%q> is outside of its picture", el.name, a, el.attrs[a])
				}
			}
		}
	}
	if seen < 100 {
		t.Errorf("only %d coordinates seen", seen)
	}
}

func TestTicks(t *testing.T) {
	for _, test := range []struct {
		a    axis
		want string
	}{
		{axis{lo: 0, hi: 1}, "[0.0 0.2 0.4 0.6 0.8 1.0]"},
		{axis{lo: -3, hi: 12}, "[0 5 10]"},
		{axis{lo: 0, hi: 0.03}, "[0.00 0.01 0.02 0.03]"},
		{axis{lo: 0, hi: 90000}, "[0 20k 40k 60k 80k]"},
		{axis{lo: 0.7, hi: 2e5, log: true}, "[1 10 100 1000 100k]"},
	} {
		var got []string
		ticks := test.a.ticks(5)
		for _, v := range ticks {
			got = append(got, tickText(v, ticks))
		}
		if s := fmt.Sprint(got); s != test.want {
			t.Errorf("ticks of %+v are %s, want %s", test.a, s, test.want)
		}
	}
}

// TestContrast holds the colours of the style sheet to WCAG AA: 4.5 for text on what is
// below it, 3 for lines of pictures.
func TestContrast(t *testing.T) {
	variable := regexp.MustCompile(`--([a-z0-9-]+): (#[0-9a-f]+)`)
	light, dark, found := strings.Cut(pageStyle, "prefers-color-scheme: dark")
	if !found {
		t.Fatal("there is no dark style")
	}
	for mode, css := range map[string]string{"light": light, "dark": dark} {
		colours := map[string]float64{}
		rgb := map[string][3]float64{}
		for _, m := range variable.FindAllStringSubmatch(css, -1) {
			rgb[m[1]] = channels(t, m[2])
			colours[m[1]] = luminance(rgb[m[1]])
		}
		var heat [3]float64
		for i := range heat {
			heat[i] = heatMax*rgb["s0"][i] + (1-heatMax)*rgb["card"][i]
		}
		colours["heat"] = luminance(heat)
		check := func(front, back string, least float64) {
			a, b := colours[front], colours[back]
			if got := (max(a, b) + 0.05) / (min(a, b) + 0.05); got < least {
				t.Errorf("%s: %s on %s has a contrast of %.2f, want %g", mode, front, back, got, least)
			}
		}
		for _, text := range []string{"ink", "muted", "link", "good", "bad", "warn"} {
			check(text, "bg", 4.5)
			check(text, "card", 4.5)
		}
		for _, state := range []string{"good", "bad", "warn"} {
			check(state, state+"-tint", 4.5)
		}
		check("ink", "heat", 4.5)
		for i := range seriesMax {
			check(fmt.Sprintf("s%d", i), "card", 3)
		}
	}
}

// channels are the parts of #rgb or #rrggbb, from 0 to 1.
func channels(t *testing.T, hex string) (rgb [3]float64) {
	t.Helper()
	if hex = hex[1:]; len(hex) == 3 {
		hex = string([]byte{hex[0], hex[0], hex[1], hex[1], hex[2], hex[2]})
	}
	for i := range rgb {
		v, err := strconv.ParseUint(hex[2*i:2*i+2], 16, 8)
		if err != nil {
			t.Fatal(err)
		}
		rgb[i] = float64(v) / 255
	}
	return rgb
}

// luminance is the relative luminance of WCAG 2.1.
func luminance(rgb [3]float64) float64 {
	sum := 0.0
	for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
		c := rgb[i]
		if c <= 0.04045 {
			c /= 12.92
		} else {
			c = math.Pow((c+0.055)/1.055, 2.4)
		}
		sum += weight * c
	}
	return sum
}
