// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"math"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/window"
)

// identity reads the name of a fact that identifies something; -1 if it cannot.
func (b *builder) identity(n node) int {
	name, ok := b.r.text(n, textBytesMax)
	if !ok || b.blind {
		return -1
	}
	i := b.p.Place(name)
	if i < 0 {
		b.r.fail(n, "%s is neither a key nor a field of the request%s", name, orOneOf(name, b.factNames()))
		return -1
	}
	if t := b.p.Facts[i].Type; t != column.Int64 && t != column.String {
		b.r.fail(n, "%s is %s, it takes an int64 or a string", name, aOrAn(t))
		return -1
	}
	return i
}

func (b *builder) unit(s block) {
	n, ok := s.get("unit")
	if !ok {
		return
	}
	if b.p.Unit = b.identity(n); b.p.Unit < 0 {
		return
	}
	if f := b.p.Facts[b.p.Unit]; !f.Required {
		b.r.fail(n, "%s may be null: make it required where it is defined", f.Name)
	}
}

func (b *builder) arms(s block, model Model) {
	n, ok := s.get("experiment")
	if !ok {
		b.p.Arms = []Arm{{Share: 1, Model: model, upTo: buckets, thresholds: b.base}}
		return
	}
	if _, ok := s.get("unit"); !ok {
		b.r.fail(n, "unit is missing: name the key or request field that an arm is drawn for")
	}
	if s, ok = b.r.block(n, "salt", "arms"); !ok {
		return
	}
	if at, ok := s.need("salt"); ok {
		b.p.saltText, _ = b.r.text(at, nameBytesMax)
		b.p.salt = window.KeyOf(b.p.saltText)
	}
	at, ok := s.need("arms")
	if !ok {
		return
	}
	before := b.r.failures
	items := b.r.items(at, "arms", 1, armsMax)
	seen := map[string]bool{}
	var upTo uint64
	for _, item := range items {
		if a, ok := b.arm(item, model, seen); ok {
			upTo += uint64(math.Round(a.Share * buckets))
			a.upTo = upTo
			b.p.Arms = append(b.p.Arms, a)
		}
	}
	if b.r.failures == before && upTo != buckets {
		b.r.fail(at, "the shares sum to %v, not to 1", float64(upTo)/buckets)
	}
}

func (b *builder) arm(n node, model Model, seen map[string]bool) (Arm, bool) {
	a := Arm{Model: model, thresholds: b.base}
	s, ok := b.r.block(n, "name", "share", "model", "thresholds")
	if !ok {
		return a, false
	}
	if at, ok := s.need("name"); ok {
		if a.Name, ok = b.r.name(at); ok && seen[a.Name] {
			b.r.fail(at, "another arm has the name %s", a.Name)
		}
		seen[a.Name] = true
	}
	if at, ok := s.need("share"); ok {
		a.Share = b.share(at, 0)
	}
	if at, ok := s.get("model"); ok {
		a.Model = b.model(at, model)
	}
	if at, ok := s.get("thresholds"); ok {
		a.thresholds = b.armThresholds(at)
	}
	return a, true
}

// armThresholds replaces those segments that the arm names. An arm's default is only for
// what has no thresholds of its own in the decision.
func (b *builder) armThresholds(n node) [][]threshold {
	own, _ := b.thresholds(n, make([][]threshold, len(b.base)))
	for i := range own {
		switch {
		case own[i] != nil:
		case i > 0 && own[0] != nil && b.inherits(i):
			own[i] = own[0]
		default:
			own[i] = b.base[i]
		}
	}
	return own
}

// inherits reports whether a segment has the thresholds of default.
func (b *builder) inherits(i int) bool {
	return len(b.base[i]) > 0 && len(b.base[0]) > 0 && &b.base[i][0] == &b.base[0][0]
}

// share reads a share above least or, if that is 0, at 0.
func (b *builder) share(n node, least float64) float64 {
	v, ok := b.r.number(n)
	if !ok {
		return 0
	}
	k := math.Round(v * buckets)
	switch {
	case v < least || v > 1:
		b.r.fail(n, "is %v, a share lies in %v to 1", v, least)
	case math.Abs(v*buckets-k) > 1e-6:
		b.r.fail(n, "is %v, a share is a multiple of 0.0001", v)
	}
	return k / buckets
}

func (b *builder) shadows(s block, model Model) {
	n, ok := s.get("shadow")
	if !ok {
		return
	}
	for _, item := range b.r.items(n, "shadows", 0, shadowsMax) {
		s, ok := b.r.block(item, "model", "share")
		if !ok {
			continue
		}
		shadow := Shadow{Share: 1}
		if at, ok := s.need("model"); ok {
			shadow.Model = b.model(at, model)
		}
		if at, ok := s.get("share"); ok {
			shadow.Share = b.share(at, 1./buckets)
		}
		shadow.seal()
		b.p.Shadows = append(b.p.Shadows, shadow)
	}
}

// fallback reads the ladder, whose last step always answers.
func (b *builder) fallback(s block) {
	n, ok := s.get("fallback")
	if !ok {
		return
	}
	items := b.r.items(n, "steps", 1, int(Default))
	for i, item := range items {
		step, ok := b.step(item)
		if !ok {
			continue
		}
		for _, other := range b.p.Ladder {
			if other.Kind == step.Kind {
				b.r.fail(item, "%s is given twice", step.Kind)
			}
		}
		switch last := i == len(items)-1; {
		case step.Kind == Default && !last:
			b.r.fail(item, "default always answers: it comes last")
		case step.Kind != Default && last:
			b.r.fail(item, "%s may not answer: end the fallback with default", step.Kind)
		}
		b.p.Ladder = append(b.p.Ladder, step)
	}
}

const stepKinds = "a step is previous_version, rules: [...] or default: {decision: ...}"

func (b *builder) step(n node) (Step, bool) {
	if text, ok := scalar(n.ast); ok {
		if text == PreviousVersion.String() {
			return Step{Kind: PreviousVersion}, true
		}
		b.r.fail(n, "is %.64q; %s", text, stepKinds)
		return Step{}, false
	}
	s, ok := b.r.block(n, "rules", "default")
	if !ok {
		return Step{}, false
	}
	rules, isRules := s.get("rules")
	def, isDefault := s.get("default")
	if isRules == isDefault {
		b.r.fail(n, "is no step; %s", stepKinds)
		return Step{}, false
	}
	if isRules {
		return Step{Kind: Rules, rules: b.ruleList(rules, b.beforeModel())}, true
	}
	if s, ok = b.r.block(def, "decision", "reason"); !ok {
		return Step{}, false
	}
	r := rule{}
	r.decision, r.reason = b.then(s)
	return Step{Kind: Default, rules: []rule{r}}, true
}
