// SPDX-License-Identifier: Apache-2.0

package split

import (
	"fmt"
	"slices"
	"sort"
	"strings"
)

// timeline is rows by time, on an axis of microseconds or of places in the order.
type timeline struct {
	rows   *table
	order  []int32
	byRows bool
}

// place is the first place in the order that is not before a position on the axis.
func (l *timeline) place(position int64) int {
	if l.byRows {
		return int(min(max(position, 0), int64(len(l.order))))
	}
	return sort.Search(len(l.order), func(i int) bool { return l.rows.Times[l.order[i]] >= position })
}

// text is a position in words.
func (l *timeline) text(position int64) string {
	if l.byRows {
		return fmt.Sprintf("row %d", position)
	}
	return Date(position).String()
}

// end is the position behind the last row.
func (l *timeline) end() int64 {
	if l.byRows {
		return int64(len(l.order))
	}
	return l.rows.Times[l.order[len(l.order)-1]] + 1
}

// first is the position of the first row.
func (l *timeline) first() int64 {
	if l.byRows {
		return 0
	}
	return l.rows.Times[l.order[0]]
}

// span is part of the axis.
type span struct{ from, to int64 }

// windows are the spans of a fold; empty ones are not used.
type windows struct{ train, valid, calibrate, test span }

// length is how far a size reaches on the axis; 0 for a share and for nothing.
func length(s Size) int64 {
	if s.Rows > 0 {
		return int64(s.Rows)
	}
	return s.Duration.micros()
}

// fold cuts the parts out of the order.
func (p *Plan) fold(l *timeline, name string, w windows) (Fold, error) {
	f := Fold{Name: name, Excluded: map[string]int{}}
	var text strings.Builder
	before := span{}
	for _, part := range []struct {
		name string
		span span
		to   *[]int32
	}{{"train", w.train, &f.Train}, {"valid", w.valid, &f.Valid}, {"calibrate", w.calibrate, &f.Calibrate}, {"test", w.test, &f.Test}} {
		if part.span == (span{}) {
			continue
		}
		if before != (span{}) && part.span.from < before.to {
			return f, fmt.Errorf("%w: fold %s: %s begins at %s, before the part before it ends at %s",
				ErrPlan, name, part.name, l.text(part.span.from), l.text(before.to))
		}
		before = part.span
		from, to := l.place(part.span.from), l.place(part.span.to)
		*part.to = l.order[from:max(from, to):max(from, to)]
		fmt.Fprintf(&text, "%s %s..%s, ", part.name, l.text(part.span.from), l.text(part.span.to))
	}
	f.Windows = text.String()
	learnt := max(w.train.to, w.valid.to, w.calibrate.to)
	gap := l.place(w.test.from) - l.place(learnt)
	outside := len(l.order) - gap - len(f.Train) - len(f.Valid) - len(f.Calibrate) - len(f.Test)
	count(&f, ReasonGap, gap)
	count(&f, ReasonOutside, outside)
	p.carveLast(l, &f)
	if p.ExcludeKnown != nil {
		since := w.train.from
		if l.byRows {
			since = l.rows.Times[l.order[min(l.place(since), len(l.order)-1)]]
		}
		p.excludeKnown(l.rows, &f, since)
	}
	return f, nil
}

func count(f *Fold, reason string, n int) {
	if n > 0 {
		f.Excluded[reason] += n
	}
}

// carveLast takes the shares for valid and calibrate from the end of train, calibrate last.
// Rows of one time are not torn apart: they all go to the later part.
func (p *Plan) carveLast(l *timeline, f *Fold) {
	all := len(f.Train)
	for _, part := range []struct {
		name  string
		share float64
		to    *[]int32
	}{{"calibrate", p.Calibrate.Share, &f.Calibrate}, {"valid", p.Valid.Share, &f.Valid}} {
		if part.share == 0 {
			continue
		}
		cut := max(len(f.Train)-int(part.share*float64(all)+0.5), 0)
		for !l.byRows && cut > 0 && cut < len(f.Train) && l.rows.Times[f.Train[cut-1]] == l.rows.Times[f.Train[cut]] {
			cut--
		}
		*part.to = f.Train[cut:]
		f.Train = f.Train[:cut:cut]
		f.Windows += fmt.Sprintf("%s the last %g of train, ", part.name, part.share)
	}
}

// byTime makes a fold of each start, or the only one.
func (p *Plan) byTime(r *table) ([]Fold, error) {
	l := &timeline{rows: r, order: timeOrder(r)}
	switch {
	case p.Train.Range != nil:
		w := windows{train: spanOf(p.Train), valid: spanOf(p.Valid), calibrate: spanOf(p.Calibrate), test: spanOf(p.Test)}
		f, err := p.fold(l, p.Test.Range.From.String(), w)
		return []Fold{f}, err
	case len(p.Start) == 0:
		return p.lastShare(l)
	}
	if err := p.bounded(r, len(p.Start)); err != nil {
		return nil, err
	}
	folds := make([]Fold, 0, len(p.Start))
	for i, start := range p.Start {
		if slices.Contains(p.Start[:i], start) {
			return nil, fmt.Errorf("%w: start %s is given twice", ErrPlan, start)
		}
		w := p.from(int64(start))
		if p.Test.IsZero() {
			w.test.to = max(l.end(), w.test.from+1)
		}
		f, err := p.fold(l, start.String(), w)
		if err != nil {
			return nil, err
		}
		folds = append(folds, f)
	}
	return folds, nil
}

func spanOf(s Size) span {
	if s.Range == nil {
		return span{}
	}
	return span{int64(s.Range.From), int64(s.Range.To)}
}

// from lays the windows one after another.
func (p *Plan) from(start int64) (w windows) {
	at := start
	next := func(s Size) span {
		n := length(s)
		if n == 0 {
			return span{}
		}
		at += n
		return span{at - n, at}
	}
	w.train, w.valid, w.calibrate = next(p.Train), next(p.Valid), next(p.Calibrate)
	at += length(p.Gap)
	w.test = span{at, at + length(p.Test)}
	return w
}

// lastShare has the last share of the rows as test, 20 % if nothing is said. Rows of one
// time are all on one side.
func (p *Plan) lastShare(l *timeline) ([]Fold, error) {
	share := p.Test.Share
	if share == 0 {
		share = defaultShare
	}
	n := len(l.order)
	border := l.rows.Times[l.order[min(n-int(share*float64(n)+0.5), n-1)]]
	w := windows{train: span{l.first(), border - length(p.Gap)}, test: span{border, l.end()}}
	f, err := p.fold(l, Date(border).String(), w)
	return []Fold{f}, err
}

// defaultShare is the share of test if none is given.
const defaultShare = 0.2

// prequential makes test windows up to the last row.
func (p *Plan) prequential(r *table) ([]Fold, error) {
	l := &timeline{rows: r, order: timeOrder(r), byRows: p.Test.Rows > 0}
	origin := l.first()
	if len(p.Start) == 1 {
		origin = int64(p.Start[0])
	}
	step := length(p.Step)
	if step == 0 {
		step = length(p.Test)
	}
	first := p.from(origin)
	if first.test.from >= l.end() {
		return nil, fmt.Errorf("%w: the first test window begins at %s, and the rows end at %s", ErrEmpty, l.text(first.test.from), l.text(l.end()))
	}
	n := int((l.end()-1-first.test.from)/step) + 1
	skip := 0
	if p.Folds > 0 && n > p.Folds {
		skip = n - p.Folds
	}
	if n-skip > FoldsMax {
		return nil, fmt.Errorf("%w: %d test windows, at most %d are made: use a longer step, or folds for the last ones", ErrPlan, n-skip, FoldsMax)
	}
	if err := p.bounded(r, n-skip); err != nil {
		return nil, err
	}
	folds := make([]Fold, 0, n-skip)
	for i := skip; i < n; i++ {
		w := p.from(origin + int64(i)*step)
		if p.Window == WindowGrowing {
			w.train.from = origin
		}
		f, err := p.fold(l, l.text(w.test.from), w)
		if err != nil {
			return nil, err
		}
		folds = append(folds, f)
	}
	return folds, nil
}

// bounded refuses what exclude_known would take too long for.
func (p *Plan) bounded(r *table, folds int) error {
	if p.ExcludeKnown != nil && folds*r.count > excludedMax {
		return fmt.Errorf("%w: exclude_known over %d folds of %d rows: use fewer folds", ErrPlan, folds, r.count)
	}
	return nil
}
