// SPDX-License-Identifier: Apache-2.0

package split

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
)

// cell is rows that stay together, of one class if classes are held apart.
type cell struct {
	rows  []int32
	class int
}

// byChance divides by group or at random.
func (p *Plan) byChance(r *table) ([]Fold, error) {
	cells := p.cells(r)
	shuffle(cells, p.Seed)
	if p.Folds == 0 {
		f := Fold{Name: p.Method, Excluded: map[string]int{}}
		share := p.Test.Share
		if share == 0 {
			share = defaultShare
		}
		test, rest := divide(cells, 0, share)
		f.Test = rowsOf(test)
		p.carve(&f, rest)
		return []Fold{f}, nil
	}
	if p.Folds > len(cells) {
		return nil, fmt.Errorf("%w: %d folds of %d rows or groups", ErrPlan, p.Folds, len(cells))
	}
	if p.Folds*r.count > heldMax {
		return nil, fmt.Errorf("%w: %d folds of %d rows hold too many numbers: use fewer", ErrPlan, p.Folds, r.count)
	}
	folds := make([]Fold, p.Folds)
	for i := range folds {
		f := Fold{Name: strconv.Itoa(i + 1), Excluded: map[string]int{}}
		test, rest := divide(cells, float64(i)/float64(p.Folds), float64(i+1)/float64(p.Folds))
		f.Test = rowsOf(test)
		p.carve(&f, rest)
		folds[i] = f
	}
	return folds, nil
}

// carve divides what is learnt from into valid, calibrate and train.
func (p *Plan) carve(f *Fold, cells []cell) {
	valid, rest := divide(cells, 0, p.Valid.Share)
	calibrate, train := divide(rest, 0, p.Calibrate.Share/(1-p.Valid.Share))
	f.Train, f.Valid, f.Calibrate = rowsOf(train), rowsOf(valid), rowsOf(calibrate)
}

// cells are groups, or single rows by class.
func (p *Plan) cells(r *table) []cell {
	if p.Method != MethodGroup {
		every := make([]int32, r.count)
		for i := range every {
			every[i] = int32(i)
		}
		return single(r, every)
	}
	places := make(map[int32]int)
	var cells []cell
	for i, g := range r.Groups {
		at, ok := places[g]
		if !ok {
			at = len(cells)
			places[g] = at
			cells = append(cells, cell{})
		}
		cells[at].rows = append(cells[at].rows, int32(i))
	}
	return cells
}

// single makes a cell of each row.
func single(r *table, rows []int32) []cell {
	cells := make([]cell, len(rows))
	for i := range rows {
		cells[i].rows = rows[i : i+1]
		if r.Classes > 0 && r.Labels != nil {
			cells[i].class = int(r.Labels[rows[i]])
		}
	}
	return cells
}

// shuffle orders cells at random within classes, which follow each other.
func shuffle(cells []cell, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 0x73706c6974)) // "split"
	random.Shuffle(len(cells), func(i, j int) { cells[i], cells[j] = cells[j], cells[i] })
	slices.SortStableFunc(cells, func(a, b cell) int { return cmp.Compare(a.class, b.class) })
}

// divide takes, within each class, the cells between two shares of its rows.
func divide(cells []cell, from, to float64) (taken, rest []cell) {
	for start := 0; start < len(cells); {
		end, total := start, 0
		for end < len(cells) && cells[end].class == cells[start].class {
			total += len(cells[end].rows)
			end++
		}
		seen := 0.0
		for _, c := range cells[start:end] {
			// A cell is where its middle is, so that sizes are rounded and not cut.
			middle := (seen + float64(len(c.rows))/2) / float64(total)
			if middle >= from && middle < to {
				taken = append(taken, c)
			} else {
				rest = append(rest, c)
			}
			seen += float64(len(c.rows))
		}
		start = end
	}
	return taken, rest
}

func rowsOf(cells []cell) []int32 {
	var rows []int32
	for _, c := range cells {
		rows = append(rows, c.rows...)
	}
	slices.Sort(rows)
	return rows
}

// byColumn takes the parts that a column says.
func (p *Plan) byColumn(r *table) ([]Fold, error) {
	f := Fold{Name: p.Column, Excluded: map[string]int{}}
	for i, text := range r.parts {
		row := int32(i)
		switch text {
		case "train":
			f.Train = append(f.Train, row)
		case "valid":
			f.Valid = append(f.Valid, row)
		case "calibrate":
			f.Calibrate = append(f.Calibrate, row)
		case "test":
			f.Test = append(f.Test, row)
		case "":
			count(&f, ReasonColumn, 1)
		default:
			return nil, fmt.Errorf("%w: column %s has %.40q in row %d: it is train, valid, calibrate, test or nothing", ErrPlan, p.Column, text, i)
		}
	}
	if (p.Valid.Share > 0 && len(f.Valid) > 0) || (p.Calibrate.Share > 0 && len(f.Calibrate) > 0) {
		return nil, fmt.Errorf("%w: column %s has rows for a part that is also given as a share", ErrPlan, p.Column)
	}
	if p.Valid.Share > 0 || p.Calibrate.Share > 0 {
		cells := single(r, f.Train)
		shuffle(cells, p.Seed)
		valid, calibrate := f.Valid, f.Calibrate
		p.carve(&f, cells)
		if p.Valid.Share == 0 {
			f.Valid = valid
		}
		if p.Calibrate.Share == 0 {
			f.Calibrate = calibrate
		}
	}
	return []Fold{f}, nil
}
