// SPDX-License-Identifier: Apache-2.0

package console

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"math"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/millrace-ml/millrace/evaluation/monitor/drift"
)

//go:embed pages/*.html
var pageFiles embed.FS

//go:embed assets/*.js assets/*.css
var assetFiles embed.FS

// pageSet has a template for each page, by name.
type pageSet map[string]*template.Template

// layoutFile is what all pages share.
const layoutFile = "pages/layout.html"

func parsePages() (pageSet, error) {
	files, err := fs.Glob(pageFiles, "pages/*.html")
	if err != nil {
		return nil, err
	}
	set := pageSet{}
	for _, file := range files {
		if file == layoutFile {
			continue
		}
		t, err := template.New("").Funcs(functions).ParseFS(pageFiles, layoutFile, file)
		if err != nil {
			return nil, fmt.Errorf("console: %w", err)
		}
		set[strings.TrimSuffix(path.Base(file), ".html")] = t
	}
	return set, nil
}

// view is what a page is made of.
type view struct {
	Project, Version, Page string
	Who                    string
	Role                   Role
	// Signed says that there is a session to end; Has what parts there are.
	Signed bool
	Has    map[string]bool
	// Simulated says that the clock of the data is that of a simulation.
	Simulated bool
	Now       time.Time
	Data      any
}

// Operates says whether buttons that change things are shown.
func (v *view) Operates() bool { return v.Role >= Operator }

// Labels says whether there is a way to the pages where people label.
func (v *view) Labels() bool { return v.Role >= Labeller }

// render writes a page, or for htmx the part of it that changes.
func (c *Console) render(w http.ResponseWriter, r *http.Request, status int, page string, data any) error {
	s := c.sessions.of(r)
	v := &view{
		Project: c.options.Project, Version: c.options.Version, Page: page, Who: s.who, Role: s.role, Signed: s.id != "",
		Has: map[string]bool{
			"models": c.options.Models != nil, "pipelines": c.options.Pipelines != nil, "experiments": c.options.Experiments != nil,
			"features": c.options.Features != nil, "evaluations": c.options.Evaluations != nil, "decisions": c.options.Decisions != nil,
			"monitors": c.options.Monitors != nil, "labeling": c.options.Labeling != nil,
		},
		Simulated: c.story() != nil, Now: c.options.Now(), Data: data,
	}
	t := c.pages[page]
	name := path.Base(layoutFile)
	if r.Header.Get("HX-Request") != "" && t.Lookup("live") != nil && status == http.StatusOK {
		name = "live"
	}
	var b bytes.Buffer // a page that fails half way is not sent
	if err := t.ExecuteTemplate(&b, name, v); err != nil {
		return fmt.Errorf("page %s: %w", page, err)
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, err := w.Write(b.Bytes())
	if err != nil {
		c.options.Logger.Debug("console", "path", r.URL.Path, "error", err) // whoever asked has gone
	}
	return nil
}

// functions are what templates can say.
var functions = template.FuncMap{
	"when":       when,
	"href":       hrefOf,
	"alarmURL":   alarmLink,
	"alarmWords": alarmWords,
	"day":        day,
	"duration":   shortDuration,
	"number":     anyNumber,
	"rate":       formatRate,
	"interval":   intervalParts,
	"sentence":   sentence,
	"capital":    capital,
	"testName":   testName,
	"value":      formatValue,
	"short":      shorten,
	"isoTime":    func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
	"percent":    formatShare,
	"estimate":   formatEstimate,
	"signed":     formatSigned,
}

func percentText(share float64) string {
	if math.IsNaN(share) {
		return "–"
	}
	return strconv.FormatFloat(100*share, 'f', 1, 64) + " %"
}

// when says a time as people do: exact, in UTC, to the second.
func when(t time.Time) string {
	if t.IsZero() {
		return "–"
	}
	return t.UTC().Format("2006-01-02 15:04:05")
}

func shortDuration(d time.Duration) string {
	switch {
	case d == 0:
		return "0 s"
	case d < time.Millisecond:
		return d.Round(time.Microsecond).String()
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + " s"
	}
	return d.Round(time.Second).String()
}

func formatNumber(v float64) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return "–"
	}
	if v == math.Trunc(v) && math.Abs(v) < 1e15 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}

// formatRate writes what changes all the time, and what is told apart by three digits.
func formatRate(v float64) string {
	switch size := math.Abs(v); {
	case size < 1e-9:
		return "0"
	case size >= 100:
		return formatNumber(math.Round(v))
	case v == math.Trunc(v), math.IsNaN(v):
		return formatNumber(v)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}

// numberAndRange is a number and the interval it is in, such as [0.8, 0.9]; empty for none.
type numberAndRange struct{ Value, Range string }

// intervalParts cuts what intervalText made, so that tables are not wide.
func intervalParts(text string) numberAndRange {
	value, bounds, found := strings.Cut(text, " [")
	if !found {
		return numberAndRange{Value: text}
	}
	return numberAndRange{value, "[" + bounds}
}

// sentenceMax bounds a description.
const sentenceMax = 500

// sentence makes one of a description, which may begin and end as its author liked.
func sentence(text string) string {
	text = capital(shorten(strings.TrimSpace(text), sentenceMax))
	if text == "" || strings.ContainsAny(text[len(text)-1:], ".!?:") || strings.HasSuffix(text, "…") {
		return text
	}
	return text + "."
}

// capital writes the first letter of a word large; names such as roc_auc stay as they are.
func capital(text string) string {
	word, _, _ := strings.Cut(text, " ")
	word = strings.TrimSuffix(word, ":")
	r, size := utf8.DecodeRuneInString(text)
	if size == 0 || strings.ContainsAny(word, "_:/") {
		return text
	}
	return string(unicode.ToUpper(r)) + text[size:]
}

// testName is a test as people call it.
func testName(t drift.Test) string {
	switch t {
	case drift.KS:
		return "Kolmogorov–Smirnov"
	case drift.CvM:
		return "Cramér–von Mises"
	}
	return string(t)
}

// day says a time to the minute; it takes a pointer as well.
func day(t any) string {
	switch t := t.(type) {
	case time.Time:
		return t.UTC().Format("2006-01-02 15:04")
	case *time.Time:
		if t != nil {
			return t.UTC().Format("2006-01-02 15:04")
		}
	}
	return "–"
}

// anyNumber writes a number that may be behind a pointer.
func anyNumber(v any) string {
	switch v := v.(type) {
	case float64:
		return formatNumber(v)
	case *float64:
		if v != nil {
			return formatNumber(*v)
		}
	case int:
		return strconv.Itoa(v)
	}
	return "–"
}

func formatShare(share float64) string {
	if math.IsNaN(share) {
		return "–"
	}
	return strconv.FormatFloat(100*share, 'f', 1, 64) + " %"
}

// formatSigned writes a difference.
func formatSigned(v float64) string {
	if v > 0 {
		return "+" + formatNumber(v)
	}
	return formatNumber(v)
}

// formatValue writes what a task or a run says of itself.
func formatValue(v any) string {
	if f, ok := v.(float64); ok {
		return formatNumber(f)
	}
	return shorten(fmt.Sprint(v), 60)
}

func shorten(text string, runes int) string {
	all := []rune(text)
	if len(all) <= runes {
		return text
	}
	return string(all[:runes]) + "…"
}

// serveAsset serves scripts and styles, which change with the program only.
func serveAsset(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("file")
	data, err := assetFiles.ReadFile("assets/" + name)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "public, max-age=3600")
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(data))
}
