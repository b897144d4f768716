// SPDX-License-Identifier: Apache-2.0

package metric

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/expr-lang/expr/ast"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/expression"
)

// whole is a definition that looks at all rows at once.
type whole struct {
	byRow
	of term
}

func (k whole) value(mass []float64) float64 { return k.of(mass) }

// periods is a definition that looks at parts of the rows and takes the mean.
type periods struct {
	byRow
	list []period
}

// period is some rows of the sample.
type period struct {
	rows []int32
	p    *prepared // of these rows
	of   term
}

func (k periods) value(mass []float64) float64 {
	var sum, n float64
	for _, part := range k.list {
		buf := part.p.masses.Get().(*[]float64)
		b := *buf
		for i, row := range part.rows {
			b[i] = mass[row]
		}
		if v := part.of(b); !math.IsNaN(v) {
			sum += v
			n++
		}
		part.p.masses.Put(buf)
	}
	return sum / n
}

func (m *defined) prepare(p *prepared) (kernel, error) {
	if m.where == "" && m.by == "" && m.d.Unit == "" {
		t, err := m.bind(p, newRowValues(p, nil))
		return whole{of: t}, err
	}
	cuts, err := m.cut(p)
	if err != nil {
		return nil, err
	}
	if m.d.Unit != "" {
		return m.prepareUnits(p, cuts)
	}
	values, k := newRowValues(p, nil), periods{list: make([]period, len(cuts))}
	for i, rows := range cuts {
		part := newPrepared(p.pick(rows))
		t, err := m.bind(part, &rowValues{p: p, cache: values.cache, rows: rows})
		if err != nil {
			return nil, err
		}
		k.list[i] = period{rows, part, t}
	}
	return k, nil
}

// bind compiles the expression for a sample.
func (m *defined) bind(p *prepared, values *rowValues) (term, error) {
	return compileTerm(m.tree, &scope{p: p, metric: func(b *standard) (kernel, error) { return b.build(p) }, row: values.of})
}

// pick is some rows of a sample, without columns.
func (s *Sample) pick(rows []int32) *Sample {
	part := &Sample{Task: s.Task, Outputs: s.Outputs, Uncalibrated: s.Uncalibrated, Classes: s.Classes}
	for _, row := range rows {
		part.Labels = append(part.Labels, s.Labels[row])
		part.Scores = append(part.Scores, s.Scores[int(row)*s.Outputs:(int(row)+1)*s.Outputs]...)
		if s.Queries != nil {
			part.Queries = append(part.Queries, s.Queries[row])
		}
	}
	return part
}

// cut is the rows of each period, by rising value, that Where keeps.
func (m *defined) cut(p *prepared) ([][]int32, error) {
	kept, err := m.kept(p)
	if err != nil {
		return nil, fmt.Errorf("where: %w", err)
	}
	if m.by == "" || len(kept) == 0 {
		if len(kept) == 0 {
			return nil, nil
		}
		return [][]int32{kept}, nil
	}
	env, row := rowEnvironment(p.Sample, nil)
	program, err := expression.Compile(m.by, env)
	if err != nil {
		return nil, fmt.Errorf("%w: by: %w", ErrMetric, err)
	}
	numbers, texts := map[float64][]int32{}, map[string][]int32{}
	for _, i := range kept {
		r := row(int(i), program)
		if program.Type() == column.String {
			if text, null := program.Text(r); !null {
				texts[text] = append(texts[text], i)
			}
		} else if v := program.Number(r); v == v {
			numbers[v] = append(numbers[v], i)
		}
		if len(numbers)+len(texts) > PeriodsMax {
			return nil, fmt.Errorf("%w: by: there are more than %d periods", ErrSample, PeriodsMax)
		}
	}
	return append(rising(numbers), rising(texts)...), nil
}

// rising is the values by rising key.
func rising[K cmp.Ordered](m map[K][]int32) [][]int32 {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	list := make([][]int32, len(keys))
	for i, k := range keys {
		list[i] = m[k]
	}
	return list
}

// kept is the rows for which Where is true.
func (m *defined) kept(p *prepared) ([]int32, error) {
	var rows []int32
	if m.where == "" {
		rows = make([]int32, p.Rows())
		for i := range rows {
			rows[i] = int32(i)
		}
		return rows, nil
	}
	env, row := rowEnvironment(p.Sample, nil)
	program, err := expression.Compile(m.where, env)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMetric, err)
	}
	for i := range p.Rows() {
		if program.True(row(i, program)) {
			rows = append(rows, int32(i))
		}
	}
	return rows, nil
}

// rowValues computes expressions of a row once for all rows of a sample.
type rowValues struct {
	p     *prepared
	cache map[string][]float64
	rows  []int32  // of the result, nil for all
	only  []string // the names that there are, nil for all
}

func newRowValues(p *prepared, only []string) *rowValues {
	return &rowValues{p: p, cache: map[string][]float64{}, only: only}
}

func (v *rowValues) of(node ast.Node) ([]float64, error) {
	text := node.String()
	all := v.cache[text]
	if all == nil {
		env, row := rowEnvironment(v.p.Sample, v.only)
		program, err := expression.Compile(text, env)
		if err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrMetric, text, err)
		}
		if program.Type() == column.String {
			return nil, fmt.Errorf("%w: %s is a text, a number is needed", ErrMetric, text)
		}
		all = make([]float64, v.p.Rows())
		for i := range all {
			all[i] = program.Number(row(i, program))
		}
		v.cache[text] = all
	}
	if v.rows == nil {
		return all, nil
	}
	part := make([]float64, len(v.rows))
	for i, row := range v.rows {
		part[i] = all[row]
	}
	return part, nil
}

// reader puts a value of a row in its place.
type reader func(i int, r *expression.Row, at int)

// rowEnvironment is the names that an expression of a row may use, and how a row is read
// for a program. The row is used again for the next.
func rowEnvironment(s *Sample, only []string) ([]expression.Field, func(i int, p *expression.Program) *expression.Row) {
	var env []expression.Field
	var readers []reader
	add := func(name string, t column.Type, read reader) {
		if only == nil || slices.Contains(only, name) {
			env, readers = append(env, expression.Field{Name: name, Type: t}), append(readers, read)
		}
	}
	number := func(name string, f func(i int) float64) {
		add(name, column.Float64, func(i int, r *expression.Row, at int) { r.Numbers[at] = f(i) })
	}
	if s.Columns != nil {
		for i := range s.Columns.Columns {
			c := &s.Columns.Columns[i]
			add(c.Name, c.Type, func(i int, r *expression.Row, at int) { readColumn(c, i, r, at) })
		}
	}
	number("label", func(i int) float64 { return s.Labels[i] })
	number("weight", func(i int) float64 {
		if s.Weights == nil {
			return 1
		}
		return s.Weights[i]
	})
	if s.Queries != nil {
		number("query", func(i int) float64 { return float64(s.Queries[i]) })
	}
	if s.Outputs == 1 {
		number("score", func(i int) float64 { return s.Scores[i] })
	} else {
		for k := range s.Outputs {
			number(fmt.Sprintf("score_%d", k), func(i int) float64 { return s.Scores[i*s.Outputs+k] })
		}
		number("predicted", func(i int) float64 { return float64(highest(s.Scores[i*s.Outputs : (i+1)*s.Outputs])) })
	}
	row := &expression.Row{Numbers: make([]float64, len(env)), Texts: make([]string, len(env)), NullTexts: make([]bool, len(env))}
	return env, func(i int, p *expression.Program) *expression.Row {
		for _, at := range p.Fields() {
			readers[at](i, row, at)
		}
		return row
	}
}

func readColumn(c *column.Column, i int, r *expression.Row, at int) {
	if c.Type == column.String {
		r.NullTexts[at] = c.Null(i)
		r.Texts[at] = c.Texts[i]
		return
	}
	r.Numbers[at] = c.Number(i)
}

// highest is the place of the largest score, the first of several.
func highest(scores []float64) int {
	best := 0
	for c, s := range scores {
		if s > scores[best] {
			best = c
		}
	}
	return best
}
