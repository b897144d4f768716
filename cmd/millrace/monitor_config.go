// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/millrace-ml/millrace/evaluation/monitor"
	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/labeling/groundtruth"
	"github.com/millrace-ml/millrace/serving/frontend/policy"
)

// monitorSpec is a monitor of a project, with what its words stand for.
type monitorSpec struct {
	*monitor.Spec
	policy *policy.Policy
	// label says what became of predictions; nil without one.
	label *groundtruth.Definition
	// numbers and texts are the places of the watched columns in a logged vector.
	numbers, texts []int
	slices         []monitorSlice
}

// monitorSlice is where the values of a slice come from.
type monitorSlice struct {
	name string
	// feature is its place in the service, text that among the texts; -1 for what is none.
	feature, text int
	fact          bool // else it is the arm or the answer
}

// loadMonitors reads the project's monitors, sorted by name. All that is wrong is reported.
func loadMonitors(p *project) ([]*monitorSpec, error) {
	if len(p.Monitors) == 0 {
		return nil, nil
	}
	_, policies, err := p.catalog()
	if err != nil {
		return nil, err
	}
	labels, err := p.labels(policies)
	if err != nil {
		return nil, err
	}
	return monitorsOf(p.Monitors, policies, labels)
}

// monitorsOf reads files of monitors of decisions that are known.
func monitorsOf(files []string, policies []*policy.Policy, labels []*groundtruth.Definition) ([]*monitorSpec, error) {
	var all []*monitorSpec
	_, err := monitor.LoadSpecs(files, func(s *monitor.Spec, fail func(path, format string, args ...any)) {
		m := &monitorSpec{Spec: s}
		if m.complete(policies, labels, fail) {
			all = append(all, m)
		}
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b *monitorSpec) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// complete finds what the words of a monitor stand for.
func (m *monitorSpec) complete(policies []*policy.Policy, labels []*groundtruth.Definition, fail func(path, format string, args ...any)) bool {
	i := slices.IndexFunc(policies, func(p *policy.Policy) bool { return p.Name == m.Decision })
	if i < 0 {
		var names []string
		for _, p := range policies {
			names = append(names, p.Name)
		}
		fail("decision", "there is no decision %q%s", m.Decision, didYouMean(m.Decision, names))
		return false
	}
	m.policy = policies[i]
	if m.policy.Service == nil || m.model().Name == "" {
		fail("decision", "the decision %s has no model, or no features, so there is nothing to watch", m.Decision)
		return false
	}
	m.completeLabel(labels, fail)
	m.completeColumns(fail)
	m.completeSlices(fail)
	c := m.Config
	c.EnsureDefaults()
	if err := c.Validate(); err != nil {
		for line := range strings.SplitSeq(err.Error(), "\n") {
			path, text, _ := strings.Cut(strings.TrimPrefix(line, monitor.ErrConfig.Error()+": "), ": ")
			path, _, _ = strings.Cut(path, ",")
			fail(path, "%s", text)
		}
	}
	return true
}

// completeLabel takes from the label what the monitor does not say.
func (m *monitorSpec) completeLabel(labels []*groundtruth.Definition, fail func(path, format string, args ...any)) {
	if m.Label == "" {
		return
	}
	i := slices.IndexFunc(labels, func(d *groundtruth.Definition) bool { return d.Name == m.Label })
	if i < 0 {
		var names []string
		for _, d := range labels {
			names = append(names, d.Name)
		}
		if len(names) == 0 {
			fail("label", "the project has no labels: name their files in %s, such as feedback: [feedback.yaml]", projectFile)
		} else {
			fail("label", "there is no label %q%s", m.Label, didYouMean(m.Label, names))
		}
		return
	}
	m.label = labels[i]
	if m.label.Decision != m.Decision {
		fail("label", "the label %s is of the decision %s", m.Label, m.label.Decision)
	}
	if m.Config.LabelDelay == 0 {
		m.Config.LabelDelay = monitor.Duration(m.label.Window)
	}
	m.Config.SilenceIsNegative = m.Config.SilenceIsNegative || m.label.Silence == groundtruth.SilenceNegative
	m.completeKind(fail)
}

// completeKind takes the kind from the label's type where the monitor does not say it: numbers
// are amounts, unless one of them stands for 1.
func (m *monitorSpec) completeKind(fail func(path, format string, args ...any)) {
	kind := &m.Config.Kind
	if *kind == "" && m.label.Type == groundtruth.TypeNumber && m.Positive == "" {
		*kind = monitor.Regression
	}
	if *kind != monitor.Regression {
		m.checkPositive(fail)
		return
	}
	if t := m.label.Type; t != groundtruth.TypeNumber && t != groundtruth.TypeNull {
		fail("kind", "the label %s is a %s, and a regression is of numbers: leave kind out, or give a label of the type number", m.Label, t)
	}
	if m.Positive != "" {
		fail("positive", "a regression has no value that stands for 1: leave positive out, or say kind: %s", monitor.Binary)
	}
	if silent := m.label.Negative; m.label.Silence == groundtruth.SilenceNegative && silent != groundtruth.Number(0) {
		fail("label", "silence stands for %s in the label %s; for a regression it can only stand for 0, or for nothing", silent, m.Label)
	}
}

// checkPositive sees that labels are true or false, or can be made so: there is no monitor of
// many classes at once.
func (m *monitorSpec) checkPositive(fail func(path, format string, args ...any)) {
	switch m.label.Type {
	case groundtruth.TypeClass, groundtruth.TypeText:
		if m.Positive == "" {
			fail("positive", "positive is missing: the class that stands for 1; all others are 0")
		}
	case groundtruth.TypeNumber:
		if m.Positive == "" {
			fail("positive", "positive is missing: the number that stands for 1, all others are 0; for amounts leave kind out, or say kind: %s", monitor.Regression)
		} else if _, err := strconv.ParseFloat(m.Positive, 64); err != nil {
			fail("positive", "%q is no number, as the label %s is", m.Positive, m.Label)
		}
	case groundtruth.TypeBool:
		if m.Positive != "" && m.Positive != "true" {
			fail("positive", "the label %s is true or false: leave positive out", m.Label)
		}
	}
}

// completeColumns finds the features that are watched, which are all if none is named.
func (m *monitorSpec) completeColumns(fail func(path, format string, args ...any)) {
	features := m.policy.Service.Features
	if len(m.Config.Columns) == 0 {
		for i := range features {
			m.Config.Columns = append(m.Config.Columns, monitor.Column{Name: features[i].Name})
		}
	}
	for i := range m.Config.Columns {
		c := &m.Config.Columns[i]
		at := featureOf(m.policy.Service, c.Name)
		if at < 0 {
			fail(fmt.Sprintf("columns[%d]", i), "%s has no feature %q%s", m.policy.Service.Name, c.Name, didYouMean(c.Name, featureNames(m.policy.Service)))
			continue
		}
		if c.Text = features[at].Type == column.String; c.Text {
			m.texts = append(m.texts, textPlace(m.policy.Service, at))
		} else {
			m.numbers = append(m.numbers, at)
		}
	}
}

func (m *monitorSpec) completeSlices(fail func(path, format string, args ...any)) {
	for i, name := range m.Config.Slices {
		s := monitorSlice{name: name, feature: featureOf(m.policy.Service, name), text: -1}
		s.fact = s.feature < 0 && slices.ContainsFunc(m.policy.Facts, func(f definition.Field) bool { return f.Name == name })
		switch {
		case s.feature >= 0:
			if m.policy.Service.Features[s.feature].Type == column.String {
				s.text = textPlace(m.policy.Service, s.feature)
			}
		case s.fact, name == sliceArm, name == sliceAnswer:
		default:
			fail(fmt.Sprintf("slices[%d]", i), "%q is no feature and no fact of %s, nor %s or %s", name, m.Decision, sliceArm, sliceAnswer)
		}
		m.slices = append(m.slices, s)
	}
}

// Slices that are neither a feature nor a fact.
const (
	sliceArm    = "arm"
	sliceAnswer = "answer"
)

func featureOf(s *definition.Service, name string) int {
	return slices.IndexFunc(s.Features, func(f definition.Feature) bool { return f.Name == name })
}

func featureNames(s *definition.Service) (names []string) {
	for i := range s.Features {
		names = append(names, s.Features[i].Name)
	}
	return names
}

// textPlace is the place of a text feature among the texts of a vector.
func textPlace(s *definition.Service, feature int) (place int) {
	for i := range feature {
		if s.Features[i].Type == column.String {
			place++
		}
	}
	return place
}

// outcome is what a label stands for: 0 or 1, or an amount; what is neither does not count.
func (m *monitorSpec) outcome(v groundtruth.Value) (label float64, ok bool) {
	if m.Config.Kind == monitor.Regression {
		return v.Number, v.Type == groundtruth.TypeNumber
	}
	switch v.Type {
	case groundtruth.TypeBool:
		return v.Number, true
	case groundtruth.TypeNumber:
		x, err := strconv.ParseFloat(m.Positive, 64)
		return truthNumber(v.Number == x), err == nil
	case groundtruth.TypeClass, groundtruth.TypeText:
		return truthNumber(v.Text == m.Positive), m.Positive != ""
	}
	return 0, false
}

func truthNumber(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// model is the model whose scores are watched: that of the decision's first arm.
func (m *monitorSpec) model() policy.Model { return m.policy.Arms[0].Model }
