// SPDX-License-Identifier: Apache-2.0

package estimate

import (
	"math"

	"github.com/millrace-ml/millrace/evaluation/monitor/drift"
)

// BiasByScore names the test of the bias within bins of the score.
const BiasByScore = "bias_by_score"

// Shift is a test of a window's errors against those of the reference.
type Shift struct {
	// Name is MAE, Bias or BiasByScore.
	Name string
	// Before is the reference, Now the window; of BiasByScore in the bin that is least likely.
	Before, Now float64
	// P is one-sided of MAE, for errors that grew, and two-sided of the others.
	P float64
}

// ScoreBin is the bias of rows whose scores are in a bin: what is left of a regression's
// calibration.
type ScoreBin struct {
	// From is the least score of the bin and To where the next begins; NaN where it is open.
	From, To float64
	Rows     int
	// Before is the mean of score less label in the reference, Bias in the window, with an
	// interval at 95 % by its standard error; NaN without rows.
	Before, Bias, Low, High float64
	// P is two-sided for another bias than before, not corrected for how many bins there are;
	// NaN with too few rows.
	P float64
}

// shiftSampleMin is the least number of the reference's errors in a bin that is tested.
const shiftSampleMin = 20

// Shifts tests whether the errors of a window are those of the reference: whether they are
// larger, whether they have another mean, and whether they have one within a bin of the score,
// which a mean over all may not show (Bonferroni's correction is for the number of bins).
// P-values are those of drift.MeanShift; they hold at any size if rows are independent. Errors
// wrap ErrData.
func (e *Errors) Shifts(scores, labels []float64) ([]Shift, []ScoreBin, error) {
	if err := checkAmounts(scores, labels); err != nil {
		return nil, nil, err
	}
	signed, sizes := make([]float64, len(scores)), make([]float64, len(scores))
	byBin := make([][]float64, len(e.bins))
	var size, mean spread
	for i, l := range labels {
		d := scores[i] - l
		signed[i], sizes[i] = d, math.Abs(d)
		size.add(sizes[i])
		mean.add(d)
		bin := e.binOf(scores[i])
		byBin[bin] = append(byBin[bin], d)
	}
	larger, _, err := drift.MeanShift(e.sizes, sizes)
	if err != nil {
		return nil, nil, err
	}
	other, err := twoSided(e.signed, signed)
	if err != nil {
		return nil, nil, err
	}
	bins, worst, err := e.scoreBins(byBin)
	if err != nil {
		return nil, nil, err
	}
	return []Shift{
		{string(MAE), e.Values.Of(MAE), size.mean, larger}, {string(Bias), e.Values.Of(Bias), mean.mean, other}, worst,
	}, bins, nil
}

// scoreBins are the bins with a window's errors, and the test of them all.
func (e *Errors) scoreBins(errors [][]float64) ([]ScoreBin, Shift, error) {
	worst, tested := Shift{Name: BiasByScore, P: 1}, 0
	bins := make([]ScoreBin, len(e.bins))
	for i := range bins {
		own, nan := &e.bins[i], math.NaN()
		b := &bins[i]
		*b = ScoreBin{From: nan, To: nan, Rows: len(errors[i]), Before: own.signed.mean, Bias: nan, Low: nan, High: nan, P: nan}
		if i > 0 {
			b.From = own.from
		}
		if i+1 < len(bins) {
			b.To = e.bins[i+1].from
		}
		if b.Rows < 2 || len(own.sample) < shiftSampleMin {
			continue
		}
		var s spread
		for _, d := range errors[i] {
			s.add(d)
		}
		reach := reachOf(0.95) * math.Sqrt(s.variance()/s.n)
		b.Bias, b.Low, b.High = s.mean, s.mean-reach, s.mean+reach
		var err error
		if b.P, err = twoSided(own.sample, errors[i]); err != nil {
			return nil, worst, err
		}
		if tested++; tested == 1 || b.P < worst.P {
			worst.Before, worst.Now, worst.P = b.Before, b.Bias, b.P
		}
	}
	worst.P = min(1, worst.P*float64(max(1, tested)))
	return bins, worst, nil
}

func twoSided(reference, current []float64) (float64, error) {
	above, below, err := drift.MeanShift(reference, current)
	return min(1, 2*min(above, below)), err
}
