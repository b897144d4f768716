// SPDX-License-Identifier: Apache-2.0

package console

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/millrace-ml/millrace/orchestrator"
)

// Bounds of the first page.
const (
	overviewRunsMax   = 8
	overviewAuditMax  = 8
	overviewAlarmsMax = 8
	figuresMax        = 12
)

// Figure is a station of the loop: what goes on there in a number, with a way to its page.
type Figure struct {
	Name, Value string
	// Note says more in a few words; State is good, warn, bad or empty.
	Note, State string
	// Link is within the console; empty for none.
	Link string
}

// overviewPage is the first page.
type overviewPage struct {
	Loop   []Figure
	Story  *Story
	Models []modelRow
	Runs   []*orchestrator.RunStatus
	Alarms []Alarm
	Audit  []Entry
}

func (c *Console) overview(w http.ResponseWriter, r *http.Request) error {
	page := overviewPage{Models: c.modelRows(), Story: c.story()}
	if c.options.Pipelines != nil {
		all, err := c.options.Pipelines.Runs("")
		if err != nil {
			return err
		}
		page.Runs = newest(all, overviewRunsMax)
	}
	var err error
	if page.Audit, err = c.options.Audit.Entries(overviewAuditMax); err != nil {
		return err
	}
	if c.options.Alarms != nil {
		all, err := c.options.Alarms.Alarms()
		if err != nil {
			return err
		}
		page.Alarms = raised(all)
	}
	page.Loop = c.loop(&page)
	page.Alarms = page.Alarms[:min(len(page.Alarms), overviewAlarmsMax)]
	return c.render(w, r, http.StatusOK, "overview", page)
}

// loop is the strip of figures, in the order in which the loop turns.
func (c *Console) loop(p *overviewPage) []Figure {
	var figures []Figure
	if c.options.Metrics != nil {
		figures = append(figures, c.decisionsFigure())
	}
	if c.options.Loop != nil {
		figures = append(figures, c.options.Loop()...)
	}
	if c.options.Alarms != nil {
		figures = append(figures, alarmsFigure(p.Alarms))
	}
	if c.options.Pipelines != nil {
		figures = append(figures, runFigure(p.Runs))
	}
	if len(p.Models) > 0 {
		figures = append(figures, servedFigure(p.Models))
	}
	return figures[:min(len(figures), figuresMax)]
}

// decisionsFigure counts decisions, or where there are none what models were asked for.
func (c *Console) decisionsFigure() Figure {
	f := Figure{Name: "Decisions", Note: "a second"}
	now := c.traffic.latest()
	rate := now.Decisions
	if !now.Decides {
		f.Name, f.Link = "Requests", "/console/models"
		rate = 0
		for _, m := range now.Models {
			rate += m.Requests
		}
	} else if c.options.Decisions != nil {
		f.Link = "/console/decisions"
	}
	f.Value = formatNumber(rate)
	return f
}

func alarmsFigure(alarms []Alarm) Figure {
	f := Figure{Name: "Alarms", Value: fmt.Sprint(len(alarms)), Note: "none raised", State: "good"}
	if len(alarms) > 0 {
		f.Note, f.State, f.Link = alarms[0].Subject, "bad", alarms[0].Link()
	}
	return f
}

func runFigure(runs []*orchestrator.RunStatus) Figure {
	f := Figure{Name: "Last run", Value: "none", Note: "no pipeline ran yet", Link: "/console/pipelines"}
	if len(runs) == 0 {
		return f
	}
	r := runs[0]
	f.Value, f.Note, f.Link = string(r.Status), r.Pipeline, "/console/pipelines/"+url.PathEscape(r.ID)
	switch {
	case !r.Status.Ended():
		f.State = "warn"
	case r.Status == orchestrator.StatusSucceeded:
		f.State = "good"
	default:
		f.State = "bad"
	}
	return f
}

func servedFigure(models []modelRow) Figure {
	f := Figure{Name: "Serving", Link: "/console/models", State: "good"}
	if len(models) > 1 {
		f.Value, f.Note = fmt.Sprint(len(models)), "models"
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

// Alarm is a change of an alarm: it was raised, or cleared.
type Alarm struct {
	// ID is the same for all changes of one alarm.
	ID       string
	Time     time.Time
	Monitor  string
	Subject  string
	Severity string
	// Change is raised, still or cleared.
	Change string
	Reason string
	// Starts are the pipelines that it started.
	Starts []string
}

// Link is the page of the alarm.
func (a *Alarm) Link() string { return alarmPath(a.Monitor, a.ID) }

// Alarms are the changes of alarms. Its method may be called at once.
type Alarms interface {
	// Alarms lists changes in order of time, at most some thousands: the newest.
	Alarms() ([]Alarm, error)
}

// raised are the alarms that were raised and not cleared, the newest first, each by its
// first change.
func raised(changes []Alarm) []Alarm {
	cleared := map[string]bool{}
	seen := map[string]bool{}
	for i := range changes {
		if changes[i].Change == alarmCleared {
			cleared[changes[i].ID] = true
		}
	}
	var open []Alarm
	for i := range changes {
		if a := changes[i]; !cleared[a.ID] && !seen[a.ID] {
			seen[a.ID] = true
			open = append([]Alarm{a}, open...)
		}
	}
	return open
}

// Changes of an alarm.
const (
	alarmRaised  = "raised"
	alarmCleared = "cleared"
)

// hrefOf is a link that stays within the console; anything else is none.
func hrefOf(link string) string {
	if safeNext(link) != link || !strings.HasPrefix(link, "/") {
		return ""
	}
	return link
}
