// SPDX-License-Identifier: Apache-2.0

package console

import (
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/millrace-ml/millrace/evaluation/monitor"
	"github.com/millrace-ml/millrace/evaluation/monitor/document"
	"github.com/millrace-ml/millrace/orchestrator"
)

// alarmChangesMax is how many changes of alarms are looked at for one alarm.
const alarmChangesMax = 20_000

// triggerAlarm is the key under which a run says which alarm started it.
const triggerAlarm = "alarm"

// alarmPage is an alarm and what came of it.
type alarmPage struct {
	ID    string
	Info  MonitorInfo
	Path  string
	Alarm alarmRow
	// Changes are what was told to people and pipelines, oldest first.
	Changes []AlarmChange
	Runs    []alarmRun
	// Promoted says that a run put a model into service.
	Promoted bool
}

// alarmRun is a run that the alarm started.
type alarmRun struct {
	*orchestrator.RunStatus
	// Reports are the tasks that wrote a report, Decisions what the audit trail says of it.
	Reports   []string
	Decisions []Entry
}

// Raised is when the alarm was raised.
func (p *alarmPage) Raised() time.Time { return time.UnixMicro(p.Alarm.Since) }

// ClearedAt is when it cleared.
func (p *alarmPage) ClearedAt() time.Time { return time.UnixMicro(p.Alarm.Until) }

// ColumnPath is the monitor's page with the column that the alarm is of, empty if it is of none.
func (p *alarmPage) ColumnPath() string {
	kind, window, what := document.Parts(p.Alarm.Subject)
	if what == "" || kind == "concept" || kind == "estimated" || kind == "online" || kind == "latency" {
		return ""
	}
	return p.Path + "?" + url.Values{"window": {window}, "column": {what}}.Encode()
}

func (c *Console) alarm(w http.ResponseWriter, r *http.Request) error {
	info, found, err := c.findMonitor(r)
	if err != nil {
		return err
	}
	id := r.URL.Query().Get("id")
	page := &alarmPage{ID: id, Info: *info, Path: monitorPath(info.Name)}
	changes, err := c.options.Monitors.AlarmChanges(alarmChangesMax)
	if err != nil {
		return err
	}
	for _, change := range slices.Backward(changes) { // they are newest first
		if change.ID == id && change.Monitor == info.Name {
			page.Changes = append(page.Changes, change)
		}
	}
	events, err := found.Events(0)
	if err != nil {
		return err
	}
	slices.Reverse(events)
	for _, s := range document.SpansOf(events) {
		if alarmID(info.Name, &s.Alarm) == id {
			page.Alarm = alarmRowOf(info.Name, s)
		}
	}
	if page.Alarm.Subject == "" && !page.fromChanges(info.Name) {
		return notFound("The monitor %s has no alarm %q; the oldest are forgotten.", info.Name, id)
	}
	page.clearedByChanges()
	if err := c.alarmRuns(page); err != nil {
		return err
	}
	return c.render(w, r, http.StatusOK, "alarm", page)
}

// fromChanges takes the alarm from what was told of it: the reports may be gone, or it is of
// what no window says, such as that no predictions come at all.
func (p *alarmPage) fromChanges(name string) bool {
	for _, change := range p.Changes {
		a := &p.Alarm
		a.Monitor, a.Subject, a.Severity, a.Reason, a.Path = name, change.Subject, monitor.Severity(change.Severity), change.Reason, alarmPath(name, p.ID)
		if a.Since == 0 {
			a.Since = change.Time.UnixMicro()
		}
		if change.Change == alarmCleared {
			a.Until = change.Time.UnixMicro()
		}
		a.Words = document.Subject(&a.Alarm)
	}
	return len(p.Changes) > 0
}

// clearedByChanges takes from what was told that the alarm cleared, where no window said so:
// another version came into service, and its windows begin anew.
func (p *alarmPage) clearedByChanges() {
	for _, change := range p.Changes {
		if change.Change == alarmCleared && p.Alarm.Until == 0 {
			p.Alarm.Until = change.Time.UnixMicro()
		}
	}
}

// alarmRuns finds the runs that an alarm started, and what was decided in them.
func (c *Console) alarmRuns(p *alarmPage) error {
	if c.options.Pipelines == nil {
		return nil
	}
	all, err := c.options.Pipelines.Runs("")
	if err != nil {
		return err
	}
	entries, err := c.options.Audit.Entries(auditMax)
	if err != nil {
		return err
	}
	for _, run := range all {
		if !slices.Contains(orchestrator.AlarmsOf(run.Trigger), p.ID) {
			continue
		}
		found := alarmRun{RunStatus: run}
		for _, t := range run.Tasks {
			if _, wrote := t.Outputs["report"]; wrote && t.Item == "" {
				found.Reports = append(found.Reports, t.Name())
			}
		}
		for _, e := range entries {
			if e.Link == "/console/pipelines/"+run.ID || e.Link == "/console/audit/promotions/"+run.ID {
				found.Decisions = append(found.Decisions, e)
				p.Promoted = p.Promoted || e.Action == "promoted"
			}
		}
		slices.Reverse(found.Decisions) // entries are newest first
		p.Runs = append(p.Runs, found)
	}
	return nil
}
