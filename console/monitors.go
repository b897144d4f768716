// SPDX-License-Identifier: Apache-2.0

package console

import (
	"net/http"
	"time"

	"github.com/millrace-ml/millrace/evaluation/monitor"
	"github.com/millrace-ml/millrace/evaluation/monitor/record"
)

// Monitors is what the console needs to show monitors and their alarms. Its methods may be
// called at once.
type Monitors interface {
	// Monitors are those of the project, by name.
	Monitors() ([]MonitorInfo, error)
	// Record is what a monitor found so far; an empty one if it found nothing yet.
	Record(name string) (MonitorRecord, error)
	// AlarmChanges are those that were told to people and pipelines, newest first, at most
	// limit.
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

// monitorsRoutes adds the pages of monitors and their alarms.
func (c *Console) monitorsRoutes(mux *http.ServeMux) {}
