// SPDX-License-Identifier: Apache-2.0

package estimate

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// DrawsMax is the most draws of an interval.
const DrawsMax = 10_000

// Options say how a window is estimated.
type Options struct {
	// Threshold is the score from which on a row is taken for positive; 0 is 0.5.
	Threshold float64
	// Level is that of intervals; 0 is 0.95.
	Level float64
	// Draws is how many draws intervals are made of; 0 is 200, negative is none.
	Draws int
	// Seed is that of the draws. The same seed gives the same bits.
	Seed uint64
	// PositivesMin is how many rows of each class have to be expected for the estimate to
	// count as reliable; 0 is 20.
	PositivesMin float64
	// BeyondMax is the share of scores beyond those of the reference above which it is not
	// reliable; 0 is 0.01.
	BeyondMax float64
	// Tolerance is by how much AUC, or of a regression the mean absolute error as a share of
	// itself, may be off: on the last window with labels (Check), and on
	// average by what the interval says. Ten times it is the share of the positives that may
	// be too many or too few on that window. 0 is 0.02, that is 0.02 and 20 %.
	Tolerance float64
}

// EnsureDefaults replaces zero values by what they stand for.
func (o *Options) EnsureDefaults() {
	set := func(v *float64, d float64) {
		if *v == 0 {
			*v = d
		}
	}
	set(&o.Threshold, 0.5)
	set(&o.Level, 0.95)
	set(&o.PositivesMin, 20)
	set(&o.BeyondMax, 0.01)
	set(&o.Tolerance, 0.02)
	if o.Draws == 0 {
		o.Draws = 200
	}
}

// Validate reports what is wrong, after EnsureDefaults.
func (o *Options) Validate() error {
	switch {
	case math.IsNaN(o.Threshold) || math.IsInf(o.Threshold, 0):
		return fmt.Errorf("%w: the threshold is %v", ErrData, o.Threshold)
	case !(o.Level > 0 && o.Level < 1):
		return fmt.Errorf("%w: the level is %v and has to be between 0 and 1", ErrData, o.Level)
	case o.Draws > DrawsMax:
		return fmt.Errorf("%w: %d draws are more than %d", ErrData, o.Draws, DrawsMax)
	}
	return nil
}

// Estimate is what is expected of a window.
type Estimate struct {
	Rows int
	// Positives is how many positives are expected, NaN of a regression.
	Positives float64
	Values    Values
	// Low and High are the ends of the intervals of the realised metrics, NaN without draws of
	// a classifier.
	Low, High Values
	// Unreliable says that the estimate is not to be trusted, for these reasons.
	Unreliable bool
	Reasons    []string
}

// Window estimates the metrics of scores without labels. A check on the last window with
// labels may be given, nil if there was none yet; its reasons are taken over. Errors wrap
// ErrData.
func (c *Calibration) Window(scores []float64, check *Check, o Options) (*Estimate, error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if err := checkScores(scores); err != nil {
		return nil, err
	}
	s := newSweep(scores, o.Threshold)
	e := &Estimate{Rows: len(scores)}
	p := c.apply(&c.fit, scores, nil)
	for _, v := range p {
		e.Positives += v
	}
	e.Values = s.values(p)
	c.interval(e, s, scores, o)
	c.doubt(e, scores, check, o)
	return e, nil
}

func (c *Calibration) apply(f *fitted, scores, to []float64) []float64 {
	to = to[:0]
	for _, s := range scores {
		to = append(to, f.at(s))
	}
	return to
}

// interval draws realised metrics: of a reference drawn again, and labels dealt out.
func (c *Calibration) interval(e *Estimate, s *sweep, scores []float64, o Options) {
	var drawn [len(e.Values)][]float64
	r := rand.New(rand.NewPCG(o.Seed, 0x6d696c6c72616365))
	weight, p, labels := make([]float64, c.Rows), []float64(nil), make([]float64, len(scores))
	for range o.Draws {
		f := c.fit
		if c.Kind != Identity {
			for i := range weight {
				weight[i] = poisson(r)
			}
			f = c.fitTo(c.Kind, weight)
			if c.Kind == Isotonic && len(f.from) == 0 {
				f = c.fit // nothing was drawn, of a handful of rows
			}
		}
		p = c.apply(&f, scores, p)
		for i, v := range p {
			labels[i] = 0
			if r.Float64() < v {
				labels[i] = 1
			}
		}
		for m, v := range s.values(labels) {
			if !math.IsNaN(v) {
				drawn[m] = append(drawn[m], v)
			}
		}
	}
	for m, values := range drawn {
		e.Low[m], e.High[m] = math.NaN(), math.NaN()
		// Most draws have to define the metric, or the interval is of something else.
		if len(values) > 1 && float64(len(values)) >= 0.95*float64(o.Draws) {
			slices.Sort(values)
			e.Low[m], e.High[m] = quantile(values, (1-o.Level)/2), quantile(values, (1+o.Level)/2)
		}
	}
}

func quantile(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	i := min(int(at), len(sorted)-2)
	return sorted[i] + (at-float64(i))*(sorted[i+1]-sorted[i])
}

// poisson draws a count with mean 1.
func poisson(r *rand.Rand) float64 {
	u, p, k := r.Float64(), math.Exp(-1), 0.0
	for u > p && k < 20 {
		u -= p
		k++
		p /= k
	}
	return k
}

// doubt finds reasons not to trust an estimate.
func (c *Calibration) doubt(e *Estimate, scores []float64, check *Check, o Options) {
	say := func(format string, args ...any) {
		e.Unreliable, e.Reasons = true, append(e.Reasons, fmt.Sprintf(format, args...))
	}
	if e.Positives < o.PositivesMin {
		say("%.1f positives are expected in %d rows, fewer than %v", e.Positives, e.Rows, o.PositivesMin)
	}
	if negatives := float64(e.Rows) - e.Positives; negatives < o.PositivesMin {
		say("%.1f negatives are expected in %d rows, fewer than %v", negatives, e.Rows, o.PositivesMin)
	}
	if float64(c.Positives) < o.PositivesMin || float64(c.Rows-c.Positives) < o.PositivesMin {
		say("the reference has %d positives and %d negatives, fewer than %v of one", c.Positives, c.Rows-c.Positives, o.PositivesMin)
	}
	if off := (e.High[0] - e.Low[0]) / 2 * meanError(o.Level); off > o.Tolerance {
		say("AUC will be off by %.3f on average, by chance alone", off)
	}
	beyond := 0
	for _, s := range scores {
		if s < c.Low || s > c.High {
			beyond++
		}
	}
	if share := float64(beyond) / float64(len(scores)); share > o.BeyondMax {
		say("%.1f %% of scores are beyond the reference's %.4g to %.4g", 100*share, c.Low, c.High)
	}
	if check != nil {
		for _, reason := range check.Reasons {
			say("%s", reason)
		}
	}
}

// meanError is the mean distance from 0 of a normal number whose interval at this level
// reaches 1 each way.
func meanError(level float64) float64 {
	return math.Sqrt(2/math.Pi) / (math.Sqrt2 * math.Erfinv(level))
}

// Check is how the estimate did on a window whose labels are all there.
type Check struct {
	Estimated, Realised Values
	// Expected and Positives are the positives that were expected and that there were, NaN of
	// a regression.
	Expected, Positives float64
	// P is the p-value of "as many positives as expected", from the spread of labels alone, or
	// of "errors as large as expected".
	P float64
	// Reasons say what was off by more than chance and more than Options.Tolerance.
	Reasons []string
}

// Check compares the estimate with labels. Errors wrap ErrData.
func (c *Calibration) Check(scores, labels []float64, o Options) (*Check, error) {
	if err := checkLabels(scores, labels); err != nil {
		return nil, err
	}
	e, err := c.Window(scores, nil, o)
	if err != nil {
		return nil, err
	}
	o.EnsureDefaults()
	k := &Check{Estimated: e.Values, Realised: newSweep(scores, o.Threshold).values(labels), Expected: e.Positives}
	noise := 0.0
	for i, s := range scores {
		p := c.At(s)
		noise += p * (1 - p)
		k.Positives += labels[i]
	}
	k.P = 1
	if noise > 0 {
		// The reference has noise of its own, which is larger the smaller it is.
		noise *= 1 + float64(len(scores))/float64(c.Rows)
		k.P = math.Erfc(math.Abs(k.Positives-k.Expected) / math.Sqrt(2*noise))
	}
	if off := k.Positives/k.Expected - 1; k.P < 0.01 && math.Abs(off) > 10*o.Tolerance {
		k.Reasons = append(k.Reasons, fmt.Sprintf("the last window with labels had %.0f positives where %.1f were expected", k.Positives, k.Expected))
	}
	a, b := k.Estimated.Of(AUC), k.Realised.Of(AUC)
	if outside := b < e.Low[0] || b > e.High[0]; outside && math.Abs(a-b) > o.Tolerance {
		k.Reasons = append(k.Reasons, fmt.Sprintf("the last window with labels had an AUC of %.3f where %.3f was estimated", b, a))
	}
	return k, nil
}
