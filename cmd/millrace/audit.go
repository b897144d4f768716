// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/millrace-ml/millrace/console"
)

// auditFile has the changes that people made in the console, a line of JSON each, in the
// state folder; decisions of pipelines are in promotionsFile beside it, alarms in
// alarmLines.
const auditFile = "audit.jsonl"

// auditLineMax bounds a line that is read.
const auditLineMax = 1 << 20

// auditTrail is the trail of a project: all these files, as one list.
type auditTrail struct {
	state string
	// now is the project's clock where a replay moves it, else nil.
	now func() time.Time
	mu  sync.Mutex // one line is written at a time
}

// Append implements console.Audit.
func (a *auditTrail) Append(e console.Entry) error {
	if a.now != nil && e.ProjectTime.IsZero() {
		e.ProjectTime = a.now().UTC()
	}
	text, err := json.Marshal(e)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := os.MkdirAll(a.state, 0o755); err != nil {
		return err
	}
	path := filepath.Join(a.state, auditFile)
	if torn, err := endsTorn(path); err != nil {
		return err
	} else if torn { // by a crash: what follows is a line of its own
		text = append([]byte{'\n'}, text...)
	}
	return writeSynced(path, append(text, '\n'), os.O_CREATE|os.O_APPEND)
}

// Entries implements console.Audit.
func (a *auditTrail) Entries(limit int) ([]console.Entry, error) {
	all, err := a.changes()
	if err != nil {
		return nil, err
	}
	promotions, err := readPromotions(a.state)
	if err != nil {
		return nil, err
	}
	for i := range promotions {
		all = append(all, promotions[i].entry())
	}
	alarms, err := readAlarms(a.state)
	if err != nil {
		return nil, err
	}
	for i := range alarms {
		all = append(all, alarmEntry(&alarms[i]))
	}
	slices.SortStableFunc(all, func(x, y console.Entry) int { return y.At().Compare(x.At()) })
	return all[:min(limit, len(all))], nil
}

func (a *auditTrail) changes() ([]console.Entry, error) {
	f, err := os.Open(filepath.Join(a.state, auditFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	defer f.Close()
	var all []console.Entry
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, auditLineMax)
	for lines.Scan() {
		var e console.Entry
		if json.Unmarshal(lines.Bytes(), &e) == nil { // a crash may have cut the last line short
			all = append(all, e)
		}
	}
	return all, lines.Err()
}

// entry is a decision of a pipeline as a line of the trail.
func (p *promotion) entry() console.Entry {
	e := console.Entry{Time: p.Time, ProjectTime: p.ProjectTime, Who: p.By, Action: p.Decision, Subject: p.Model, Link: "/console/audit/promotions/" + p.Run}
	if p.Decision == decisionPromoted {
		e.Detail = fmt.Sprintf("version %d, verdict %s; to go back: %s", p.Version, p.Verdict, cmp.Or(p.Rollback, "there was none before"))
	} else {
		e.Detail = strings.Join(p.Reasons, "; ")
	}
	if p.Alarm != "" {
		e.Detail += "; because of the alarm " + p.Alarm
	}
	return e
}
