// SPDX-License-Identifier: Apache-2.0

package console

import (
	"fmt"
	"math"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/millrace-ml/millrace/evaluation/monitor"
	"github.com/millrace-ml/millrace/evaluation/monitor/document"
	"github.com/millrace-ml/millrace/evaluation/monitor/record"
	"github.com/millrace-ml/millrace/orchestrator"
)

// Figure is a station of the loop: what goes on there in a number, with a way to its page.
type Figure struct {
	Name, Value string
	// Note says more in a few words; State is good, warn, bad or empty.
	Note, State string
	// Link is within the console; empty for none.
	Link string
}

// loop is the strip of figures, in the order in which the loop turns. Parts that are not
// there have none.
func (c *Console) loop(p *overviewPage) []Figure {
	var figures []Figure
	if c.options.Metrics != nil {
		now := c.traffic.latest()
		figures = append(figures, c.decisionsFigure(&now))
		if now.Feedback.counted {
			figures = append(figures, labelsFigure(&now))
		}
	}
	if c.options.Monitors != nil {
		if f, ok := c.qualityFigure(); ok {
			figures = append(figures, f)
		}
		figures = append(figures, alarmsFigure(p.Alarms))
	}
	if c.options.Labeling != nil {
		figures = append(figures, c.queueFigure())
	}
	if c.options.Pipelines != nil {
		figures = append(figures, runFigure(p.Runs))
	}
	if len(p.Models) > 0 {
		figures = append(figures, servedFigure(p.Models))
	}
	return figures
}

// decisionsFigure counts decisions, or where there are none what models were asked for.
func (c *Console) decisionsFigure(now *point) Figure {
	f := Figure{Name: "Decisions", Note: "a second"}
	rate := now.Decisions.rate
	if !now.Decisions.counted {
		f.Name, f.Link = "Requests", "/console/models"
		for _, m := range now.Models {
			rate += m.Requests
		}
	} else if c.options.Decisions != nil {
		f.Link = "/console/decisions"
	}
	f.Value = formatRate(rate)
	return f
}

// labelsFigure counts outcomes that were taken since the start of the server.
func labelsFigure(now *point) Figure {
	return Figure{Name: "Feedback", Value: strconv.FormatFloat(now.Feedback.total, 'f', 0, 64), Note: formatRate(now.Feedback.rate) + " outcomes a second"}
}

// qualityFigure is the newest quality by labels of the first monitor that knows one. False
// means that none does.
func (c *Console) qualityFigure() (Figure, bool) {
	monitors, err := c.options.Monitors.Monitors()
	if err != nil {
		return Figure{Name: "Quality", Value: "unknown", Note: err.Error(), State: "bad"}, true
	}
	for _, m := range monitors {
		f := Figure{Name: "Quality", Link: "/console/monitors/" + url.PathEscape(m.Name)}
		if m.Problem != "" {
			f.Value, f.Note, f.State = "unknown", m.Problem, "bad"
			return f, true
		}
		r, err := c.options.Monitors.Record(m.Name)
		if err != nil {
			f.Value, f.Note, f.State = "unknown", err.Error(), "bad"
			return f, true
		}
		if f.describe(r) {
			return f, true
		}
	}
	return Figure{}, false
}

// describe says the AUC, or of a regression the mean absolute error, of the newest window that matured, or as estimated of the newest
// that closed. False means that there is none.
func (f *Figure) describe(r MonitorRecord) bool {
	for _, matured := range []bool{true, false} {
		newest, err := r.Reports(record.Query{Matured: &matured, Limit: 1})
		if err != nil || len(newest) == 0 {
			continue
		}
		if f.describeReport(&newest[0]) {
			return true
		}
	}
	return false
}

func (f *Figure) describeReport(r *monitor.Report) bool {
	at, m := day(time.UnixMicro(r.End)), r.Kind.Metrics()[0]
	switch {
	case r.Quality != nil && !math.IsNaN(r.Quality.Values.Of(m)):
		q := r.Quality
		f.Value = formatNumber(q.Values.Of(m))
		f.Note = fmt.Sprintf("%s%s by labels, until %s", document.Title(m), boundsText(q.Low.Of(m), q.High.Of(m)), at)
	case r.Estimated != nil && !math.IsNaN(r.Estimated.Values.Of(m)):
		f.Value, f.Note = formatNumber(r.Estimated.Values.Of(m)), document.Title(m)+", estimated, until "+at
	default:
		return false
	}
	return true
}

func alarmsFigure(alarms []AlarmChange) Figure {
	f := Figure{Name: "Alarms", Value: strconv.Itoa(len(alarms)), Note: "none raised", State: "good", Link: "/console/monitors"}
	if len(alarms) > 0 {
		f.Note, f.State, f.Link = alarmWords(alarms[0]), "warn", alarmLink(alarms[0])
		if slices.ContainsFunc(alarms, func(a AlarmChange) bool { return a.Severity == string(monitor.Critical) }) {
			f.State = "bad"
		}
	}
	return f
}

// queueFigure counts what people could label or review now.
func (c *Console) queueFigure() Figure {
	f := Figure{Name: "To label", Link: "/console/labeling"}
	open, review := 0, 0
	for _, p := range c.options.Labeling.Projects() {
		n, err := c.options.Labeling.Counts(p.Name)
		if err != nil {
			f.Value, f.Note, f.State = "unknown", err.Error(), "bad"
			return f
		}
		open, review = open+n.Open, review+n.Review
	}
	f.Value, f.Note = strconv.Itoa(open), fmt.Sprintf("tasks, and %d to review", review)
	return f
}

func runFigure(runs []*orchestrator.RunStatus) Figure {
	f := Figure{Name: "Last run", Value: "none", Note: "no pipeline ran yet", Link: "/console/pipelines"}
	if len(runs) == 0 {
		return f
	}
	r := runs[0]
	f.Value, f.Note, f.Link, f.State = string(r.Status), r.Pipeline, "/console/pipelines/"+url.PathEscape(r.ID), stateOf(r.Status)
	return f
}

func servedFigure(models []modelRow) Figure {
	f := Figure{Name: "Serving", Link: "/console/models", State: "good"}
	if len(models) > 1 {
		f.Value, f.Note = strconv.Itoa(len(models)), "models"
		for _, m := range models {
			if m.Current == 0 {
				f.Note, f.State = m.Name+" serves nothing", "bad"
			}
		}
		return f
	}
	m := models[0]
	f.Value, f.Note, f.Link = fmt.Sprintf("v%d", m.Current), m.Name, "/console/models/"+url.PathEscape(m.Name)
	if m.Current == 0 {
		f.Value, f.State = "nothing", "bad"
	}
	return f
}
