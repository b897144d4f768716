// SPDX-License-Identifier: Apache-2.0

package estimate

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// AmountAssumptions is what an estimate of a regression rests on, for people who read it.
const AmountAssumptions = "Rows with about the same score have errors as large as they had in the reference. " +
	"A change of which scores there are is seen; a change of what inputs mean is not, nor one of inputs that scores do not show: only labels show it. " +
	"Where errors have nothing to do with the score, the estimate stays at the reference's."

// checkAmounts checks the scores and labels of a regression.
func checkAmounts(scores, labels []float64) error {
	if err := checkScores(scores); err != nil {
		return err
	}
	if len(labels) != len(scores) {
		return fmt.Errorf("%w: %d scores and %d labels", ErrData, len(scores), len(labels))
	}
	for i, l := range labels {
		if math.IsNaN(l) || math.IsInf(l, 0) {
			return fmt.Errorf("%w: the label of row %d is %v", ErrData, i, l)
		}
		// Squares, and sums of them, have to be numbers.
		if math.Abs(l) > AmountMax || math.Abs(scores[i]) > AmountMax {
			return fmt.Errorf("%w: row %d has the score %v and the label %v, amounts are at most %v", ErrData, i, scores[i], l, AmountMax)
		}
	}
	return nil
}

// AmountMax bounds scores and labels of a regression.
const AmountMax = 1e120

// spread adds up values for their mean and variance (Welford), without loss where the mean is
// far from 0.
type spread struct{ n, mean, sum float64 }

func (s *spread) add(v float64) {
	s.n++
	d := v - s.mean
	s.mean += d / s.n
	s.sum += d * (v - s.mean)
}

// variance is that of one value, 0 of fewer than two.
func (s *spread) variance() float64 {
	if s.n < 2 {
		return 0
	}
	return s.sum / (s.n - 1)
}

// reachOf is how many standard errors an interval at a level reaches.
func reachOf(level float64) float64 { return math.Sqrt2 * math.Erfinv(level) }

// RealisedAmounts computes the metrics of a regression's rows with labels, and intervals at a
// level from the standard errors of means: of the absolute error, the error, its square on a
// logarithmic scale, and of R2 by its influence function (a first-order expansion). With few
// rows or long tails they are too narrow; of fewer than two rows they are NaN. Errors wrap
// ErrData.
func RealisedAmounts(scores, labels []float64, level float64) (values, low, high Values, err error) {
	if err := checkAmounts(scores, labels); err != nil {
		return values, low, high, err
	}
	values, low, high = Unknown(), Unknown(), Unknown()
	var size, signed, square, truth spread
	for i, l := range labels {
		e := scores[i] - l
		size.add(math.Abs(e))
		signed.add(e)
		square.add(e * e)
		truth.add(l)
	}
	n, z := size.n, reachOf(level)
	set := func(m Metric, v, reach float64) {
		values.set(m, v)
		if n >= 2 {
			low.set(m, v-z*reach)
			high.set(m, v+z*reach)
		}
	}
	set(MAE, size.mean, math.Sqrt(size.variance()/n))
	low.set(MAE, max(0, low.Of(MAE)))
	set(Bias, signed.mean, math.Sqrt(signed.variance()/n))
	values.set(RMSE, math.Sqrt(square.mean))
	if n >= 2 {
		a, b := rootBetween(square.mean, math.Sqrt(square.variance()/n), z)
		low.set(RMSE, a)
		high.set(RMSE, b)
	}
	if whole := truth.sum / n; whole > 0 {
		var influence spread
		for i, l := range labels {
			e, d := scores[i]-l, l-truth.mean
			influence.add((square.mean*d*d/whole - e*e) / whole)
		}
		set(R2, 1-square.mean/whole, math.Sqrt(influence.variance()/n))
		high.set(R2, min(1, high.Of(R2)))
	}
	return values, low, high, nil
}

// rootBetween is the interval of the root of a mean that has a standard error: that of its
// logarithm, which keeps it above 0.
func rootBetween(mean, se, z float64) (low, high float64) {
	if mean <= 0 {
		return 0, 0
	}
	return math.Sqrt(mean * math.Exp(-z*se/mean)), math.Sqrt(mean * math.Exp(z*se/mean))
}

// Bounds of Errors.
const (
	// errorBins is the most bins of the score, and errorBinRows the least rows of one.
	errorBins    = 10
	errorBinRows = 50
	// errorSample is how many errors of the reference are held for tests.
	errorSample = 1 << 14
)

// Errors are those that a regression made in a reference, by bins of the score.
type Errors struct {
	// Rows count the reference; Low and High are its least and its highest score.
	Rows      int
	Low, High float64
	// Values are the reference's metrics.
	Values Values

	bins []errorBin
	// signed are errors of a part of the rows, spread over all scores; bins share it. sizes are
	// their absolute values in that order, and sorted those in their own.
	signed, sizes, sorted []float64
}

// errorBin is the rows whose score is at least from, up to the next bin.
type errorBin struct {
	from                 float64
	size, square, signed spread
	sample               []float64
}

// NewErrors takes the errors of a reference, at least two rows. The arguments stay with the
// caller. Errors wrap ErrData.
func NewErrors(scores, labels []float64) (*Errors, error) {
	e := &Errors{Rows: len(scores)}
	var err error
	if e.Values, _, _, err = RealisedAmounts(scores, labels, 0.95); err != nil {
		return nil, err
	}
	if e.Rows < 2 {
		return nil, fmt.Errorf("%w: the reference has one row", ErrData)
	}
	order := make([]int, len(scores))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(scores[a], scores[b]), cmp.Compare(labels[a], labels[b]))
	})
	e.Low, e.High = scores[order[0]], scores[order[e.Rows-1]]
	most := max(1, min(errorBins, e.Rows/errorBinRows))
	least := min(errorBinRows, e.Rows/most)
	every := max(1, (e.Rows+errorSample-1)/errorSample)
	from := 0 // of the sample
	for place, row := range order {
		if place == 0 || scores[row] > scores[order[place-1]] && e.full(place*most/e.Rows, least) && e.Rows-place >= least {
			if place > 0 {
				e.bins[len(e.bins)-1].sample, from = e.signed[from:], len(e.signed)
			}
			e.bins = append(e.bins, errorBin{from: scores[row]})
		}
		b, d := &e.bins[len(e.bins)-1], scores[row]-labels[row]
		b.size.add(math.Abs(d))
		b.square.add(d * d)
		b.signed.add(d)
		if picked(place, every) {
			e.signed, e.sizes = append(e.signed, d), append(e.sizes, math.Abs(d))
		}
	}
	e.bins[len(e.bins)-1].sample = e.signed[from:]
	e.sorted = slices.Clone(e.sizes)
	slices.Sort(e.sorted)
	return e, nil
}

// picked says whether a place is that of its run of so many: one of each, by steps of the golden
// ratio, so that rows which come round, such as labels of a few values, are all met.
func picked(place, every int) bool {
	_, part := math.Modf(float64(place/every) * (math.Phi - 1))
	return place%every == int(part*float64(every))
}

// full says whether the last bin has as many rows as it has to, where so many bins are due.
func (e *Errors) full(due, least int) bool {
	return due >= len(e.bins) && int(e.bins[len(e.bins)-1].size.n) >= least
}

// binOf is the bin of a score.
func (e *Errors) binOf(score float64) int {
	i, found := slices.BinarySearchFunc(e.bins, score, func(b errorBin, s float64) int { return cmp.Compare(b.from, s) })
	if !found {
		i--
	}
	return max(i, 0)
}

// Rank is the share of the reference's absolute errors that are below one, half of those that
// are the same included: 0.5 on average where nothing changed, more where errors are larger.
func (e *Errors) Rank(size float64) float64 {
	low, _ := slices.BinarySearch(e.sorted, size)
	high, _ := slices.BinarySearch(e.sorted, math.Nextafter(size, math.Inf(1)))
	return float64(low+high) / 2 / float64(len(e.sorted))
}

// Window estimates the mean absolute error and the root of the mean squared error of scores
// without labels, as Calibration.Window does for a classifier. Errors wrap ErrData.
func (e *Errors) Window(scores []float64, check *Check, o Options) (*Estimate, error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if err := checkScores(scores); err != nil {
		return nil, err
	}
	w := e.expect(scores)
	z := reachOf(o.Level)
	found := &Estimate{Rows: len(scores), Positives: math.NaN(), Values: Unknown(), Low: Unknown(), High: Unknown()}
	found.Values.set(MAE, w.size)
	found.Low.set(MAE, max(0, w.size-z*w.sizeSE))
	found.High.set(MAE, w.size+z*w.sizeSE)
	found.Values.set(RMSE, math.Sqrt(w.square))
	low, high := rootBetween(w.square, w.squareSE, z)
	found.Low.set(RMSE, low)
	found.High.set(RMSE, high)
	e.doubt(found, scores, check, w.sizeSE*math.Sqrt(2/math.Pi), o)
	return found, nil
}

// expected is what is expected of a window: means, and the standard errors of those that will
// be realised.
type expected struct{ size, sizeSE, square, squareSE float64 }

func (e *Errors) expect(scores []float64) (w expected) {
	counts, n := make([]float64, len(e.bins)), float64(len(scores))
	for _, s := range scores {
		counts[e.binOf(s)]++
	}
	for i, count := range counts {
		b, share := &e.bins[i], count/n
		w.size += share * b.size.mean
		w.square += share * b.square.mean
		// The rows' own chance, and that of the reference's mean.
		own := share/n + share*share/b.size.n
		w.sizeSE += own * b.size.variance()
		w.squareSE += own * b.square.variance()
	}
	w.sizeSE, w.squareSE = math.Sqrt(w.sizeSE), math.Sqrt(w.squareSE)
	return w
}

// doubt finds reasons not to trust an estimate that is off by so much on average by chance.
func (e *Errors) doubt(found *Estimate, scores []float64, check *Check, off float64, o Options) {
	say := func(format string, args ...any) {
		found.Unreliable, found.Reasons = true, append(found.Reasons, fmt.Sprintf(format, args...))
	}
	if e.Rows < 2*errorBinRows {
		say("the reference has %d rows with a label, fewer than %d", e.Rows, 2*errorBinRows)
	}
	if mae := found.Values.Of(MAE); off > o.Tolerance*mae {
		say("the mean absolute error will be off by %.3g of %.3g on average, by chance alone", off, mae)
	}
	if share := e.beyond(scores); share > o.BeyondMax {
		say("%.1f %% of scores are beyond the reference's %.4g to %.4g", 100*share, e.Low, e.High)
	}
	if check != nil {
		for _, reason := range check.Reasons {
			say("%s", reason)
		}
	}
}

// beyond is the share of scores that are out of the reference's range.
func (e *Errors) beyond(scores []float64) float64 {
	count := 0
	for _, s := range scores {
		if s < e.Low || s > e.High {
			count++
		}
	}
	return float64(count) / float64(len(scores))
}

// Check compares the estimate with labels, as Calibration.Check does. Errors wrap ErrData.
func (e *Errors) Check(scores, labels []float64, o Options) (*Check, error) {
	realised, _, _, err := RealisedAmounts(scores, labels, 0.95)
	if err != nil {
		return nil, err
	}
	found, err := e.Window(scores, nil, o)
	if err != nil {
		return nil, err
	}
	o.EnsureDefaults()
	k := &Check{Estimated: found.Values, Realised: realised, Expected: math.NaN(), Positives: math.NaN(), P: 1}
	a, b := found.Values.Of(MAE), realised.Of(MAE)
	if se := e.expect(scores).sizeSE; se > 0 {
		k.P = math.Erfc(math.Abs(a-b) / se / math.Sqrt2)
	}
	if outside := b < found.Low.Of(MAE) || b > found.High.Of(MAE); outside && math.Abs(a-b) > o.Tolerance*a {
		k.Reasons = append(k.Reasons, fmt.Sprintf("the last window with labels had a mean absolute error of %.4g where %.4g was estimated", b, a))
	}
	return k, nil
}
