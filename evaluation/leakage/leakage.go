// SPDX-License-Identifier: Apache-2.0

// Package leakage looks for signs that test rows are not what a model will meet: rows that
// were in the training set, times that overlap, entities on both sides, a feature that
// knows the label.
//
//	time        test rows that are not later than all training rows, by a gap
//	duplicates  test rows whose features are those of a training row
//	entities    values of a column that are on both sides
//	predictor   a feature that alone tells the label, and far better than the others
//
// Rows with few features are alike by chance, so duplicates are severe only where the test
// set has far more of them than the training set has within itself.
//
// Kapoor and Narayanan, Leakage and the reproducibility crisis in machine-learning-based
// science, Patterns 2023, tell these kinds apart.
//
// All functions are pure.
package leakage

import (
	"cmp"
	"fmt"
	"hash/maphash"
	"math"
	"slices"
	"time"

	"github.com/millrace-ml/millrace/evaluation/report"
	"github.com/millrace-ml/millrace/featurestore/column"
)

const (
	// duplicatesSevere is the share of test rows from which duplicates are severe.
	duplicatesSevere = 0.01
	// chance is how many times as many duplicates as the training set has within itself may
	// be chance.
	chance = 3
	// PredictorAUC is the ROC AUC from which a feature is suspected, and apart by how much it
	// has to be better than the next one that is not suspected.
	PredictorAUC = 0.99
	apart        = 0.05
	// predictorRows bounds the rows that predictors are looked for in.
	predictorRows = 200_000
)

// Rows are those of one side.
type Rows struct {
	Count int
	// Features are the columns of the model, in the same order on both sides.
	Features []*column.Column
	// Times are when rows happened, nil if not known.
	Times *column.Column
	// Entities are columns that must not have a value on both sides.
	Entities []*column.Column
}

// Compare looks for what training and test rows share. Gap is how much later test rows have
// to be.
func Compare(train, test Rows, gap time.Duration) []report.Finding {
	found := checkTime(train, test, gap)
	found = append(found, checkDuplicates(train, test)...)
	for i := range test.Entities {
		found = append(found, checkEntity(train.Entities[i], test.Entities[i], test.Count)...)
	}
	return found
}

func checkTime(train, test Rows, gap time.Duration) []report.Finding {
	if train.Times == nil || test.Times == nil {
		return nil
	}
	last := int64(math.MinInt64)
	for i := range train.Count {
		if !train.Times.Null(i) {
			last = max(last, train.Times.Ints[i])
		}
	}
	if last == math.MinInt64 {
		return nil
	}
	early := 0
	for i := range test.Count {
		if !test.Times.Null(i) && test.Times.Ints[i] <= last+gap.Microseconds() {
			early++
		}
	}
	if early == 0 {
		return nil
	}
	behind := ""
	if gap > 0 {
		behind = fmt.Sprintf(" and a gap of %v", gap)
	}
	return []report.Finding{{
		Check: "time", Subject: test.Times.Name, Rows: early, Severe: true,
		Detail: fmt.Sprintf("%d of %d test rows are not later than the last training row, of %s%s", early, test.Count,
			time.UnixMicro(last).UTC().Format(time.RFC3339), behind),
	}}
}

// hasher hashes rows of features; all rows of a comparison use one seed.
type hasher struct{ seed maphash.Seed }

func (h hasher) rows(r Rows) []uint64 {
	sums := make([]uint64, r.Count)
	var row maphash.Hash
	row.SetSeed(h.seed)
	var bytes [9]byte
	for i := range sums {
		row.Reset()
		for _, c := range r.Features {
			if c.Type == column.String {
				bytes[0] = 's'
				if c.Null(i) {
					bytes[0] = 'n'
				}
				row.Write(bytes[:1])
				maphash.WriteComparable(&row, c.Texts[i])
				continue
			}
			// Both sides may have stored a number in other types.
			bits := math.Float64bits(math.NaN())
			if v := c.Number(i); v == v {
				bits = math.Float64bits(float64(float32(v)) + 0)
			}
			for b := range 8 {
				bytes[b+1] = byte(bits >> (8 * b))
			}
			bytes[0] = 'f'
			row.Write(bytes[:])
		}
		sums[i] = row.Sum64()
	}
	return sums
}

func checkDuplicates(train, test Rows) []report.Finding {
	if len(test.Features) == 0 || train.Count == 0 || test.Count == 0 {
		return nil
	}
	h := hasher{maphash.MakeSeed()}
	known := h.rows(train)
	slices.Sort(known)
	within := 0
	for i, sum := range known {
		if i > 0 && known[i-1] == sum {
			within++
		}
	}
	duplicates := 0
	for _, sum := range h.rows(test) {
		if _, found := slices.BinarySearch(known, sum); found {
			duplicates++
		}
	}
	if duplicates == 0 {
		return nil
	}
	share, natural := float64(duplicates)/float64(test.Count), float64(within)/float64(train.Count)
	return []report.Finding{{
		Check: "duplicates", Rows: duplicates, Severe: share >= duplicatesSevere && share > chance*natural,
		Detail: fmt.Sprintf("%d of %d test rows (%.2g %%) have the features of a training row; within the training rows %.2g %% repeat another",
			duplicates, test.Count, 100*share, 100*natural),
	}}
}

func checkEntity(train, test *column.Column, rows int) []report.Finding {
	type key struct {
		text   string
		number float64
		whole  int64
	}
	of := func(c *column.Column, i int) (k key) {
		switch c.Type {
		case column.String:
			k.text = c.Texts[i]
		case column.Int64, column.Timestamp:
			k.whole = c.Ints[i]
		default:
			k.number = c.Numbers[i]
		}
		return k
	}
	known := map[key]bool{}
	for i := range train.Len() {
		if !train.Null(i) {
			known[of(train, i)] = true
		}
	}
	shared, count := map[key]bool{}, 0
	for i := range test.Len() {
		if !test.Null(i) && known[of(test, i)] {
			shared[of(test, i)] = true
			count++
		}
	}
	if count == 0 {
		return nil
	}
	return []report.Finding{{
		Check: "entities", Subject: test.Name, Rows: count, Severe: true,
		Detail: fmt.Sprintf("%d values of %s are in training rows too, with %d of %d test rows", len(shared), test.Name, count, rows),
	}}
}

// Predictors looks for features that tell a label of 0 and 1 by themselves. Many rows are
// thinned out, evenly.
func Predictors(features []*column.Column, labels []float64) []report.Finding {
	step := (len(labels) + predictorRows - 1) / predictorRows
	type strength struct {
		name string
		auc  float64
	}
	var all []strength
	for _, c := range features {
		if auc := alone(c, labels, max(step, 1)); !math.IsNaN(auc) {
			all = append(all, strength{c.Name, max(auc, 1-auc)})
		}
	}
	slices.SortStableFunc(all, func(a, b strength) int { return cmp.Compare(b.auc, a.auc) })
	suspects := 0
	for suspects < len(all) && all[suspects].auc > PredictorAUC {
		suspects++
	}
	if suspects == 0 {
		return nil
	}
	rest := 0.5
	if suspects < len(all) {
		rest = all[suspects].auc
	}
	if all[0].auc-rest < apart {
		return nil // the task is easy: many features tell the label
	}
	var found []report.Finding
	for _, s := range all[:suspects] {
		found = append(found, report.Finding{
			Check: "predictor", Subject: s.name, Severe: true,
			Detail: fmt.Sprintf("the feature %s alone has a ROC AUC of %.4f, the next one %.4f: it may know the label", s.name, s.auc, rest),
		})
	}
	return found
}

// alone is the ROC AUC of a feature as a score; a missing value is the lowest. A text scores
// by the share of positives that it has among the even rows, measured on the odd ones.
func alone(c *column.Column, labels []float64, step int) float64 {
	var values, truth []float64
	if c.Type == column.String {
		values, truth = textScores(c, labels, step)
	} else {
		for i := 0; i < len(labels); i += step {
			v := c.Number(i)
			if v != v {
				v = math.Inf(-1)
			}
			values, truth = append(values, v), append(truth, labels[i])
		}
	}
	return auc(values, truth)
}

func textScores(c *column.Column, labels []float64, step int) (values, truth []float64) {
	type tally struct{ positives, rows float64 }
	seen := map[string]tally{}
	text := func(i int) string {
		if c.Null(i) {
			return "\x00null"
		}
		return c.Texts[i]
	}
	for i := 0; i < len(labels); i += 2 * step {
		t := seen[text(i)]
		t.positives, t.rows = t.positives+labels[i], t.rows+1
		seen[text(i)] = t
	}
	for i := step; i < len(labels); i += 2 * step {
		score := 0.5
		if t, known := seen[text(i)]; known {
			score = t.positives / t.rows
		}
		values, truth = append(values, score), append(truth, labels[i])
	}
	return values, truth
}

// auc is the chance that a positive has the higher value, ties half; NaN with one class.
func auc(values, labels []float64) float64 {
	order := make([]int, len(values))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(values[a], values[b]) })
	var positives, negatives, pairs float64
	for at := 0; at < len(order); {
		var p, n float64
		first := values[order[at]]
		for ; at < len(order) && values[order[at]] == first; at++ {
			if labels[order[at]] > 0 {
				p++
			} else {
				n++
			}
		}
		pairs += p * (negatives + n/2)
		positives, negatives = positives+p, negatives+n
	}
	return pairs / (positives * negatives) // 0/0 is NaN
}
