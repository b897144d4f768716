// SPDX-License-Identifier: Apache-2.0

// Package document puts together for people what a monitor found over a time: alarms,
// quality with intervals and label coverage, what was estimated before labels, columns by
// their impact, slices, data quality, latency and decisions. It is written as a page, as
// Markdown, as text and as JSON.
//
// Invariants:
//
//   - What is not known is a dash or a gap, never 0.
//   - The page needs nothing else: no script, no request to any host. Behind each plot is a
//     table of its numbers. Texts that come from data are shown and never interpreted.
//   - The same reports give the same bytes.
//   - A document shows at most PointsMax windows in a plot and RowsMax rows in a table, and
//     says so where there are more.
//
// Concurrency: functions may be called at the same time. A Document does not change.
package document

import (
	"cmp"
	"encoding/json"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/millrace-ml/millrace/evaluation/monitor"
)

// Bounds of what is shown.
const (
	// PointsMax is the most windows of a plot: the newest.
	PointsMax = 400
	// RowsMax is the most rows of a table.
	RowsMax = 200
)

// Options say what a document is of.
type Options struct {
	// Monitor is its name.
	Monitor string
	// Window is the length of the windows that are plotted; 0 is the longest one of which
	// there are at least windowsMin, or the shortest.
	Window monitor.Duration
	// Slice shows one slice alone, as DIMENSION or DIMENSION=VALUE; empty is all.
	Slice string
	// Made is when the document is made. It is shown, and alarms that are raised last until
	// then.
	Made time.Time
	// Source says where reports come from, such as a folder; empty is not said.
	Source string
}

// windowsMin is how many windows make a plot worth looking at.
const windowsMin = 8

// Span is an alarm from when it was raised until it cleared.
type Span struct {
	monitor.Alarm
	// Until is when it cleared, in microseconds since 1970; 0 while it is raised.
	Until int64
}

// Raised says whether the alarm is still raised.
func (s *Span) Raised() bool { return s.Until == 0 }

// Document is what was found.
type Document struct {
	Options
	// Reports are all reports, oldest first. Closed and Matured are those of Window.
	Reports         []monitor.Report
	Closed, Matured []monitor.Report
	// Alarms are those that are raised first, the critical before the others, then the newest.
	Alarms []Span
	// Kind is that of the newest report: another is not shown.
	Kind monitor.Kind
	// Windows are the lengths there are, shortest first.
	Windows []monitor.Duration
	// From and To are what the reports are of, in microseconds since 1970.
	From, To int64
}

// New puts reports together. They are in the order in which they came to be known, and stay
// the caller's.
func New(reports []monitor.Report, o Options) *Document {
	d := &Document{Options: o, Reports: reports, Alarms: Spans(reports), Kind: monitor.Binary}
	if n := len(reports); n > 0 && reports[n-1].Kind != "" {
		d.Kind = reports[n-1].Kind
	}
	counts := map[monitor.Duration]int{}
	for i := range reports {
		r := &reports[i]
		if counts[r.Window] == 0 {
			d.Windows = append(d.Windows, r.Window)
		}
		if counts[r.Window] += 1; d.From == 0 || r.Start < d.From {
			d.From = r.Start
		}
		d.To = max(d.To, r.End)
	}
	slices.Sort(d.Windows)
	if d.Window == 0 {
		d.Window = d.best(counts)
	}
	for _, r := range reports {
		switch {
		case r.Window != d.Window:
		case r.Matured:
			d.Matured = append(d.Matured, r)
		default:
			d.Closed = append(d.Closed, r)
		}
	}
	byStart := func(a, b monitor.Report) int { return cmp.Compare(a.Start, b.Start) }
	slices.SortStableFunc(d.Closed, byStart)
	slices.SortStableFunc(d.Matured, byStart)
	return d
}

// best is the window length to plot. A length has about two reports of each window.
func (d *Document) best(counts map[monitor.Duration]int) monitor.Duration {
	if len(d.Windows) == 0 {
		return 0
	}
	for _, w := range slices.Backward(d.Windows) {
		if counts[w] >= 2*windowsMin {
			return w
		}
	}
	return d.Windows[0]
}

// Spans are the alarms that reports tell of: those that are raised first, the critical
// before the others, then the newest.
func Spans(reports []monitor.Report) []Span {
	var events []monitor.Event
	for i := range reports {
		events = append(events, reports[i].Events...)
	}
	return SpansOf(events)
}

// SpansOf are the alarms that events tell of, which are in order of time; as Spans.
func SpansOf(events []monitor.Event) []Span {
	var spans []Span
	last := map[string]int{}
	for _, e := range events {
		at, known := last[e.Alarm.Subject]
		if !known || spans[at].Since != e.Alarm.Since {
			at = len(spans)
			last[e.Alarm.Subject] = at
			spans = append(spans, Span{Alarm: e.Alarm})
		}
		if e.Change == monitor.Cleared { // its reason is that of the last bad window
			spans[at].Until = e.At
			continue
		}
		spans[at].Alarm = e.Alarm
	}
	sortSpans(spans)
	return spans
}

func sortSpans(spans []Span) {
	slices.SortStableFunc(spans, func(a, b Span) int {
		return cmp.Or(first(a.Raised(), b.Raised()), first(a.Severity == monitor.Critical, b.Severity == monitor.Critical), cmp.Compare(b.Since, a.Since), cmp.Compare(a.Subject, b.Subject))
	})
}

// End ends alarms whose end no report tells, such as those about a version that is served no
// more. Ended says when an alarm ended, in microseconds since 1970; 0 is not.
func (d *Document) End(ended func(*monitor.Alarm) int64) {
	for i := range d.Alarms {
		if s := &d.Alarms[i]; s.Raised() {
			s.Until = ended(&s.Alarm)
		}
	}
	sortSpans(d.Alarms)
}

// first orders what is so before what is not.
func first(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

// Worst is the severity of the worst alarm that is raised, empty if none is.
func (d *Document) Worst() monitor.Severity {
	if len(d.Alarms) == 0 || !d.Alarms[0].Raised() {
		return ""
	}
	return d.Alarms[0].Severity
}

// ColumnLine is what became of a column over the windows that closed.
type ColumnLine struct {
	Name string
	// Last is what the newest window says of it, Effects and Missing what each of Closed
	// says; NaN where it was not tested.
	Last             monitor.ColumnReport
	Effects, Missing []float64
	// Shift is the largest change of the mean score by this column alone, with its sign.
	Shift float64
	// Drifted counts the alarms of drift that the column had.
	Drifted int
}

// Columns are those of the windows that closed, those likeliest to have mattered first: by
// alarms of drift, by what they did to the score, by how far they moved.
func (d *Document) Columns() []ColumnLine {
	at := map[string]int{}
	var lines []ColumnLine
	for i := range d.Closed {
		for _, c := range d.Closed[i].Columns {
			j, known := at[c.Name]
			if !known {
				j = len(lines)
				at[c.Name] = j
				lines = append(lines, ColumnLine{Name: c.Name, Effects: gaps(len(d.Closed)), Missing: gaps(len(d.Closed)), Shift: math.NaN()})
			}
			l := &lines[j]
			l.Last, l.Missing[i] = c, c.MissingShare
			if c.Drift == nil {
				continue
			}
			if l.Effects[i] = c.Effect; !(math.Abs(c.ScoreShift) <= math.Abs(l.Shift)) && !math.IsNaN(c.ScoreShift) {
				l.Shift = c.ScoreShift
			}
		}
	}
	for i := range lines {
		for _, s := range d.Alarms {
			kind, _, what := Parts(s.Subject)
			if kind == "drift" && what == lines[i].Name {
				lines[i].Drifted++
			}
		}
	}
	slices.SortStableFunc(lines, func(a, b ColumnLine) int {
		return cmp.Or(cmp.Compare(min(b.Drifted, 1), min(a.Drifted, 1)), cmp.Compare(known(math.Abs(b.Shift)), known(math.Abs(a.Shift))),
			cmp.Compare(most(b.Effects), most(a.Effects)), cmp.Compare(a.Name, b.Name))
	})
	return lines
}

// Parts are those of a subject such as drift:1d:amount: its kind, the length of its windows,
// and what it is of, which is empty for some.
func Parts(subject string) (kind, window, what string) {
	kind, rest, _ := strings.Cut(subject, ":")
	window, what, _ = strings.Cut(rest, ":")
	return kind, window, what
}

func gaps(n int) []float64 {
	all := make([]float64, n)
	for i := range all {
		all[i] = math.NaN()
	}
	return all
}

func known(v float64) float64 {
	if math.IsNaN(v) {
		return -1
	}
	return v
}

// most is the largest of some numbers, -1 if none is known.
func most(values []float64) float64 {
	top := -1.0
	for _, v := range values {
		if v > top {
			top = v
		}
	}
	return top
}

// slicesOf are the slices of a report that were asked for, those with most labels first.
func (d *Document) slicesOf(r *monitor.Report) []monitor.SliceQuality {
	dimension, value, one := strings.Cut(d.Slice, "=")
	var all []monitor.SliceQuality
	for _, s := range r.Slices {
		if d.Slice == "" || s.Slice == dimension && (!one || s.Value == value) {
			all = append(all, s)
		}
	}
	slices.SortStableFunc(all, func(a, b monitor.SliceQuality) int {
		return cmp.Or(cmp.Compare(a.Slice, b.Slice), cmp.Compare(b.Quality.Labelled, a.Quality.Labelled), cmp.Compare(a.Value, b.Value))
	})
	return all
}

// WriteJSON writes the document for other programs: what it is of, the alarms, and all
// reports as monitor.Report writes them.
func WriteJSON(w io.Writer, d *Document) error {
	type alarm struct {
		Subject  string           `json:"subject"`
		Severity monitor.Severity `json:"severity"`
		Since    int64            `json:"since"`
		Until    *int64           `json:"until"`
		Windows  int              `json:"windows"`
		Reason   string           `json:"reason"`
	}
	out := struct {
		Monitor string           `json:"monitor"`
		Made    time.Time        `json:"made"`
		From    int64            `json:"from"`
		To      int64            `json:"to"`
		Worst   monitor.Severity `json:"worst,omitempty"`
		Alarms  []alarm          `json:"alarms"`
		Reports []monitor.Report `json:"reports"`
	}{d.Monitor, d.Made.UTC(), d.From, d.To, d.Worst(), []alarm{}, d.Reports}
	if out.Reports == nil {
		out.Reports = []monitor.Report{}
	}
	for _, s := range d.Alarms {
		a := alarm{s.Subject, s.Severity, s.Since, nil, s.Windows, s.Reason}
		if !s.Raised() {
			a.Until = &s.Until
		}
		out.Alarms = append(out.Alarms, a)
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(out)
}
