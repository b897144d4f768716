// SPDX-License-Identifier: Apache-2.0

package split

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Rows are what a plan goes by. Columns that the plan does not need may be nil.
type Rows struct {
	// Labels are numbers of classes, of which there are Classes, or values, for which that
	// is 0. There is one for each row.
	Labels  []float32
	Classes int
	// Times are microseconds since 1970 UTC.
	Times []int64
	// Groups number what rows belong to, for the method group.
	Groups []int32
	// Column gives the texts of a column, for the method column and exclude_known.
	Column func(name string) ([]string, error)
}

// table is rows with the columns that a plan needs.
type table struct {
	Rows
	count int
	parts []string // of Plan.Column
	known []int32  // numbers of the groups of Plan.ExcludeKnown
}

// table reads the columns and checks that everything is there.
func (p *Plan) table(rows Rows) (*table, error) {
	r := &table{Rows: rows, count: len(rows.Labels)}
	if r.count == 0 {
		return nil, fmt.Errorf("%w: there are no rows", ErrEmpty)
	}
	if p.ExcludeKnown != nil && rows.Classes != 2 {
		return nil, fmt.Errorf("%w: exclude_known is for labels of two classes", ErrPlan)
	}
	var err error
	if p.Method == MethodColumn {
		if r.parts, err = r.texts(p.Column); err != nil {
			return nil, err
		}
	}
	if p.ExcludeKnown != nil {
		texts, err := r.texts(p.ExcludeKnown.Group)
		if err != nil {
			return nil, err
		}
		r.known = numbered(texts)
	}
	byRows := p.Method == MethodPrequential && p.Test.Rows > 0
	for _, c := range []struct {
		what   string
		length int
		needed bool
	}{
		{"times", len(r.Times), p.timed() && !byRows || p.ExcludeKnown != nil},
		{"groups", len(r.Groups), p.Method == MethodGroup},
	} {
		switch {
		case c.length == 0 && c.needed:
			return nil, fmt.Errorf("%w: the method %s needs %s, which the rows have not", ErrPlan, p.Method, c.what)
		case c.length != 0 && c.length != r.count:
			return nil, fmt.Errorf("%w: %d %s for %d rows", ErrPlan, c.length, c.what, r.count)
		}
	}
	return r, nil
}

func (r *table) texts(name string) ([]string, error) {
	if r.Column == nil {
		return nil, fmt.Errorf("%w: there is no column %s", ErrPlan, name)
	}
	texts, err := r.Column(name)
	if err != nil {
		return nil, fmt.Errorf("%w: column %s: %w", ErrPlan, name, err)
	}
	if len(texts) != r.count {
		return nil, fmt.Errorf("%w: column %s has %d values for %d rows", ErrPlan, name, len(texts), r.count)
	}
	return texts, nil
}

// numbered gives equal texts the same number.
func numbered(texts []string) []int32 {
	numbers, list := make(map[string]int32), make([]int32, len(texts))
	for i, text := range texts {
		n, ok := numbers[text]
		if !ok {
			n = int32(len(numbers))
			numbers[text] = n
		}
		list[i] = n
	}
	return list
}

// Fold is one division of the rows, whose numbers it holds: in order of time where there
// are times, else ascending. Folds may share memory: they are only read.
type Fold struct {
	Name                          string
	Train, Valid, Calibrate, Test []int32
	// Windows says in words what the parts are, for reports.
	Windows string
	// Excluded counts the rows that are in no part, by reason.
	Excluded map[string]int
}

// The reasons for which rows are in no part of a fold.
const (
	ReasonGap     = "gap"
	ReasonOutside = "outside the windows"
	ReasonKnown   = "known group"
	ReasonColumn  = "left out by the column"
)

// Split divides rows. Errors wrap ErrPlan where the plan is at fault or does not fit the
// rows, and ErrEmpty where a part has no rows; they name the fold and its dates.
func (p *Plan) Split(rows Rows) ([]Fold, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	r, err := p.table(rows)
	if err != nil {
		return nil, err
	}
	var folds []Fold
	switch p.Method {
	case MethodTime:
		folds, err = p.byTime(r)
	case MethodPrequential:
		folds, err = p.prequential(r)
	case MethodColumn:
		folds, err = p.byColumn(r)
	default:
		folds, err = p.byChance(r)
	}
	if err != nil {
		return nil, err
	}
	for i := range folds {
		if err := p.checkFold(&folds[i], r.count); err != nil {
			return nil, err
		}
	}
	return folds, nil
}

// checkFold holds a fold to S1.
func (p *Plan) checkFold(f *Fold, count int) error {
	if f.Windows != "" {
		f.Windows = strings.TrimSuffix(f.Windows, ", ")
	}
	for _, part := range []struct {
		name   string
		rows   []int32
		wanted bool
	}{
		{"train", f.Train, true}, {"valid", f.Valid, !p.Valid.IsZero()},
		{"calibrate", f.Calibrate, !p.Calibrate.IsZero()}, {"test", f.Test, true},
	} {
		if part.wanted && len(part.rows) == 0 {
			known := ""
			if n := f.Excluded[ReasonKnown]; n > 0 && part.name == "test" {
				known = fmt.Sprintf("; exclude_known left all %d out", n)
			}
			return fmt.Errorf("%w: fold %s: no row is in %s (%s)%s", ErrEmpty, f.Name, part.name, cmp.Or(f.Windows, "of "+fmt.Sprint(count)+" rows"), known)
		}
	}
	taken := len(f.Train) + len(f.Valid) + len(f.Calibrate) + len(f.Test)
	for _, n := range f.Excluded {
		taken += n
	}
	if taken > count {
		return fmt.Errorf("%w: fold %s: parts overlap (%s)", ErrPlan, f.Name, f.Windows)
	}
	return nil
}

// timeOrder is the rows by time, those of one time in their order; by number if there are
// no times.
func timeOrder(r *table) []int32 {
	order := make([]int32, r.count)
	for i := range order {
		order[i] = int32(i)
	}
	if !slices.IsSorted(r.Times) {
		slices.SortStableFunc(order, func(a, b int32) int { return cmp.Compare(r.Times[a], r.Times[b]) })
	}
	return order
}

// excludeKnown takes rows of known groups out of the test part, which is replaced. Since
// is the start of the train window.
func (p *Plan) excludeKnown(r *table, f *Fold, since int64) {
	if p.ExcludeKnown == nil {
		return
	}
	first := make(map[int32]int64) // of a group's positive labels, its earliest
	for i, y := range r.Labels {
		if y != 1 || r.Times[i] < since {
			continue
		}
		if t, ok := first[r.known[i]]; !ok || r.Times[i] < t {
			first[r.known[i]] = r.Times[i]
		}
	}
	kept := make([]int32, 0, len(f.Test))
	for _, row := range f.Test {
		t, ok := first[r.known[row]]
		if ok && t+p.ExcludeKnown.Delay.micros() < startOfDay(r.Times[row]) {
			continue
		}
		kept = append(kept, row)
	}
	if n := len(f.Test) - len(kept); n > 0 {
		f.Excluded[ReasonKnown] = n
	}
	f.Test = kept
}

const dayMicros = 24 * 3600 * 1_000_000

// startOfDay is the midnight, UTC, at or before a moment.
func startOfDay(t int64) int64 {
	day := t / dayMicros
	if t%dayMicros < 0 {
		day--
	}
	return day * dayMicros
}
