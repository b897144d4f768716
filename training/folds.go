// SPDX-License-Identifier: Apache-2.0

package training

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"math"
	"slices"
	"strconv"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/training/learn"
	"github.com/millrace-ml/millrace/training/split"
)

// fold is rows to fit on and rows to judge by.
type fold struct {
	name                          string
	train, valid, calibrate, test []int32
	// held are their tables, nil where all folds' would take too much memory.
	held *parts
}

// parts are the tables of a fold; valid and calibrate may be nil.
type parts struct{ train, valid, calibrate, test *learn.Table }

// heldCellsMax bounds the numbers of the folds' tables that are held, of 4 bytes each. Those
// of more are made each time that they are looked at.
const heldCellsMax = 1 << 28

// defaultTestShare is what is judged by where no split is given.
const defaultTestShare = 0.2

// makeFolds splits the rows by the plan.
func (b *builder) makeFolds() error {
	t := b.data.Table
	plan := b.Spec.Split
	if plan == nil {
		return b.makeDefaultFold()
	}
	folds, err := plan.Split(split.Rows{
		Times: t.Times, Groups: t.Groups, Labels: t.Labels, Classes: len(t.Classes),
		Column: func(name string) ([]string, error) { return textsOf(t.Carried, name) },
	})
	if err != nil {
		return err
	}
	b.leftOut = map[string]int{}
	for _, f := range folds {
		b.windows = append(b.windows, f.Windows)
		for reason, rows := range f.Excluded {
			b.leftOut[f.Name+": "+reason] = rows
		}
		b.addFold(f.Name, f.Train, f.Valid, f.Calibrate, f.Test)
	}
	return nil
}

// makeDefaultFold judges by the last fifth of the time, or of the rows at random (whole
// groups, where there are groups).
func (b *builder) makeDefaultFold() error {
	order := b.orderRows()
	test := int(math.Ceil(defaultTestShare * float64(len(order))))
	if test >= len(order) {
		return fmt.Errorf("%w: %d rows are too few to learn from and to judge by", learn.ErrData, len(order))
	}
	train, last := b.cut(order, len(order)-test)
	if len(train) == 0 || len(last) == 0 {
		return fmt.Errorf("%w: all rows are of one time or group: none are left to judge by", learn.ErrData)
	}
	b.addFold("last", train, nil, nil, last)
	return nil
}

// addFold takes the rows of a fold out of the table. Where a calibration is asked for and
// the plan has no rows for it, they are the last ones that would be trained on.
func (b *builder) addFold(name string, train, valid, calibrate, test []int32) {
	if b.Spec.Calibrate.Method != "" && len(calibrate) == 0 {
		train, calibrate = b.cutShare(train, b.Spec.Calibrate.Share)
	}
	if b.Spec.Calibrate.Method == "" {
		calibrate = nil
	}
	if b.Spec.Final.Valid > 0 && len(valid) == 0 {
		train, valid = b.cutShare(train, b.Spec.Final.Valid)
	}
	b.folds = append(b.folds, fold{name: name, train: train, valid: valid, calibrate: calibrate, test: test})
}

// hold makes the folds' tables, if that is not too much memory.
func (b *builder) hold() {
	rows := 0
	for _, f := range b.folds {
		rows += len(f.train) + len(f.valid) + len(f.calibrate) + len(f.test)
	}
	if rows*(len(b.data.Table.Features)+1) > heldCellsMax {
		return
	}
	for i := range b.folds {
		b.folds[i].held = b.partsOf(&b.folds[i])
	}
}

// partsOf are the tables of a fold.
func (b *builder) partsOf(f *fold) *parts {
	if f.held != nil {
		return f.held
	}
	p := &parts{train: b.take(f.train), valid: b.take(f.valid), calibrate: b.take(f.calibrate)}
	p.test = b.testOf(f)
	return p
}

// testOf is the table that a fold is judged by, with what is carried.
func (b *builder) testOf(f *fold) *learn.Table {
	if f.held != nil {
		return f.held.test
	}
	t := b.take(f.test)
	t.Carried = b.data.Table.Carried.Select(f.test)
	return t
}

// take is the table of some rows, nil for none.
func (b *builder) take(rows []int32) *learn.Table {
	if len(rows) == 0 {
		return nil
	}
	return b.data.Table.Select(rows)
}

// byTime says that shares of the rows are the last ones. They are not where groups are kept
// whole.
func (b *builder) byTime() bool {
	plan := b.Spec.Split
	return b.data.Table.Times != nil && (plan == nil || plan.Method != split.MethodGroup)
}

// orderRows has all rows by time; without times, by a hash of the seed and their group or
// number, which is as good as at random and the same each time.
func (b *builder) orderRows() []int32 {
	t := b.data.Table
	order := make([]int32, t.Rows())
	keys := make([]uint64, len(order))
	byTime := b.byTime()
	for i := range order {
		order[i] = int32(i)
		switch {
		case byTime:
			keys[i] = uint64(t.Times[i]) ^ 1<<63
		case t.Groups != nil:
			keys[i] = mix(b.Spec.Seed, uint64(t.Groups[i]))
		default:
			keys[i] = mix(b.Spec.Seed, uint64(i))
		}
	}
	slices.SortStableFunc(order, func(x, y int32) int { return cmp.Compare(keys[x], keys[y]) })
	return order
}

func mix(seed, n uint64) uint64 {
	h := fnv.New64a()
	_, _ = h.Write(strconv.AppendUint(strconv.AppendUint(nil, seed, 16), n, 10))
	x := h.Sum64() // FNV alone leaves the upper bits of near numbers alike
	x = (x ^ x>>33) * 0xff51afd7ed558ccd
	return x ^ x>>33
}

// cut divides ordered rows near a place. Rows of one time, or of one group where rows are
// divided at random, are all on one side: the last one, or the first one if they are the
// first rows. It is nothing that is on the last side if all rows are alike.
func (b *builder) cut(order []int32, at int) (first, last []int32) {
	t := b.data.Table
	together := func(i int) bool { // i with the row before it
		switch {
		case b.byTime():
			return t.Times[order[i]] == t.Times[order[i-1]]
		case t.Groups != nil:
			return t.Groups[order[i]] == t.Groups[order[i-1]]
		}
		return false
	}
	border := at
	for border > 0 && border < len(order) && together(border) {
		border--
	}
	for border == 0 && at < len(order) && (at == 0 || together(at)) {
		at++
	}
	if border > 0 {
		at = border
	}
	return order[:at], order[at:]
}

// cutShare takes a share of some rows away, the last ones.
func (b *builder) cutShare(rows []int32, share float64) (rest, taken []int32) {
	member := make([]bool, b.data.Table.Rows())
	for _, row := range rows {
		member[row] = true
	}
	order := make([]int32, 0, len(rows))
	for _, row := range b.orderRows() {
		if member[row] {
			order = append(order, row)
		}
	}
	at := len(order) - int(math.Ceil(share*float64(len(order))))
	if at < 1 {
		return rows, nil
	}
	return b.cut(order, at)
}

// textsOf has the values of a carried column, for a split that goes by it.
func textsOf(carried *column.Batch, name string) ([]string, error) {
	c := carried.Column(name)
	if c == nil {
		return nil, fmt.Errorf("%w: there is no column %q among those carried; add it to carry", ErrSpec, name)
	}
	values := make([]string, c.Len())
	for row := range values {
		values[row], _ = textOf(c, row)
	}
	return values, nil
}
