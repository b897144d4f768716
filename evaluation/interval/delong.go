// SPDX-License-Identifier: Apache-2.0

package interval

import (
	"fmt"
	"math"
	"slices"
)

// AUC is an area under the ROC curve and its standard error, by DeLong's method: from how
// well each row is placed among the rows of the other class. With clusters it is
// Obuchowski's, which adds up the rows of a cluster first, and is the same thing if each
// has one row.
type AUC struct {
	Value, SE float64
	// Degrees are the degrees of freedom of SE (Satterthwaite): few if a class has few rows,
	// however many the other one has.
	Degrees float64
}

// Interval is an interval for the AUC. It is computed for the log odds, so that it stays
// between 0 and 1 and covers at its level near them. It is the value alone where SE is 0 or
// the value 0 or 1, of which DeLong's method knows no spread, and NaN where level is not
// between 0 and 1.
func (a AUC) Interval(level float64) (low, high float64) {
	if !(level > 0 && level < 1) {
		return math.NaN(), math.NaN()
	}
	if a.Value <= 0 || a.Value >= 1 || a.SE == 0 {
		return a.Value, a.Value
	}
	z := student(a.Degrees).Quantile((1 + level) / 2)
	odds, reach := math.Log(a.Value/(1-a.Value)), z*a.SE/(a.Value*(1-a.Value))
	sigmoid := func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }
	return sigmoid(odds - reach), sigmoid(odds + reach)
}

// reachOf is how many standard errors an interval reaches each way, NaN where level is not
// between 0 and 1.
func reachOf(level float64) float64 {
	if !(level > 0 && level < 1) {
		return math.NaN()
	}
	return normal.Quantile((1 + level) / 2)
}

// Compared is two AUCs on the same rows.
type Compared struct {
	A, B AUC
	// Difference is A less B, and SE its standard error.
	Difference, SE float64
	// Z is Difference over SE, and P the two-sided p-value of "they are equal". Where all
	// ranks are the same, they are 0 and 1. Where SE is 0 though they differ, as of a perfect
	// model and a constant, Z is infinite and P NaN: the normal distribution says nothing there.
	Z, P float64
}

// Interval is the interval of the difference, NaN where level is not between 0 and 1.
func (c Compared) Interval(level float64) (low, high float64) {
	reach := reachOf(level) * c.SE
	return c.Difference - reach, c.Difference + reach
}

// NonInferior is the p-value of "A is less than B by margin or more".
func (c Compared) NonInferior(margin float64) float64 {
	return NonInferior(c.Difference, c.SE, margin)
}

// AUCOf computes the AUC of scores for labels 0 and 1. Ties count half. Clusters may be
// nil, for rows that are independent. It takes O(n log n). There have to be two units
// (rows, or clusters) with each label. Rows have no weights here: use Bootstrap for a
// metric with weights. Errors wrap ErrData.
func AUCOf(labels, scores []float64, clusters []int32) (AUC, error) {
	c, err := newClasses(labels, clusters)
	if err != nil {
		return AUC{}, err
	}
	p, err := c.place(scores)
	if err != nil {
		return AUC{}, err
	}
	return c.area(p), nil
}

// DeLong compares the AUCs of two scores on the same rows, as AUCOf.
func DeLong(labels, a, b []float64, clusters []int32) (Compared, error) {
	c, err := newClasses(labels, clusters)
	if err != nil {
		return Compared{}, err
	}
	pa, err := c.place(a)
	if err != nil {
		return Compared{}, fmt.Errorf("first model: %w", err)
	}
	pb, err := c.place(b)
	if err != nil {
		return Compared{}, fmt.Errorf("second model: %w", err)
	}
	result := Compared{A: c.area(pa), B: c.area(pb), Difference: pa.auc - pb.auc}
	// The variance of the difference, not of each less their covariance twice, which would
	// be all rounding for models that are much the same.
	for row := range pa.place {
		pa.place[row] -= pb.place[row]
	}
	variance, _ := c.variance(pa.place, result.Difference)
	result.SE = math.Sqrt(variance)
	switch {
	case result.SE > 0:
		result.Z = result.Difference / result.SE
		result.P = 2 * normal.CDF(-math.Abs(result.Z))
	case result.Difference == 0:
		result.P = 1
	default:
		result.Z, result.P = math.Copysign(math.Inf(1), result.Difference), math.NaN()
	}
	return result, nil
}

// classes are the rows of two classes and their units.
type classes struct {
	positive []bool
	// positives and negatives count rows.
	positives, negatives float64
	unit                 []int32 // of each row, nil if rows are units
	units                int
}

func newClasses(labels []float64, clusters []int32) (*classes, error) {
	c := &classes{positive: make([]bool, len(labels)), units: len(labels)}
	for row, label := range labels {
		if label != 0 && label != 1 {
			return nil, fmt.Errorf("%w: row %d has the label %v, labels are 0 and 1", ErrData, row, label)
		}
		c.positive[row] = label == 1
		c.positives += label
	}
	c.negatives = float64(len(labels)) - c.positives
	if clusters != nil {
		var err error
		if c.unit, c.units, err = compact(clusters, len(labels), "cluster"); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrData, err)
		}
	}
	_, with := c.sums(make([]float64, len(labels)), 0)
	if with[0] < 2 || with[1] < 2 {
		return nil, fmt.Errorf("%w: %v rows or clusters have label 1 and %v have label 0, DeLong's variance needs two of each",
			ErrData, with[1], with[0])
	}
	return c, nil
}

// placed says how rows are placed among those of the other class: the share of them that
// they are on the right side of, ties counting half.
type placed struct {
	place []float64
	auc   float64
}

func (c *classes) place(scores []float64) (placed, error) {
	if len(scores) != len(c.positive) {
		return placed{}, fmt.Errorf("%w: %d scores for %d labels", ErrData, len(scores), len(c.positive))
	}
	type ranked struct {
		score float64
		row   int32
	}
	order := make([]ranked, len(scores))
	for row, score := range scores {
		if math.IsNaN(score) {
			return placed{}, fmt.Errorf("%w: the score of row %d is NaN", ErrData, row)
		}
		order[row] = ranked{score, int32(row)}
	}
	slices.SortFunc(order, func(x, y ranked) int {
		switch {
		case x.score < y.score:
			return -1
		case x.score > y.score:
			return 1
		}
		return 0
	})
	p := placed{place: make([]float64, len(scores))}
	below := [2]float64{} // rows of each class with a lower score
	for from := 0; from < len(order); {
		tied, to := [2]float64{}, from
		for ; to < len(order) && order[to].score == order[from].score; to++ {
			tied[class(c.positive[order[to].row])]++
		}
		up := (below[0] + tied[0]/2) / c.negatives
		down := (c.positives - below[1] - tied[1]/2) / c.positives
		for _, r := range order[from:to] {
			p.place[r.row] = down
			if c.positive[r.row] {
				p.place[r.row] = up
			}
		}
		p.auc += up * tied[1] / c.positives
		below[0] += tied[0]
		below[1] += tied[1]
		from = to
	}
	return p, nil
}

func class(positive bool) int {
	if positive {
		return 1
	}
	return 0
}

// sums adds up by unit how far places are from their mean, of each class, and counts units
// that have the class.
func (c *classes) sums(place []float64, mean float64) (sums [2][]float64, with [2]float64) {
	sums[0], sums[1] = make([]float64, c.units), make([]float64, c.units)
	has := [2][]bool{make([]bool, c.units), make([]bool, c.units)}
	for row, at := range place {
		unit, k := row, class(c.positive[row])
		if c.unit != nil {
			unit = int(c.unit[row])
		}
		sums[k][unit] += at - mean
		if !has[k][unit] {
			has[k][unit] = true
			with[k]++
		}
	}
	return sums, with
}

// area is the AUC that rows are placed for.
func (c *classes) area(p placed) AUC {
	variance, degrees := c.variance(p.place, p.auc)
	return AUC{p.auc, math.Sqrt(variance), degrees}
}

// variance is that of the mean of places, or of differences of places, with its degrees of
// freedom.
func (c *classes) variance(place []float64, mean float64) (variance, degrees float64) {
	sums, with := c.sums(place, mean)
	own, both := [2]float64{}, 0.0
	for u := range c.units {
		own[0] += sums[0][u] * sums[0][u]
		own[1] += sums[1][u] * sums[1][u]
		both += sums[0][u] * sums[1][u]
	}
	units, rows := float64(c.units), [2]float64{c.negatives, c.positives}
	variance = 2 * units / (units - 1) * both / (c.positives * c.negatives)
	unsure := 0.0
	for k := range own {
		part := with[k] / (with[k] - 1) * own[k] / (rows[k] * rows[k])
		variance += part
		unsure += part * part / (with[k] - 1)
	}
	if variance <= 0 { // of a perfect model, or by rounding
		return 0, math.Inf(1)
	}
	return variance, max(1, variance*variance/unsure)
}
