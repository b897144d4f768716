// SPDX-License-Identifier: Apache-2.0

package metric

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/expr-lang/expr/ast"
)

// Definition is a metric that a user wrote.
//
//	name: card_precision@100
//	expression: precision_at(100)
//	by: day(event_timestamp)
//	unit: customer_id
//	once: true
//	better: higher
//
// The expression is arithmetic (+ - * / % **, ??, abs, sqrt, log, exp, floor, ceil, min and
// max of several numbers) over
//
//	sum(e) mean(e) min(e) max(e) quantile(e, q) count(e) count()
//
// where e is computed for each row in the language of package featurestore/expression, of
// the sample's columns, label, score (of several classes score_0, score_1 and so on, and
// predicted, the class of the highest), weight and query; nulls are left out; and over the
// metrics that have names:
//
//	roc_auc() f1(0.3) precision_at(100) recall_at(100) ndcg_at(10) metric("recall@fpr=0.01")
//
// A row that is drawn twice or has weight 2 counts as two rows in all of them. Besides the
// functions of that language there is date(t) and date(t, zone), the day as a number such
// as 20180725. A result that is not finite is NaN.
type Definition struct {
	// Name is what reports and gates call it. It is no name of a metric that there is.
	Name       string `yaml:"name"`
	Expression string `yaml:"expression"`
	// Better is higher, lower, or empty for neither.
	Better string `yaml:"better"`
	// Where keeps the rows for which it is true, an expression of a row.
	Where string `yaml:"where"`
	// By cuts the rows in periods by the value of an expression of a row: the metric is
	// the mean over the periods for which it is defined. Rows for which it is null are left
	// out. A By that is day(t) is taken for date(t), as days of different months differ.
	By string `yaml:"by"`
	// Unit is a column: rows with equal values, in a period, count as one row, with the
	// largest score and the largest label. A row of which it is null stands for itself. The
	// unit is drawn as often as the one of its rows that is drawn most, and has the rows that
	// are drawn at all. Expressions of a row see label and score only.
	Unit string `yaml:"unit"`
	// Once lets units leave the later periods, by rising By, that are positive and among
	// the k highest of a period, where the expression has precision_at(k) or recall_at(k).
	// Of units with the same score that compete for the last places each leaves in part.
	Once bool `yaml:"once"`
}

// Limits of a definition.
const (
	// PeriodsMax is the largest number of periods.
	PeriodsMax = 1 << 16
	textMax    = 4 << 10
	nodesMax   = 512
)

// defined is a metric by a definition.
type defined struct {
	d      Definition
	better int
	tree   ast.Node
	by     string // of a row
	where  string
	named  []*standard // that the expression calls
	places int         // that units leave from, with once
}

var _ Metric = (*defined)(nil)

// New returns the metric of a definition. Names of columns are looked up in Prepare only.
// The error wraps ErrMetric and names the field.
func New(d Definition) (Metric, error) {
	m := &defined{d: d}
	for _, step := range []struct {
		field string
		do    func() error
	}{
		{"name", m.setName}, {"better", m.setBetter}, {"expression", m.setExpression},
		{"where", func() (err error) { m.where, err = rowText(d.Where, false); return err }},
		{"by", func() (err error) { m.by, err = rowText(d.By, true); return err }},
		{"once", m.setOnce},
	} {
		if err := step.do(); err != nil {
			return nil, fmt.Errorf("%w %q: %s: %w", ErrMetric, clip(d.Name), step.field, err)
		}
	}
	return m, nil
}

func (m *defined) setName() error {
	n := m.d.Name
	switch {
	case strings.TrimSpace(n) == "":
		return fmt.Errorf("a metric needs a name")
	case len(n) > nameMax:
		return fmt.Errorf("it has %d bytes, at most %d are allowed", len(n), nameMax)
	case n != strings.TrimSpace(n) || strings.ContainsFunc(n, func(r rune) bool { return !strconv.IsPrint(r) }):
		return fmt.Errorf("%q has characters that are not printed, or blanks around it", n)
	}
	if _, err := Parse(n); err == nil {
		return fmt.Errorf("there is a metric %q already; give yours another name", n)
	}
	return nil
}

func (m *defined) setBetter() error {
	switch m.d.Better {
	case "higher":
		m.better = 1
	case "lower":
		m.better = -1
	case "":
	default:
		return fmt.Errorf("%q is not higher or lower", m.d.Better)
	}
	return nil
}

func (m *defined) setExpression() error {
	tree, err := parseText(m.d.Expression)
	if err != nil {
		return err
	}
	if m.tree, err = withDates(tree); err != nil {
		return err
	}
	tree = m.tree
	_, err = compileTerm(tree, &scope{metric: m.note, row: func(ast.Node) ([]float64, error) { return nil, nil }})
	return err
}

// note keeps the metrics that the expression calls.
func (m *defined) note(b *standard) (kernel, error) {
	m.named = append(m.named, b)
	return nil, nil
}

// setOnce finds the number of places.
func (m *defined) setOnce() error {
	if !m.d.Once {
		return nil
	}
	if m.d.By == "" || m.d.Unit == "" {
		return fmt.Errorf("it needs by and unit: units leave the later periods")
	}
	for _, b := range m.named {
		n, err := cutName(b.text)
		if err != nil || b.f.name != "precision" && b.f.name != "recall" {
			continue
		}
		if !n.whole("") && n.args["k"] == "" {
			continue
		}
		k := places(n, 0)
		if m.places != 0 && m.places != k {
			return fmt.Errorf("the expression has both %d and %d places, and units leave that are in one number of places", m.places, k)
		}
		m.places = k
	}
	if m.places == 0 {
		return fmt.Errorf("it needs precision_at(k) or recall_at(k) in the expression: units leave that are in the k highest")
	}
	return nil
}

// Name implements Metric.
func (m *defined) Name() string { return m.d.Name }

// Better implements Metric.
func (m *defined) Better() int { return m.better }

// Suits implements Metric: all metrics that the expression calls have to be for the task.
func (m *defined) Suits(t Task) bool {
	if m.d.Unit != "" && t != Binary {
		return false
	}
	return !slices.ContainsFunc(m.named, func(b *standard) bool { return !b.Suits(t) })
}

// Prepare implements Metric.
func (m *defined) Prepare(s *Sample) (Statistic, error) { return prepareOne(m, s) }
