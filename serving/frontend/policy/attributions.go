// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/expression"
)

// Attributions say how what features add to a model's score becomes reasons.
type Attributions struct {
	// Top bounds the codes that are given, after those of the explain rules.
	Top int
	// MinShare is how much of the whole push in the direction a code's features have to make.
	MinShare float64
	// Direction is the push that is a reason.
	Direction Direction
	// Reserve is the time that has to be left before a decision's deadline when they are
	// computed; with less, an answer comes without attributions rather than late.
	Reserve time.Duration

	// when asks for them though the request does not; nil never does.
	when *expression.Program
	// codes are reasons that features give, by place in Policy.reasons; groups are the places
	// in codes by feature of the service, -1 for none.
	codes, groups []int
}

// Direction is where features push a score.
type Direction uint8

// The directions.
const (
	Up Direction = iota
	Down
	Either
)

var directionNames = []string{Up: "up", Down: "down", Either: "either"}

// String is the direction's name in policy files.
func (d Direction) String() string {
	if int(d) >= len(directionNames) {
		return "unknown"
	}
	return directionNames[d]
}

// along is the part of a contribution that is in the direction.
func (d Direction) along(x float64) float64 {
	if d == Down || d == Either && x < 0 {
		x = -x
	}
	return max(x, 0)
}

// reserveDefault is the reserve of a decision without a total budget; with one it is
// the total by reserveShare.
const (
	reserveDefault = time.Millisecond
	reserveShare   = 10
)

// Attributes reports whether an answer that a model's score led to has attributions; asked
// is whether the request asks for explanations. Facts are those that Decide was given.
func (p *Policy) Attributes(f *Facts, asked bool) bool {
	a := p.Attributions
	return a != nil && (asked || a.when != nil && a.when.True(&f.row))
}

// Attribute adds the reasons that follow from what each feature of the service added to
// the score. The features of one code count together. NaN counts as nothing.
func (p *Policy) Attribute(contributions []float64, into *Outcome) {
	a := p.Attributions
	into.parts = append(into.parts[:0], make([]float64, len(a.codes))...)
	whole := 0.0
	for i, c := range contributions {
		if c != c {
			continue
		}
		whole += a.Direction.along(c)
		if g := a.groups[i]; g >= 0 {
			into.parts[g] += c
		}
	}
	for range a.Top {
		best, most := -1, 0.0
		for g, part := range into.parts {
			if part = a.Direction.along(part); part > most {
				best, most = g, part
			}
		}
		if best < 0 || most < a.MinShare*whole || len(into.Reasons) >= p.ExplainMax {
			return
		}
		into.parts[best] = 0
		// One that a rule gave counts among the top: it is a reason already.
		if r := p.reasons[a.codes[best]]; !gives(into, r.Code) {
			into.Reasons = append(into.Reasons, r)
		}
	}
}

// attributions reads what features give as reasons.
func (b *builder) attributions(n node) {
	s, ok := b.r.block(n, "codes", "top", "min_share", "direction", "when", "reserve")
	if !ok {
		return
	}
	most := b.p.ExplainMax
	if most < 1 { // it is a mistake, and reported
		most = explainMax
	}
	a := &Attributions{Top: most}
	b.p.Attributions = a
	if at, ok := s.get("top"); ok {
		a.Top, _ = b.r.whole(at, 1, most)
	}
	if at, ok := s.get("min_share"); ok {
		if a.MinShare, ok = b.r.number(at); ok && (a.MinShare < 0 || a.MinShare > 1) {
			b.r.fail(at, "is %v, a share of the push lies in 0 to 1", a.MinShare)
		}
	}
	if at, ok := s.get("direction"); ok {
		a.Direction = b.direction(at)
	}
	if at, ok := s.get("when"); ok {
		a.when = b.condition(at, b.afterModel())
	}
	a.groups = slices.Repeat([]int{-1}, len(b.p.Service.Features))
	if at, ok := s.get("codes"); ok {
		b.codes(at)
	}
	a.Reserve = s.duration("reserve", budgetMin, budgetMax)
	b.reserveAt, _ = s.get("reserve")
}

func (b *builder) direction(n node) Direction {
	name, ok := b.r.text(n, nameBytesMax)
	if !ok {
		return Up
	}
	i := slices.Index(directionNames, name)
	if i < 0 {
		b.r.fail(n, "is %.64s, it is one of %s", name, strings.Join(directionNames, ", "))
		return Up
	}
	return Direction(i)
}

// reserve completes the attributions once the budget is read.
func (b *builder) reserve() {
	a, total := b.p.Attributions, b.p.Budget.Total
	switch {
	case a == nil:
	case a.Reserve == 0 && total > 0:
		a.Reserve = total / reserveShare
	case a.Reserve == 0:
		a.Reserve = reserveDefault
	case total > 0 && a.Reserve >= total:
		b.r.fail(b.reserveAt, "is %s of a budget of %s: nothing would be attributed", definition.FormatDuration(a.Reserve), definition.FormatDuration(total))
	}
}

// code is a feature or a pattern of features, and the reason that they give.
type code struct {
	pattern string
	at      node
	reason  int
}

// codes reads which features give which reasons. A feature's own name goes before patterns,
// so the order of the file does not matter.
func (b *builder) codes(n node) {
	var patterns []code
	exact := map[string]int{}
	for _, e := range b.r.entries(n, "features", codesMax) {
		reason := b.reason(e.value)
		switch {
		case b.blind:
		case len(e.key) > textBytesMax:
			b.r.fail(e.keyAt, "the name has %d bytes, at most %d are allowed", len(e.key), textBytesMax)
		case strings.Contains(e.key, "*"):
			patterns = append(patterns, code{pattern: e.key, at: e.keyAt, reason: reason})
		case !b.isFeature(e.key):
			b.r.fail(e.keyAt, "%.64q is no feature of service %s%s", e.key, b.p.Service.Name, orOneOf(e.key, b.featureNames()))
		default:
			exact[e.key] = reason
		}
	}
	used := make([]bool, len(patterns))
	for i := range b.p.Service.Features {
		name := b.p.Service.Features[i].Name
		reason, found := exact[name]
		by := -1
		for k := range patterns {
			if !matches(patterns[k].pattern, name) {
				continue
			}
			used[k] = true
			if found && by >= 0 && patterns[k].reason != reason && reason >= 0 && patterns[k].reason >= 0 {
				b.r.fail(patterns[k].at, "feature %s is also %s, which gives another reason: say which by its name", name, patterns[by].pattern)
			}
			if !found {
				reason, found, by = patterns[k].reason, true, k
			}
		}
		if found && reason >= 0 {
			b.p.Attributions.groups[i] = b.p.Attributions.group(reason)
		}
	}
	for k := range patterns {
		if !used[k] {
			b.r.fail(patterns[k].at, "no feature of service %s is like this; it has %s", b.p.Service.Name, someOf(b.featureNames()))
		}
	}
}

// group is the place of a reason among the codes.
func (a *Attributions) group(reason int) int {
	if i := slices.Index(a.codes, reason); i >= 0 {
		return i
	}
	a.codes = append(a.codes, reason)
	return len(a.codes) - 1
}

func (b *builder) isFeature(name string) bool {
	return slices.ContainsFunc(b.p.Service.Features, func(f definition.Feature) bool { return f.Name == name })
}

func (b *builder) featureNames() []string {
	var list []string
	for i := range b.p.Service.Features {
		list = append(list, b.p.Service.Features[i].Name)
	}
	return list
}

// matches reports whether a name is like a pattern, in which * stands for any characters,
// also none. Taking the first place where each part fits leaves most to those behind it.
func matches(pattern, name string) bool {
	first, rest, many := strings.Cut(pattern, "*")
	if !many {
		return pattern == name
	}
	name, ok := strings.CutPrefix(name, first)
	for ok {
		part, behind, more := strings.Cut(rest, "*")
		if !more {
			return strings.HasSuffix(name, part)
		}
		_, name, ok = strings.Cut(name, part)
		rest = behind
	}
	return false
}

// attributions is what they mean: features by name, however they were written.
func (w *meanings) attributions() {
	a := w.p.Attributions
	if a == nil {
		return
	}
	const path = "explain.attributions."
	w.put(path+"direction", a.Direction.String())
	w.number(path+"min_share", a.MinShare)
	w.put(path+"top", strconv.Itoa(a.Top))
	w.duration(path+"reserve", a.Reserve)
	if a.when != nil {
		w.when(path, a.when)
	}
	for i, g := range a.groups {
		if g >= 0 {
			w.put(path+"codes."+w.p.Service.Features[i].Name, w.p.reasons[a.codes[g]].Code)
		}
	}
}
