// SPDX-License-Identifier: Apache-2.0

// Package estimate estimates how good a model is before labels arrive, from its scores alone:
// a binary classifier (confidence-based performance estimation, CBPE), and a regression, whose
// scores are amounts (Errors).
//
// Of a classifier:
//
// If a row's calibrated probability is p, it is positive with chance p. So the expected
// confusion at a threshold is a sum of probabilities, and the ROC and precision-recall
// curves follow from a sweep of the threshold. With labels in place of probabilities the
// same sums are the realised metrics, and Realised computes them so.
//
//	E1  Assumed: among rows with the same score, the share of positives is what it was in
//	    the reference. Inputs may shift (covariate shift); if what they mean changes
//	    (concept drift), the estimate is wrong and cannot know. Assumptions says so to users.
//	E2  Scores are recalibrated on the reference only if this lowers its log loss in
//	    cross-validation. Rows are ordered by the model's score at all times: calibration
//	    does not change which row is before which.
//	E3  Intervals are for the metric that will be realised: each draw resamples the
//	    reference, fits the calibration again, and deals labels out. So they cover the doubt
//	    about calibration and the chance in labels, as far as E1 holds.
//	E4  An estimate that is doubtful says why (Estimate.Reasons).
//
// Of a regression, errors are those of the reference's rows with about the same score:
//
//	E5  Assumed: among rows with about the same score, errors are distributed as in the
//	    reference. E1's limits hold; and where errors have nothing to do with the score, the
//	    estimate is the reference's error, whatever comes (AmountAssumptions).
//	E6  Intervals are for the metric that will be realised, by its standard error: of errors
//	    within bins of the score, and of the bins' means in the reference.
//
// Sources: Kivimaeki, Bialek, Kuberski, Nurminen, Performance estimation in binary
// classification using calibrated confidence, 2025 (CBPE); Zadrozny and Elkan, KDD 2002
// (isotonic calibration); Platt 1999; Ayer et al., Annals 1955 (pool adjacent violators).
// The idea of Errors, learning the error where labels are known, is that of NannyML's direct
// loss estimation, with the score as the only input.
//
// Concurrency: functions may be called at the same time. A Calibration does not change.
package estimate

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// ErrData means that there is nothing to estimate from: no rows, one class only, a score
// that is not finite, a label other than 0 and 1, or of a regression that is not finite.
var ErrData = errors.New("cannot estimate")

// RowsMax is the most rows of a window or a reference.
const RowsMax = 1 << 24

// Assumptions is what an estimate rests on, for people who read it.
const Assumptions = "Rows with the same score are positive as often as they were in the reference. " +
	"A change of the inputs alone keeps this true; a change of what inputs mean does not, and only labels show it."

// Metric names a metric.
type Metric string

// The metrics. Confusion counts and what follows from them are at Options.Threshold.
const (
	AUC              Metric = "roc_auc"
	AveragePrecision Metric = "average_precision"
	Accuracy         Metric = "accuracy"
	Precision        Metric = "precision"
	Recall           Metric = "recall"
	F1               Metric = "f1"
	LogLoss          Metric = "log_loss"
	Brier            Metric = "brier"

	// Those of a regression, in the labels' unit but for R2.
	MAE  Metric = "mae"  // mean absolute error
	RMSE Metric = "rmse" // root of the mean squared error
	Bias Metric = "bias" // mean of score less label: above 0 predicts too much
	R2   Metric = "r2"   // share of the labels' variance that is explained, below 0 if none is
)

// Metrics are all of them, in the order of Values: those of classes first.
var Metrics = []Metric{AUC, AveragePrecision, Accuracy, Precision, Recall, F1, LogLoss, Brier, MAE, RMSE, Bias, R2}

// ClassMetrics and AmountMetrics are those of a classifier and of a regression.
var ClassMetrics, AmountMetrics = Metrics[:8:8], Metrics[8:]

// Values are the metrics in the order of Metrics. What is not defined is NaN: those of the
// other kind of model, AUC of one class, log loss and Brier of scores outside 0 to 1, R2 of
// labels that are all the same.
type Values [12]float64

// Unknown are values of which none is defined.
func Unknown() (v Values) {
	for i := range v {
		v[i] = math.NaN()
	}
	return v
}

// set sets the value of a metric.
func (v *Values) set(m Metric, to float64) { v[slices.Index(Metrics, m)] = to }

// Of is the value of a metric.
func (v Values) Of(m Metric) float64 {
	if i := slices.Index(Metrics, m); i >= 0 {
		return v[i]
	}
	return math.NaN()
}

// checkScores checks scores.
func checkScores(scores []float64) error {
	if len(scores) == 0 || len(scores) > RowsMax {
		return fmt.Errorf("%w: %d rows, there have to be 1 to %d", ErrData, len(scores), RowsMax)
	}
	for i, s := range scores {
		if math.IsNaN(s) || math.IsInf(s, 0) {
			return fmt.Errorf("%w: the score of row %d is %v", ErrData, i, s)
		}
	}
	return nil
}

func checkLabels(scores, labels []float64) error {
	if err := checkScores(scores); err != nil {
		return err
	}
	if len(labels) != len(scores) {
		return fmt.Errorf("%w: %d scores and %d labels", ErrData, len(scores), len(labels))
	}
	for i, l := range labels {
		if l != 0 && l != 1 {
			return fmt.Errorf("%w: the label of row %d is %v, labels are 0 and 1", ErrData, i, l)
		}
	}
	return nil
}

// Realised computes the metrics of rows with labels.
func Realised(scores, labels []float64, threshold float64) (Values, error) {
	if err := checkLabels(scores, labels); err != nil {
		return Values{}, err
	}
	return newSweep(scores, threshold).values(labels), nil
}

// sweep is the scores of a window from the highest down, for any labels.
type sweep struct {
	order     []int32
	scores    []float64 // in that order
	threshold float64
	bounded   bool         // scores are in 0 to 1
	logs      [][2]float64 // of a score and of what is left to 1
}

// logFloor keeps the log loss of a score of 0 or 1 finite.
const logFloor = 1e-15

func newSweep(scores []float64, threshold float64) *sweep {
	s := &sweep{order: make([]int32, len(scores)), scores: make([]float64, len(scores)), threshold: threshold, bounded: true}
	for i := range s.order {
		s.order[i] = int32(i)
	}
	slices.SortStableFunc(s.order, func(a, b int32) int {
		switch {
		case scores[a] > scores[b]:
			return -1
		case scores[a] < scores[b]:
			return 1
		}
		return int(a - b)
	})
	s.logs = make([][2]float64, len(scores))
	for i, row := range s.order {
		v := scores[row]
		s.scores[i] = v
		s.bounded = s.bounded && v >= 0 && v <= 1
		c := min(max(v, logFloor), 1-logFloor)
		s.logs[i] = [2]float64{math.Log(c), math.Log1p(-c)}
	}
	return s
}

// values are the expected metrics of rows that are positive with chances p, by row. With
// chances of 0 and 1 they are the metrics of these labels. A ratio of sums stands for its
// expectation, which differs by what is small where positives are many.
func (s *sweep) values(p []float64) Values {
	n := len(s.order)
	positives, noise := 0.0, 0.0 // noise is the variance of the number of positives
	for _, v := range p {
		positives += v
		noise += v * (1 - v)
	}
	negatives := float64(n) - positives
	var above, tp, fp, pairs, ap, loss, brier float64 // above: positives so far
	for from := 0; from < n; {
		own, ownNoise, to := 0.0, 0.0, from
		for ; to < n && s.scores[to] == s.scores[from]; to++ {
			v := p[s.order[to]]
			own += v
			ownNoise += v * (1 - v)
			loss -= v*s.logs[to][0] + (1-v)*s.logs[to][1]
			brier += v*(1-s.scores[to])*(1-s.scores[to]) + (1-v)*s.scores[to]*s.scores[to]
		}
		rows := float64(to - from)
		// A row is not beside itself: what it would win against itself is taken out.
		pairs += (rows-own)*above + (own*(rows-own)-ownNoise)/2
		above += own
		ap += (own*above + ownNoise) / float64(to)
		if s.scores[from] >= s.threshold {
			tp, fp = tp+own, fp+rows-own
		}
		from = to
	}
	nan := math.NaN()
	v := Unknown()
	v[2], v[6], v[7] = (tp+negatives-fp)/float64(n), loss/float64(n), brier/float64(n)
	if both := positives*negatives - noise; both > 0 && positives > 0 && negatives > 0 {
		v[0] = pairs / both
	}
	if positives > 0 {
		v[1], v[4] = ap/positives, tp/positives
		v[5] = 2 * tp / (tp + fp + positives)
	}
	v[3] = 0
	if tp+fp > 0 {
		v[3] = tp / (tp + fp)
	}
	if !s.bounded {
		v[6], v[7] = nan, nan
	}
	return v
}
