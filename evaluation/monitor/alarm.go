// SPDX-License-Identifier: Apache-2.0

package monitor

import (
	"cmp"
	"slices"
)

// Severity says how much an alarm matters.
type Severity string

// The severities.
const (
	// Warning is of inputs or of an estimate: quality may suffer.
	Warning Severity = "warning"
	// Critical is of quality: labels say that it fell; or nothing is predicted any more.
	Critical Severity = "critical"
)

// Change is what happened to an alarm.
type Change string

// The changes.
const (
	Raised  Change = "raised"
	Still   Change = "still"
	Cleared Change = "cleared"
)

// Alarm is of one subject. Times are in microseconds since 1970.
type Alarm struct {
	// Subject is kind:window:what, such as drift:1d:amount.
	Subject  string
	Severity Severity
	// Since is when it was raised, Last when it was last bad.
	Since, Last int64
	// Windows counts bad windows, Good the good ones in a row since then.
	Windows, Good int
	// Reason says for people what is wrong.
	Reason string
}

// Event is a change of an alarm.
type Event struct {
	Change Change
	At     int64
	Alarm  Alarm
}

// Alarms are those that are raised, by subject.
func (m *Monitor) Alarms() []Alarm { return slices.Clone(m.state.Alarms) }

// finding is what a window says of a subject.
type finding struct {
	subject  string
	severity Severity
	bad      bool
	reason   string
}

// judge moves the alarms of the subjects that a window says something of. There are no more
// alarms than subjects, which Config bounds.
func (m *Monitor) judge(at int64, findings []finding) []Event {
	var events []Event
	for _, f := range findings {
		i, raised := slices.BinarySearchFunc(m.state.Alarms, f.subject, func(a Alarm, subject string) int { return cmp.Compare(a.Subject, subject) })
		switch {
		case f.bad && !raised:
			a := Alarm{Subject: f.subject, Severity: f.severity, Since: at, Last: at, Windows: 1, Reason: f.reason}
			m.state.Alarms = slices.Insert(m.state.Alarms, i, a)
			events = append(events, Event{Raised, at, a})
		case f.bad:
			a := &m.state.Alarms[i]
			a.Last, a.Good, a.Reason = at, 0, f.reason
			a.Windows++
			events = append(events, Event{Still, at, *a})
		case raised:
			a := &m.state.Alarms[i]
			if a.Good++; a.Good >= m.config.ClearAfter {
				events = append(events, Event{Cleared, at, *a})
				m.state.Alarms = slices.Delete(m.state.Alarms, i, i+1)
			}
		}
	}
	return events
}
