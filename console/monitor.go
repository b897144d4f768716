// SPDX-License-Identifier: Apache-2.0

package console

import (
	"cmp"
	"encoding/json"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/millrace-ml/millrace/evaluation/monitor"
	"github.com/millrace-ml/millrace/evaluation/monitor/document"
	"github.com/millrace-ml/millrace/evaluation/monitor/estimate"
	"github.com/millrace-ml/millrace/evaluation/monitor/record"
)

// monitorPage is a monitor.
type monitorPage struct {
	MonitorInfo
	Path string
	// Windows are the lengths there are, Window the one that is shown.
	Windows []string
	Window  string
	// Newest are the newest window that closed and that matured.
	Newest windowRow
	// Raised are the alarms of all windows that are raised, Past those that cleared.
	Raised, Past []alarmRow
	Columns      []columnRow
	Quality      []qualityRow
	Slices       []qualityRow
	// Metrics are the columns of Quality and Slices, Plots the metrics that are plotted.
	Metrics []string
	Plots   []metricPlot
	// Bins are the biases by score, of a regression.
	Bins []binRow
	// Estimates says whether there are some; Assumptions what they rest on.
	Estimates   bool
	Assumptions string
	// Plotted are the columns whose effect is plotted, as the address of the series has them.
	Plotted []string
}

// columnRow is a column with its place in the list.
type columnRow struct {
	document.ColumnLine
	// Newest are effect, p-value, mean and share of missing values of the newest window.
	Effect, P, Mean, Missing string
	Shown                    bool
}

// qualityRow is the quality of a window or of a slice.
type qualityRow struct {
	Name           string
	Rows, Labelled int
	Coverage       float64
	// Values are those of the page's metrics.
	Values []string
	Worse  bool
}

// metricPlot is a metric that is plotted.
type metricPlot struct{ Name, Title string }

// binRow is the bias of rows whose scores are in a bin.
type binRow struct {
	From, To, Bias, Before string
	Rows                   int
}

// tableMetrics are those of tables, and plottedMetrics those of plots.
func tableMetrics(kind monitor.Kind) []estimate.Metric {
	if kind == monitor.Regression {
		return kind.Metrics()
	}
	return []estimate.Metric{estimate.AUC, estimate.Accuracy, estimate.Precision, estimate.Recall}
}

func plottedMetrics(kind monitor.Kind) []estimate.Metric {
	if kind == monitor.Regression {
		return []estimate.Metric{estimate.MAE, estimate.Bias}
	}
	return []estimate.Metric{estimate.AUC, estimate.Accuracy}
}

// SeriesPath is where the plots' numbers are.
func (p *monitorPage) SeriesPath() string {
	q := url.Values{"window": {p.Window}, "column": p.Plotted}
	return p.Path + "/series.json?" + q.Encode()
}

// Self is the page as it is shown, for refreshing it.
func (p *monitorPage) Self() string {
	return p.Path + "?" + url.Values{"window": {p.Window}, "column": p.Plotted}.Encode()
}

// WindowPath is the page with windows of another length.
func (p *monitorPage) WindowPath(window string) string {
	return p.Path + "?" + url.Values{"window": {window}}.Encode()
}

// windowOf is the length of windows that a request asks for, or the longest one.
func windowOf(r *http.Request, windows []monitor.Duration) (monitor.Duration, error) {
	asked := r.URL.Query().Get("window")
	if asked == "" {
		if len(windows) == 0 {
			return 0, nil
		}
		return windows[0], nil
	}
	i := slices.IndexFunc(windows, func(w monitor.Duration) bool { return w.String() == asked })
	if i < 0 {
		return 0, notFound("The monitor has no windows of %q.", asked)
	}
	return windows[i], nil
}

// newestWindows puts the newest windows of a length together.
func newestWindows(found MonitorRecord, name string, window monitor.Duration) (*document.Document, error) {
	if window == 0 {
		return document.New(nil, document.Options{Monitor: name}), nil
	}
	reports, err := found.Reports(record.Query{Window: window, Limit: 2 * monitorPointsMax})
	if err != nil {
		return nil, err
	}
	return document.New(reports, document.Options{Monitor: name, Window: window}), nil
}

// monitorAsked is the monitor that a request names, and what it found in the windows of the length
// that the request asks for.
type monitorAsked struct {
	info     *MonitorInfo
	found    MonitorRecord
	windows  []monitor.Duration
	window   monitor.Duration
	document *document.Document
}

func (c *Console) monitorAsked(r *http.Request) (m monitorAsked, err error) {
	if m.info, m.found, err = c.findMonitor(r); err != nil {
		return m, err
	}
	if m.windows, err = m.found.Windows(); err != nil {
		return m, err
	}
	if m.window, err = windowOf(r, m.windows); err != nil {
		return m, err
	}
	m.document, err = newestWindows(m.found, m.info.Name, m.window)
	return m, err
}

func (c *Console) monitor(w http.ResponseWriter, r *http.Request) error {
	m, err := c.monitorAsked(r)
	if err != nil {
		return err
	}
	info, found, windows, window, d := m.info, m.found, m.windows, m.window, m.document
	page := &monitorPage{MonitorInfo: *info, Path: monitorPath(info.Name), Assumptions: d.Kind.Assumptions()}
	for _, length := range windows {
		page.Windows = append(page.Windows, length.String())
	}
	if window != 0 {
		page.Window = window.String()
	}
	if err := c.monitorAlarms(page, found); err != nil {
		return err
	}
	page.fill(d, r.URL.Query()["column"])
	return c.render(w, r, http.StatusOK, "monitor", page)
}

// monitorAlarms fills in the alarms of a monitor.
func (c *Console) monitorAlarms(p *monitorPage, found MonitorRecord) error {
	events, err := found.Events(eventsMax)
	if err != nil {
		return err
	}
	recorded, err := found.Alarms()
	if err != nil {
		return err
	}
	changes, err := c.options.Monitors.AlarmChanges(alarmChangesMax)
	if err != nil {
		return err
	}
	p.Raised = raisedOf(p.Name, recorded, changes)
	slices.Reverse(events) // they are newest first
	for _, s := range document.SpansOf(events) {
		if !s.Raised() {
			p.Past = append(p.Past, alarmRowOf(p.Name, s))
		}
	}
	slices.SortStableFunc(p.Past, func(a, b alarmRow) int { return cmp.Compare(b.Until, a.Until) })
	p.Raised, p.Past = p.Raised[:min(len(p.Raised), alarmsShownMax)], p.Past[:min(len(p.Past), alarmsShownMax)]
	return nil
}

// fill takes what is shown of the windows. Asked are the columns to plot; none is the first.
func (p *monitorPage) fill(d *document.Document, asked []string) {
	p.Newest.Window = p.Window
	for _, m := range tableMetrics(d.Kind) {
		p.Metrics = append(p.Metrics, document.Title(m))
	}
	for i, m := range plottedMetrics(d.Kind) {
		title := document.Title(m)
		if i == 0 {
			title += ", by labels and estimated before them"
		}
		p.Plots = append(p.Plots, metricPlot{string(m), title})
	}
	if n := len(d.Closed); n > 0 {
		p.Newest.Closed = &d.Closed[n-1]
	}
	if n := len(d.Matured); n > 0 {
		p.Newest.Matured = &d.Matured[n-1]
	}
	for i := range d.Closed {
		p.Estimates = p.Estimates || d.Closed[i].Estimated != nil
	}
	for i, line := range d.Columns() {
		row := columnRow{ColumnLine: line, Effect: formatNumber(math.NaN()), P: formatNumber(math.NaN()), Mean: formatNumber(line.Last.Mean), Missing: percentText(line.Last.MissingShare)}
		if line.Last.Drift != nil {
			row.Effect, row.P = formatNumber(line.Last.Effect), formatNumber(line.Last.Adjusted)
		}
		row.Shown = slices.Contains(asked, line.Name) || len(asked) == 0 && i < plottedMax
		if row.Shown = row.Shown && len(p.Plotted) < plottedMax; row.Shown {
			p.Plotted = append(p.Plotted, line.Name)
		}
		if p.Columns = append(p.Columns, row); len(p.Columns) == columnsShownMax {
			break
		}
	}
	for _, r := range slices.Backward(d.Matured) {
		if len(p.Quality) < windowsShownMax && r.Quality != nil {
			p.Quality = append(p.Quality, qualityRowOf(d.Kind, momentText(r.Start), r.Quality))
		}
		if len(p.Bins) == 0 && r.Quality != nil {
			for _, b := range r.Quality.Bins {
				p.Bins = append(p.Bins, binRow{formatNumber(b.From), formatNumber(b.To), intervalText(b.Bias, b.Low, b.High), formatNumber(b.Before), b.Rows})
			}
		}
		if len(p.Slices) == 0 {
			for _, s := range r.Slices[:min(len(r.Slices), columnsShownMax)] {
				p.Slices = append(p.Slices, qualityRowOf(d.Kind, s.Slice+" = "+s.Value, &s.Quality))
			}
		}
	}
}

// windowsShownMax is how many windows the table of quality shows.
const windowsShownMax = 12

func qualityRowOf(kind monitor.Kind, name string, q *monitor.Quality) qualityRow {
	row := qualityRow{Name: name, Rows: q.Rows, Labelled: q.Labelled, Coverage: q.Coverage}
	for _, m := range tableMetrics(kind) {
		row.Values = append(row.Values, intervalText(q.Values.Of(m), q.Low.Of(m), q.High.Of(m)))
	}
	for _, t := range q.Tests {
		row.Worse = row.Worse || t.Change
	}
	return row
}

// monitorSeriesJSON is what the plots of a monitor draw: times in seconds since 1970, and
// values that are null where nothing is known.
type monitorSeriesJSON struct {
	Times []int64 `json:"times"`
	// Plots are by the name that the page gives them.
	Plots map[string][]plotLine `json:"plots"`
}

type plotLine struct {
	Label  string     `json:"label"`
	Values []*float64 `json:"values"`
	// Low and High are intervals.
	Low  []*float64 `json:"low,omitempty"`
	High []*float64 `json:"high,omitempty"`
}

// monitorSeries serves the numbers of a monitor's plots.
func (c *Console) monitorSeries(w http.ResponseWriter, r *http.Request) error {
	m, err := c.monitorAsked(r)
	if err != nil {
		return err
	}
	columns := r.URL.Query()["column"]
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(monitorSeriesOf(m.document, columns[:min(len(columns), plottedMax)]))
}

// seriesMaker puts values of windows at their places in time.
type seriesMaker struct {
	at map[int64]int
	n  int
}

func (m *seriesMaker) line(label string) plotLine {
	return plotLine{Label: label, Values: make([]*float64, m.n)}
}

func (m *seriesMaker) put(to []*float64, start int64, v float64) {
	if !math.IsNaN(v) && !math.IsInf(v, 0) {
		to[m.at[start]] = &v
	}
}

func monitorSeriesOf(d *document.Document, columns []string) monitorSeriesJSON {
	s := monitorSeriesJSON{Times: []int64{}, Plots: map[string][]plotLine{}}
	var starts []int64
	for _, all := range [][]monitor.Report{d.Closed, d.Matured} {
		for i := range all {
			starts = append(starts, all[i].Start)
		}
	}
	slices.Sort(starts)
	starts = slices.Compact(starts)
	m := &seriesMaker{at: map[int64]int{}, n: len(starts)}
	for i, start := range starts {
		m.at[start] = i
		s.Times = append(s.Times, start/time.Second.Microseconds())
	}
	for _, metric := range plottedMetrics(d.Kind) {
		s.Plots[string(metric)] = m.quality(d, metric)
	}
	score, rows, coverage := m.line("mean score"), m.line("rows"), m.line("with a label, %")
	for i := range d.Closed {
		if r := &d.Closed[i]; r.Score != nil {
			m.put(score.Values, r.Start, r.Score.Mean)
		}
		m.put(rows.Values, d.Closed[i].Start, float64(d.Closed[i].Rows))
	}
	for i := range d.Matured {
		if q := d.Matured[i].Quality; q != nil {
			m.put(coverage.Values, d.Matured[i].Start, 100*q.Coverage)
		}
	}
	s.Plots["score"], s.Plots["rows"], s.Plots["coverage"] = []plotLine{score}, []plotLine{rows}, []plotLine{coverage}
	s.Plots["effect"] = m.effects(d, columns)
	return s
}

// quality is a metric as labels say it, with its interval, and as it is estimated.
func (m *seriesMaker) quality(d *document.Document, metric estimate.Metric) []plotLine {
	realised, estimated := m.line("by labels"), m.line("estimated")
	realised.Low, realised.High = make([]*float64, m.n), make([]*float64, m.n)
	for i := range d.Matured {
		if r := &d.Matured[i]; r.Quality != nil {
			m.put(realised.Values, r.Start, r.Quality.Values.Of(metric))
			m.put(realised.Low, r.Start, r.Quality.Low.Of(metric))
			m.put(realised.High, r.Start, r.Quality.High.Of(metric))
		}
	}
	for i := range d.Closed {
		if r := &d.Closed[i]; r.Estimated != nil && !r.Estimated.Unreliable {
			m.put(estimated.Values, r.Start, r.Estimated.Values.Of(metric))
		}
	}
	return []plotLine{realised, estimated}
}

// effects are how far columns moved.
func (m *seriesMaker) effects(d *document.Document, columns []string) []plotLine {
	lines := []plotLine{}
	all := d.Columns()
	for _, name := range columns {
		i := slices.IndexFunc(all, func(l document.ColumnLine) bool { return l.Name == name })
		if i < 0 {
			continue
		}
		line := m.line(strings.ToValidUTF8(name, "�"))
		for j := range d.Closed {
			m.put(line.Values, d.Closed[j].Start, all[i].Effects[j])
		}
		lines = append(lines, line)
	}
	return lines
}

// monitorReport makes the report of a monitor, as `millrace monitor report` does.
func (c *Console) monitorReport(w http.ResponseWriter, r *http.Request) error {
	info, found, err := c.findMonitor(r)
	if err != nil {
		return err
	}
	reports, err := found.Reports(record.Query{Limit: reportedMax})
	if err != nil {
		return err
	}
	w.Header().Set("Content-Security-Policy", documentPolicy)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	return document.WriteHTML(w, document.New(reports, document.Options{Monitor: info.Name, Made: c.options.Now()}))
}

// reportedMax is how many reports of windows the console's report is made of.
const reportedMax = 2000
