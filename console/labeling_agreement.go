// SPDX-License-Identifier: Apache-2.0

package console

import (
	"math"
	"sync"
	"time"

	"github.com/millrace-ml/millrace/labeling"
	"github.com/millrace-ml/millrace/labeling/agreement"
)

// Bounds of what is read to say how far annotators agree.
const (
	agreementTasksMax  = 20_000
	agreementPeopleMax = 50
	agreementDraws     = 100
	agreementAge       = 30 * time.Second
)

// agreed is how far the annotators of a project agree.
type agreed struct {
	// Alpha is Krippendorff's; NaN if nothing was labelled twice, or always alike.
	Alpha agreement.Estimate
	// Tasks were labelled by two people or more, and Unanimous of these alike by all.
	Tasks, Unanimous int
}

// Known says whether there is a coefficient to show.
func (a *agreed) Known() bool { return !math.IsNaN(a.Alpha.Value) }

// agreements keeps what was found for a while, as it reads every task.
type agreements struct {
	mu struct {
		sync.Mutex
		found map[string]agreed // by project, of which there are at most projectsMax
		until map[string]time.Time
	}
}

// of is the agreement of a project, at most agreementAge old. One request at a time finds
// it.
func (a *agreements) of(store Labeling, p *labeling.Project, now time.Time) agreed {
	a.mu.Lock()
	defer a.mu.Unlock()
	if now.Before(a.mu.until[p.Name]) {
		return a.mu.found[p.Name]
	}
	if a.mu.found == nil || len(a.mu.found) > projectsMax {
		a.mu.found, a.mu.until = map[string]agreed{}, map[string]time.Time{}
	}
	found := measureAgreement(store, p)
	a.mu.found[p.Name], a.mu.until[p.Name] = found, now.Add(agreementAge)
	return found
}

// measureAgreement reads the first tasks of a project that several people labelled.
func measureAgreement(store Labeling, p *labeling.Project) agreed {
	t := agreementTable{people: map[string]int{}, codes: map[string]float64{}}
	for offset, seen := 0, 0; seen < agreementTasksMax; {
		page, next, err := store.Tasks(p.Name, "", offset, 256)
		if err != nil {
			break // the project went away; what was read stands
		}
		for i := range page {
			t.add(page[i].Annotations)
		}
		seen += next - offset
		if offset = next; next == 0 {
			break
		}
	}
	out := agreed{Alpha: agreement.Estimate{Value: math.NaN()}, Tasks: len(t.rows), Unanimous: t.unanimous}
	level := agreement.Nominal
	if p.Labels.Kind == labeling.Number {
		level = agreement.Interval
	}
	if len(t.rows) == 0 {
		return out
	}
	alpha, err := agreement.Alpha(t.square(), level, agreement.Bootstrap{Draws: agreementDraws, Seed: 1})
	if err == nil { // else there are more different values than it takes, as spans may have
		out.Alpha = alpha
	}
	return out
}

// agreementTable is who said what of the tasks that two people or more labelled.
type agreementTable struct {
	people    map[string]int
	codes     map[string]float64
	rows      []map[int]float64
	unanimous int
}

func (t *agreementTable) add(annotations []labeling.Annotation) {
	row := map[int]float64{}
	first, same := "", true
	for i := range annotations {
		a := &annotations[i]
		if a.Kind != labeling.KindAnnotation {
			continue
		}
		who, known := t.people[a.Annotator]
		if !known && len(t.people) == agreementPeopleMax {
			continue
		} else if !known {
			who = len(t.people)
			t.people[a.Annotator] = who
		}
		key := a.Value.Key()
		if len(row) == 0 {
			first = key
		}
		same = same && key == first
		row[who] = t.code(key, a.Value.Number)
	}
	if len(row) < 2 {
		return
	}
	t.rows = append(t.rows, row)
	if same {
		t.unanimous++
	}
}

// code is a number that stands for a value.
func (t *agreementTable) code(key string, number *float64) float64 {
	if number != nil {
		return *number
	}
	code, known := t.codes[key]
	if !known {
		code = float64(len(t.codes))
		t.codes[key] = code
	}
	return code
}

// square has a column for everybody; NaN is where they said nothing.
func (t *agreementTable) square() [][]float64 {
	values := make([][]float64, len(t.rows))
	for i, row := range t.rows {
		values[i] = make([]float64, len(t.people))
		for who := range values[i] {
			values[i][who] = math.NaN()
		}
		for who, code := range row {
			values[i][who] = code
		}
	}
	return values
}
