// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/expression"
)

// meaning is one thing that a policy says: a path as in the file, its value, and what the
// value means, where it can be written in several ways.
type meaning struct {
	path, value, means string
}

// Change is a difference between two policies. An empty Old or New is a path that one of
// them does not have.
type Change struct {
	Path, Old, New string
}

// Compare tells what differs in meaning, by path, for the trail of an audit. Of an
// experiment it tells what each arm does, inherited or not. Descriptions and places in files
// are no difference.
func Compare(old, new *Policy) []Change {
	var changes []Change
	a, b := old.fields, new.fields
	for len(a) > 0 || len(b) > 0 {
		switch {
		case len(b) == 0 || len(a) > 0 && a[0].path < b[0].path:
			changes = append(changes, Change{Path: a[0].path, Old: a[0].value})
			a = a[1:]
		case len(a) == 0 || b[0].path < a[0].path:
			changes = append(changes, Change{Path: b[0].path, New: b[0].value})
			b = b[1:]
		default:
			if a[0].means != b[0].means {
				changes = append(changes, Change{Path: a[0].path, Old: a[0].value, New: b[0].value})
			}
			a, b = a[1:], b[1:]
		}
	}
	return changes
}

// seal computes what the policy means and its hash.
func (p *Policy) seal() {
	w := &meanings{p: p}
	w.head()
	w.rules("before", p.before)
	for i, s := range p.segments[1:] {
		path := fmt.Sprintf("segments[%d].", i)
		w.put(path+"name", s.name)
		w.when(path, s.when)
	}
	w.arms()
	w.rules("after", p.after)
	w.put("explain.max", strconv.Itoa(p.ExplainMax))
	for i, e := range p.explain {
		path := fmt.Sprintf("explain.rules[%d].", i)
		w.put(path+"code", p.reasons[e.reason].Code)
		w.when(path, e.when)
	}
	w.attributions()
	w.ladder()
	slices.SortFunc(w.fields, func(a, b meaning) int { return cmp.Compare(a.path, b.path) })
	p.fields = w.fields
	h := sha256.New()
	for _, m := range p.fields {
		fmt.Fprintf(h, "%q %q\n", m.path, m.means)
	}
	p.version = hex.EncodeToString(h.Sum(nil))[:12]
}

type meanings struct {
	p      *Policy
	fields []meaning
}

// put leaves out what is empty, so that a default does not depend on being written.
func (w *meanings) put(path, value string) {
	if value != "" {
		w.fields = append(w.fields, meaning{path, value, value})
	}
}

func (w *meanings) head() {
	p := w.p
	w.put("name", p.Name)
	w.put("service", p.Service.Name)
	if p.Event != nil {
		w.put("event", p.Event.Source.Name)
	}
	if p.Unit >= 0 {
		w.put("unit", p.Facts[p.Unit].Name)
	}
	if p.Idempotency >= 0 {
		w.put("idempotency.field", p.Facts[p.Idempotency].Name)
	}
	w.duration("idempotency.ttl", p.TTL)
	w.duration("budget.total", p.Budget.Total)
	w.duration("budget.features", p.Budget.Features)
	w.duration("budget.model", p.Budget.Model)
	for i, name := range p.Decisions {
		w.put(fmt.Sprintf("decisions[%d]", i), name)
	}
	for _, r := range p.reasons {
		w.put("reasons."+r.Code, r.Text)
	}
	for _, f := range p.Facts[p.ServiceFacts:] {
		path := "request." + f.Name
		w.put(path+".type", f.Type.String())
		if f.Required {
			w.put(path+".required", "true")
		}
		w.number(path+".min", f.Min)
		w.number(path+".max", f.Max)
		// A list of allowed texts is a set.
		values := slices.Clone(f.Values)
		slices.Sort(values)
		for i, v := range values {
			w.put(fmt.Sprintf("%s.values[%d]", path, i), strconv.Quote(v))
		}
	}
}

func (w *meanings) arms() {
	p := w.p
	w.put("experiment.salt", p.saltText)
	for i := range p.Arms {
		a, path := &p.Arms[i], ""
		if len(p.Arms) > 1 || a.Name != "" {
			path = fmt.Sprintf("experiment.arms[%d].", i)
			w.put(path+"name", a.Name)
			w.number(path+"share", a.Share)
		}
		w.model(path, a.Model)
		for s, row := range a.thresholds {
			for t, entry := range row {
				at := fmt.Sprintf("%sthresholds.%s[%d].", path, p.segments[s].name, t)
				if !math.IsInf(entry.from, -1) {
					w.number(at+"from", entry.from)
				}
				w.then(at, entry.decision, entry.reason)
			}
		}
	}
	for i, s := range p.Shadows {
		path := fmt.Sprintf("shadow[%d].", i)
		w.model(path, s.Model)
		w.number(path+"share", s.Share)
	}
}

func (w *meanings) ladder() {
	for i, step := range w.p.Ladder {
		path := fmt.Sprintf("fallback[%d]", i)
		switch step.Kind {
		case Rules:
			w.rules(path+".rules", step.rules)
		case Default:
			w.then(path+".default.", step.rules[0].decision, step.rules[0].reason)
		default:
			w.put(path, step.Kind.String())
		}
	}
}

func (w *meanings) rules(list string, rules []rule) {
	for i, r := range rules {
		path := fmt.Sprintf("%s[%d].", list, i)
		w.put(path+"name", r.name)
		w.when(path, r.when)
		w.then(path, r.decision, r.reason)
	}
}

func (w *meanings) when(path string, when *expression.Program) {
	w.fields = append(w.fields, meaning{path + "when", strings.TrimSpace(when.String()), when.Canonical()})
}

func (w *meanings) then(path string, decision, reason int) {
	w.put(path+"decision", w.p.Decisions[decision])
	if reason >= 0 {
		w.put(path+"reason", w.p.reasons[reason].Code)
	}
}

func (w *meanings) model(path string, m Model) {
	w.put(path+"model.name", m.Name)
	w.put(path+"model.version", m.Version)
	w.put(path+"model.output", m.Output)
	if m.Class >= 0 {
		w.put(path+"model.class", strconv.Itoa(m.Class))
	}
}

func (w *meanings) number(path string, v float64) {
	if !math.IsNaN(v) {
		w.put(path, strconv.FormatFloat(v, 'g', -1, 64))
	}
}

func (w *meanings) duration(path string, d time.Duration) {
	if d > 0 {
		w.put(path, definition.FormatDuration(d))
	}
}
