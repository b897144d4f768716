// SPDX-License-Identifier: Apache-2.0

package console

import (
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/millrace-ml/millrace/evaluation/report"
	"github.com/millrace-ml/millrace/serving/access"
)

// Evaluations is what the console needs to show the reports of evaluations, side by side.
// Its methods may be called at once.
type Evaluations interface {
	// Evaluations lists the newest first, at most limit.
	Evaluations(limit int) ([]Evaluation, error)
	// OpenReport opens an evaluation's report.json.
	OpenReport(e *Evaluation) (io.ReadCloser, error)
}

// Evaluation is a report and where it is from.
type Evaluation struct {
	// ID names it in addresses of pages.
	ID   string
	Time time.Time
	// Content is the same for reports that are the same, and another one for others.
	Content string
	// Pipeline, Run and Task made it; they are empty for one that was made by hand.
	Pipeline, Run, Task string
	// Name is that of one that was made by hand.
	Name string
}

// Link is the whole report as a page; empty without one.
func (e *Evaluation) Link() string {
	if e.Run == "" {
		return ""
	}
	return "/console/pipelines/" + pathEscape(e.Run) + "/report/" + pathEscape(e.Task)
}

// evaluationsRoutes adds the pages of the reports of evaluations, side by side.
func (c *Console) evaluationsRoutes(mux access.Mux) {
	mux.Handle("GET /console/evaluations", c.secure(Viewer, c.evaluations))
	mux.Handle("GET /console/evaluations/compare", c.secure(Viewer, c.compare))
}

// Bounds of the pages of evaluations.
const (
	evaluationsMax  = 200
	comparedMin     = 2
	comparedMax     = 6
	listedMetrics   = 4
	comparedMetrics = 60
	comparedSlices  = 100
)

// reportCache holds what pages need of reports, which do not change; the oldest half is
// forgotten when it is full.
type reportCache struct {
	mu    sync.Mutex
	byKey map[string]*cachedReport
	count int
}

type cachedReport struct {
	report *report.Report
	err    error
	order  int
}

// get reads a report if it is not known. The plots of the cache are those of the
// calibration alone. One report is read at a time.
func (rc *reportCache) get(from Evaluations, e *Evaluation) (*report.Report, error) {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	if known := rc.byKey[e.Content]; known != nil {
		return known.report, known.err
	}
	r, err := readReport(from, e)
	if err == nil {
		r.Plots = report.Plots{Reliability: r.Plots.Reliability}
	}
	if rc.byKey == nil {
		rc.byKey = map[string]*cachedReport{}
	}
	rc.count++
	rc.byKey[e.Content] = &cachedReport{r, err, rc.count}
	if len(rc.byKey) > 2*evaluationsMax {
		for key, known := range rc.byKey {
			if known.order <= rc.count-evaluationsMax {
				delete(rc.byKey, key)
			}
		}
	}
	return r, err
}

func readReport(from Evaluations, e *Evaluation) (*report.Report, error) {
	f, err := from.OpenReport(e)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return report.ReadJSON(f)
}

// evaluationRow is a line of the list.
type evaluationRow struct {
	Evaluation
	Report  *report.Report
	Problem string
	Version int64 // of the model, 0 if it was not promoted
	Values  []*report.Estimate
	// Reasons say which gates do not hold.
	Reasons []string
}

// evaluationsPage is the list.
type evaluationsPage struct {
	Rows    []evaluationRow
	Metrics []string
	Problem string
}

func (c *Console) evaluations(w http.ResponseWriter, r *http.Request) error {
	page, err := c.listEvaluations()
	if err != nil {
		return err
	}
	return c.render(w, r, http.StatusOK, "evaluations", page)
}

func (c *Console) listEvaluations() (*evaluationsPage, error) {
	all, err := c.options.Evaluations.Evaluations(evaluationsMax)
	if err != nil {
		return nil, err
	}
	versions, err := c.versionsByDigest()
	if err != nil {
		return nil, err
	}
	page := &evaluationsPage{}
	for _, e := range all[:min(len(all), evaluationsMax)] {
		row := evaluationRow{Evaluation: e}
		var problem error
		if row.Report, problem = c.reports.get(c.options.Evaluations, &e); problem != nil {
			row.Problem = problem.Error()
		} else {
			row.Version, row.Reasons = versions[row.Report.Model.SHA256], brokenGates(row.Report)
			page.addMetrics(row.Report)
		}
		page.Rows = append(page.Rows, row)
	}
	for i := range page.Rows {
		for _, name := range page.Metrics {
			page.Rows[i].Values = append(page.Rows[i].Values, estimateOf(page.Rows[i].Report, name))
		}
	}
	return page, nil
}

func (p *evaluationsPage) addMetrics(r *report.Report) {
	for _, m := range r.Metrics {
		if len(p.Metrics) < listedMetrics && !slices.Contains(p.Metrics, m.Name) {
			p.Metrics = append(p.Metrics, m.Name)
		}
	}
}

// versionsByDigest are the versions of models that were promoted, by the SHA-256 of the model.
func (c *Console) versionsByDigest() (map[string]int64, error) {
	all, err := c.promotions()
	versions := map[string]int64{}
	for _, p := range all {
		if p.Promoted {
			versions[p.SHA256] = p.Version
		}
	}
	return versions, err
}

func brokenGates(r *report.Report) (reasons []string) {
	for _, g := range r.Gates {
		if !g.Holds && !g.Warning {
			reasons = append(reasons, g.Name+": "+g.Reason)
		}
	}
	return reasons
}

func metricOf(all []report.Metric, name string) *report.Metric {
	for i := range all {
		if all[i].Name == name {
			return &all[i]
		}
	}
	return nil
}

func estimateOf(r *report.Report, name string) *report.Estimate {
	if r == nil {
		return nil
	}
	if m := metricOf(r.Metrics, name); m != nil {
		return &m.Value
	}
	return nil
}

// formatEstimate writes a value with its interval.
func formatEstimate(e *report.Estimate) string {
	if e == nil || e.Value == nil {
		return "–"
	}
	text := formatExact(*e.Value)
	if e.Low != nil && e.High != nil {
		text += fmt.Sprintf(" [%s, %s]", formatExact(*e.Low), formatExact(*e.High))
	}
	return text
}

// roundingMax is below what metrics differ by if they differ.
const roundingMax = 1e-12

// formatExact writes a metric; what rounding left of 0 is 0.
func formatExact(v float64) string {
	if math.Abs(v) < roundingMax {
		v = 0
	}
	return formatNumber(v)
}

// compared is one of the reports beside each other.
type compared struct {
	evaluationRow
	// Letter is A for the first one.
	Letter string
}

// comparisonPage shows reports side by side.
type comparisonPage struct {
	Reports []compared
	// Notes say why numbers are not to be compared.
	Notes   []string
	Metrics []comparedMetric
	Slice   string // the metric that slices show
	Names   []string
	Slices  []comparedSlice
	Curves  []reliabilityCurve
	// CurvesTo is the probability at the ends of the axes.
	CurvesTo string
}

// comparedMetric is a metric of all reports, on one scale.
type comparedMetric struct {
	Name, Better string
	Cells        []metricCell
	Scale        intervals
}

// metricCell is a metric of one report; Difference is to its champion.
type metricCell struct {
	Value, Difference *report.Estimate
	Note              string
}

type comparedSlice struct {
	Name  string
	Cells []sliceCell
}

type sliceCell struct {
	Rows  int
	Value *report.Estimate
	Note  string
}

func (c *Console) compare(w http.ResponseWriter, r *http.Request) error {
	ids := slices.Compact(slices.Clone(r.URL.Query()["id"]))
	list, err := c.listEvaluations()
	if err != nil {
		return err
	}
	if len(ids) < comparedMin || len(ids) > comparedMax {
		list.Problem = fmt.Sprintf("Choose %d to %d evaluations.", comparedMin, comparedMax)
		return c.render(w, r, http.StatusBadRequest, "evaluations", list)
	}
	page := comparisonPage{Slice: r.URL.Query().Get("metric")}
	for _, id := range ids {
		at := slices.IndexFunc(list.Rows, func(row evaluationRow) bool { return row.ID == id })
		if at < 0 {
			return notFound("There is no evaluation %q among the newest %d.", id, evaluationsMax)
		}
		if row := list.Rows[at]; row.Report == nil {
			return invalid("The report of %s cannot be read: %s", id, row.Problem)
		}
		page.Reports = append(page.Reports, compared{list.Rows[at], string(rune('A' + len(page.Reports)))})
	}
	page.notes()
	page.metrics()
	page.slices()
	page.Curves, page.CurvesTo = drawReliability(page.Reports)
	return c.render(w, r, http.StatusOK, "comparison", page)
}

// notes says what the reports do not share.
func (p *comparisonPage) notes() {
	first := p.Reports[0].Report
	data, task := true, true
	for _, r := range p.Reports[1:] {
		data = data && r.Report.Data.SHA256 == first.Data.SHA256 && r.Report.Data.Rows == first.Data.Rows
		task = task && r.Report.Task == first.Task
	}
	if !task {
		p.Notes = append(p.Notes, "They are of different tasks.")
	}
	if !data {
		p.Notes = append(p.Notes, "They are not of the same rows: a difference can come from the rows as well as from the models.")
	}
}

// metrics puts the metrics of all reports in rows, in the order of the first that has them.
func (p *comparisonPage) metrics() {
	for _, r := range p.Reports {
		for _, m := range r.Report.Metrics {
			if slices.Contains(p.Names, m.Name) || len(p.Names) == comparedMetrics {
				continue
			}
			p.Names = append(p.Names, m.Name)
			row := comparedMetric{Name: m.Name, Better: m.Better}
			var all []*report.Estimate
			for _, other := range p.Reports {
				cell := metricCell{}
				if found := metricOf(other.Report.Metrics, m.Name); found != nil {
					cell = metricCell{&found.Value, found.Difference, found.Note}
				}
				row.Cells, all = append(row.Cells, cell), append(all, cell.Value)
			}
			row.Scale = drawIntervals(all)
			p.Metrics = append(p.Metrics, row)
		}
	}
}

// slices puts slices in rows, for one metric.
func (p *comparisonPage) slices() {
	if !slices.Contains(p.Names, p.Slice) {
		p.Slice = ""
		if len(p.Names) > 0 {
			p.Slice = p.Names[0]
		}
	}
	seen := map[string]bool{}
	for _, r := range p.Reports {
		for _, s := range r.Report.Slices {
			if seen[s.Name] || len(p.Slices) == comparedSlices {
				continue
			}
			seen[s.Name] = true
			row := comparedSlice{Name: s.Name}
			for _, other := range p.Reports {
				row.Cells = append(row.Cells, sliceOf(other.Report, s.Name, p.Slice))
			}
			p.Slices = append(p.Slices, row)
		}
	}
}

func sliceOf(r *report.Report, name, metric string) sliceCell {
	for _, s := range r.Slices {
		if s.Name != name {
			continue
		}
		cell := sliceCell{Rows: s.Rows, Note: s.Skipped}
		if m := metricOf(s.Metrics, metric); m != nil {
			cell.Value = &m.Value
			if cell.Note == "" {
				cell.Note = m.Note
			}
		}
		return cell
	}
	return sliceCell{Note: "not in this report"}
}

// Tests are those of all rows against the champion.
func (c compared) Tests() []report.Test {
	var all []report.Test
	for _, t := range c.Report.Tests {
		if t.Slice == "" {
			all = append(all, t)
		}
	}
	return all
}

// Model names a report's model for people: its version if it was promoted, and the
// beginning of its digest.
func (r evaluationRow) Model() string {
	if r.Report == nil {
		return ""
	}
	parts := []string{r.Report.Model.Name}
	if v := r.Report.Model.Version; v != "" && r.Version == 0 {
		parts = append(parts, "version "+v)
	}
	if r.Version > 0 {
		parts = append(parts, fmt.Sprintf("version %d", r.Version))
	}
	if digest := r.Report.Model.SHA256; len(digest) >= 8 {
		parts = append(parts, digest[:8])
	}
	return strings.Join(parts, " ")
}
