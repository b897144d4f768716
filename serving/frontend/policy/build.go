// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"errors"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/expression"
)

// builder compiles one decision. After a mistake it goes on to find more; the policy is
// then thrown away.
type builder struct {
	r *reader
	c *definition.Catalog
	p *Policy
	// blind: the service is not known, so names of facts and features cannot be checked.
	blind      bool
	experiment bool
	decisions  map[string]int
	reasons    map[string]int
	segments   map[string]int
	// ruleLines has the line of each rule's name.
	ruleLines map[string]int
	base      [][]threshold
	// reserveAt is where the reserve of attributions is.
	reserveAt node
}

func (b *builder) build(n node) {
	s, ok := b.r.block(n, "description", "service", "event", "model", "request", "unit", "idempotency", "budget", "reasons",
		"decisions", "before", "segments", "thresholds", "after", "explain", "experiment", "shadow", "fallback")
	if !ok {
		return
	}
	b.ruleLines = map[string]int{}
	_, b.experiment = s.get("experiment")
	b.p.Description = s.text("description", textBytesMax)
	b.service(s)
	b.request(s)
	b.event(s)
	b.environment()
	b.answers(s)
	b.reasonTexts(s)
	b.p.before = b.rules(s, "before")
	b.segmentRules(s)
	b.p.after = b.rules(s, "after")
	b.explanations(s)
	b.baseThresholds(s)
	model := b.baseModel(s)
	b.unit(s)
	b.idempotency(s)
	b.budget(s)
	b.reserve()
	b.arms(s, model)
	b.shadows(s, model)
	b.fallback(s)
}

// baseModel is the decision's model, that of the service unless it says another.
func (b *builder) baseModel(s block) Model {
	model := Model{Name: b.p.Service.Model, Class: -1}
	if n, ok := s.get("model"); ok {
		return b.model(n, model)
	}
	if model.Name == "" && !b.blind {
		b.r.fail(s.at, "model is missing, and service %s names none", b.p.Service.Name)
	}
	return model
}

// model reads a model; what it leaves out is that of base, but for the version, which
// another model has of its own.
func (b *builder) model(n node, base Model) Model {
	if name, ok := scalar(n.ast); ok && strings.TrimSpace(name) != "" {
		n.path = n.child("name")
		return b.modelName(n, base)
	}
	s, ok := b.r.block(n, "name", "version", "output", "class")
	if !ok {
		return base
	}
	m := base
	if at, ok := s.get("name"); ok {
		m = b.modelName(at, base)
	}
	if m.Name == "" && !b.blind {
		b.r.fail(n, "name is missing")
	}
	if at, ok := s.get("version"); ok {
		m.Version = b.modelVersion(at)
	}
	if at, ok := s.get("output"); ok {
		m.Output, _ = b.r.text(at, textBytesMax)
	}
	if at, ok := s.get("class"); ok {
		m.Class, _ = b.r.whole(at, 0, math.MaxInt32)
	}
	return m
}

func (b *builder) modelName(n node, base Model) Model {
	name, _ := b.r.text(n, textBytesMax)
	m := base
	if m.Name = name; name != base.Name {
		m.Version = ""
	}
	return m
}

// modelVersion is a number from 1 or an alias.
func (b *builder) modelVersion(n node) string {
	version, ok := b.r.text(n, nameBytesMax)
	if ok && strings.Trim(version, "0123456789") == "" && strings.TrimLeft(version, "0") != version {
		b.r.fail(n, "is %s, it takes a number from 1 or an alias", version)
	}
	return version
}

// answers reads what may be answered.
func (b *builder) answers(s block) {
	b.decisions = map[string]int{}
	n, ok := s.need("decisions")
	if !ok {
		return
	}
	for i, item := range b.r.items(n, "decisions", 1, answersMax) {
		name, ok := b.r.name(item)
		if !ok {
			continue
		}
		if _, twice := b.decisions[name]; twice {
			b.r.fail(item, "%s is given twice", name)
			continue
		}
		b.decisions[name] = i
		b.p.Decisions = append(b.p.Decisions, name)
	}
}

func (b *builder) reasonTexts(s block) {
	b.reasons = map[string]int{}
	n, ok := s.get("reasons")
	if !ok {
		return
	}
	for _, e := range b.r.entries(n, "reasons", reasonsMax) {
		if !b.r.checkName(e.keyAt, e.key) {
			continue
		}
		text, _ := b.r.text(e.value, textBytesMax)
		b.reasons[e.key] = len(b.p.reasons)
		b.p.reasons = append(b.p.reasons, Reason{Code: e.key, Text: text})
	}
}

// rules reads the list of rules under a key.
func (b *builder) rules(s block, key string) []rule {
	n, ok := s.get(key)
	if !ok {
		return nil
	}
	visible := b.beforeModel()
	if key == "after" {
		visible = b.afterModel()
	}
	return b.ruleList(n, visible)
}

func (b *builder) ruleList(n node, visible int) []rule {
	var rules []rule
	for _, item := range b.r.items(n, "rules", 0, rulesMax) {
		s, ok := b.r.block(item, "name", "when", "decision", "reason")
		if !ok {
			continue
		}
		r := rule{name: b.ruleName(s), reason: -1}
		if at, ok := s.need("when"); ok {
			r.when = b.condition(at, visible)
		}
		r.decision, r.reason = b.then(s)
		rules = append(rules, r)
	}
	return rules
}

// ruleName is the name given, or the rule's place in the decision.
func (b *builder) ruleName(s block) string {
	n, ok := s.get("name")
	if !ok {
		return strings.TrimPrefix(s.at.path, "decisions."+b.p.Name+".")
	}
	name, ok := b.r.name(n)
	if !ok {
		return ""
	}
	if line, twice := b.ruleLines[name]; twice {
		b.r.fail(n, "another rule has the name %s, in line %d", name, line)
	}
	b.ruleLines[name], _ = place(n.ast)
	return name
}

// then reads what a rule or threshold decides.
func (b *builder) then(s block) (decision, reason int) {
	reason = -1
	if n, ok := s.need("decision"); ok {
		decision = b.reference(n, "decision", b.decisions)
	}
	if n, ok := s.get("reason"); ok {
		reason = b.reason(n)
	}
	return decision, reason
}

func (b *builder) reason(n node) int {
	code, ok := b.r.text(n, nameBytesMax)
	if !ok {
		return -1
	}
	if i, known := b.reasons[code]; known {
		return i
	}
	if c := expression.Closest(code, names(b.reasons)); c != "" {
		b.r.fail(n, "unknown reason %s; did you mean %s?", code, c)
		return -1
	}
	b.r.fail(n, "unknown reason %s: add it, with its text, to reasons", code)
	return -1
}

// reference reads a name that has to be among those known.
func (b *builder) reference(n node, what string, known map[string]int) int {
	name, ok := b.r.text(n, nameBytesMax)
	if !ok {
		return 0
	}
	i, found := known[name]
	if !found && len(known) > 0 { // without any, that is the mistake
		b.r.fail(n, "unknown %s %s%s", what, name, orOneOf(name, names(known)))
	}
	return i
}

// names are the keys of a map of places, by place.
func names(known map[string]int) []string {
	list := make([]string, 0, len(known))
	for name := range known {
		list = append(list, name)
	}
	slices.SortFunc(list, func(a, b string) int { return known[a] - known[b] })
	return list
}

func (b *builder) segmentRules(s block) {
	b.p.segments = []segment{{name: segmentDefault}}
	b.segments = map[string]int{segmentDefault: 0}
	n, ok := s.get("segments")
	if !ok {
		return
	}
	for _, item := range b.r.items(n, "segments", 0, segmentsMax) {
		s, ok := b.r.block(item, "name", "when")
		if !ok {
			continue
		}
		var g segment
		if at, ok := s.need("name"); ok {
			if g.name, ok = b.r.name(at); ok {
				b.segmentName(at, g.name)
			}
		}
		if at, ok := s.need("when"); ok {
			g.when = b.condition(at, b.beforeModel())
		}
		b.p.segments = append(b.p.segments, g)
	}
}

func (b *builder) segmentName(n node, name string) {
	if name == segmentDefault {
		b.r.fail(n, "default is what matches no segment: take another name")
		return
	}
	if _, twice := b.segments[name]; twice {
		b.r.fail(n, "another segment has the name %s", name)
		return
	}
	b.segments[name] = len(b.p.segments)
}

func (b *builder) explanations(s block) {
	b.p.ExplainMax = explainDefault
	n, ok := s.get("explain")
	if !ok {
		return
	}
	s, ok = b.r.block(n, "max", "rules", "attributions")
	if !ok {
		return
	}
	if at, ok := s.get("max"); ok {
		b.p.ExplainMax, _ = b.r.whole(at, 1, explainMax)
	}
	attributions, ok := s.get("attributions")
	if ok {
		b.attributions(attributions)
	}
	if _, written := s.get("rules"); !written && ok {
		return // attributions alone
	}
	at, ok := s.need("rules")
	if !ok {
		return
	}
	for _, item := range b.r.items(at, "rules", 0, rulesMax) {
		s, ok := b.r.block(item, "code", "when")
		if !ok {
			continue
		}
		e := explanation{reason: -1}
		if at, ok := s.need("code"); ok {
			e.reason = b.reason(at)
		}
		if at, ok := s.need("when"); ok {
			e.when = b.condition(at, b.afterModel())
		}
		b.p.explain = append(b.p.explain, e)
	}
}

// beforeModel is how much of the environment is known before the model.
func (b *builder) beforeModel() int { return len(b.p.env) - variables }

// afterModel is how much is known after it. Without an experiment there is no arm.
func (b *builder) afterModel() int {
	if b.experiment {
		return len(b.p.env)
	}
	return len(b.p.env) - 1
}

// condition compiles a condition over the first places of the environment.
func (b *builder) condition(n node, visible int) *expression.Program {
	text, ok := b.r.text(n, expression.TextMax)
	if !ok || b.blind {
		return nil
	}
	p, err := expression.Compile(text, b.p.env[:visible])
	if err != nil {
		b.refuse(n, text, visible, err)
		return nil
	}
	if p.Type() != column.Bool {
		b.r.fail(n, "is %s, it takes a condition: compare it with something", aOrAn(p.Type()))
		return nil
	}
	return p
}

// refuse reports what is wrong with a condition, at its place in the file.
func (b *builder) refuse(n node, text string, visible int, err error) {
	if p, late := expression.Compile(text, b.p.env); late == nil {
		fields := p.Fields()
		switch name := b.p.env[fields[len(fields)-1]].Name; {
		case visible == b.afterModel():
			b.r.fail(n, "uses arm, but there is no experiment")
		default:
			b.r.fail(n, "uses %s, which is known after the model only", name)
		}
		return
	}
	var at *expression.Error
	if !errors.As(err, &at) {
		b.r.fail(n, "%v", err)
		return
	}
	line, column := place(n.ast)
	if skip, ok := inside(n.ast); ok {
		b.r.failAt(line, column+skip+at.Offset, n.path, "%s", at.Message)
		return
	}
	b.r.failAt(line, column, n.path, "%s", at.Error())
}

// inside tells how many characters of the file come before the first one of a text, if
// the others follow in the file as they do in the text.
func inside(n ast.Node) (skip int, ok bool) {
	s, ok := n.(*ast.StringNode)
	if !ok {
		return 0, false
	}
	raw := strings.TrimSpace(s.Token.Origin)
	if s.Token.Type == token.SingleQuoteType || s.Token.Type == token.DoubleQuoteType {
		skip = 1
	}
	plain := utf8.RuneCountInString(raw) == utf8.RuneCountInString(s.Value)+2*skip && !strings.ContainsAny(raw, "\n\r")
	return skip, plain
}
