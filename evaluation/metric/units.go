// SPDX-License-Identifier: Apache-2.0

package metric

import (
	"fmt"
	"slices"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/expression"
)

// unitColumns are the names that an expression may use where rows of a unit are one.
var unitColumns = []string{"label", "score"}

// units is a definition in which the rows of a unit, in a period, count as one.
type units struct {
	byRow
	m     *defined
	p     *prepared
	count int // of units in all periods
	list  []unitPeriod
}

// unitPeriod is the rows of a period by unit.
type unitPeriod struct {
	rows   []int32
	starts []int   // of each unit in rows, and the end
	units  []int32 // the numbers of the units
	whole  joined  // with all rows of each unit
}

// joined is a period with one row for each unit.
type joined struct {
	p  *prepared
	of term
	r  *ranking // for units that leave
}

func (m *defined) prepareUnits(p *prepared, cuts [][]int32) (kernel, error) {
	numbers, count, err := unitNumbers(p.Sample, m.d.Unit)
	if err != nil {
		return nil, err
	}
	k := units{m: m, p: p, count: count, list: make([]unitPeriod, len(cuts))}
	for i, rows := range cuts {
		part := &k.list[i]
		part.rows = slices.Clone(rows)
		slices.SortStableFunc(part.rows, func(a, b int32) int { return int(numbers[a]) - int(numbers[b]) })
		for at, row := range part.rows {
			if at == 0 || numbers[part.rows[at-1]] != numbers[row] {
				part.starts, part.units = append(part.starts, at), append(part.units, numbers[row])
			}
		}
		part.starts = append(part.starts, len(part.rows))
		if part.whole, err = k.join(part, nil); err != nil {
			return nil, err
		}
	}
	if len(cuts) == 0 { // the expression is checked all the same
		_, err = k.joinSample(&Sample{Outputs: 1, Uncalibrated: p.Uncalibrated})
	}
	return k, err
}

// join makes one row of the rows of each unit, of those that have mass; nil is all.
func (k units) join(part *unitPeriod, mass []float64) (joined, error) {
	n := len(part.units)
	s := &Sample{Outputs: 1, Uncalibrated: k.p.Uncalibrated, Labels: make([]float64, n), Scores: make([]float64, n)}
	for u := range n {
		first := true
		for _, row := range part.rows[part.starts[u]:part.starts[u+1]] {
			if mass != nil && mass[row] == 0 {
				continue
			}
			if first || k.p.Scores[row] > s.Scores[u] {
				s.Scores[u] = k.p.Scores[row]
			}
			s.Labels[u] = max(s.Labels[u], k.p.Labels[row])
			first = false
		}
	}
	return k.joinSample(s)
}

func (k units) joinSample(s *Sample) (j joined, err error) {
	j.p = newPrepared(s)
	if j.of, err = k.m.bind(j.p, newRowValues(j.p, unitColumns)); err != nil {
		return j, err
	}
	if k.m.d.Once {
		j.r = j.p.by(0)
	}
	return j, nil
}

func (k units) value(mass []float64) float64 {
	var sum, n float64
	var left []float64 // the mass of each unit that has left
	if k.m.d.Once {
		left = make([]float64, k.count)
	}
	for i := range k.list {
		part := &k.list[i]
		buf := part.whole.p.masses.Get().(*[]float64)
		j, drawn := part.whole, *buf
		if !part.drawn(mass, drawn) {
			var err error
			if j, err = k.join(part, mass); err != nil {
				panic("metric: " + err.Error()) // it was compiled for the same names before
			}
		}
		if left != nil {
			for u, number := range part.units {
				drawn[u] = max(0, drawn[u]-left[number])
			}
		}
		if v := j.of(drawn); v == v {
			sum += v
			n++
		}
		if left != nil {
			j.r.leave(drawn, float64(k.m.places), part.units, left)
		}
		part.whole.p.masses.Put(buf)
	}
	return sum / n
}

// drawn fills in the mass of each unit, the largest of its rows', and reports whether every
// unit has all its rows or none.
func (part *unitPeriod) drawn(mass, drawn []float64) (whole bool) {
	whole = true
	for u := range part.units {
		rows := part.rows[part.starts[u]:part.starts[u+1]]
		most, none := 0.0, false
		for _, row := range rows {
			m := mass[row]
			most = max(most, m)
			none = none || m == 0
		}
		drawn[u] = most
		whole = whole && (!none || most == 0)
	}
	return whole
}

// leave adds the positives among the k highest to the mass of units that has left.
func (r *ranking) leave(mass []float64, k float64, units []int32, left []float64) {
	places := k
	for begin := 0; begin < len(r.order) && places > 0; {
		end, total := begin, 0.0
		for {
			total += mass[r.order[end]]
			end++
			if r.flags[end-1]&flagLast != 0 {
				break
			}
		}
		if total > 0 {
			share := min(1, places/total)
			for i := begin; i < end; i++ {
				if u := r.order[i]; r.flags[i]&flagPositive != 0 {
					left[units[u]] += share * mass[u]
				}
			}
			places -= total
		}
		begin = end
	}
}

// unitNumbers numbers the values of a column from 0. Each null has a number of its own.
func unitNumbers(s *Sample, name string) (numbers []int32, count int, err error) {
	if s.Columns == nil {
		return nil, 0, fmt.Errorf("%w: unit: the sample has no columns, so no %s", ErrSample, name)
	}
	c := s.Columns.Column(name)
	if c == nil {
		return nil, 0, fmt.Errorf("%w: unit: there is no column %s%s", ErrSample, name, closestColumn(s.Columns, name))
	}
	switch c.Type {
	case column.String:
		numbers, count = numbered(c, c.Texts)
	case column.Int64, column.Timestamp:
		numbers, count = numbered(c, c.Ints)
	default:
		numbers, count = numbered(c, c.Numbers)
	}
	return numbers, count, nil
}

func numbered[K comparable](c *column.Column, values []K) ([]int32, int) {
	numbers, known, count := make([]int32, len(values)), map[K]int32{}, 0
	for i, v := range values {
		n, ok := known[v]
		if c.Null(i) || !ok {
			n = int32(count)
			count++
			if !c.Null(i) {
				known[v] = n
			}
		}
		numbers[i] = n
	}
	return numbers, count
}

func closestColumn(b *column.Batch, name string) string {
	names := make([]string, len(b.Columns))
	for i := range b.Columns {
		names[i] = b.Columns[i].Name
	}
	if c := expression.Closest(name, names); c != "" {
		return "; did you mean " + c + "?"
	}
	return ""
}
