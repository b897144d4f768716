// SPDX-License-Identifier: Apache-2.0

package metric

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/millrace-ml/millrace/featurestore/expression"
)

// taskSet is a set of tasks.
type taskSet uint8

func tasks(list ...Task) (set taskSet) {
	for _, t := range list {
		set |= 1 << t
	}
	return set
}

func (s taskSet) has(t Task) bool { return s>>t&1 != 0 }

// builder makes the kernel of a metric for a sample of one of its tasks.
type builder func(p *prepared) (kernel, error)

// family is the metrics of one name, which differ by their arguments.
type family struct {
	name     string
	args     string   // how arguments are written, such as "@k"
	keys     []string // the arguments that may be named
	about    string
	better   int
	perClass bool
	// parse reads the arguments and says which tasks the metric is for.
	parse func(n *name) (taskSet, builder)
	// examples are names of all kinds of the family.
	examples []string
}

func (f *family) usage() string { return f.name + f.args }

var families = map[string]*family{}

// register adds families at the start of the program.
func register(list ...*family) {
	for _, f := range list {
		if families[f.name] != nil || len(f.examples) == 0 {
			panic("metric: bad registration of " + f.name)
		}
		families[f.name] = f
	}
}

// standard is a metric that was named.
type standard struct {
	text  string
	f     *family
	tasks taskSet
	build builder
}

func (m *standard) Name() string      { return m.text }
func (m *standard) Better() int       { return m.f.better }
func (m *standard) Suits(t Task) bool { return m.tasks.has(t) }

func (m *standard) Prepare(s *Sample) (Statistic, error) { return prepareOne(m, s) }

func (m *standard) prepare(p *prepared) (kernel, error) { return m.build(p) }

func prepareOne(m Metric, s *Sample) (Statistic, error) {
	list, err := PrepareAll(s, []Metric{m})
	if err != nil {
		return nil, err
	}
	return list[0], nil
}

// Parse returns the metric of a name, such as "roc_auc", "f1@0.3", "precision@100",
// "recall@fpr=0.01", "recall:refund" (of a class) or "cost@fp=1,fn=10,threshold=0.5".
// Describe lists them. The error wraps ErrMetric.
func Parse(text string) (Metric, error) {
	n, err := cutName(text)
	if err != nil {
		return nil, fmt.Errorf("%w %q: %w", ErrMetric, clip(text), err)
	}
	f := families[n.base]
	if f == nil {
		return nil, fmt.Errorf("%w %q: there is no metric %s%s", ErrMetric, n.text, strconv.Quote(n.base), suggestion(n.base))
	}
	m := &standard{text: n.text, f: f}
	m.tasks, m.build = f.parse(n)
	if err := n.finish(f); err != nil {
		return nil, fmt.Errorf("%w %q: %w", ErrMetric, n.text, err)
	}
	return m, nil
}

// clip shortens a text for a message.
func clip(text string) string {
	if len(text) > nameMax {
		return strings.ToValidUTF8(text[:nameMax], "") + "..."
	}
	return text
}

func suggestion(base string) string {
	if c := expression.Closest(base, Names()); c != "" {
		return "; did you mean " + c + "?"
	}
	return "; there are " + strings.Join(Names(), ", ")
}

// Names are the names of the metrics without arguments, sorted.
func Names() []string { return slices.Sorted(maps.Keys(families)) }

// Description describes metrics of one name, for help.
type Description struct {
	// Usage is how it is written, such as "precision[:CLASS][@k|@threshold]".
	Usage string
	About string
	// Better is as in Metric.
	Better int
	Tasks  []Task
	// Examples are names that Parse takes.
	Examples []string
}

// Describe describes all metrics, sorted by name.
func Describe() []Description {
	var list []Description
	for _, base := range Names() {
		f := families[base]
		d := Description{Usage: f.usage(), About: f.about, Better: f.better, Examples: slices.Clone(f.examples)}
		var all taskSet
		for _, text := range f.examples {
			if m, err := Parse(text); err == nil {
				all |= m.(*standard).tasks
			}
		}
		for t := Binary; t <= Ranking; t++ {
			if all.has(t) {
				d.Tasks = append(d.Tasks, t)
			}
		}
		list = append(list, d)
	}
	return list
}

// classNumber finds a class by its text, or by its number where classes have no texts.
func (p *prepared) classNumber(text string) (int, error) {
	if c := slices.Index(p.Classes, text); c >= 0 {
		return c, nil
	}
	if len(p.Classes) == 0 {
		if c, err := strconv.Atoi(text); err == nil && c >= 0 && c < p.Outputs {
			return c, nil
		}
		return 0, fmt.Errorf("%w: there is no class %q; the classes are 0 to %d", ErrMetric, text, p.Outputs-1)
	}
	hint := ""
	if c := expression.Closest(text, p.Classes); c != "" {
		hint = fmt.Sprintf("; did you mean %q?", c)
	}
	return 0, fmt.Errorf("%w: there is no class %q%s", ErrMetric, text, hint)
}

// always makes a builder of a function that cannot go wrong.
func always(f func(p *prepared) kernel) builder {
	return func(p *prepared) (kernel, error) { return f(p), nil }
}

// calibrated is a builder that refuses scores that are no probabilities.
func calibrated(f func(p *prepared) kernel) builder {
	return func(p *prepared) (kernel, error) {
		if p.Uncalibrated {
			return nil, fmt.Errorf("%w: it needs probabilities, and the scores are uncalibrated", ErrSample)
		}
		return f(p), nil
	}
}

// fixed is the parse of metrics without arguments.
func fixed(set taskSet, b builder) func(*name) (taskSet, builder) {
	return func(*name) (taskSet, builder) { return set, b }
}
