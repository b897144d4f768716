// SPDX-License-Identifier: Apache-2.0

package console

import (
	"net/http"
	"slices"
	"strings"

	"github.com/millrace-ml/millrace/evaluation/monitor"
	"github.com/millrace-ml/millrace/evaluation/monitor/document"
	"github.com/millrace-ml/millrace/orchestrator"
)

// Bounds of the first page.
const (
	overviewRunsMax   = 8
	overviewAuditMax  = 8
	overviewAlarmsMax = 8
)

// overviewPage is the first page.
type overviewPage struct {
	Loop   []Figure
	Story  *Story
	Models []modelRow
	Runs   []*orchestrator.RunStatus
	Alarms []AlarmChange
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
	changes, err := c.alarms()
	if err != nil {
		return err
	}
	page.Alarms = raised(changes)
	page.Loop = c.loop(&page)
	page.Alarms = page.Alarms[:min(len(page.Alarms), overviewAlarmsMax)]
	return c.render(w, r, http.StatusOK, "overview", page)
}

// alarms are the changes of alarms in order of time, none without monitors.
func (c *Console) alarms() ([]AlarmChange, error) {
	if c.options.Monitors == nil {
		return nil, nil
	}
	all, err := c.options.Monitors.AlarmChanges(alarmChangesMax)
	all = slices.Clone(all)
	slices.Reverse(all)
	return all, err
}

// alarmLink is the page of an alarm.
func alarmLink(a AlarmChange) string { return alarmPath(a.Monitor, a.ID) }

// alarmWords says what an alarm is of.
func alarmWords(a AlarmChange) string { return document.Subject(&monitor.Alarm{Subject: a.Subject}) }

// raised are the alarms that were raised and not cleared, the newest first, each by its
// first change.
func raised(changes []AlarmChange) []AlarmChange {
	cleared := map[string]bool{}
	seen := map[string]bool{}
	for i := range changes {
		if changes[i].Change == alarmCleared {
			cleared[changes[i].ID] = true
		}
	}
	var open []AlarmChange
	for i := range changes {
		if a := changes[i]; !cleared[a.ID] && !seen[a.ID] {
			seen[a.ID] = true
			open = append(open, a)
		}
	}
	slices.Reverse(open)
	return open
}

// Changes of an alarm.
const (
	alarmRaised  = string(monitor.Raised)
	alarmCleared = string(monitor.Cleared)
)

// hrefOf is a link that stays within the console; anything else is none.
func hrefOf(link string) string {
	if safeNext(link) != link || !strings.HasPrefix(link, "/") {
		return ""
	}
	return link
}
