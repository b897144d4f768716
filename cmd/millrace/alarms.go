// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/millrace-ml/millrace/console"
	"github.com/millrace-ml/millrace/evaluation/monitor"
)

// alarmsMax bounds the changes that the file of alarms keeps: more than twice as many are cut
// down to it. Alarms that are raised still are kept.
const alarmsMax = 20_000

// alarmID names an alarm, everywhere: MONITOR/SUBJECT@SINCE.
func alarmID(name, subject string, since int64) string {
	return name + "/" + subject + "@" + time.UnixMicro(since).UTC().Format(time.RFC3339)
}

// appendAlarm adds a change of an alarm to the project's file of them, durably.
func appendAlarm(state string, e console.AlarmChange) error {
	text, err := json.Marshal(e)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(state, 0o755); err != nil {
		return err
	}
	path := filepath.Join(state, alarmLines)
	if torn, err := endsTorn(path); err != nil {
		return err
	} else if torn { // by a crash: what follows is a line of its own
		text = append([]byte{'\n'}, text...)
	}
	return writeSynced(path, append(text, '\n'), os.O_CREATE|os.O_APPEND)
}

// readAlarms reads the changes of alarms, the oldest first. A line that a crash cut short is
// left out.
func readAlarms(state string) (all []console.AlarmChange, err error) {
	f, err := os.Open(filepath.Join(state, alarmLines))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, auditLineMax)
	for lines.Scan() {
		var e console.AlarmChange
		if json.Unmarshal(lines.Bytes(), &e) == nil && e.ID != "" {
			all = append(all, e)
		}
	}
	return all, lines.Err()
}

// endedAlarms tells when alarms of a monitor ended, in microseconds since 1970, 0 for those
// that the file of alarms has no end of. Reports alone do not say so of alarms about a version
// that was replaced.
func endedAlarms(state, name string) (func(*monitor.Alarm) int64, error) {
	changes, err := readAlarms(state)
	if err != nil {
		return nil, err
	}
	ended := map[string]int64{}
	for i := range changes {
		if e := &changes[i]; e.Change == string(monitor.Cleared) {
			ended[e.ID] = e.Time.UnixMicro()
		} else {
			delete(ended, e.ID)
		}
	}
	return func(a *monitor.Alarm) int64 { return ended[alarmID(name, a.Subject, a.Since)] }, nil
}

// alarmEntry is a change of an alarm as a line of the audit trail.
func alarmEntry(e *console.AlarmChange) console.Entry {
	detail := e.Severity + ": " + e.Reason
	for i, name := range e.Starts {
		if i == 0 {
			detail += "; starts"
		}
		detail += " " + name
	}
	return console.Entry{Time: e.Time, Who: "monitor " + e.Monitor, Action: "alarm " + e.Change, Subject: e.Subject, Detail: detail,
		Link: "/console/monitors/" + url.PathEscape(e.Monitor) + "/alarms?id=" + url.QueryEscape(e.ID)}
}

// alarmBook is the file of alarms of a server that runs: it knows which are raised. Changes
// come from one goroutine for each monitor.
type alarmBook struct {
	state string
	mu    struct {
		sync.Mutex
		open map[alarmKey]console.AlarmChange
		// last are the last changes of all subjects, of which there are as many as monitors have.
		last map[alarmKey]console.AlarmChange
		// told are the ids and changes that are in the file, which has so many lines.
		told  map[string]bool
		lines int
	}
}

type alarmKey struct{ monitor, subject string }

// openAlarms reads the file of alarms, and cuts it down if it has become too long.
func openAlarms(state string) (*alarmBook, []console.AlarmChange, error) {
	all, err := readAlarms(state)
	if err != nil {
		return nil, nil, err
	}
	b := &alarmBook{state: state}
	b.mu.open, b.mu.last, b.mu.told = map[alarmKey]console.AlarmChange{}, map[alarmKey]console.AlarmChange{}, map[string]bool{}
	for i := range all {
		b.takeLocked(&all[i])
	}
	all, err = b.cutLocked(all)
	return b, all, err
}

// cutLocked cuts the file down if it has become too long. All are the changes that it has.
func (b *alarmBook) cutLocked(all []console.AlarmChange) ([]console.AlarmChange, error) {
	if b.mu.lines = len(all); len(all) <= 2*alarmsMax {
		return all, nil
	}
	kept := newestChanges(all, alarmsMax)
	if err := b.rewrite(kept); err != nil {
		return nil, err
	}
	b.mu.lines = len(kept)
	clear(b.mu.told)
	for i := range kept {
		b.mu.told[kept[i].ID+" "+kept[i].Change] = true
	}
	return kept, nil
}

// newestChanges are the last ones, and those before them of alarms that are raised still. All
// are the oldest first, and so is what is returned.
func newestChanges(all []console.AlarmChange, most int) (kept []console.AlarmChange) {
	open := map[string]bool{}
	for i := range all {
		open[all[i].ID] = all[i].Change == string(monitor.Raised)
	}
	for i := range all {
		if i >= len(all)-most || open[all[i].ID] {
			kept = append(kept, all[i])
		}
	}
	return kept
}

func (b *alarmBook) rewrite(all []console.AlarmChange) error {
	var text []byte
	for i := range all {
		line, err := json.Marshal(&all[i])
		if err != nil {
			return err
		}
		text = append(append(text, line...), '\n')
	}
	return replaceSynced(filepath.Join(b.state, alarmLines), text)
}

func (b *alarmBook) takeLocked(e *console.AlarmChange) {
	key := alarmKey{e.Monitor, e.Subject}
	b.mu.told[e.ID+" "+e.Change] = true
	b.mu.last[key] = *e
	switch open, ok := b.mu.open[key]; {
	case e.Change == string(monitor.Raised):
		b.mu.open[key] = *e
	case ok && open.ID == e.ID:
		delete(b.mu.open, key)
	}
}

// openOf are the alarms that are raised of monitors that a condition takes, by monitor and
// subject.
func (b *alarmBook) openOf(take func(monitor string) bool) (all []console.AlarmChange) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for key, e := range b.mu.open {
		if take(key.monitor) {
			all = append(all, e)
		}
	}
	slices.SortFunc(all, func(x, y console.AlarmChange) int {
		return cmp.Or(strings.Compare(x.Monitor, y.Monitor), strings.Compare(x.Subject, y.Subject))
	})
	return all
}

// raised is the alarm of a subject that is raised.
func (b *alarmBook) raised(monitor, subject string) (console.AlarmChange, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e, ok := b.mu.open[alarmKey{monitor, subject}]
	return e, ok
}

// raisedOf are the alarms of a monitor that are raised, by subject.
func (b *alarmBook) raisedOf(monitor string) []console.AlarmChange {
	return b.openOf(func(name string) bool { return name == monitor })
}

// told says whether a change is in the file.
func (b *alarmBook) told(id string, change monitor.Change) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mu.told[id+" "+string(change)]
}

// add writes a change down.
func (b *alarmBook) add(e console.AlarmChange) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := appendAlarm(b.state, e); err != nil {
		return fmt.Errorf("alarm %s: %w", e.ID, err)
	}
	b.takeLocked(&e)
	if b.mu.lines++; b.mu.lines <= 2*alarmsMax {
		return nil
	}
	all, err := readAlarms(b.state)
	if err == nil {
		_, err = b.cutLocked(all)
	}
	return err
}
