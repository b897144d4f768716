// SPDX-License-Identifier: Apache-2.0

package console

import (
	"cmp"
	"math"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/millrace-ml/millrace/evaluation/monitor"
	"github.com/millrace-ml/millrace/evaluation/monitor/document"
	"github.com/millrace-ml/millrace/evaluation/monitor/record"
	"github.com/millrace-ml/millrace/serving/access"
)

// Monitors is what the console needs to show monitors and their alarms. Its methods may be
// called at once.
type Monitors interface {
	// Monitors are those of the project, by name.
	Monitors() ([]MonitorInfo, error)
	// Record is what a monitor found so far; an empty one if it found nothing yet.
	Record(name string) (MonitorRecord, error)
	// AlarmChanges are those that were told to people and pipelines, newest first: at most
	// limit, and older ones of alarms that are raised still.
	AlarmChanges(limit int) ([]AlarmChange, error)
}

// MonitorRecord is what a *record.Store has.
type MonitorRecord interface {
	Reports(record.Query) ([]record.Report, error)
	Windows() ([]monitor.Duration, error)
	Events(limit int) ([]monitor.Event, error)
	Alarms() ([]monitor.Alarm, error)
}

// MonitorInfo says what a monitor watches.
type MonitorInfo struct {
	Name string
	// Decision is whose decisions are watched, Label what tells whether they were right;
	// empty if unknown.
	Decision, Label string
	// Starts are the pipelines that its alarms start.
	Starts []string
	// Problem is why it does not watch, empty if it does.
	Problem string
}

// AlarmChange is a line of the file of alarms.
type AlarmChange struct {
	// ID is MONITOR/SUBJECT@SINCE, the same for all changes of one alarm.
	ID      string    `json:"id"`
	Time    time.Time `json:"time"`
	Monitor string    `json:"monitor"`
	Subject string    `json:"subject"`
	// Severity is warning or critical, Change raised, still or cleared.
	Severity string `json:"severity"`
	Change   string `json:"change"`
	Reason   string `json:"reason"`
	// Starts are the pipelines that this change started.
	Starts []string `json:"starts,omitempty"`
}

// alarmID names an alarm of a monitor, also in what triggers a run and in links.
func alarmID(name string, a *monitor.Alarm) string {
	return name + "/" + a.Subject + "@" + time.UnixMicro(a.Since).UTC().Format(time.RFC3339)
}

// monitorPath is the page of a monitor.
func monitorPath(name string) string { return "/console/monitors/" + url.PathEscape(name) }

// alarmPath is the page of an alarm.
func alarmPath(name, id string) string {
	return monitorPath(name) + "/alarms?id=" + url.QueryEscape(id)
}

// Bounds of the pages of monitors.
const (
	// monitorPointsMax is the most windows of a plot and of the tables of a monitor's page.
	monitorPointsMax = 200
	// eventsMax is how many of the newest changes of alarms a page looks at.
	eventsMax = 2000
	// alarmsShownMax bounds a list of alarms, columnsShownMax one of columns.
	alarmsShownMax  = 100
	columnsShownMax = 100
	// plottedMax bounds the columns that are plotted together.
	plottedMax = 6
)

// monitorsRoutes adds the pages of monitors and their alarms.
func (c *Console) monitorsRoutes(mux access.Mux) {
	view := func(pattern string, show func(http.ResponseWriter, *http.Request) error) {
		mux.Handle("GET "+pattern, c.secure(Viewer, show))
	}
	view("/console/monitors", c.monitors)
	view("/console/monitors/{monitor}", c.monitor)
	view("/console/monitors/{monitor}/series.json", c.monitorSeries)
	view("/console/monitors/{monitor}/report", c.monitorReport)
	view("/console/monitors/{monitor}/alarms", c.alarm)
}

// monitorRow is a monitor in the list of them.
type monitorRow struct {
	MonitorInfo
	Path    string
	Windows []windowRow
	Alarms  []alarmRow
	// Critical and Warnings count the alarms that are raised.
	Critical, Warnings int
}

// windowRow is what the newest windows of a length say.
type windowRow struct {
	Window          string
	Closed, Matured *monitor.Report
}

// alarmRow is an alarm in a list.
type alarmRow struct {
	document.Span
	Monitor, Words, Path string
}

func alarmRowOf(name string, s document.Span) alarmRow {
	return alarmRow{s, name, document.Subject(&s.Alarm), alarmPath(name, alarmID(name, &s.Alarm))}
}

// When says a moment in microseconds since 1970.
func (alarmRow) When(micros int64) string { return momentText(micros) }

// momentText says a moment in microseconds since 1970; nothing for 0.
func momentText(micros int64) string {
	if micros == 0 {
		return when(time.Time{})
	}
	return when(time.UnixMicro(micros))
}

// Realised is the most telling metric as labels say it, with its interval.
func (w windowRow) Realised() string {
	if w.Matured == nil || w.Matured.Quality == nil {
		return formatNumber(math.NaN())
	}
	q, m := w.Matured.Quality, w.Matured.Kind.Metrics()[0]
	return document.Title(m) + " " + intervalText(q.Values.Of(m), q.Low.Of(m), q.High.Of(m))
}

// Estimated is the same metric as it is estimated before labels.
func (w windowRow) Estimated() string {
	if w.Closed == nil || w.Closed.Estimated == nil {
		return formatNumber(math.NaN())
	}
	e, m := w.Closed.Estimated, w.Closed.Kind.Metrics()[0]
	return document.Title(m) + " " + intervalText(e.Values.Of(m), e.Low.Of(m), e.High.Of(m))
}

// Doubtful says that the estimate is not to be trusted.
func (w windowRow) Doubtful() bool {
	return w.Closed != nil && w.Closed.Estimated != nil && w.Closed.Estimated.Unreliable
}

// End is when a window ended.
func (windowRow) End(r *monitor.Report) string {
	if r == nil {
		return when(time.Time{})
	}
	return day(time.UnixMicro(r.End))
}

func intervalText(v, low, high float64) string {
	if math.IsNaN(v) {
		return formatNumber(v)
	}
	return formatNumber(v) + boundsText(low, high)
}

// boundsText is empty for an interval that is not known, as of a window with few labels.
func boundsText(low, high float64) string {
	if math.IsNaN(low) || math.IsNaN(high) {
		return ""
	}
	return " [" + formatNumber(low) + ", " + formatNumber(high) + "]"
}

// monitorsPage is the list of monitors, with all alarms that are raised.
type monitorsPage struct {
	Monitors []monitorRow
	Alarms   []alarmRow
}

func (c *Console) monitors(w http.ResponseWriter, r *http.Request) error {
	infos, err := c.options.Monitors.Monitors()
	if err != nil {
		return err
	}
	changes, err := c.options.Monitors.AlarmChanges(alarmChangesMax)
	if err != nil {
		return err
	}
	var page monitorsPage
	for _, info := range infos {
		row, err := c.monitorRow(info, changes)
		if err != nil {
			return err
		}
		page.Monitors = append(page.Monitors, *row)
		page.Alarms = append(page.Alarms, row.Alarms...)
	}
	slices.SortStableFunc(page.Monitors, func(a, b monitorRow) int {
		return cmp.Or(cmp.Compare(b.Critical, a.Critical), cmp.Compare(b.Warnings, a.Warnings))
	})
	slices.SortStableFunc(page.Alarms, func(a, b alarmRow) int {
		return cmp.Or(cmp.Compare(rank(a.Severity), rank(b.Severity)), cmp.Compare(b.Since, a.Since))
	})
	page.Alarms = page.Alarms[:min(len(page.Alarms), alarmsShownMax)]
	return c.render(w, r, http.StatusOK, "monitors", page)
}

// rank orders severities, the worst first.
func rank(s monitor.Severity) int {
	if s == monitor.Critical {
		return 0
	}
	return 1
}

// raisedOf are the alarms of a monitor that are raised. What people were told says so, and
// has alarms that are of no window, such as that no predictions come; where nobody was told
// anything, as after a backtest, the windows' reports do.
func raisedOf(name string, recorded []monitor.Alarm, changes []AlarmChange) []alarmRow {
	told := false
	open := map[string]AlarmChange{}
	for _, change := range slices.Backward(changes) { // they are newest first
		if change.Monitor != name {
			continue
		}
		told = true
		if change.Change == alarmCleared {
			delete(open, change.ID)
		} else if _, known := open[change.ID]; !known {
			open[change.ID] = change
		}
	}
	var rows []alarmRow
	if !told {
		for _, a := range recorded {
			rows = append(rows, alarmRowOf(name, document.Span{Alarm: a}))
		}
	}
	for id, change := range open {
		a := monitor.Alarm{Subject: change.Subject, Severity: monitor.Severity(change.Severity), Since: change.Time.UnixMicro(), Windows: 1, Reason: change.Reason}
		if i := slices.IndexFunc(recorded, func(r monitor.Alarm) bool { return r.Subject == change.Subject }); i >= 0 {
			a.Windows, a.Reason = recorded[i].Windows, recorded[i].Reason
		}
		rows = append(rows, alarmRow{document.Span{Alarm: a}, name, document.Subject(&a), alarmPath(name, id)})
	}
	slices.SortFunc(rows, func(a, b alarmRow) int {
		return cmp.Or(cmp.Compare(rank(a.Severity), rank(b.Severity)), cmp.Compare(b.Since, a.Since), cmp.Compare(a.Subject, b.Subject))
	})
	return rows
}

func (c *Console) monitorRow(info MonitorInfo, changes []AlarmChange) (*monitorRow, error) {
	row := &monitorRow{MonitorInfo: info, Path: monitorPath(info.Name)}
	found, err := c.options.Monitors.Record(info.Name)
	if err != nil {
		return nil, err
	}
	raised, err := found.Alarms()
	if err != nil {
		return nil, err
	}
	row.Alarms = raisedOf(info.Name, raised, changes)
	for i := range row.Alarms {
		if row.Alarms[i].Severity == monitor.Critical {
			row.Critical++
		} else {
			row.Warnings++
		}
	}
	windows, err := found.Windows()
	if err != nil {
		return nil, err
	}
	for _, length := range windows {
		newest := windowRow{Window: length.String()}
		for matured, at := range map[bool]**monitor.Report{false: &newest.Closed, true: &newest.Matured} {
			reports, err := found.Reports(record.Query{Window: length, Matured: &matured, Limit: 1})
			if err != nil {
				return nil, err
			}
			if len(reports) > 0 {
				*at = &reports[0]
			}
		}
		row.Windows = append(row.Windows, newest)
	}
	return row, nil
}

// findMonitor is the monitor of a request's path, with what it found.
func (c *Console) findMonitor(r *http.Request) (*MonitorInfo, MonitorRecord, error) {
	name := r.PathValue("monitor")
	infos, err := c.options.Monitors.Monitors()
	if err != nil {
		return nil, nil, err
	}
	i := slices.IndexFunc(infos, func(m MonitorInfo) bool { return m.Name == name })
	if i < 0 {
		return nil, nil, notFound("There is no monitor %q.", name)
	}
	found, err := c.options.Monitors.Record(name)
	return &infos[i], found, err
}
