// SPDX-License-Identifier: Apache-2.0

package evaluation

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/millrace-ml/millrace/evaluation/interval"
	"github.com/millrace-ml/millrace/evaluation/metric"
	"github.com/millrace-ml/millrace/evaluation/report"
	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/expression"
)

const (
	// binsMax bounds the groups that a column of numbers is parted into.
	binsMax     = 100
	binsDefault = 4
	// valuesMax is how many values a column of numbers is parted by before bins are made.
	valuesMax = 20
	// groupsMax bounds the values of a column with a slice of their own.
	groupsMax = 100
)

// slicing is a Slice whose columns were found.
type slicing struct {
	columns []string // one, or two of a cross
	bins    int
	program *expression.Program // instead of columns
	name    string
}

// wantSlices asks the table for what slices need.
func wantSlices(specs []Slice, t *table) (all []slicing) {
	for i := range specs {
		s := &specs[i]
		var found slicing
		switch text := s.text; {
		case s.Column != "" || text != "" && t.has(text):
			found.columns, found.bins = []string{cmp.Or(s.Column, text)}, s.Bins
		case s.Cross != nil:
			found.columns = s.Cross
		default:
			found.program, found.name = t.wantExpression("slice", cmp.Or(s.Where, text)), cmp.Or(s.Name, s.Where, text)
		}
		t.want("slice", found.columns...)
		all = append(all, found)
	}
	return all
}

// part is a slice: its rows, or why it has no metrics.
type part struct {
	name    string
	rows    []int32
	skipped string
}

// parts are the slices that are measured, or named with the reason why not.
func (e *run) parts() ([]part, error) {
	var all []part
	for _, s := range e.slices {
		var found []part
		switch {
		case s.program != nil:
			p := part{name: s.name}
			rows := newRowReader(e.rows)
			for i := range e.rows.Rows {
				if s.program.True(rows.at(i, s.program.Fields())) {
					p.rows = append(p.rows, int32(i))
				}
			}
			if p.rows == nil {
				return nil, fmt.Errorf("%w: the slice %s is empty: the expression is true for none of %d rows", ErrData, s.name, e.rows.Rows)
			}
			found = []part{p}
		default:
			g := e.grouping(s.columns[0], s.bins)
			if len(s.columns) == 2 {
				g = cross(g, e.grouping(s.columns[1], 0))
			}
			found = g.parts(e.spec.SliceRowsMin)
		}
		all = append(all, found...)
		if len(all) > slicesMax {
			return nil, fmt.Errorf("%w: more than %d slices", ErrSpec, slicesMax)
		}
	}
	all = distinct(all)
	for i := range all {
		all[i].skipped = cmp.Or(all[i].skipped, e.tooLittle(all[i].rows))
	}
	return all, nil
}

// distinct leaves out slices that were asked for twice, and numbers others of one name, such
// as those of a null and of the text null.
func distinct(all []part) []part {
	first := map[string]int{}
	kept := all[:0]
	for _, p := range all {
		name := p.name
		at, again := first[name]
		for n := 2; again && !slices.Equal(kept[at].rows, p.rows); n++ {
			p.name = fmt.Sprintf("%s (%d)", name, n)
			at, again = first[p.name]
		}
		if !again {
			first[p.name] = len(kept)
			kept = append(kept, p)
		}
	}
	return kept
}

// tooLittle says why rows cannot be measured by themselves.
func (e *run) tooLittle(rows []int32) string {
	if len(rows) < e.spec.SliceRowsMin {
		return fmt.Sprintf("%d rows, at least %d are needed", len(rows), e.spec.SliceRowsMin)
	}
	if e.task != metric.Binary {
		return ""
	}
	positives := 0
	for _, r := range rows {
		positives += int(e.labels[r])
	}
	if positives == 0 || positives == len(rows) {
		return fmt.Sprintf("one class only: %d of %d rows are positive", positives, len(rows))
	}
	return ""
}

// grouping parts all rows: each has a group.
type grouping struct {
	ids   []int32
	names []string
	// rest names groups that are too small, of so many of them.
	rest func(groups int) string
}

// grouping parts rows by a column: by value, or by quantiles of numbers.
func (e *run) grouping(name string, bins int) grouping {
	c := e.rows.Column(name)
	ids, count := numbering(c, e.rows.Rows)
	number := c.Type == column.Float64 || c.Type == column.Int64
	if number && bins == 0 && count > valuesMax || bins > 0 && c.Type != column.String || c.Type == column.Timestamp {
		return e.quantiles(c, cmp.Or(bins, binsDefault))
	}
	g := grouping{ids: ids, names: make([]string, count), rest: func(n int) string { return fmt.Sprintf("%s=(%d other values)", name, n) }}
	for i, id := range ids {
		if g.names[id] == "" {
			g.names[id] = name + "=" + textOf(c, i)
		}
	}
	return g
}

// quantiles parts rows into groups of about the same size. Equal numbers are in one group.
func (e *run) quantiles(c *column.Column, bins int) grouping {
	sorted := make([]float64, 0, e.rows.Rows)
	for i := range e.rows.Rows {
		if !c.Null(i) {
			sorted = append(sorted, c.Number(i))
		}
	}
	slices.Sort(sorted)
	g := grouping{ids: make([]int32, e.rows.Rows), rest: func(n int) string { return fmt.Sprintf("%s (%d other ranges)", c.Name, n) }}
	if len(sorted) == 0 {
		g.names = []string{c.Name + "=null"}
		return g
	}
	edges := sorted[:1:1] // the lower edge of each bin
	for b := 1; b < bins; b++ {
		if edge := sorted[b*len(sorted)/bins]; edge > edges[len(edges)-1] {
			edges = append(edges, edge)
		}
	}
	text := edgeText(c, edges)
	for b, edge := range edges {
		if b+1 < len(edges) {
			g.names = append(g.names, fmt.Sprintf("%s in [%s, %s)", c.Name, text(edge), text(edges[b+1])))
		} else {
			g.names = append(g.names, fmt.Sprintf("%s in [%s, %s]", c.Name, text(edge), text(sorted[len(sorted)-1])))
		}
	}
	null := int32(len(edges))
	for i := range g.ids {
		if c.Null(i) {
			g.ids[i] = null
			continue
		}
		at, exact := slices.BinarySearch(edges, c.Number(i))
		if !exact {
			at--
		}
		g.ids[i] = int32(at)
	}
	g.names = append(g.names, c.Name+"=null") // without rows if there are none
	return g
}

// edgeText writes the edges of a column's bins, with as many digits as tell them apart.
func edgeText(c *column.Column, edges []float64) func(float64) string {
	if c.Type == column.Timestamp {
		return func(v float64) string { return moment(int64(v)).Format("2006-01-02T15:04:05.999999") }
	}
	digits := 4
	write := func(v float64) string { return strconv.FormatFloat(v, 'g', digits, 64) }
	for ; digits < 17; digits++ {
		same := false
		for i := 1; i < len(edges); i++ {
			same = same || write(edges[i]) == write(edges[i-1])
		}
		if !same {
			break
		}
	}
	return write
}

// cross parts rows by two groupings.
func cross(a, b grouping) grouping {
	type pair struct{ a, b int32 }
	places := map[pair]int32{}
	g := grouping{ids: make([]int32, len(a.ids)), rest: func(n int) string { return fmt.Sprintf("%s and %s", a.rest(n), b.rest(n)) }}
	for i := range g.ids {
		p := pair{a.ids[i], b.ids[i]}
		at, known := places[p]
		if !known {
			at = int32(len(g.names))
			places[p] = at
			g.names = append(g.names, a.names[p.a]+" and "+b.names[p.b])
		}
		g.ids[i] = at
	}
	return g
}

// parts gives the larger groups a slice each, and one to all others.
func (g *grouping) parts(rowsMin int) []part {
	counts := make([]int, len(g.names))
	for _, id := range g.ids {
		counts[id]++
	}
	order := make([]int, 0, len(counts))
	for id, n := range counts {
		if n > 0 {
			order = append(order, id)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(g.names[a], g.names[b]))
	})
	own := 0
	for own < len(order) && own < groupsMax && counts[order[own]] >= rowsMin {
		own++
	}
	all := make([]part, own)
	places := make([]int, len(counts)) // of groups among all, own for the rest
	for at, id := range order {
		places[id] = min(at, own)
	}
	var rest part
	for i, id := range g.ids {
		if at := places[id]; at < own {
			all[at].rows = append(all[at].rows, int32(i))
		} else {
			rest.rows = append(rest.rows, int32(i))
		}
	}
	for at := range all {
		all[at].name = g.names[order[at]]
	}
	if left := len(order) - own; left > 0 {
		if rest.name = g.rest(left); left == 1 {
			rest.name = g.names[order[own]]
		}
		all = append(all, rest)
	}
	return all
}

// measureSlices measures the slices and sorts them by regret.
func (e *run) measureSlices(ctx context.Context) error {
	parts, err := e.parts()
	if err != nil {
		return err
	}
	metrics := e.sliceMetrics()
	tests := make([][]report.Test, len(metrics))
	for i, p := range parts {
		e.Progress("slices", int64(i), int64(len(parts)))
		s := report.Slice{Name: p.name, Rows: len(p.rows), Skipped: p.skipped}
		if p.skipped == "" {
			c, err := e.contest(ctx, metrics, p.rows)
			if err != nil {
				return fmt.Errorf("slice %s: %w", p.name, err)
			}
			s.Metrics = c.report()
			for k, m := range metrics {
				if c.against != nil {
					tests[k] = append(tests[k], c.tests(k, m, p.name, 0, false)...)
				}
			}
		}
		e.report.Slices = append(e.report.Slices, s)
	}
	for _, list := range tests {
		adjust(list)
		e.report.Tests = append(e.report.Tests, list...)
	}
	e.sortSlices()
	return nil
}

// adjust corrects the p-values of one metric over the slices.
func adjust(tests []report.Test) {
	p := make([]float64, len(tests))
	for i, t := range tests {
		if p[i] = math.NaN(); t.P != nil {
			p[i] = *t.P
		}
	}
	for i, v := range interval.Holm(p) {
		tests[i].Adjusted = finite(v)
	}
}

// sortSlices puts slices with most regret first, those without metrics last.
func (e *run) sortSlices() {
	slices.SortStableFunc(e.report.Slices, func(a, b report.Slice) int {
		x, y := e.regret(&a), e.regret(&b)
		switch {
		case math.IsNaN(x) || math.IsNaN(y):
			return cmp.Compare(truth(math.IsNaN(x)), truth(math.IsNaN(y)))
		}
		return cmp.Or(cmp.Compare(y, x), cmp.Compare(b.Rows, a.Rows))
	})
}

func truth(b bool) int {
	if b {
		return 1
	}
	return 0
}

// regret is how much worse the model is in a slice than the champion, by the first metric;
// without a champion than the model in all rows.
func (e *run) regret(s *report.Slice) float64 {
	if len(s.Metrics) == 0 {
		return math.NaN()
	}
	m := &s.Metrics[0]
	sign := 1.
	if m.Better == "lower" {
		sign = -1
	}
	if m.Difference != nil {
		return -sign * valueOf(m.Difference.Value)
	}
	for i := range e.report.Metrics {
		if e.report.Metrics[i].Name == m.Name {
			return sign * (valueOf(e.report.Metrics[i].Value.Value) - valueOf(m.Value.Value))
		}
	}
	return math.NaN()
}

func valueOf(v *float64) float64 {
	if v == nil {
		return math.NaN()
	}
	return *v
}
