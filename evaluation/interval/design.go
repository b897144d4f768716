// SPDX-License-Identifier: Apache-2.0

package interval

import (
	"fmt"
	"runtime"
)

// Design says what is drawn.
type Design struct {
	// Rows counts the rows, 1 to RowsMax.
	Rows int
	// Clusters has the number of the cluster of each row, from 0; numbers may be left out.
	// Nil means that rows are independent.
	Clusters []int32
	// Strata has the number of the stratum of each row, from 0, such as its class. Each keeps
	// its number of units in all draws. Rows of a cluster are of one stratum. Nil is one
	// stratum of all.
	Strata []int32
}

// Method is how an interval is made of draws.
type Method uint8

// The methods.
const (
	// Adjusted takes percentiles further out, by how much the spread itself is unsure: as
	// Student's t is to the normal distribution, with degrees of freedom from the influence
	// of units. For a value (not for a difference) they are also moved for bias and for a
	// spread that grows with the value (BCa). It costs JackknifeGroups values more.
	//
	// In simulations of small samples (60 to 1000 rows, 20 to 100 positives) 95 % intervals of
	// AUC and AP cover at 95 to 97 %; plain percentiles do at 92 to 95 %, and miss on one side.
	// Two models that are equal are told apart by 3 to 5 % of tests at 5 %, by 5 to 7 % with
	// plain percentiles, and by up to 10 % with BCa: a difference of models that are much
	// alike is symmetric, so that a correction only adds noise. With thousands of positives
	// all agree. A studentised interval would want the spread of each draw, which few
	// metrics can tell.
	Adjusted Method = iota
	// Percentile takes the percentiles of the draws as they are.
	Percentile
)

// Options tune a bootstrap.
type Options struct {
	// Draws counts the draws, to DrawsMax; 0 means 1000.
	Draws int
	// Level is the confidence level, between 0 and 1; 0 means 0.95.
	Level float64
	// Seed gives other draws.
	Seed uint64
	// Workers bounds how many draws are computed at the same time; 0 means GOMAXPROCS. Each
	// takes a byte for each row. Results do not depend on it.
	Workers int
	// Method is how intervals are made.
	Method Method
}

// EnsureDefaults fills in what is zero.
func (o *Options) EnsureDefaults() {
	if o.Draws == 0 {
		o.Draws = 1000
	}
	if o.Level == 0 {
		o.Level = 0.95
	}
	if o.Workers == 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
}

// Validate checks options that are filled in. Errors wrap ErrDesign.
func (o *Options) Validate() error {
	switch {
	case o.Draws < 1 || o.Draws > DrawsMax:
		return fmt.Errorf("%w: %d draws, 1 to %d are possible", ErrDesign, o.Draws, DrawsMax)
	case !(o.Level > 0 && o.Level < 1):
		return fmt.Errorf("%w: level %v, it has to be between 0 and 1, such as 0.95", ErrDesign, o.Level)
	case o.Workers < 1:
		return fmt.Errorf("%w: %d workers, at least 1 is needed", ErrDesign, o.Workers)
	case o.Method > Percentile:
		return fmt.Errorf("%w: unknown method %d", ErrDesign, o.Method)
	}
	return nil
}

// Validate checks the design. Errors wrap ErrDesign.
func (d *Design) Validate() error {
	_, err := newSampler(d)
	return err
}

// sampler draws counts of rows. It does not change.
type sampler struct {
	rows  int
	units int
	// unit has the unit of each row, numbered without gaps; nil if rows are units.
	unit []int32
	// stratum has the stratum of each unit, and members the units of each stratum; nil if
	// there is one.
	stratum []int32
	members [][]int32
}

func newSampler(d *Design) (*sampler, error) {
	if d.Rows < 1 || d.Rows > RowsMax {
		return nil, fmt.Errorf("%w: %d rows, 1 to %d are possible", ErrDesign, d.Rows, RowsMax)
	}
	s := &sampler{rows: d.Rows, units: d.Rows}
	if d.Clusters != nil {
		var err error
		if s.unit, s.units, err = compact(d.Clusters, d.Rows, "cluster"); err != nil {
			return nil, err
		}
		if s.units == s.rows { // one row each
			s.unit = nil
		}
	}
	if d.Strata == nil {
		return s, nil
	}
	strata, n, err := compact(d.Strata, d.Rows, "stratum")
	if err != nil || n == 1 {
		return s, err
	}
	return s, s.stratify(strata, n, d)
}

// stratify lists the units of each stratum.
func (s *sampler) stratify(strata []int32, n int, d *Design) error {
	s.stratum = strata
	if s.unit != nil {
		s.stratum = make([]int32, s.units)
		for i := range s.stratum {
			s.stratum[i] = -1
		}
		for row, u := range s.unit {
			if at := &s.stratum[u]; *at < 0 {
				*at = strata[row]
			} else if *at != strata[row] {
				return fmt.Errorf("%w: cluster %d has rows of several strata, one of which is %d in row %d: "+
					"a cluster is drawn whole, so let its rows be of one", ErrDesign, d.Clusters[row], d.Strata[row], row)
			}
		}
	}
	s.members = make([][]int32, n)
	for u, k := range s.stratum {
		s.members[k] = append(s.members[k], int32(u))
	}
	return nil
}

// compact numbers groups without gaps, in order of the numbers if they are small, else in
// order of appearance.
func compact(numbers []int32, rows int, what string) (dense []int32, groups int, err error) {
	if len(numbers) != rows {
		return nil, 0, fmt.Errorf("%w: %d rows have a %s, there are %d rows", ErrDesign, len(numbers), what, rows)
	}
	top := int32(0)
	for row, number := range numbers {
		if number < 0 {
			return nil, 0, fmt.Errorf("%w: row %d has %s %d, numbers are from 0", ErrDesign, row, what, number)
		}
		top = max(top, number)
	}
	dense = make([]int32, rows)
	if int(top) > 2*rows+1024 { // a table of all numbers would be too large
		seen := make(map[int32]int32)
		for row, number := range numbers {
			at, ok := seen[number]
			if !ok {
				at = int32(len(seen))
				seen[number] = at
			}
			dense[row] = at
		}
		return dense, len(seen), nil
	}
	table := make([]int32, top+1)
	for _, number := range numbers {
		table[number] = 1
	}
	for number, used := range table {
		table[number] = int32(groups)
		groups += int(used)
	}
	for row, number := range numbers {
		dense[row] = table[number]
	}
	return dense, groups, nil
}

// buffers are what a worker draws into.
type buffers struct {
	// rows has counts of rows, units of units; they are the same if rows are units.
	rows, units []uint8
	totals      []int
}

func (s *sampler) newBuffers() *buffers {
	b := &buffers{rows: make([]uint8, s.rows), totals: make([]int, len(s.members))}
	b.units = b.rows
	if s.unit != nil {
		b.units = make([]uint8, s.units)
	}
	return b
}

// draw fills b.rows with the counts of a draw.
func (s *sampler) draw(b *buffers, seed uint64, draw int) {
	source := newSource(seed, draw)
	total := fillPoisson(b.units, source)
	if s.members == nil {
		settleTotal(b.units, nil, total, s.units, source)
	} else {
		clear(b.totals)
		for u, count := range b.units {
			b.totals[s.stratum[u]] += int(count)
		}
		for k, members := range s.members {
			settleTotal(b.units, members, b.totals[k], len(members), source)
		}
	}
	s.spread(b)
}

// spread gives rows the counts of their units.
func (s *sampler) spread(b *buffers) {
	if s.unit == nil {
		return
	}
	rows := b.rows[:len(s.unit)]
	for row, u := range s.unit {
		rows[row] = b.units[u]
	}
}
