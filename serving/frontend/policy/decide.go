// SPDX-License-Identifier: Apache-2.0

package policy

import "math"

// Outcome is what was decided. Its memory is reused by the next decision into it; its
// texts are the policy's and stay good.
type Outcome struct {
	Decision string
	// Place is the decision's place in Policy.Decisions.
	Place int
	// Rule is the name of the rule that decided, empty if a threshold did.
	Rule string
	// Segment is the first that matched, empty for none and where no model answered.
	Segment string
	// Reasons begin with that of the rule or threshold that decided.
	Reasons []Reason

	parts []float64 // by code of Attributions
}

// The variables of an environment, after its facts and features.
const (
	variableScore = iota
	variableDecision
	variableSegment
	variableArm
	variables
)

var variableNames = [variables]string{"score", "decision", "segment", "arm"}

// segmentDefault names the thresholds of what is in no segment.
const segmentDefault = "default"

// Before asks the rules that need no model, and reports whether one answered. Score,
// segment and arm are null to the explain rules then.
func (p *Policy) Before(f *Facts, into *Outcome) bool {
	return p.answer(f, p.before, into)
}

// Decide turns a score into a decision, for an arm as Assign gave it. It answers false,
// and nothing, if the score is not a finite number: the fallback's turn.
func (p *Policy) Decide(f *Facts, arm int, score float64, into *Outcome) bool {
	if math.IsNaN(score) || math.IsInf(score, 0) {
		return false
	}
	s := p.segment(f)
	p.setNumber(f, variableScore, score)
	p.setText(f, variableSegment, p.segments[s].name)
	p.setText(f, variableArm, p.Arms[arm].Name)

	row := p.Arms[arm].thresholds[s]
	t := 0
	for score < row[t].from {
		t++
	}
	into.Segment = ""
	if s > 0 {
		into.Segment = p.segments[s].name
	}
	p.give(f, "", row[t].decision, row[t].reason, into)
	for i := range p.after {
		if r := &p.after[i]; r.when.True(&f.row) {
			p.give(f, r.name, r.decision, r.reason, into)
			break
		}
	}
	p.add(f, into)
	return true
}

// Fallback asks a step of Ladder and reports whether it answered. PreviousVersion does not:
// run that version, and Decide. Rules and Default first ask the rules of Before, which
// nobody has asked where features came too late. Score, segment and arm are null to all.
func (p *Policy) Fallback(step int, f *Facts, into *Outcome) bool {
	s := &p.Ladder[step]
	return s.Kind != PreviousVersion && (p.answer(f, p.before, into) || p.answer(f, s.rules, into))
}

// answer gives what the first matching rule says.
func (p *Policy) answer(f *Facts, rules []rule, into *Outcome) bool {
	p.setNumber(f, variableScore, math.NaN())
	p.setNull(f, variableDecision)
	p.setNull(f, variableSegment)
	p.setNull(f, variableArm)
	for i := range rules {
		r := &rules[i]
		if r.when != nil && !r.when.True(&f.row) {
			continue
		}
		into.Segment = ""
		p.give(f, r.name, r.decision, r.reason, into)
		p.add(f, into)
		return true
	}
	return false
}

// segment is the first that matches; 0 is none.
func (p *Policy) segment(f *Facts) int {
	for i := 1; i < len(p.segments); i++ {
		if p.segments[i].when.True(&f.row) {
			return i
		}
	}
	return 0
}

func (p *Policy) give(f *Facts, rule string, decision, reason int, into *Outcome) {
	into.Decision, into.Place, into.Rule = p.Decisions[decision], decision, rule
	into.Reasons = into.Reasons[:0]
	if reason >= 0 {
		into.Reasons = append(into.Reasons, p.reasons[reason])
	}
	p.setText(f, variableDecision, into.Decision)
}

// add gives the reasons of the explain rules that hold.
func (p *Policy) add(f *Facts, into *Outcome) {
	for i := range p.explain {
		if len(into.Reasons) >= p.ExplainMax {
			return
		}
		e := &p.explain[i]
		if !e.when.True(&f.row) || gives(into, p.reasons[e.reason].Code) {
			continue
		}
		into.Reasons = append(into.Reasons, p.reasons[e.reason])
	}
}

// gives looks through at most explainMax reasons.
func gives(o *Outcome, code string) bool {
	for i := range o.Reasons {
		if o.Reasons[i].Code == code {
			return true
		}
	}
	return false
}

func (p *Policy) variable(i int) int { return len(p.env) - variables + i }

func (p *Policy) setNumber(f *Facts, variable int, v float64) {
	f.row.Numbers[p.variable(variable)] = v
}

func (p *Policy) setText(f *Facts, variable int, text string) {
	i := p.variable(variable)
	f.row.Texts[i], f.row.NullTexts[i] = text, false
}

func (p *Policy) setNull(f *Facts, variable int) {
	i := p.variable(variable)
	f.row.Texts[i], f.row.NullTexts[i] = "", true
}
